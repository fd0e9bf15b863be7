//! Policies that answer whatever the seed says: well, badly, late or not at all. While one of them thinks, the world goes
//! on.

use ostrakon_core::policy::{
    Brief, Case, Change, Decision, Forecast, Judgement, Look, Outlook, Placement, Placing, PolicyFault,
    PredictionPolicy, ReconciliationPolicy, Route, ShardKeyPolicy, Verdict,
};
use ostrakon_engine::{Policies, Unkept};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{ActionKind, Generation, ObjectId};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

use crate::actions::tag_of;
use crate::world::World;

/// All three kinds.
struct Simulated;

pub(crate) fn policies() -> Policies {
    Policies {
        shard_key: Arc::new(Simulated),
        prediction: Arc::new(Simulated),
        reconciliation: Arc::new(Simulated),
        keeper: Arc::new(Unkept),
    }
}

fn decision<T>(result: Result<T, PolicyFault>) -> Decision<T> {
    Decision { generation: Generation::FIRST, result }
}

fn fault(choice: u32) -> PolicyFault {
    match choice % 4 {
        0 => PolicyFault::Trapped("unreachable".into()),
        1 => PolicyFault::Overran { deadline_ms: 10 },
        2 => PolicyFault::OutOfMemory { bytes_max: 1 << 20 },
        _ => PolicyFault::Impure,
    }
}

impl ShardKeyPolicy for Simulated {
    fn place(&self, placing: &Placing<&str>) -> Decision<Placement> {
        let world = World::current();
        world.meanwhile();
        let (faults, choice) = (world.one_in(20), world.draw(4));
        let result = match faults {
            true => Err(fault(choice)),
            false => Ok(Placement { key: xxh3_64(placing.name.as_bytes()), bits: 16 }),
        };
        world.tell(format_args!("policy place {} {}", placing.name, result.is_ok()));
        decision(result)
    }
}

impl PredictionPolicy for Simulated {
    fn predict(&self, _object: &ObjectId, outlook: &Outlook) -> Decision<Forecast> {
        let world = World::current();
        let (faults, lies) = (world.one_in(50), world.one_in(5));
        let conflict = (outlook.observed > outlook.known) != lies;
        let route = if conflict { Route::Reconcile } else { Route::Write };
        let confidence_ppm = world.draw(1_000_001);
        let result = match faults {
            true => Err(fault(confidence_ppm)),
            false => Ok(Forecast { version: outlook.observed.max(outlook.known), confidence_ppm, route }),
        };
        world.tell(format_args!("policy predict {} {}", outlook.known, result.is_ok()));
        decision(result)
    }
}

impl ReconciliationPolicy for Simulated {
    fn judge(&self, case: &Case<'_>) -> Judgement {
        let brief = &case.brief;
        let (result, calls) = case.ask(|look| match look {
            Look::Patches { ours, .. } => verdict(brief, ours, None, true),
            Look::Payloads { body, latest, .. } => verdict(brief, body, latest, false),
        });
        Judgement { decision: decision(result), calls }
    }
}

fn verdict(brief: &Brief<&str>, ours: &[u8], latest: Option<&[u8]>, small: bool) -> Result<Verdict, PolicyFault> {
    let world = World::current();
    world.meanwhile();
    let result = match world.draw(100) {
        0..=4 => Err(fault(world.draw(4))),
        5..=9 => Ok(nonsense(&world)),
        10..=17 => Ok(Verdict::RetryAfterMs(world.draw(30))),
        18..=21 => Ok(Verdict::Escalate("too hard".into())),
        22..=27 => Ok(Verdict::Reject("no".into())),
        28..=33 if small => Ok(Verdict::NeedPayloads),
        _ => Ok(sensible(&world, brief, ours, latest)),
    };
    let verdict = result.as_ref().ok();
    world.tell(format_args!("policy verdict {} of {:?} on {}: {verdict:?}", brief.name, tag_of(ours), brief.latest));
    world.judged(brief, tag_of(ours), verdict);
    result
}

/// Answers that the contract does not allow, or that would be wrong to follow.
fn nonsense(world: &World) -> Verdict {
    let change = |body: &[u8]| Change { body: body.to_vec(), reply: Vec::new() };
    match world.draw(4) {
        0 => Verdict::Patch(change(b"\xff\xff")),
        1 => Verdict::Replace(change(b"")),
        2 => Verdict::Patch(change(&Value::Integer(3).to_cbor())),
        _ => Verdict::AlreadyApplied(b"\x00\x01".to_vec()),
    }
}

fn sensible(world: &World, brief: &Brief<&str>, ours: &[u8], latest: Option<&[u8]>) -> Verdict {
    let body = Value::from_cbor(ours).ok();
    let reply = || Value::Map(Map::from([("seen".into(), Value::Integer(brief.latest as i64))])).to_cbor();
    match brief.kind {
        ActionKind::Put | ActionKind::Merge => match (world.draw(8), body) {
            (0, _) => Verdict::AlreadyApplied(reply()),
            (1 | 2, _) if brief.kind == ActionKind::Merge => Verdict::Rerun,
            (3, Some(body)) => Verdict::Replace(Change { body: body.to_cbor(), reply: reply() }),
            (_, Some(body)) => Verdict::Patch(Change { body: body.to_cbor(), reply: Vec::new() }),
            (_, None) => Verdict::Reject("there is nothing to write".into()),
        },
        ActionKind::Add => Verdict::Rerun,
        ActionKind::Delete => match world.draw(4) {
            0 => Verdict::Remove(reply()),
            _ => Verdict::Rerun,
        },
        ActionKind::Custom => match latest.map(Value::from_cbor) {
            Some(Ok(Value::Map(map))) if map.contains_key("holder") => match world.draw(2) {
                0 => Verdict::Reject("it is attached elsewhere".into()),
                _ => Verdict::AlreadyApplied(reply()),
            },
            _ => {
                let tag = tag_of(ours).unwrap_or_default() as i64;
                let patch = Map::from([("tag".into(), Value::Integer(tag)), ("holder".into(), Value::Integer(tag))]);
                Verdict::Patch(Change { body: Value::Map(patch).to_cbor(), reply: reply() })
            }
        },
    }
}
