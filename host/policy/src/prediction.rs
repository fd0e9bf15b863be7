//! Calls of a prediction policy.

use ostrakon_core::policy::{Answer, Forecast, Outcome, Outlook, PolicyFault, Question};
use ostrakon_wire::{ActionKind, OnConflict, PolicyKind};
use wasmtime::component::TypedFunc;

use crate::abi;
use crate::bounds::{CONFIDENCE_PPM_MAX, Limits, STATE_BYTES_MAX};
use crate::instance::Instance;
use crate::prepared::{Policy, Prepared, Ready};

const PREDICT: &str = "predict";
const LEARN: &str = "learn";

/// The kind, as a type.
pub(crate) struct Prediction;

type Parameters = (u64, u64, u64, u64, u32, u32, u64, u32, u32, abi::Kind, abi::Choice, u32, u32, u64);

impl Policy for Prediction {
    const KIND: PolicyKind = PolicyKind::Prediction;
    type Functions = TypedFunc<Parameters, (abi::ForecastRecord,)>;
    type Question<'a> = &'a Outlook;
    type Answer = Forecast;

    fn functions(prepared: &Prepared, instance: &mut Instance) -> wasmtime::Result<Self::Functions> {
        prepared.function(instance, PREDICT)
    }

    fn trial(ready: &mut Ready<Self>, limits: &Limits) -> Result<(), (&'static str, PolicyFault)> {
        let outlook = Outlook {
            known: 1,
            observed: 1,
            observed_age_us: 1_000,
            read_age_us: 1_000,
            queued: 0,
            in_group: 0,
            write_millihz: 1_000,
            conflict_ppm: 0,
            commit_us: 1_000,
            kind: ActionKind::Put,
            choice: OnConflict::Reject,
            attempt: 0,
            payload_bytes: 256,
            scope: 1,
        };
        Self::ask(ready, &outlook, limits).map(drop).map_err(|fault| (PREDICT, fault))
    }

    fn kept(question: &&Outlook) -> Question {
        Question::Predict(**question)
    }

    fn of(question: &Question) -> Option<&Outlook> {
        if let Question::Predict(outlook) = question { Some(outlook) } else { None }
    }

    fn answer(answer: Forecast) -> Answer {
        Answer::Forecast(answer)
    }

    #[inline]
    fn ask(ready: &mut Ready<Self>, outlook: &Outlook, limits: &Limits) -> Result<Forecast, PolicyFault> {
        let function = ready.functions;
        let parameters = (
            outlook.known,
            outlook.observed,
            outlook.observed_age_us,
            outlook.read_age_us,
            outlook.queued,
            outlook.in_group,
            outlook.write_millihz,
            outlook.conflict_ppm,
            outlook.commit_us,
            outlook.kind.into(),
            outlook.choice.into(),
            outlook.attempt,
            outlook.payload_bytes,
            outlook.scope,
        );
        let (record,) = ready.instance.call(limits.hot_deadline_ms, |store| function.call(store, parameters))?;
        let forecast = Forecast::from(record);
        if forecast.confidence_ppm > CONFIDENCE_PPM_MAX {
            let wrong =
                format!("a confidence of {} ppm; at most {CONFIDENCE_PPM_MAX} is allowed", forecast.confidence_ppm);
            return Err(PolicyFault::Impossible(wrong));
        }
        Ok(forecast)
    }
}

impl Prediction {
    /// The state of a policy that learns, after these outcomes.
    pub(crate) fn learn(prepared: &Prepared, outcomes: &[Outcome]) -> Result<Vec<u8>, PolicyFault> {
        let mut ready: Ready<Self> = prepared.start().map_err(|error| error.into_fault())?;
        let function = prepared.function::<(&[u8], &[abi::Outcome]), (Vec<u8>,)>(&mut ready.instance, LEARN);
        let function = function.map_err(|error| PolicyFault::Impossible(error.to_string()))?;
        let outcomes: Vec<abi::Outcome> = outcomes.iter().copied().map(Into::into).collect();
        let deadline_ms = prepared.limits().learning_deadline_ms;
        let (state,) = ready.instance.call(deadline_ms, |store| function.call(store, (prepared.state(), &outcomes)))?;
        match state.len() {
            0..=STATE_BYTES_MAX => Ok(state),
            long => {
                Err(PolicyFault::Impossible(format!("a state of {long} bytes; at most {STATE_BYTES_MAX} are allowed")))
            }
        }
    }
}
