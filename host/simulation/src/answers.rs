//! What clients are answered, held against what was durable between the request and its answer.

use ostrakon_store::Outcome;
use ostrakon_wire::answer::{Committed, Object as Told, Page, PageItem};
use ostrakon_wire::{Code, OnConflict, Reply, WireError};

use crate::actions::Condition;
use crate::client::client_name;
use crate::oracle::{Object, Oracle, Unit, Wrong};
use crate::world::HISTORY_KEPT;

/// A request that is under way.
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) what: What,
    /// The newest revision when it began.
    pub(crate) began: u64,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// An action, for the first time or again.
    Act(usize),
    Read(usize),
    ReadVersion(usize),
    /// The objects of a client.
    List(usize),
    /// What became of an action?
    Ask(usize),
    /// Settle an escalation; with the action that is written in its place.
    Settle(u64, Option<usize>),
    ListEscalations,
    ReadEscalation(u64),
    Transact(usize),
    /// An object as it stood behind a revision.
    ReadPast(usize, u64),
    /// The objects of a client as they stood then.
    ListAt(usize, u64),
    /// Set how long versions are kept.
    Retain,
}

pub(crate) type Outcomes<'a> = Result<&'a Reply, &'a WireError>;

impl Oracle {
    /// A request was answered, by a host whose persist has failed or not.
    pub(crate) fn answered(&mut self, call: &Call, outcome: Outcomes<'_>, failed: bool) {
        self.store_failed = failed;
        let held = match call.what {
            What::Act(action) => self.acted(action, call.began, outcome),
            What::Read(object) => self.read(object, call.began, outcome),
            What::ReadVersion(object) => self.read_version(object, call.began, outcome),
            What::List(_) => self.listed(call, outcome),
            What::Ask(action) => self.asked(action, outcome),
            What::Settle(number, in_place) => self.settled(number, in_place, outcome),
            What::ListEscalations => self.listed_escalations(outcome),
            What::Transact(at) => self.transacted(at, call.began, outcome),
            What::ReadPast(object, revision) => self.read_past(object, revision, outcome),
            What::ListAt(client, revision) => self.listed_at(client, revision, outcome),
            What::Retain => match outcome {
                Ok(Reply::Retention(_)) => Ok(()),
                other => self.unusual(&other),
            },
            What::ReadEscalation(number) => match outcome {
                Ok(Reply::Escalation(told)) if told.number.get() == number => Ok(()),
                other => self.unusual(&other),
            },
        };
        if let Err(what) = held {
            let number = call.number;
            self.wrong(format!("request {number} ({:?}): {what}", call.what));
        }
    }

    /// Answers that say nothing of objects.
    pub(crate) fn unusual(&self, outcome: &Outcomes<'_>) -> Wrong {
        match outcome {
            Err(error) if matches!(error.code, Code::Overloaded | Code::PolicyFailed) => Ok(()),
            Err(error) if error.code == Code::StoreFailed && self.store_failed => Ok(()),
            other => Err(format!("answered {other:?}")),
        }
    }

    fn acted(&mut self, action: usize, began: u64, outcome: Outcomes<'_>) -> Wrong {
        let sent = &mut self.actions[action];
        // Whether the request may have its effect later all the same.
        let loose = match outcome {
            Ok(Reply::Ticket(_)) => true,
            Err(error) => error.code == Code::StoreFailed,
            _ => false,
        };
        if !loose {
            sent.loose = sent.loose.saturating_sub(1);
        }
        let sent = &self.actions[action];
        match outcome {
            Ok(Reply::Committed(committed)) => self.came_to(action, committed),
            Ok(Reply::Ticket(_)) if sent.choice != OnConflict::Detach => Err("a ticket nobody has asked for".into()),
            Ok(Reply::Ticket(_)) if !sent.ticket_seen && sent.came_to.is_none() => {
                Err("told of a ticket that is not durable".into())
            }
            Ok(Reply::Ticket(_)) => {
                self.actions[action].ticket_told = true;
                Ok(())
            }
            Ok(other) => Err(format!("answered {other:?}")),
            Err(error) => self.refused(action, began, error),
        }
    }

    /// A version or a find is what the action came to.
    fn came_to(&self, action: usize, committed: &Committed) -> Wrong {
        let sent = &self.actions[action];
        let (revision, version) = (committed.revision.get(), committed.version.get());
        let unit = self.unit_of(revision)?;
        let is_it = unit.action == Some(action) && matches!(unit.outcome, Outcome::Made | Outcome::Applied);
        if !is_it {
            return Err(format!("told of revision {revision}, which is {unit:?}"));
        }
        if unit.version != version || sent.came_to != Some((revision, unit.outcome)) {
            return Err(format!("told of version {version} at {revision}; it came to {:?}", sent.came_to));
        }
        Ok(())
    }

    fn unit_of(&self, revision: u64) -> Result<Unit, String> {
        let unit = (revision as usize).checked_sub(1).and_then(|at| self.units.get(at));
        unit.copied().ok_or_else(|| format!("told of revision {revision}, which is not durable"))
    }

