//! Transactions: what clients ask for, and what may come of it.
//!
//! Each action of a transaction is an action like others to the oracle, whose condition is that of its object; what else
//! must hold are guards. All of it is done in one commit unit, on one state, or nothing is.

use ostrakon_store::record::log::Entry;
use ostrakon_store::{Outcome, ReadView};
use ostrakon_wire::answer::Transacted;
use ostrakon_wire::value::Value;
use ostrakon_wire::{
    ActionId, ActionKind, Code, Condition as Asked, Must, OnConflict, Operation, Reply, Step, Target, Transact,
    Version, WireError,
};

use crate::actions::{Condition, Sent, make};
use crate::answers::{Outcomes, What};
use crate::oracle::{Oracle, Unit, Wrong};
use crate::world::World;

/// One transaction, and what became of it.
pub(crate) struct Transaction {
    pub(crate) request: Transact,
    /// Its actions, by number; their objects are its steps' in order.
    pub(crate) steps: Vec<usize>,
    /// Requests that may still have their effect.
    pub(crate) loose: u32,
    pub(crate) sends: u32,
    pub(crate) came_to: Option<(u64, Outcome)>,
}

impl World {
    /// A transaction over a few objects, or one that was asked for before.
    pub(crate) fn transact(&self) -> (What, Operation) {
        if self.one_in(5)
            && let Some(again) = self.transact_again()
        {
            return again;
        }
        let mut oracle = self.oracle.borrow_mut();
        let mut objects: Vec<usize> = (0..oracle.objects.len()).collect();
        let steps = 2 + self.draw(2) as usize;
        let choice = if self.one_in(2) { OnConflict::Reconcile } else { OnConflict::Reject };
        let (mut conditions, mut actions, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..steps {
            let object = objects.swap_remove(self.draw(objects.len() as u32) as usize);
            let stands = &oracle.objects[object];
            let kind = match self.draw(10) {
                0..=2 => ActionKind::Put,
                3..=5 => ActionKind::Merge,
                6..=8 => ActionKind::Add,
                _ => ActionKind::Delete,
            };
            let behind = if self.one_in(4) { self.draw(3) } else { 0 };
            let known = stands.version().saturating_sub(behind.into());
            let condition = match self.draw(10) {
                0..=4 => Condition::None,
                5 => Condition::Known(0),
                _ => Condition::Known(known),
            };
            let id = stands.id.clone();
            if let Condition::Known(version) = condition {
                conditions.push(Asked { object: id.clone(), must: Must::BeAt(Version::new(version)) });
            }
            let number = oracle.actions.len() as u64 + 1;
            let sent = Sent::new(number, object, make(kind, number, self.draw(4).into()), condition, choice, None);
            let sent = Sent { of_transaction: true, ..sent };
            actions.push(Step { target: Target { object: id, shard_key: None }, action: sent.action.clone() });
            numbers.push(number as usize - 1);
            oracle.actions.push(sent);
        }
        // Another object is only looked at.
        if self.one_in(3) {
            let guard = &oracle.objects[objects[self.draw(objects.len() as u32) as usize]];
            let must = match guard.live().and_then(n_of).filter(|_| self.one_in(2)) {
                Some(n) => Must::Hold { pointer: "/n".into(), value: Value::Integer(n) },
                None => Must::BeAt(Version::new(guard.live().map_or(0, |_| guard.version()))),
            };
            conditions.push(Asked { object: guard.id.clone(), must });
        }
        let at = oracle.transactions.len();
        let id = ActionId::from_bits(u128::from(self.right_time()) << 80 | 1 << 79 | at as u128);
        let request = Transact { conditions, actions, action_id: Some(id), on_conflict: choice };
        let client = request.actions[0].target.object.client().to_owned();
        oracle.transaction_ids.insert((client, id), at);
        let operation = Operation::Transact(request.clone());
        oracle.transactions.push(Transaction { request, steps: numbers, loose: 1, sends: 1, came_to: None });
        (What::Transact(at), operation)
    }

    fn transact_again(&self) -> Option<(What, Operation)> {
        let mut oracle = self.oracle.borrow_mut();
        let back = self.draw(if self.one_in(4) { 100 } else { 6 }) as usize;
        let at = oracle.transactions.len().checked_sub(back + 1)?;
        let again = &mut oracle.transactions[at];
        again.sends += 1;
        again.loose += 1;
        Some((What::Transact(at), Operation::Transact(again.request.clone())))
    }
}

/// The number that an object holds.
pub(crate) fn n_of(payload: &ostrakon_wire::Payload) -> Option<i64> {
    match payload.value() {
        Some(Value::Map(map)) => match map.get("n") {
            Some(Value::Integer(n)) => Some(*n),
            _ => None,
        },
        _ => None,
    }
}

impl Oracle {
    /// The transaction that a commit unit is of.
    pub(crate) fn transaction_of(&self, entries: &[Entry]) -> Option<usize> {
        let first = entries.first()?;
        let id = first.identity?.id;
        self.transaction_ids.get(&(first.object.client().to_owned(), id)).copied()
    }

