//! Do clients spread over shards?
//!
//! One object a client, as the host places it: the policy's bits, and below them the host's. Over shards of equal size,
//! counts that chance alone would hardly make (less than once in a thousand times) are no spread. Several objects of a
//! client would lie together, and should.

use ostrakon_core::keys;
use ostrakon_core::policy::{Answer, Question};
use serde_json::json;

use super::{Asker, Outcome, Property};
use crate::chi_squared::{chance_of, statistic};
use crate::draw::Draws;
use crate::input::{NOW_MS, cold};

const CLIENTS: usize = 16_384;
const SHARDS: usize = 16;
/// How seldom chance may make such counts for them to be called chance.
const SIGNIFICANCE: f64 = 0.001;

pub(super) fn check(asker: &mut Asker<'_>, draws: &mut Draws) -> Outcome {
    let mut counts = [0u64; SHARDS];
    for _ in 0..CLIENTS {
        if asker.gave_up() {
            break;
        }
        let client = format!("client-{:016x}", draws.bits());
        let data_type = draws.one_of(["volume", "instance", "cluster"]);
        let question = cold(client.into(), data_type, format!("{:x}", draws.bits()), NOW_MS + draws.below(86_400_000));
        if let (Question::Place(placing), Ok(Answer::Placement(placement))) = (&question, asker.ask(&question)) {
            let key = keys::fill(placement, &placing.name).get();
            counts[(key >> (64 - SHARDS.ilog2())) as usize] += 1;
        }
    }
    let asked: u64 = counts.iter().sum();
    let degrees = SHARDS as u32 - 1;
    let statistic = if asked == 0 { f64::MAX } else { statistic(&counts) };
    let chance = chance_of(statistic, degrees);
    let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
    let words = format!(
        "{asked} clients over {SHARDS} shards: {} to {} each; chi-squared {statistic:.1} with {degrees} degrees of \
         freedom, p = {chance:.3} (must be {SIGNIFICANCE} or more)",
        least.unwrap_or(0),
        most.unwrap_or(0)
    );
    let figures = json!({
        "clients": asked, "shards": SHARDS, "least": least, "most": most, "chi_squared": statistic,
        "degrees_of_freedom": degrees, "p": chance, "significance": SIGNIFICANCE,
    });
    Outcome::new(Property::Spread, asked > 0 && chance >= SIGNIFICANCE, words, figures)
}
