//! One event, played to its end.

use std::time::Instant;

use ostrakon_client::{
    Action, ActionId, Client, Code, Error, List, ObjectId, OnConflict, Payload, Perform, Target, WireError, json,
};
use ostrakon_cloudtrail::{ObjectRef, Play, What};
use ostrakon_wire::bounds::PAGE_ITEMS_DEFAULT;

use super::attempt::{After, Change, Next, Outcome, after, stops_all};
use super::connections::Connection;
use super::sight::Sight;
use super::{Ids, Shared, Trace};

/// Times that one event may lose before it is given up. Each loss means that somebody else has won.
const LOSSES_MAX: usize = 1_000;

/// A write and where it goes.
struct Write<'a> {
    connection: &'a Connection,
    client: &'a Client,
    object: ObjectId,
    change: Change,
    action: Action,
    action_id: ActionId,
}

impl Shared {
    /// Plays one event. An error means that no event can be played now.
    pub(super) async fn play(&self, trace: &Trace, play: &Play) -> Result<(), Error> {
        if matches!(play.what, What::Skip(_)) {
            return Ok(());
        }
        let (connection, client) = self.connections.of(&play.principal).await?;
        let action_id = match self.ids {
            Ids::OfTheTrace => ActionId::from_bits(play.action_id),
            Ids::New => Client::new_action_id(),
        };
        let write = |object, change, action| Write {
            connection: &connection,
            client: &client,
            object,
            change,
            action,
            action_id,
        };
        let played = match &play.what {
            What::Skip(_) => Ok(()),
            What::Read(object) => match id_of(object) {
                Ok(object) => self.read(&connection, &client, &object).await,
                Err(error) => Err(error),
            },
            What::List { client: of, data_type } => self.list(&connection, &client, of, data_type).await,
            What::Merge { object, patch } => match id_of(object).and_then(|object| Ok((object, payload_of(patch)?))) {
                Ok((object, patch)) => self.write(write(object, Change::Merge, Action::Merge(patch))).await,
                Err(error) => Err(error),
            },
            What::Delete(named) => match id_of(named) {
                Ok(object) => {
                    let write = write(object, Change::Delete, Action::Delete);
                    if self.was_played(trace, play, named, &write).await? {
                        self.counts.lock().written(Outcome::Repeated, &write.object, None);
                        return Ok(());
                    }
                    self.write(write).await
                }
                Err(error) => Err(error),
            },
        };
        played.or_else(|error| self.refused(play, error))
    }

    /// Counts what the host would not do; passes on what nothing can be done about.
    fn refused(&self, play: &Play, error: Error) -> Result<(), Error> {
        match error.code() {
            Some(code) if !stops_all(code) => {
                let particulars = format!("{} {}: {error}", play.event_name, play.event_id);
                self.counts.lock().refuse(code, &particulars);
                Ok(())
            }
            _ => Err(error),
        }
    }

    async fn read(&self, connection: &Connection, client: &Client, object: &ObjectId) -> Result<(), Error> {
        let begun = Instant::now();
        let answer = client.read(object).await;
        let took = begun.elapsed();
        let sight = match &answer {
            Ok(found) => Some(Sight { version: found.version, live: true }),
            Err(error) => absent(error),
        };
        if let Some(sight) = sight {
            connection.seen.lock().saw(object, sight);
        }
        let mut counts = self.counts.lock();
        counts.read_took(took);
        match answer {
            Ok(found) => counts.answered_by(found.decided.shard),
            Err(error) if error.code() == Some(Code::NotFound) => {
                counts.answered_with(&error);
                counts.not_found += 1;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// One page, as the event asked for one: what is on it has been seen.
    async fn list(&self, connection: &Connection, client: &Client, of: &str, data_type: &str) -> Result<(), Error> {
        let begun = Instant::now();
        let page = client.list(List {
            client: of.into(),
            data_type: Some(data_type.into()),
            prefix: None,
            limit: PAGE_ITEMS_DEFAULT,
            token: None,
            with_payloads: false,
            at: None,
        });
        let answer = page.await;
        let took = begun.elapsed();
        let page = answer.inspect_err(|_| self.counts.lock().read_took(took))?;
        {
            let mut seen = connection.seen.lock();
            for item in &page.items {
                let sight = Sight { version: item.version, live: true };
                seen.saw(&item.object, sight);
            }
        }
        let mut counts = self.counts.lock();
        counts.read_took(took);
        page.items.iter().for_each(|item| counts.answered_by(Some(item.shard)));
        Ok(())
    }

    /// Whether an earlier import has played this delete, although no record says so. See [`super::remade`].
    async fn was_played(
        &self,
        trace: &Trace,
        play: &Play,
        named: &ObjectRef,
        write: &Write<'_>,
    ) -> Result<bool, Error> {
        if self.ids == Ids::New || !trace.remade.possible(named, play.second) {
            return Ok(false);
        }
        match write.client.read(&write.object).await {
            Ok(found) => {
                let maker = found.action_id.map(ActionId::bits);
                let by_later = maker.is_some_and(|id| trace.remade.by(named, play.second, id));
                Ok(by_later && found.revision <= self.before)
            }
            Err(error) if error.code().is_some_and(|code| !stops_all(code)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Plays a write until it commits, or cannot.
    async fn write(&self, write: Write<'_>) -> Result<(), Error> {
        let object = &write.object;
        let mut known = write.connection.seen.lock().known(object);
        for _ in 0..LOSSES_MAX {
            let begun = Instant::now();
            let answer = write.client.perform(Perform {
                target: Target { object: object.clone(), shard_key: None },
                action: write.action.clone(),
                known,
                action_id: Some(write.action_id),
                on_conflict: OnConflict::Reject,
            });
            let answer = answer.await;
            let After { sight, next } = after(write.change, &answer);
            if let Some(sight) = sight {
                write.connection.seen.lock().saw(object, sight);
            }
            let mut counts = self.counts.lock();
            counts.write_took(begun.elapsed());
            match &answer {
                Ok(committed) => counts.answered_by(committed.decided.shard),
                Err(error) => counts.answered_with(error),
            }
            match next {
                Next::Done(outcome) => {
                    counts.written(outcome, object, answer.as_ref().err());
                    return Ok(());
                }
                Next::Again(winner) => {
                    counts.conflicts += 1;
                    known = Some(winner);
                }
                Next::GiveUp => return answer.map(drop),
            }
        }
        self.counts.lock().written(Outcome::Refused(Code::Conflict), object, None);
        Ok(())
    }
}

fn absent(error: &Error) -> Option<Sight> {
    match error {
        Error::Refused(refused) if refused.code == Code::NotFound => {
            refused.stored.map(|version| Sight { version, live: false })
        }
        _ => None,
    }
}

fn id_of(object: &ObjectRef) -> Result<ObjectId, Error> {
    let id = ObjectId::new(&object.client, &object.data_type, &object.name);
    Ok(id.map_err(WireError::from)?)
}

fn payload_of(patch: &serde_json::Value) -> Result<Payload, Error> {
    let value = json::from_json(patch).map_err(|error| WireError::new(Code::InvalidPayload, error.to_string()))?;
    Ok(Payload::from_value(&value).map_err(WireError::from)?)
}
