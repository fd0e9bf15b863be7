//! What becomes of an action whose object has moved on: additions and patches are done on what stands there now, a put only
//! where an operator lets the last writer win.

use ostrakon_policy_sdk::reconciliation::{Brief, Change, Kind, Policy, Verdict};
use ostrakon_policy_sdk::{About, Invalid, settings};
use serde::Deserialize;

/// What an operator may set, as JSON: `{"last-writer-wins": false, "attempts-max": 5}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// Whether a put replaces what others wrote meanwhile.
    last_writer_wins: bool,
    /// After so many judgements a person has it.
    attempts_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { last_writer_wins: false, attempts_max: 5 }
    }
}

/// The configured policy.
#[derive(Debug)]
pub struct OnLatest {
    settings: Settings,
}

impl Policy for OnLatest {
    fn about() -> About {
        About::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    }

    fn configure(text: &str, _state: &[u8]) -> Result<Self, Invalid> {
        let settings: Settings = settings::parse(text)?;
        settings::within("/attempts-max", settings.attempts_max, 1..=1_000)?;
        Ok(Self { settings })
    }

    fn judge(&self, brief: &Brief, _ours: &[u8], _theirs: Option<&[u8]>) -> Verdict {
        match brief.kind {
            // Its whole payload is needed to put it elsewhere.
            Kind::Put => Verdict::NeedPayloads,
            _ => self.on_latest(brief),
        }
    }

    fn reconcile(&self, brief: &Brief, body: &[u8], _base: Option<&[u8]>, latest: Option<&[u8]>) -> Verdict {
        match brief.kind {
            // A crash may have kept the answer from us, not the effect.
            Kind::Put if latest == Some(body) => Verdict::AlreadyApplied(Vec::new()),
            Kind::Put if self.settings.last_writer_wins => {
                Verdict::Replace(Change { body: body.to_vec(), reply: Vec::new() })
            }
            Kind::Put => Verdict::Reject("others have written meanwhile".to_owned()),
            _ => self.on_latest(brief),
        }
    }
}

impl OnLatest {
    /// What needs no look at the payloads.
    fn on_latest(&self, brief: &Brief) -> Verdict {
        match brief.kind {
            Kind::Custom => Verdict::Reject(format!("no action {:?} here", brief.custom_kind)),
            Kind::Delete if !brief.exists => Verdict::AlreadyApplied(Vec::new()),
            _ if !brief.exists => Verdict::Reject("the object is gone".to_owned()),
            _ if brief.attempt >= self.settings.attempts_max => Verdict::Escalate("still contended".to_owned()),
            _ => Verdict::Rerun,
        }
    }
}

ostrakon_policy_sdk::export_reconciliation!(OnLatest);

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(kind: Kind) -> Brief {
        Brief {
            client: "acme".into(),
            data_type: "quota".into(),
            name: "q-1".into(),
            kind,
            custom_kind: String::new(),
            known: 3,
            base_kept: true,
            latest: 5,
            exists: true,
            attempt: 0,
            now_ms: 1_700_000_000_000,
            shard_key: 1,
            latest_bytes: 1,
        }
    }

    fn policy(settings: &str) -> OnLatest {
        OnLatest::configure(settings, &[]).expect("the settings are taken")
    }

    #[test]
    fn an_addition_is_done_on_the_latest_object() {
        assert!(matches!(policy("{}").judge(&brief(Kind::Add), &[0xa0], None), Verdict::Rerun));
        let gone = Brief { exists: false, ..brief(Kind::Add) };
        assert!(matches!(policy("{}").judge(&gone, &[0xa0], None), Verdict::Reject(_)));
    }

    #[test]
    fn a_put_wins_only_where_it_may() {
        let put = |settings: &str, latest: &[u8]| {
            policy(settings).reconcile(&brief(Kind::Put), b"\xa1\x61a\x01", None, Some(latest))
        };
        assert!(matches!(put("{}", b"\xa0"), Verdict::Reject(_)));
        assert!(matches!(put(r#"{"last-writer-wins": true}"#, b"\xa0"), Verdict::Replace(_)));
        assert!(matches!(put("{}", b"\xa1\x61a\x01"), Verdict::AlreadyApplied(_)), "it is there already");
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let refused = OnLatest::configure(r#"{"attempt-max": 1}"#, &[]).expect_err("there is no such setting");
        assert_eq!(refused.path, "/attempt-max");
    }
}
