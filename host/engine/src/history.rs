//! What was: the versions of an object that are kept, an object or a list as it stood at a place, and how long all that
//! is kept.

use std::sync::Arc;

use bytes::Bytes;
use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{Head, Place, ReadError, ReadView, Retention as Rules, Row, Then, Upkeep};
use ostrakon_wire::answer::{History, KeptVersion, Object, Retention, RetentionRule};
use ostrakon_wire::bounds::{PAGE_BYTES_MAX, RETENTION_RULES_MAX};
use ostrakon_wire::{
    Code, Decided, Generations, LogId, ObjectId, Past, Position, ReadHistory, ReadPast, Revision, SetRetention,
    ShardKey, Version, WireError,
};

use crate::Engine;
use crate::listing::{ITEM_OVERHEAD_BYTES, ItemsAndToken, fill_page};
use crate::owner::{Known, durable};

/// First byte of a page token: what follows is the last version that was told, 8 bytes.
const TOKEN_TAG: u8 = 3;

/// What was found of an object.
enum Found {
    /// No such object, as far as is known.
    NoObject(Version),
    /// The wrong key was claimed: this is the right one.
    WrongKey(ShardKey),
    /// History no longer holds it; the oldest version that it does.
    NotRetained,
    /// No live object stood there, but this version.
    NotLive(ShardKey, Version),
    Version(Place, Box<Head>),
}

impl Engine {
    pub(crate) async fn read_history(&self, read: &ReadHistory) -> Result<History, WireError> {
        let below = read.token.as_ref().map(read_token).transpose()?;
        let (object, limit, with_payloads) = (read.target.object.clone(), read.limit, read.with_payloads);
        let view = self.views.latest();
        let (reading, log) = (Arc::clone(&view), self.log);
        let page = self.owner.on_reader(move || {
            let Some(place) = reading.locate(&object)? else { return Ok(None) };
            Ok(Some((place, read_versions(&reading, log, place, below, limit, with_payloads)?)))
        });
        match page.await.map_err(|error| self.unreadable(&error))? {
            None => Err(self.not_found(&Known::absent(view.forgotten().version), view.position())),
            Some((place, _)) if read.target.shard_key.is_some_and(|claimed| claimed != place.shard_key) => {
                Err(self.wrong_key(place.shard_key, view.position()))
            }
            Some((place, (items, token))) => {
                let decided = self.decided(Some(place.shard_key), view.position(), Generations::default());
                Ok(History { items, token, decided })
            }
        }
    }

    pub(crate) async fn read_past(&self, read: &ReadPast) -> Result<Object, WireError> {
        let view = self.views.latest();
        if let Past::Position(position) = read.past {
            self.hold_place(position, &view)?;
        }
        let (reading, target, past) = (Arc::clone(&view), read.target.clone(), read.past);
        let found = self.owner.on_reader(move || {
            let claimed = target.shard_key;
            find(&reading, &target.object, claimed, past)
        });
        let position = view.position();
        match found.await.map_err(|error| self.unreadable(&error))? {
            Found::NoObject(stored) => Err(self.not_found(&Known::absent(stored), position)),
            Found::WrongKey(recorded) => Err(self.wrong_key(recorded, position)),
            Found::NotRetained => Err(self.not_retained("history no longer holds that version", position)),
            Found::NotLive(shard_key, stored) => Err(WireError {
                stored: Some(stored),
                decided: Some(self.decided(Some(shard_key), position, Generations::default())),
                ..WireError::new(Code::NotFound, "no live object stood there")
            }),
            Found::Version(place, head) => {
                let Head { version, row: Row { revision, timestamp, action_id, payload, .. } } = *head;
                let payload = payload.expect("a live version has a payload");
                let decided = self.decided(Some(place.shard_key), position, Generations::default());
                let shard_key = place.shard_key;
                Ok(Object { version, revision, timestamp, shard_key, action_id, payload, decided })
            }
        }
    }

    fn not_retained(&self, words: &str, position: Position) -> WireError {
        let decided = Some(self.decided(None, position, Generations::default()));
        WireError { decided, ..WireError::new(Code::NotRetained, words) }
    }

    /// Holds that a place is one that this log has had.
    fn hold_place(&self, position: Position, view: &ReadView) -> Result<(), WireError> {
        if position.log == self.log && position.revision <= view.position().revision {
            Ok(())
        } else {
            Err(self.invalid_position())
        }
    }

    /// A page of what stood at a place.
    pub(crate) async fn list_at(
        &self,
        prefix: String,
        after: Option<ObjectId>,
        limit: usize,
        with_payloads: bool,
        at: Position,
    ) -> Result<(ItemsAndToken, Decided), WireError> {
        let view = self.views.latest();
        self.hold_place(at, &view)?;
        let reading = Arc::clone(&view);
        let page = self.owner.on_reader(move || {
            // Whatever is forgotten since may have stood there.
            if at.revision < reading.forgotten().revision {
                return Ok(None);
            }
            read_page_at(&reading, &prefix, after.as_ref(), limit, with_payloads, at.revision)
        });
        let page = page.await.map_err(|error| self.unreadable(&error))?;
        let page =
            page.ok_or_else(|| self.not_retained("history no longer holds all that stood there", view.position()))?;
        let generations = Generations::default();
        // All that stood behind the unit before; nothing of one that the place lies in.
        let position = Position::behind(at.log, at.revision);
        Ok((page, Decided { shard: None, epoch: view.map().epoch(), position, generations }))
    }

    pub(crate) fn retention(&self) -> Retention {
        self.told_retention(self.views.latest().retention())
    }

