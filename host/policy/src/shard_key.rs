//! Calls of a shard-key policy.

use ostrakon_core::policy::{Answer, Heat, PLACEMENT_BITS_MAX, Placement, Placing, PolicyFault, Question};
use ostrakon_wire::PolicyKind;
use wasmtime::component::TypedFunc;

use crate::abi;
use crate::bounds::Limits;
use crate::instance::Instance;
use crate::prepared::{Policy, Prepared, Ready};

const GET_SHARD_KEY: &str = "get-shard-key";

/// The kind, as a type.
pub(crate) struct ShardKeys;

type Parameters<'a> = (&'a str, &'a str, &'a str, u64, u64, abi::Heat);

impl Policy for ShardKeys {
    const KIND: PolicyKind = PolicyKind::ShardKey;
    type Functions = TypedFunc<Parameters<'static>, (abi::PlacementRecord,)>;
    type Question<'a> = Placing<&'a str>;
    type Answer = Placement;

    fn functions(prepared: &Prepared, instance: &mut Instance) -> wasmtime::Result<Self::Functions> {
        prepared.function(instance, GET_SHARD_KEY)
    }

    fn trial(ready: &mut Ready<Self>, limits: &Limits) -> Result<(), (&'static str, PolicyFault)> {
        let question = Placing {
            client: "trial-client",
            data_type: "trial",
            name: "trial-object",
            timestamp_ms: 1_700_000_000_000,
            current: 0,
            heat: Heat { idle_ms: u64::MAX, ..Heat::default() },
        };
        Self::ask(ready, question, limits).map(drop).map_err(|fault| (GET_SHARD_KEY, fault))
    }

    fn kept(question: &Placing<&str>) -> Question {
        Question::Place(question.kept())
    }

    fn of(question: &Question) -> Option<Placing<&str>> {
        if let Question::Place(placing) = question { Some(placing.borrowed()) } else { None }
    }

    fn answer(answer: Placement) -> Answer {
        Answer::Placement(answer)
    }

    #[inline]
    fn ask(ready: &mut Ready<Self>, question: Placing<&str>, limits: &Limits) -> Result<Placement, PolicyFault> {
        let Placing { client, data_type, name, timestamp_ms, current, heat } = question;
        let function: TypedFunc<Parameters<'_>, (abi::PlacementRecord,)> = ready.functions;
        let parameters = (client, data_type, name, timestamp_ms, current, heat.into());
        let (record,) = ready.instance.call(limits.hot_deadline_ms, |store| function.call(store, parameters))?;
        let placement = Placement::from(record);
        if placement.bits > PLACEMENT_BITS_MAX {
            let wrong = format!("{} meaningful bits; at most {PLACEMENT_BITS_MAX} are allowed", placement.bits);
            return Err(PolicyFault::Impossible(wrong));
        }
        Ok(placement)
    }
}