    fn refused(&self, action: usize, began: u64, error: &WireError) -> Wrong {
        let sent = &self.actions[action];
        let object = &self.objects[sent.object];
        let (first, last) = (object.version_at(began), object.version());
        let had_effect = matches!(sent.came_to, Some((_, Outcome::Made | Outcome::Applied)));
        // Of two requests one may have been refused before the other was done.
        if had_effect && sent.sends == 1 && error.code != Code::StoreFailed {
            return Err(format!("refused with {}, and it came to {:?}", error.code.name(), sent.came_to));
        }
        match error.code {
            Code::Conflict if error.winner.is_some() => {
                let winner = error.winner.as_ref().ok_or("a conflict without a winner")?;
                let version = winner.version.get();
                if version > last {
                    return Err(format!("told of winner {version}; {last} is durable"));
                }
                if version < first {
                    return Err(format!("told of winner {version}; {first} stood there at the beginning"));
                }
                if winner.payload.as_ref() != object.at(version) {
                    return Err(format!("told another winner than version {version}"));
                }
                // The policy's word stands between the conflict and the answer only where it was asked.
                match (first..=version).any(|stood| !sent.condition.holds(stood, object.at(stood).is_some())) {
                    true => Ok(()),
                    false => Err("a conflict where there was none".into()),
                }
            }
            Code::Rejected | Code::Conflict | Code::VersionGap | Code::NotFound | Code::InvalidPointer
                if error.code == Code::Rejected || sent.came_to.is_some() && sent.id.is_some() =>
            {
                match sent.came_to {
                    Some((_, Outcome::Rejected)) => Ok(()),
                    other => Err(format!("told of a rejection; it came to {other:?}")),
                }
            }
            Code::Escalated => {
                let number = error.escalation.map_or(0, |number| number.get());
                match sent.came_to {
                    Some((revision, Outcome::Escalated)) if revision == number => Ok(()),
                    other => Err(format!("told of escalation {number}; it came to {other:?}")),
                }
            }
            Code::NotFound | Code::InvalidPointer => {
                let fails = |stood: u64| sent.applied(object.at(stood)).is_none();
                match (first..=last).any(fails) {
                    true => Ok(()),
                    false => Err(format!("refused with {} where it could be done", error.code.name())),
                }
            }
            Code::VersionGap => match (error.stored, sent.condition) {
                (Some(stored), Condition::Makes(made)) if made > stored.get() + 1 => {
                    self.stood(object, began, stored.get())
                }
                other => Err(format!("a gap where there is none: {other:?}")),
            },
            Code::ActionExpired if self.is_remembered(action) => Err("told that it is forgotten, too early".into()),
            Code::ActionExpired | Code::ActionIdAhead => Ok(()),
            _ => self.unusual(&Err(error)),
        }
    }

    /// Whether the log is long enough to hold what an action came to.
    fn is_remembered(&self, action: usize) -> bool {
        self.actions[action].came_to.is_some_and(|(revision, _)| self.remembers_revision(revision))
    }

    fn listed_escalations(&self, outcome: Outcomes<'_>) -> Wrong {
        let Ok(Reply::Escalations(page)) = outcome else { return self.unusual(&outcome) };
        match page.items.iter().find(|item| !self.escalations.contains_key(&item.number.get())) {
            None => Ok(()),
            Some(item) => Err(format!("listed escalation {}, which is none", item.number)),
        }
    }

    fn read(&self, object: usize, began: u64, outcome: Outcomes<'_>) -> Wrong {
        let object = &self.objects[object];
        match outcome {
            Ok(Reply::Object(Told { version, payload, .. })) => {
                self.stood(object, began, version.get())?;
                match object.at(version.get()) == Some(payload) {
                    true => Ok(()),
                    false => Err(format!("read something else than version {version}")),
                }
            }
            other => self.nothing_there(object, began, &other),
        }
    }

    fn read_version(&self, object: usize, began: u64, outcome: Outcomes<'_>) -> Wrong {
        let object = &self.objects[object];
        match outcome {
            Ok(Reply::Version(stored)) => self.stood(object, began, stored.version.get()),
            other => self.nothing_there(object, began, &other),
        }
    }

    fn stood(&self, object: &Object, began: u64, version: u64) -> Wrong {
        let (first, last) = (object.version_at(began), object.version());
        match (first..=last).contains(&version) {
            true => Ok(()),
            false => Err(format!("read version {version}; between request and answer {first} to {last} stood there")),
        }
    }

    fn nothing_there(&self, object: &Object, began: u64, outcome: &Outcomes<'_>) -> Wrong {
        let Err(error) = outcome else { return Err(format!("answered {outcome:?}")) };
        if error.code != Code::NotFound {
            return self.unusual(outcome);
        }
        let stored = error.stored.map_or(0, |stored| stored.get());
        self.stood(object, began, stored)?;
        match object.at(stored) {
            None => Ok(()),
            Some(_) => Err(format!("not found at version {stored}, which is live")),
        }
    }