    fn told_retention(&self, rules: &Rules) -> Retention {
        let all = RetentionRule { data_type: None, keep: rules.all };
        let types = rules
            .types
            .iter()
            .map(|(data_type, keep)| RetentionRule { data_type: Some(data_type.clone()), keep: *keep });
        let decided = self.decided(None, self.views.position(), Generations::default());
        Retention { rules: std::iter::once(all).chain(types).collect(), decided }
    }

    pub(crate) async fn set_retention(&self, set: &SetRetention) -> Result<Retention, WireError> {
        // One after the other: each builds on the one before.
        let mut last = self.keeper.setting().await;
        let mut rules = Rules::clone(last.as_ref().unwrap_or(self.views.latest().retention()));
        match (&set.data_type, set.rule) {
            (None, Some(keep)) => rules.all = keep,
            (Some(data_type), Some(keep)) => drop(rules.types.insert(data_type.clone(), keep)),
            (Some(data_type), None) => drop(rules.types.remove(data_type)),
            (None, None) => return Err(WireError::new(Code::Malformed, "the rule of all types cannot be taken away")),
        }
        if rules.types.len() > RETENTION_RULES_MAX {
            let message = format!("at most {RETENTION_RULES_MAX} types have a rule of their own");
            return Err(WireError::new(Code::Malformed, message));
        }
        let position = self.views.position();
        let refused = |reason| self.not_written(reason, position, Generations::default());
        let rules = Arc::new(rules);
        let pending = self.owner.upkeep(Upkeep::Retain(Arc::clone(&rules))).map_err(refused)?;
        *last = Some(rules);
        durable(pending).await.map_err(refused)?;
        self.keeper.look_again();
        Ok(self.retention())
    }
}

fn read_token(token: &Bytes) -> Result<Version, WireError> {
    let number = token.strip_prefix(&[TOKEN_TAG]).and_then(|number| number.try_into().ok());
    let invalid = || WireError::new(Code::InvalidToken, "the page token is not one that a history gave out");
    Ok(Version::new(u64::from_be_bytes(number.ok_or_else(invalid)?)))
}

fn read_versions(
    view: &ReadView,
    log: LogId,
    place: Place,
    below: Option<Version>,
    limit: usize,
    with_payloads: bool,
) -> Result<(Vec<KeptVersion>, Option<Bytes>), ReadError> {
    let (mut items, mut bytes): (Vec<KeptVersion>, usize) = (Vec::new(), 0);
    for head in view.versions(place, below)? {
        let Head { version, row } = head?;
        let Row { revision, timestamp, committed, action_id, kind, by, payload, .. } = row;
        let deleted = payload.is_none();
        let payload = payload.filter(|_| with_payloads);
        bytes += ITEM_OVERHEAD_BYTES + by.as_ref().map_or(0, |by| by.len());
        bytes += payload.as_ref().map_or(0, |payload| payload.as_bytes().len());
        if let Some(last) = items.last().filter(|_| items.len() == limit || bytes > PAGE_BYTES_MAX) {
            let token = [&[TOKEN_TAG][..], &last.version.get().to_be_bytes()].concat();
            return Ok((items, Some(token.into())));
        }
        let position = Position::behind(log, revision);
        let by = by.map(|by| by.to_string());
        items.push(KeptVersion {
            version,
            revision,
            position,
            timestamp,
            committed,
            kind,
            deleted,
            action_id,
            by,
            payload,
        });
    }
    Ok((items, None))
}

fn find(view: &ReadView, object: &ObjectId, claimed: Option<ShardKey>, past: Past) -> Result<Found, ReadError> {
    let located = view.locate(object)?;
    if let (Some(claimed), Some(place)) = (claimed, located)
        && claimed != place.shard_key
    {
        return Ok(Found::WrongKey(place.shard_key));
    }
    let then = match (past, located) {
        (Past::Position(at), _) => {
            let now = planted::is(Fault::ReadPastNow);
            view.at(object, if now { view.position().revision } else { at.revision })?
        }
        (Past::Version(_), None) => Then::Nothing,
        (Past::Version(version), Some(place)) => match view.version(place, version)? {
            Some(row) => Then::Version(place, Box::new(Head { version, row })),
            None if view.head(place)?.is_some_and(|head| version < head.version && version.get() > 0) => {
                Then::NotRetained
            }
            None => Then::Nothing,
        },
    };
    Ok(match then {
        Then::Nothing => Found::NoObject(match located {
            Some(place) => view.head(place)?.map_or(Version::ABSENT, |head| head.version),
            None => view.forgotten().version,
        }),
        Then::NotRetained => Found::NotRetained,
        Then::Version(place, head) if head.row.payload.is_none() => Found::NotLive(place.shard_key, head.version),
        Then::Version(place, head) => Found::Version(place, head),
    })
}

/// Why a page of what was cannot be told.
enum Untold {
    /// Of some object history no longer holds what stood there.
    NotRetained,
    Unreadable(ReadError),
}

/// `None`: of some object it cannot be told any more what stood there.
fn read_page_at(
    view: &ReadView,
    prefix: &str,
    after: Option<&ObjectId>,
    limit: usize,
    with_payloads: bool,
    revision: Revision,
) -> Result<Option<ItemsAndToken>, ReadError> {
    let found = view.list_at(prefix, after, revision).map(|item| match item.map_err(Untold::Unreadable)? {
        (_, Then::NotRetained) => Err(Untold::NotRetained),
        (object, Then::Nothing) => Ok((object, None)),
        (object, Then::Version(place, head)) => Ok((object, Some((place.shard_key, *head)))),
    });
    match fill_page(view, found, limit, with_payloads) {
        Ok(page) => Ok(Some(page)),
        Err(Untold::NotRetained) => Ok(None),
        Err(Untold::Unreadable(error)) => Err(error),
    }
}
