//! Calls of a reconciliation policy.
//!
//! Whether the bytes of a verdict are CBOR is for the host to judge when it applies them; here only their size is.

use ostrakon_core::policy::{Answer, Brief, Change, Look, PolicyFault, Question, Verdict};
use ostrakon_wire::{ActionKind, PolicyKind};
use wasmtime::component::TypedFunc;

use crate::abi;
use crate::bounds::{BODY_BYTES_MAX, Limits, PAYLOAD_BYTES_ON_KEPT_MAX, RETRY_AFTER_MS_MAX, TEXT_BYTES_MAX};
use crate::instance::Instance;
use crate::prepared::{Policy, Prepared, Ready};

const JUDGE: &str = "judge";
const RECONCILE: &str = "reconcile";

/// An empty CBOR map.
const EMPTY_MAP: &[u8] = &[0xa0];

/// The kind, as a type.
pub(crate) struct Reconciliation;

type Judge<'a> = TypedFunc<(abi::Brief<'a>, &'a [u8], Option<&'a [u8]>), (abi::Verdict,)>;
type Reconcile<'a> = TypedFunc<(abi::Brief<'a>, &'a [u8], Option<&'a [u8]>, Option<&'a [u8]>), (abi::Verdict,)>;

/// The functions that answer.
pub(crate) struct Functions {
    judge: Judge<'static>,
    reconcile: Reconcile<'static>,
}

impl Policy for Reconciliation {
    const KIND: PolicyKind = PolicyKind::Reconciliation;
    const WAITS: bool = false;
    type Functions = Functions;
    type Question<'a> = Looking<'a>;
    type Answer = Verdict;

    fn functions(prepared: &Prepared, instance: &mut Instance) -> wasmtime::Result<Functions> {
        Ok(Functions { judge: prepared.function(instance, JUDGE)?, reconcile: prepared.function(instance, RECONCILE)? })
    }

    fn trial(ready: &mut Ready<Self>, limits: &Limits) -> Result<(), (&'static str, PolicyFault)> {
        let brief = Brief {
            client: "trial-client",
            data_type: "trial",
            name: "trial-object",
            kind: ActionKind::Merge,
            custom_kind: "",
            known: 1,
            base_kept: true,
            latest: 2,
            exists: true,
            attempt: 0,
            now_ms: 1_700_000_000_000,
            shard_key: 1,
            latest_bytes: 1,
        };
        let map = Some(EMPTY_MAP);
        Self::judge(ready, limits, &brief, EMPTY_MAP, map).map_err(|fault| (JUDGE, fault))?;
        Self::reconcile(ready, limits, &brief, EMPTY_MAP, map, map).map_err(|fault| (RECONCILE, fault))?;
        Ok(())
    }

    fn ask(ready: &mut Ready<Self>, question: Looking<'_>, limits: &Limits) -> Result<Verdict, PolicyFault> {
        let Looking { brief, look } = &question;
        match *look {
            Look::Patches { ours, theirs } => Self::judge(ready, limits, brief, ours, theirs),
            Look::Payloads { body, base, latest } => Self::reconcile(ready, limits, brief, body, base, latest),
        }
    }

    /// What is small is judged on kept instances: making one takes ten times as long as the judgement, and giving it memory
    /// interrupts every thread of the process. Large payloads are not: what an instance once needed for them it would keep.
    fn keeps_instance(question: &Looking<'_>) -> bool {
        match question.look {
            Look::Patches { .. } => true,
            Look::Payloads { body, base, latest } => payload_bytes(body, base, latest) <= PAYLOAD_BYTES_ON_KEPT_MAX,
        }
    }

    fn function(question: &Looking<'_>) -> usize {
        usize::from(matches!(question.look, Look::Payloads { .. }))
    }

    fn kept(question: &Looking<'_>) -> Question {
        Question::of_look(&question.brief, question.look)
    }

