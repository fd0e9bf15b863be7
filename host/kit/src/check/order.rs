//! Do the keys of a client and type follow the time?
//!
//! A walk is one client and type through a month, an hour at a time. Windows that wrap around begin anew once in a while,
//! so a walk may step back once; more than once is no order, and so is a step back in more than half of the walks.

use ostrakon_core::keys;
use ostrakon_core::policy::{Answer, Question};
use serde_json::json;

use super::asker::call_of;
use super::{Asker, Example, Outcome, Property};
use crate::draw::Draws;
use crate::input::{NOW_MS, client, cold};

const WALKS: u32 = 64;
const STEPS: u64 = 720;
const STEP_MS: u64 = 3_600_000;

pub(super) fn check(asker: &mut Asker<'_>, draws: &mut Draws) -> Outcome {
    let (mut walks, mut wrapped, mut disordered, mut example) = (0, 0, 0, None);
    while walks < WALKS && !asker.gave_up() {
        walks += 1;
        let (back, first) = walk(asker, draws);
        wrapped += u32::from(back == 1);
        disordered += u32::from(back > 1);
        if back > 1 {
            example = example.or(first);
        }
    }
    let holds = walks > 0 && disordered == 0 && 2 * wrapped <= walks;
    let words = match disordered {
        0 => format!("{walks} walks of {STEPS} hours: keys follow the time, and begin anew in {wrapped} of them"),
        _ => format!(
            "{disordered} of {walks} walks of {STEPS} hours step back in keys more than once (--skip order \
                      where that is meant)"
        ),
    };
    let figures = json!({ "walks": walks, "steps": STEPS, "wrapped": wrapped, "disordered": disordered });
    Outcome::new(Property::Order, holds, words, figures).with(example)
}

/// How often one walk steps back, and where first.
fn walk(asker: &mut Asker<'_>, draws: &mut Draws) -> (u32, Option<Example>) {
    let client = client(draws);
    let data_type = draws.one_of(["volume", "instance"]);
    let begin_ms = NOW_MS + draws.below(5 * 365 * 86_400_000);
    let (mut before, mut back, mut example) = (None, 0, None);
    for step in 0..STEPS {
        // One name, so that what the host fills in is the same.
        let question = cold(client.clone(), data_type, "n".to_owned(), begin_ms + step * STEP_MS);
        let Ok(Answer::Placement(placement)) = asker.ask(&question) else { continue };
        let Question::Place(placing) = &question else { continue };
        let key = keys::fill(placement, &placing.name);
        if before.is_some_and(|before| key < before) {
            back += 1;
            let wrong = format!("its key {key} lies below that of an hour before");
            example.get_or_insert_with(|| Example { call: call_of(&question), wrong });
        }
        before = Some(key);
        if asker.gave_up() {
            break;
        }
    }
    (back, example)
}