    fn listed(&self, call: &Call, outcome: Outcomes<'_>) -> Wrong {
        let What::List(client) = call.what else { return Ok(()) };
        let Ok(Reply::Page(Page { items, decided, .. })) = outcome else { return self.unusual(&outcome) };
        let revision = decided.position.revision.get();
        if revision < call.began || revision > self.revision() {
            return Err(format!("a list of revision {revision}"));
        }
        self.hold_list(client, revision, items)
    }

    fn listed_at(&self, client: usize, revision: u64, outcome: Outcomes<'_>) -> Wrong {
        match outcome {
            Ok(Reply::Page(Page { items, .. })) => self.hold_list(client, revision, items),
            Err(error) if error.code == Code::NotRetained => {
                let mut of_client = self.objects.iter().filter(|object| object.id.client() == client_name(client));
                match of_client.any(|object| self.is_gone(object, revision)) {
                    true => Ok(()),
                    false => Err(format!("history holds all that stood at {revision}")),
                }
            }
            other => self.unusual(&other),
        }
    }

    /// Whether history may no longer hold what stood there behind a revision.
    fn is_gone(&self, object: &Object, revision: u64) -> bool {
        object.version_at(revision) + u64::from(HISTORY_KEPT) <= object.version()
    }

    fn read_past(&self, object: usize, revision: u64, outcome: Outcomes<'_>) -> Wrong {
        let object = &self.objects[object];
        let version = object.version_at(revision);
        match outcome {
            Ok(Reply::Object(told)) if Some(&told.payload) == object.at(version) && told.version.get() == version => {
                Ok(())
            }
            Ok(other) => Err(format!("told {other:?} of revision {revision}, where version {version} stood")),
            Err(error) if error.code == Code::NotFound && object.at(version).is_none() => Ok(()),
            Err(error) if error.code == Code::NotRetained && self.is_gone(object, revision) => Ok(()),
            other => self.unusual(&other),
        }
    }

    fn hold_list(&self, client: usize, revision: u64, items: &[PageItem]) -> Wrong {
        let client = client_name(client);
        let of_client = self.objects.iter().filter(|object| object.id.client() == client);
        let at_that_time = of_client.map(|object| (object, object.version_at(revision)));
        let live = at_that_time.filter(|(object, version)| object.at(*version).is_some());
        let mut expected: Vec<_> = live.map(|(object, version)| (&object.id, version)).collect();
        expected.sort();
        let told: Vec<_> = items.iter().map(|item| (&item.object, item.version.get())).collect();
        match told == expected {
            true => Ok(()),
            false => Err(format!("listed {told:?} at revision {revision}, where {expected:?} stood")),
        }
    }

    fn asked(&self, action: usize, outcome: Outcomes<'_>) -> Wrong {
        let sent = &self.actions[action];
        match outcome {
            Ok(Reply::Committed(committed)) => self.came_to(action, committed),
            Ok(Reply::Ticket(_)) if sent.came_to.is_none() && sent.loose > 0 => Ok(()),
            Ok(other) => Err(format!("answered {other:?}; it came to {:?}", sent.came_to)),
            Err(error) => match (error.code, sent.came_to) {
                (Code::UnknownTicket, None) if sent.ticket_seen => Err("its ticket is gone".into()),
                (Code::UnknownTicket | Code::ActionExpired, _) if self.is_remembered(action) => {
                    Err(format!("it is forgotten too early; it came to {:?}", sent.came_to))
                }
                (Code::UnknownTicket | Code::ActionExpired, _) => Ok(()),
                (Code::Escalated, Some((_, Outcome::Escalated))) => Ok(()),
                (_, Some((_, Outcome::Rejected))) => Ok(()),
                _ => self.unusual(&outcome),
            },
        }
    }

    fn settled(&mut self, number: u64, in_place: Option<usize>, outcome: Outcomes<'_>) -> Wrong {
        let open = match outcome {
            Err(error) => error.code == Code::StoreFailed,
            Ok(_) => false,
        };
        let of = self.escalations.get_mut(&number).ok_or("no such escalation")?;
        if !open {
            of.loose = of.loose.saturating_sub(1);
        }
        let (settled, others) = (of.settled, of.loose);
        if let Some(action) = in_place.filter(|_| !open) {
            self.actions[action].loose = 0;
        }
        match outcome {
            Ok(Reply::Escalation(told)) => match (settled, &told.settled) {
                (true, Some(_)) => Ok(()),
                other => Err(format!("told that it is settled: {other:?}")),
            },
            Ok(other) => Err(format!("answered {other:?}")),
            Err(error) => match error.code {
                // What it was run again on may not have allowed it; then it stays open.
                Code::EscalationSettled if settled || others > 0 => Ok(()),
                Code::Escalated
                | Code::Rejected
                | Code::Conflict
                | Code::VersionGap
                | Code::NotFound
                | Code::InvalidPointer => Ok(()),
                _ => self.unusual(&outcome),
            },
        }
    }
}
