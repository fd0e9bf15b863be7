//! Calls of a reconciliation policy.
//!
//! Whether the bytes of a verdict are CBOR is for the host to judge when it applies them; here only their size is.

use ostrakon_core::policy::{Brief, Change, PolicyFault, Verdict};
use ostrakon_wire::{ActionKind, PolicyKind};
use wasmtime::component::TypedFunc;

use crate::abi;
use crate::bounds::{BODY_BYTES_MAX, Limits, RETRY_AFTER_MS_MAX, TEXT_BYTES_MAX};
use crate::generation::Hot;
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
    type Functions = Functions;

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
}

/// A case to be judged on small patches.
#[derive(Clone, Copy)]
pub(crate) struct OnPatches<'a> {
    pub(crate) brief: &'a Brief<'a>,
    pub(crate) ours: &'a [u8],
    pub(crate) theirs: Option<&'a [u8]>,
}

/// Small patches are judged on kept instances: making one takes ten times as long as the judgement. Whole payloads are
/// not: what an instance once needed for a large one it would keep.
impl Hot for Reconciliation {
    type Question<'a> = OnPatches<'a>;
    type Answer = Verdict;

    fn ask(ready: &mut Ready<Self>, question: OnPatches<'_>, limits: &Limits) -> Result<Verdict, PolicyFault> {
        let OnPatches { brief, ours, theirs } = question;
        Self::judge(ready, limits, brief, ours, theirs)
    }
}

impl Reconciliation {
    pub(crate) fn judge(
        ready: &mut Ready<Self>,
        limits: &Limits,
        brief: &Brief<'_>,
        ours: &[u8],
        theirs: Option<&[u8]>,
    ) -> Result<Verdict, PolicyFault> {
        let deadline_ms = limits.verdict_deadline_ms(ours.len() + theirs.map_or(0, <[u8]>::len));
        let judge: Judge<'_> = ready.functions.judge;
        let parameters = (brief.into(), ours, theirs);
        let (verdict,) = ready.instance.call(deadline_ms, |store| judge.call(store, parameters))?;
        check(verdict.into(), brief)
    }

    pub(crate) fn reconcile(
        ready: &mut Ready<Self>,
        limits: &Limits,
        brief: &Brief<'_>,
        body: &[u8],
        base: Option<&[u8]>,
        latest: Option<&[u8]>,
    ) -> Result<Verdict, PolicyFault> {
        let payload_bytes = body.len() + base.map_or(0, <[u8]>::len) + latest.map_or(0, <[u8]>::len);
        let deadline_ms = limits.verdict_deadline_ms(payload_bytes);
        let reconcile: Reconcile<'_> = ready.functions.reconcile;
        let parameters = (brief.into(), body, base, latest);
        let (verdict,) = ready.instance.call(deadline_ms, |store| reconcile.call(store, parameters))?;
        if let abi::Verdict::NeedPayloads = verdict {
            return Err(PolicyFault::Impossible("`need-payloads` from `reconcile`, which has them".into()));
        }
        check(verdict.into(), brief)
    }
}

/// Hands a verdict on if its parts are within their bounds.
fn check(verdict: Verdict, brief: &Brief<'_>) -> Result<Verdict, PolicyFault> {
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