    /// A transaction came to something.
    pub(crate) fn together(&mut self, view: &ReadView, at: usize, entries: &[Entry], revision: u64) -> Wrong {
        let transaction = &self.transactions[at];
        if let Some((before, outcome)) = transaction.came_to {
            return Err(format!("doubled: transaction {at} came to {outcome:?} at revision {before} before"));
        }
        if transaction.loose == 0 {
            return Err(format!("transaction {at} had its effect though nobody waits for it"));
        }
        if entries[0].outcome == Outcome::Rejected {
            self.hold_rejected(at, entries)?;
            self.transactions[at].came_to = Some((revision, Outcome::Rejected));
            let object = self.object_of(&entries[0])?;
            let version = entries[0].version.get();
            self.units.push(Unit { object, version, outcome: Outcome::Rejected, action: None });
            return Ok(());
        }
        let steps = transaction.steps.clone();
        if steps.len() != entries.len() {
            return Err(format!("torn: {} of {} actions of transaction {at} were done", entries.len(), steps.len()));
        }
        self.hold_guards(at)?;
        for (action, entry) in steps.iter().zip(entries) {
            let object = self.object_of(entry)?;
            let sent = &self.actions[*action];
            if sent.object != object || sent.kind() != entry.kind {
                return Err(format!("transaction {at} did something to {} that it was not asked for", entry.object));
            }
            match entry.outcome {
                Outcome::Made => self.made_by(view, object, entry, revision, *action, false)?,
                Outcome::Applied => self.hold_noted(*action, Outcome::Applied, entry.version.get())?,
                other => return Err(format!("transaction {at} came to {other:?}")),
            }
            self.actions[*action].came_to = Some((revision, entry.outcome));
        }
        self.transactions[at].came_to = Some((revision, Outcome::Made));
        let (object, version) = (self.object_of(&entries[0])?, entries[0].version.get());
        self.units.push(Unit { object, version, outcome: entries[0].outcome, action: None });
        Ok(())
    }

    /// Conditions of a transaction on objects that it does nothing to, and those on what objects hold.
    fn hold_guards(&self, at: usize) -> Wrong {
        let request = &self.transactions[at].request;
        for condition in &request.conditions {
            let acts = request.actions.iter().any(|step| step.target.object == condition.object);
            let of_version = matches!(condition.must, Must::BeAt(_));
            // The condition on the object of an action is that action's.
            if acts && of_version {
                continue;
            }
            let object = self.objects.iter().find(|object| object.id == condition.object);
            let object = object.ok_or("a condition on no object")?;
            if !holds(condition, object.version(), object.live()) {
                return Err(format!("transaction {at} was done though a condition on {} fails", object.id));
            }
        }
        Ok(())
    }

    fn hold_rejected(&self, at: usize, entries: &[Entry]) -> Wrong {
        let transaction = &self.transactions[at];
        let judged = transaction.steps.iter().any(|action| {
            let sent = &self.actions[*action];
            let object = &self.objects[sent.object];
            sent.was_judged(object.version()) || sent.applied(object.live()).is_none()
        });
        match entries.len() == 1 && transaction.request.on_conflict == OnConflict::Reconcile && judged {
            true => Ok(()),
            false => Err(format!("transaction {at} was rejected for no reason")),
        }
    }

