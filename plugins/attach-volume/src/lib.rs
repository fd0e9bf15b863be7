//! Example policy: teaches the host an action of a team's own.
//!
//! `attach-volume` with the body `{"instance": "i-1"}` attaches the volume that the object is to an instance. Its
//! precondition, that it is not attached elsewhere, is judged on what stands there whenever the action comes to run, so an
//! attachment that lost a race is not written over the one that won. The reply names the device. `detach-volume` undoes
//! it. Of the built-in actions, those that commute are run again; the others are rejected.

use ostrakon_policy_sdk::reconciliation::{Brief, Change, Kind, Policy, Verdict};
use ostrakon_policy_sdk::{About, Invalid};
use serde::{Deserialize, Serialize};

/// The policy. It has no settings.
#[derive(Debug, Clone)]
pub struct AttachVolume;

/// Which device a volume is seen as; real ones would be counted.
const DEVICE: &str = "/dev/sdf";

#[derive(Debug, Deserialize)]
struct Wanted {
    instance: String,
}

/// The part of a volume that matters here.
#[derive(Debug, Default, Deserialize)]
struct Volume {
    #[serde(default, rename = "attached-to")]
    attached_to: Option<String>,
}

#[derive(Debug, Serialize)]
struct Attachment<'a> {
    #[serde(rename = "attached-to")]
    attached_to: Option<&'a str>,
    device: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Reply<'a> {
    device: &'a str,
}

fn cbor(value: &impl Serialize) -> Vec<u8> {
    cbor4ii::serde::to_vec(Vec::new(), value).expect("a Vec takes every write")
}

impl Policy for AttachVolume {
    fn about() -> About {
        About::new("attach-volume", env!("CARGO_PKG_VERSION"))
    }

    fn configure(_settings: &str, _state: &[u8]) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn judge(&self, brief: &Brief, _ours: &[u8], _theirs: Option<&[u8]>) -> Verdict {
        built_in(brief)
    }

    fn reconcile(&self, brief: &Brief, body: &[u8], _base: Option<&[u8]>, latest: Option<&[u8]>) -> Verdict {
        let (Kind::Custom, custom) = (brief.kind, brief.custom_kind.as_str()) else { return built_in(brief) };
        let Some(latest) = latest else { return Verdict::Reject("there is no such volume".to_owned()) };
        let wanted = cbor4ii::serde::from_slice::<Wanted>(body);
        let volume = cbor4ii::serde::from_slice::<Volume>(latest);
        let (Ok(wanted), Ok(volume)) = (wanted, volume) else {
            return Verdict::Reject("expected a body with an instance, and a volume".to_owned());
        };
        match custom {
            "attach-volume" => attach(&wanted.instance, volume.attached_to.as_deref()),
            "detach-volume" => detach(&wanted.instance, volume.attached_to.as_deref()),
            unknown => Verdict::Reject(format!("no action is called {unknown:?} here")),
        }
    }
}

fn built_in(brief: &Brief) -> Verdict {
    match brief.kind {
        Kind::Add => Verdict::Rerun,
        _ => Verdict::Reject("the volume was changed meanwhile".to_owned()),
    }
}

fn attach(instance: &str, attached_to: Option<&str>) -> Verdict {
    let reply = cbor(&Reply { device: DEVICE });
    match attached_to {
        Some(there) if there == instance => Verdict::AlreadyApplied(reply),
        Some(there) => Verdict::Reject(format!("attached to {there}")),
        None => {
            let body = cbor(&Attachment { attached_to: Some(instance), device: Some(DEVICE) });
            Verdict::Patch(Change { body, reply })
        }
    }
}

fn detach(instance: &str, attached_to: Option<&str>) -> Verdict {
    match attached_to {
        Some(there) if there == instance => {
            let body = cbor(&Attachment { attached_to: None, device: None });
            Verdict::Patch(Change { body, reply: Vec::new() })
        }
        Some(there) => Verdict::Reject(format!("attached to {there}")),
        None => Verdict::AlreadyApplied(Vec::new()),
    }
}

ostrakon_policy_sdk::export_reconciliation!(AttachVolume);

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(custom_kind: &str) -> Brief {
        Brief {
            client: "acme".into(),
            data_type: "volume".into(),
            name: "vol-1".into(),
            kind: Kind::Custom,
            custom_kind: custom_kind.into(),
            known: 1,
            base_kept: false,
            latest: 2,
            exists: true,
            attempt: 0,
            now_ms: 0,
            shard_key: 1,
            latest_bytes: 1,
        }
    }

    fn run(custom_kind: &str, instance: &str, volume: Option<&serde_json::Value>) -> Verdict {
        let body = cbor(&serde_json::json!({ "instance": instance }));
        AttachVolume.reconcile(&brief(custom_kind), &body, None, volume.map(cbor).as_deref())
    }

    #[test]
    fn a_volume_is_attached_twice() {
        let free = serde_json::json!({ "size": 10 });
        let taken = serde_json::json!({ "size": 10, "attached-to": "i-1" });
        assert!(matches!(run("attach-volume", "i-1", Some(&free)), Verdict::Patch(_)));
        assert!(matches!(run("attach-volume", "i-1", Some(&taken)), Verdict::AlreadyApplied(_)));
        assert!(matches!(run("attach-volume", "i-2", Some(&taken)), Verdict::Reject(_)));
        assert!(matches!(run("attach-volume", "i-2", None), Verdict::Reject(_)));
    }

    #[test]
    fn a_volume_is_detached_from_somebody_else() {
        let taken = serde_json::json!({ "attached-to": "i-1" });
        assert!(matches!(run("detach-volume", "i-1", Some(&taken)), Verdict::Patch(_)));
        assert!(matches!(run("detach-volume", "i-2", Some(&taken)), Verdict::Reject(_)));
        assert!(matches!(run("detach-volume", "i-1", Some(&serde_json::json!({}))), Verdict::AlreadyApplied(_)));
        assert!(matches!(run("burn-volume", "i-1", Some(&taken)), Verdict::Reject(_)));
    }
}
