//! Does an action that is judged again, after its change was made, change anything more?
//!
//! A host that lost its answer, not its effect, asks again. Then nothing may be written, or the same payload. An addition
//! that the host reruns itself is not looked at: its action's id keeps it from being done twice, not the policy.

use ostrakon_core::policy::Question;
use serde_json::json;

use super::asker::call_of;
use super::{Asker, Example, Outcome, Property};
use crate::case::{After, Case};
use crate::draw::Draws;

const CASES: usize = 1_024;

pub(super) fn check(asker: &mut Asker<'_>, told: &[Question], draws: &mut Draws) -> Outcome {
    let mut cases: Vec<Case> = told.iter().filter_map(Case::of).collect();
    cases.extend((0..CASES).map(|_| Case::drawn(draws)));
    let (mut judged, mut written, mut added, mut twice, mut example) = (0, 0, 0, 0, None);
    for case in &cases {
        if asker.gave_up() {
            break;
        }
        let Ok(first) = case.judge(|question| asker.ask(question)) else { continue };
        judged += 1;
        let payload = match first {
            After::Nothing => continue,
            After::Added => {
                added += 1;
                continue;
            }
            After::Written(payload) => payload,
        };
        let again = case.again_on(payload.clone());
        let Ok(second) = again.judge(|question| asker.ask(question)) else { continue };
        written += 1;
        if second != After::Nothing && second != After::Written(payload) {
            twice += 1;
            let wrong = "its change stands there already, and it is changed again".to_owned();
            example.get_or_insert_with(|| Example { call: call_of(&again.on_payloads()), wrong });
        }
    }
    let words = match twice {
        0 => format!(
            "{judged} cases, {written} of them changed something: judged again, none changed anything more \
             ({added} additions are the host's)"
        ),
        _ => format!("{twice} of {written} changes are made once more when they are judged again"),
    };
    let figures = json!({ "cases": judged, "written": written, "host_additions": added, "twice": twice });
    Outcome::new(Property::Idempotence, judged > 0 && twice == 0, words, figures).with(example)
}