    pub(crate) fn object_of(&self, entry: &Entry) -> Result<usize, String> {
        let object = self.objects.iter().position(|object| object.id == entry.object);
        object.ok_or_else(|| format!("nobody has asked for {}", entry.object))
    }

    pub(crate) fn transacted(&mut self, at: usize, began: u64, outcome: Outcomes<'_>) -> Wrong {
        let transaction = &mut self.transactions[at];
        // It may have its effect later all the same.
        let loose = matches!(outcome, Err(error) if error.code == Code::StoreFailed);
        if !loose {
            transaction.loose = transaction.loose.saturating_sub(1);
        }
        let transaction = &self.transactions[at];
        match outcome {
            Ok(Reply::Transacted(told)) => self.hold_told(at, told),
            Ok(other) => Err(format!("answered {other:?}")),
            Err(error) if transaction.sends == 1 && error.code != Code::StoreFailed => match transaction.came_to {
                Some((_, Outcome::Made)) => {
                    Err(format!("refused with {}, and it came to {:?}", error.code.name(), transaction.came_to))
                }
                _ => self.not_transacted(at, began, error),
            },
            Err(error) => self.not_transacted(at, began, error),
        }
    }

    fn hold_told(&self, at: usize, told: &Transacted) -> Wrong {
        let transaction = &self.transactions[at];
        let revision = told.revision.get();
        if transaction.came_to != Some((revision, Outcome::Made)) {
            return Err(format!("told of revision {revision}; it came to {:?}", transaction.came_to));
        }
        let versions: Vec<u64> = told.made.iter().map(|made| made.version.get()).collect();
        let stood =
            transaction.steps.iter().map(|action| self.objects[self.actions[*action].object].version_at(revision));
        match versions == stood.collect::<Vec<_>>() {
            true => Ok(()),
            false => Err(format!("told of versions {versions:?} that it did not make")),
        }
    }

    fn not_transacted(&self, at: usize, began: u64, error: &WireError) -> Wrong {
        let transaction = &self.transactions[at];
        match error.code {
            Code::Conflict if !error.failed.is_empty() => {
                let revisions = began..=self.revision();
                let all_fail_at = |revision: u64| {
                    error.failed.iter().all(|failed| {
                        let condition = &transaction.request.conditions[failed.index as usize];
                        let object = self.objects.iter().find(|object| object.id == condition.object);
                        let Some(object) = object else { return false };
                        let version = object.version_at(revision);
                        let told = (failed.version.get(), failed.payload.as_ref());
                        told == (version, object.at(version)) && !holds(condition, version, object.at(version))
                    })
                };
                // One state that was durable meanwhile explains all of it.
                match revisions.into_iter().any(all_fail_at) {
                    true => Ok(()),
                    false => Err(format!("told of conditions that did not fail together: {:?}", error.failed)),
                }
            }
            Code::NotFound | Code::InvalidPointer | Code::Rejected if error.step.is_some() => Ok(()),
            _ if matches!(transaction.came_to, Some((_, Outcome::Rejected))) => Ok(()),
            Code::ActionExpired if self.transaction_is_remembered(at) => {
                Err("told that it is forgotten, too early".into())
            }
            Code::ActionExpired | Code::ActionIdAhead => Ok(()),
            _ => self.unusual(&Err(error)),
        }
    }

    /// Whether the log is long enough to hold what a transaction came to. It counts changes; so many units are in it at least.
    fn transaction_is_remembered(&self, at: usize) -> bool {
        self.transactions[at].came_to.is_some_and(|(revision, _)| self.remembers_revision(revision))
    }
}

fn holds(condition: &Asked, version: u64, stands: Option<&ostrakon_wire::Payload>) -> bool {
    match &condition.must {
        Must::BeAt(known) => Condition::Known(known.get()).holds(version, stands.is_some()),
        Must::Hold { value, .. } => stands.and_then(n_of).is_some_and(|n| *value == Value::Integer(n)),
    }
}