    fn of(question: &Question) -> Option<Looking<'_>> {
        match question {
            Question::Judge { brief, ours, theirs } => {
                let look = Look::Patches { ours, theirs: theirs.as_deref() };
                Some(Looking { brief: brief.borrowed(), look })
            }
            Question::Reconcile { brief, body, base, latest } => {
                let look = Look::Payloads { body, base: base.as_deref(), latest: latest.as_deref() };
                Some(Looking { brief: brief.borrowed(), look })
            }
            _ => None,
        }
    }

    fn answer(answer: Verdict) -> Answer {
        Answer::Verdict(answer)
    }
}

/// A look at a case.
#[derive(Clone, Copy)]
pub(crate) struct Looking<'a> {
    pub(crate) brief: Brief<&'a str>,
    pub(crate) look: Look<'a>,
}

impl Reconciliation {
    fn judge(
        ready: &mut Ready<Self>,
        limits: &Limits,
        brief: &Brief<&str>,
        ours: &[u8],
        theirs: Option<&[u8]>,
    ) -> Result<Verdict, PolicyFault> {
        let deadline_ms = limits.verdict_deadline_ms(ours.len() + theirs.map_or(0, <[u8]>::len));
        let judge: Judge<'_> = ready.functions.judge;
        let parameters = (brief.into(), ours, theirs);
        let (verdict,) = ready.instance.call(deadline_ms, |store| judge.call(store, parameters))?;
        check(verdict.into(), brief)
    }

    fn reconcile(
        ready: &mut Ready<Self>,
        limits: &Limits,
        brief: &Brief<&str>,
        body: &[u8],
        base: Option<&[u8]>,
        latest: Option<&[u8]>,
    ) -> Result<Verdict, PolicyFault> {
        let deadline_ms = limits.verdict_deadline_ms(payload_bytes(body, base, latest));
        let reconcile: Reconcile<'_> = ready.functions.reconcile;
        let parameters = (brief.into(), body, base, latest);
        let (verdict,) = ready.instance.call(deadline_ms, |store| reconcile.call(store, parameters))?;
        if let abi::Verdict::NeedPayloads = verdict {
            return Err(PolicyFault::Impossible("`need-payloads` from `reconcile`, which has them".into()));
        }
        check(verdict.into(), brief)
    }
}

fn payload_bytes(body: &[u8], base: Option<&[u8]>, latest: Option<&[u8]>) -> usize {
    body.len() + base.map_or(0, <[u8]>::len) + latest.map_or(0, <[u8]>::len)
}

/// Hands a verdict on if its parts are within their bounds.
fn check(verdict: Verdict, brief: &Brief<&str>) -> Result<Verdict, PolicyFault> {
    let wrong = match &verdict {
        Verdict::Rerun if brief.kind == ActionKind::Custom => {
            Some("`rerun` of a custom action, which the host cannot carry out".to_owned())
        }
        Verdict::Rerun | Verdict::NeedPayloads => None,
        Verdict::Patch(Change { body, reply }) | Verdict::Replace(Change { body, reply }) => {
            long("a body", body, BODY_BYTES_MAX).or_else(|| long("a reply", reply, BODY_BYTES_MAX))
        }
        Verdict::Remove(reply) | Verdict::AlreadyApplied(reply) => long("a reply", reply, BODY_BYTES_MAX),
        Verdict::Reject(words) | Verdict::Escalate(words) => long("words", words.as_bytes(), TEXT_BYTES_MAX),
        Verdict::RetryAfterMs(ms) => (*ms > RETRY_AFTER_MS_MAX)
            .then(|| format!("a retry after {ms} ms; at most {RETRY_AFTER_MS_MAX} are allowed")),
    };
    wrong.map_or(Ok(verdict), |wrong| Err(PolicyFault::Impossible(wrong)))
}

fn long(what: &str, bytes: &[u8], bytes_max: usize) -> Option<String> {
    (bytes.len() > bytes_max).then(|| format!("{what} of {} bytes; at most {bytes_max} are allowed", bytes.len()))
}
