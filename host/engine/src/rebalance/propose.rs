//! Proposing that objects come under other keys: those whose recent use no longer fits the key that they have.
//!
//! Now and then the policy is asked about the objects that are used most, and about a few of all others in turn. What counts
//! is what the use alone has changed: where the policy wants another key, and would want the one that there is if nothing
//! were known of the use. What another policy, other settings or another time would place elsewhere stays until somebody
//! asks for it. One re-key runs at a time, and the others are few.

use std::collections::BTreeMap;

use ostrakon_core::policy::Heat;
use ostrakon_store::{Course, ReadView};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{ObjectId, ShardKey, TimestampMs};

use super::plan::PLANNER;
use super::{Shared, Wanted};
use crate::heated::UNKNOWN;

/// Objects that are used most that are looked at, and others.
const HOTTEST: usize = 32;
const OTHERS: usize = 32;
/// The objects of a client and type are not proposed again for so long.
const REST_MS: u64 = 600_000;
/// Clients and types that are remembered as proposed.
const PROPOSED_MAX: usize = 1_024;

/// How far the look at all others has come, and what was proposed when.
#[derive(Default)]
pub(super) struct Proposals {
    behind: Option<ObjectId>,
    proposed: BTreeMap<String, u64>,
}

impl Shared {
    /// Looks at some objects, and begins what follows.
    pub(crate) async fn propose_once(&self) {
        let view = self.owner.views().latest();
        let rekeys = |view: &ReadView| view.migrations().values().any(|it| matches!(it.course, Course::Rekey { .. }));
        if self.is_halted() || self.owner.has_failed() || rekeys(&view) {
            return;
        }
        let now_ms = self.heated.now_ms();
        for object in self.heated.hottest(HOTTEST) {
            let Ok(known) = self.owner.head(&object, true).await else { continue };
            let (Some(key), Some(live)) = (known.shard_key(), known.live()) else { continue };
            if self.outgrown(&object, live.timestamp, key).is_some() && self.propose(&object, now_ms).await {
                return;
            }
        }
        self.look_at_others(&view).await;
    }

    /// The key that the policy wants for an object because of its use alone.
    fn outgrown(&self, object: &ObjectId, timestamp: TimestampMs, key: ShardKey) -> Option<ShardKey> {
        let heat: Heat = self.heated.for_policy(object, timestamp, &self.owner.map());
        let wanted = self.wanted_of(object, timestamp, key, heat).filter(|wanted| *wanted != key)?;
        (self.wanted_of(object, timestamp, key, UNKNOWN)? == key).then_some(wanted)
    }

    /// Begins a re-key of the objects of this one's client and type, unless that was done a short time ago.
    async fn propose(&self, object: &ObjectId, now_ms: u64) -> bool {
        let prefix = ObjectId::text_prefix(object.client(), Some(object.data_type()), None);
        {
            let mut proposals = self.proposals.lock();
            proposals.proposed.retain(|_, at_ms| now_ms < *at_ms + REST_MS);
            if proposals.proposed.contains_key(&prefix) || proposals.proposed.len() >= PROPOSED_MAX {
                return false;
            }
            proposals.proposed.insert(prefix.clone(), now_ms);
        }
        let what = format!("re-key {}/{}", object.client(), object.data_type());
        let why = format!("the use of {} no longer fits its key", object.name());
        let became = match self.begin(&Wanted::Rekey(prefix), &why, PLANNER).await {
            Ok(migration) => format!("migration {}", migration.number),
            Err(reason) => match reason.words() {
                Some(words) => format!("not done: {words}"),
                None => return false,
            },
        };
        let text = Value::Text;
        self.tell(Map::from([
            ("decision".to_owned(), text("re-key".to_owned())),
            ("what".to_owned(), text(what)),
            ("why".to_owned(), text(why)),
            ("became".to_owned(), text(became)),
        ]));
        true
    }

    /// A few of all objects, in turn: what has cooled down goes back, what has not is left alone.
    async fn look_at_others(&self, view: &ReadView) {
        let behind = self.proposals.lock().behind.clone();
        let found: Result<Vec<_>, _> = view.places("", behind.as_ref()).take(OTHERS).collect();
        let Ok(found) = found else { return };
        self.proposals.lock().behind = found.last().map(|(object, _)| object.clone());
        for (object, place) in found {
            let Ok(Some(head)) = view.head(place) else { continue };
            if head.row.payload.is_none() {
                continue;
            }
            let Some(wanted) = self.outgrown(&object, head.row.timestamp, place.shard_key) else { continue };
            if let Err(error) = self.owner.rekey(&object, wanted).await {
                tracing::debug!(?error, "an object keeps its key");
            }
        }
    }
}
