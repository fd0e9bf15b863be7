//! What the planner goes by, as an operator sees and sets it: a JSON object of numbers, checked against what makes sense.

use ostrakon_core::planner::Limits;
use ostrakon_wire::bounds::SHARDS_MAX;
use ostrakon_wire::value::{Map, Value};

/// One of the limits: its name, the least and the most that it may be, and where it stands.
struct Limit {
    name: &'static str,
    least: f64,
    most: f64,
    get: fn(&Limits) -> f64,
    set: fn(&mut Limits, f64),
}

macro_rules! limits {
    ($($name:literal $field:ident: $type:ty, $least:literal to $most:expr;)*) => {
        const ALL: &[Limit] = &[$(Limit {
            name: $name,
            least: $least,
            most: $most,
            get: |limits| limits.$field as f64,
            set: |limits, value| limits.$field = value as $type,
        },)*];
    };
}

const DAY_MS: f64 = 86_400_000.0;
const CORES_US: f64 = 64e6;

limits! {
    "shards-min" shards_min: usize, 1.0 to SHARDS_MAX as f64;
    "shards-max" shards_max: usize, 1.0 to SHARDS_MAX as f64;
    "split-work-us" split_work: f64, 1.0 to CORES_US;
    "alone-share" alone_share: f64, 0.01 to 100.0;
    "split-share" split_share: f64, 0.0 to 1.0;
    "side-share-min" side_share_min: f64, 0.0 to 0.5;
    "object-share-max" object_share_max: f64, 0.0 to 1.0;
    "trend-max" trend_max: f64, 0.0 to 1.0;
    "samples-min" samples_min: usize, 2.0 to 256.0;
    "merge-work-us" merge_work: f64, 0.0 to CORES_US;
    "merge-share" merge_share: f64, 0.0 to 1.0;
    "merge-bytes" merge_bytes: u64, 0.0 to 1e15;
    "idle-work-us" idle_work: f64, 0.0 to CORES_US;
    "over" over: f64, 1.0 to 100.0;
    "under" under: f64, 0.0 to 1.0;
    "full" full: f64, 0.5 to 100.0;
    "gain-min" gain_min: f64, 0.0 to 1.0;
    "move-bytes" move_bytes: u64, 1.0 to 1e15;
    "sustain-ms" sustain_ms: u64, 0.0 to DAY_MS;
    "cold-sustain-ms" cold_sustain_ms: u64, 0.0 to DAY_MS;
    "cooldown-ms" cooldown_ms: u64, 0.0 to DAY_MS;
    "stay-ms" stay_ms: u64, 0.0 to DAY_MS;
    "pause-ms" pause_ms: u64, 0.0 to DAY_MS;
    "reversal-ms" reversal_ms: u64, 0.0 to DAY_MS;
    "refusal-ms" refusal_ms: u64, 0.0 to DAY_MS;
    "settle-ms" settle_ms: u64, 0.0 to DAY_MS;
    "moves-at-a-time" moves_at_a_time: usize, 1.0 to 64.0;
    "arrivals-at-a-time" arrivals_at_a_time: usize, 1.0 to 64.0;
    "motion-max" motion_max: f64, 0.0 to 1.0;
}

/// The limits of a host that nobody has set.
pub(super) fn usual(owners: u32) -> Limits {
    let usual = Limits::for_owners(owners as usize);
    // A host has so many keyspaces, and what is small is not worth a shard of its own.
    Limits { shards_max: usual.shards_max.min(SHARDS_MAX as usize), shards_min: usual.shards_min.min(16), ..usual }
}

/// They, by name.
pub(super) fn told(limits: &Limits) -> Map {
    let value = |number: f64| match number.fract() == 0.0 && number.abs() < 1e15 {
        true => Value::Integer(number as i64),
        false => Value::Float(number),
    };
    ALL.iter().map(|limit| (limit.name.to_owned(), value((limit.get)(limits)))).collect()
}

/// Those with some of them set otherwise; or what is wrong with that, in words.
pub(super) fn set(limits: &Limits, changes: &Map) -> Result<Limits, String> {
    let mut limits = limits.clone();
    for (name, value) in changes {
        let limit = ALL.iter().find(|limit| limit.name == name);
        let limit = limit.ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|limit| limit.name).collect();
            format!("there is no limit {name:?}; there are: {}", names.join(", "))
        })?;
        let number = match value {
            Value::Integer(number) => *number as f64,
            Value::Float(number) => *number,
            _ => return Err(format!("{name} is a number")),
        };
        if !(limit.least..=limit.most).contains(&number) {
            return Err(format!("{name} is {} to {}, not {number}", limit.least, limit.most));
        }
        (limit.set)(&mut limits, number);
    }
    if limits.shards_min > limits.shards_max {
        return Err(format!("shards-min, {}, is above shards-max, {}", limits.shards_min, limits.shards_max));
    }
    Ok(limits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_by_name_and_nonsense_is_refused() {
        let usual = usual(4);
        assert_eq!(set(&usual, &told(&usual)), Ok(usual.clone()), "what is told can be set");
        let one = |name: &str, value| set(&usual, &Map::from([(name.to_owned(), value)]));
        assert_eq!(one("shards-max", Value::Integer(20)).unwrap().shards_max, 20);
        assert_eq!(one("over", Value::Float(1.5)).unwrap().over, 1.5);
        assert!(one("shards-max", Value::Integer(0)).unwrap_err().contains("shards-max is 1 to 996"));
        assert!(one("shards-max", Value::Integer(3)).unwrap_err().contains("shards-min"));
        assert!(one("over", Value::Text("much".into())).unwrap_err().contains("a number"));
        assert!(one("speed", Value::Integer(1)).unwrap_err().contains("there are: shards-min"));
    }
}
