//! From what both sides changed to a verdict.
//!
//! Always holds: what can be told from the brief alone is told before anything is decoded.

use ostrakon_policy_sdk::reconciliation::{Brief, Change, Kind, Verdict};

use crate::patch::{Relation, difference, relate, shows};
use crate::settings::{OnOverlap, Settings};
use crate::tree::Tree;

const UNREADABLE: &str = "a document is not CBOR with text keys, or nests too deep";

/// On small patches: `ours` is what the action changes, `theirs` what was changed since the known version.
pub(crate) fn on_patches(settings: &Settings, brief: &Brief, ours: &[u8], theirs: Option<&[u8]>) -> Verdict {
    if let Some(verdict) = on_the_brief(settings, brief) {
        return verdict;
    }
    // Without a common base only the latest object can tell whether the action's effect stands already.
    let Some(theirs) = theirs.filter(|_| brief.known != 0) else {
        return Verdict::NeedPayloads;
    };
    let (Some(ours_tree), Some(theirs)) = (Tree::parse(ours), Tree::parse(theirs)) else {
        return Verdict::Escalate(UNREADABLE.to_owned());
    };
    let resolved = match brief.kind {
        Kind::Put => Verdict::Patch(without_reply(ours.to_vec())),
        _ => Verdict::Rerun,
    };
    by_relation(settings, relate(&ours_tree, &theirs), resolved)
}

/// On whole payloads: the action's body, the object at the known version, the latest object.
pub(crate) fn on_payloads(
    settings: &Settings,
    brief: &Brief,
    body: &[u8],
    base: Option<&[u8]>,
    latest: Option<&[u8]>,
) -> Verdict {
    if let Some(verdict) = on_the_brief(settings, brief) {
        return verdict;
    }
    let Some(latest) = latest else { return on_absent(brief) };
    let trees = (Tree::parse(body), base.map_or(Some(None), |base| Tree::parse(base).map(Some)), Tree::parse(latest));
    let (Some(body_tree), Some(base), Some(latest)) = trees else {
        return Verdict::Escalate(UNREADABLE.to_owned());
    };
    let base = base.filter(|_| brief.known != 0);
    match brief.kind {
        Kind::Put => put(settings, brief, (body, &body_tree), base.as_ref(), &latest),
        _ => merge(settings, brief, &body_tree, base.as_ref(), &latest),
    }
}

/// What the brief alone decides.
fn on_the_brief(settings: &Settings, brief: &Brief) -> Option<Verdict> {
    if brief.attempt >= settings.max_attempts {
        return Some(Verdict::Escalate(format!("still in conflict after {} attempts", brief.attempt)));
    }
    if brief.kind == Kind::Custom {
        return Some(Verdict::Reject(format!("unknown custom kind {:?}", brief.custom_kind)));
    }
    if !brief.exists {
        return Some(on_absent(brief));
    }
    match brief.kind {
        // Nothing is known of the object's fields, but that somebody else made it.
        Kind::Add | Kind::Delete if brief.known == 0 => Some(contradiction(settings, EXISTS, verdict_of_ours(brief))),
        // Additions commute; whether there still is a number to add to, the host sees when it applies them.
        Kind::Add => Some(Verdict::Rerun),
        Kind::Delete => Some(contradiction(settings, "the object was changed", verdict_of_ours(brief))),
        Kind::Put | Kind::Merge | Kind::Custom => None,
    }
}

const EXISTS: &str = "the object exists already";

fn verdict_of_ours(brief: &Brief) -> Verdict {
    match brief.kind {
        Kind::Delete => Verdict::Remove(Vec::new()),
        _ => Verdict::Rerun,
    }
}

/// No live object stands there now.
fn on_absent(brief: &Brief) -> Verdict {
    match brief.kind {
        Kind::Delete => Verdict::AlreadyApplied(Vec::new()),
        // It asked for no live object, and somebody has made and removed one meanwhile.
        _ if brief.known == 0 => Verdict::Rerun,
        _ => Verdict::Reject("the object was deleted".to_owned()),
    }
}

fn merge(settings: &Settings, brief: &Brief, ours: &Tree<'_>, base: Option<&Tree<'_>>, latest: &Tree<'_>) -> Verdict {
    if shows(latest, ours) {
        return Verdict::AlreadyApplied(Vec::new());
    }
    match base.map(|base| difference(base, latest)) {
        Some(Some(theirs)) => by_relation(settings, relate(ours, &theirs), Verdict::Rerun),
        Some(None) => contradiction(settings, CHANGED, Verdict::Rerun),
        None => contradiction(settings, no_base(brief), Verdict::Rerun),
    }
}

fn put(
    settings: &Settings,
    brief: &Brief,
    (body, body_tree): (&[u8], &Tree<'_>),
    base: Option<&Tree<'_>>,
    latest: &Tree<'_>,
) -> Verdict {
    if body_tree == latest {
        return Verdict::AlreadyApplied(Vec::new());
    }
    let whole = || Verdict::Replace(without_reply(body.to_vec()));
    let Some(base) = base else {
        return contradiction(settings, no_base(brief), whole());
    };
    if base == latest {
        return whole();
    }
    match (difference(base, body_tree), difference(base, latest)) {
        (Some(ours), Some(theirs)) => {
            by_relation(settings, relate(&ours, &theirs), Verdict::Patch(without_reply(ours.to_bytes())))
        }
        _ => contradiction(settings, CHANGED, whole()),
    }
}

const CHANGED: &str = "the same fields were changed";

/// Why there is nothing to compare with.
fn no_base(brief: &Brief) -> &'static str {
    match brief.known {
        0 => EXISTS,
        _ => "the object was changed, and the version the action was made for is not kept",
    }
}

fn by_relation(settings: &Settings, relation: Relation, resolved: Verdict) -> Verdict {
    match relation {
        Relation::Contained => Verdict::AlreadyApplied(Vec::new()),
        Relation::Disjoint => resolved,
        Relation::Overlapping => contradiction(settings, CHANGED, resolved),
    }
}

fn contradiction(settings: &Settings, words: &str, ours: Verdict) -> Verdict {
    match settings.on_overlap {
        OnOverlap::Reject => Verdict::Reject(words.to_owned()),
        OnOverlap::Escalate => Verdict::Escalate(words.to_owned()),
        OnOverlap::Ours => ours,
    }
}

fn without_reply(body: Vec<u8>) -> Change {
    Change { body, reply: Vec::new() }
}
