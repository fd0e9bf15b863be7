//! What clients do: mostly they write where others write too, with what they knew a while ago.

use ostrakon_wire::bounds::RETENTION_AGE_MS_DEFAULT;
use ostrakon_wire::{
    ActionId, ActionKind, AskTicket, Keep, List, ListEscalations, LogId, ObjectId, OnConflict, Operation, Past,
    Position, ReadPast, Revision, SetRetention, SettleEscalation, SettleHow, Target,
};

use crate::actions::{Condition, Sent, make};
use crate::answers::What;
use crate::oracle::Object;
use crate::world::{HISTORY_KEPT, World};

/// Clients that act for themselves.
pub(crate) const CLIENTS: usize = 3;
/// Objects that they act on.
const OBJECTS: usize = 6;
/// How far back an action may lie that is asked for again: further than ids are remembered.
const REPEATS: u32 = 700;

pub(crate) fn client_name(client: usize) -> String {
    format!("client-{client}")
}

/// The objects, each of one client.
pub(crate) fn objects() -> Vec<Object> {
    let object = |number: usize| {
        let id = ObjectId::new(&client_name(number % CLIENTS), "volume", &format!("o{number}"));
        Object { id: id.expect("the names are good"), versions: Vec::new() }
    };
    (0..OBJECTS).map(object).collect()
}

/// The place behind a revision.
pub(crate) fn place(revision: u64) -> Position {
    Position::behind(LogId::new(1), Revision::new(revision))
}

impl World {
    /// The next request of somebody. What it may do is told to the oracle.
    pub(crate) fn next_request(&self) -> (What, Operation) {
        match self.draw(100) {
            0..=54 => self.new_action(),
            55..=66 => self.transact(),
            67..=75 => self.repeat().unwrap_or_else(|| self.new_action()),
            76..=82 => self.look(),
            83..=86 => self.look_back(),
            87..=90 => self.list(),
            91..=94 => self.ask().unwrap_or_else(|| self.look()),
            95..=96 => self.settle().unwrap_or_else(|| self.new_action()),
            97 => self.retain(),
            _ => self.look_at_escalations(),
        }
    }

    /// Half of all requests are for the first object.
    fn object(&self) -> usize {
        if self.one_in(2) { 0 } else { self.draw(OBJECTS as u32) as usize }
    }

    fn new_action(&self) -> (What, Operation) {
        let mut oracle = self.oracle.borrow_mut();
        let object = self.object();
        let stands = &oracle.objects[object];
        let kind = match self.draw(20) {
            0..=5 => ActionKind::Merge,
            6..=10 => ActionKind::Add,
            11..=16 => ActionKind::Put,
            17..=18 => ActionKind::Custom,
            _ => ActionKind::Delete,
        };
        // Known versions are a little old, now and then very.
        let behind = match self.draw(8) {
            0..=3 => 0,
            4..=5 => self.draw(3),
            6 => self.draw(40),
            _ => 0,
        };
        let known = stands.version().saturating_sub(behind.into());
        let condition = match self.draw(20) {
            0..=5 => Condition::None,
            6 => Condition::Known(0),
            7 => Condition::Known(known + 1),
            8..=10 if kind == ActionKind::Put => Condition::Makes(known + 1),
            _ => Condition::Known(known),
        };
        let choice = match (condition, self.draw(4)) {
            (Condition::Makes(_), _) | (_, 0) => OnConflict::Reject,
            (_, 1 | 2) => OnConflict::Reconcile,
            _ => OnConflict::Detach,
        };
        let number = oracle.actions.len() as u64 + 1;
        // What reaches the agent can be told from the others by its id.
        let plain =
            choice == OnConflict::Reject && matches!(kind, ActionKind::Put | ActionKind::Merge | ActionKind::Add);
        let id = (!plain || self.one_in(2)).then(|| self.new_id(number));
        let field = self.draw(4).into();
        let mut sent = Sent::new(number, object, make(kind, number, field), condition, choice, id);
        let by_hand = id.is_some() && !matches!(condition, Condition::Makes(_)) && self.one_in(10);
        if by_hand && sent.choice == OnConflict::Reject {
            sent.choice = OnConflict::Reconcile;
        }
        let operation = sent.operation(&stands.id, by_hand);
        if let Some(id) = id {
            let client = stands.id.client().to_owned();
            oracle.ids.insert((client, id), number as usize - 1);
        }
        oracle.actions.push(sent);
        (What::Act(number as usize - 1), operation)
    }

    fn new_id(&self, number: u64) -> ActionId {
        ActionId::from_bits(u128::from(self.right_time()) << 80 | u128::from(number))
    }

    /// The same action once more, as a client does that was not answered, or did not believe it.
    fn repeat(&self) -> Option<(What, Operation)> {
        let mut oracle = self.oracle.borrow_mut();
        let back = self.draw(if self.one_in(3) { REPEATS } else { 12 }) as usize;
        let at = oracle.actions.len().checked_sub(back + 1)?;
        let object = oracle.objects[oracle.actions[at].object].id.clone();
        let sent = &mut oracle.actions[at];
        sent.id?;
        sent.sends += 1;
        sent.loose += 1;
        Some((What::Act(at), sent.operation(&object, false)))
    }

    fn look(&self) -> (What, Operation) {
        let object = self.object();
        let target = Target { object: self.oracle.borrow().objects[object].id.clone(), shard_key: None };
        match self.one_in(3) {
            true => (What::ReadVersion(object), Operation::ReadVersion(target)),
            false => (What::Read(object), Operation::Read(target)),
        }
    }

    /// A revision that was, mostly one that history holds.
    fn a_while_ago(&self) -> u64 {
        let newest = self.oracle.borrow().revision();
        newest.saturating_sub(self.draw(if self.one_in(5) { 300 } else { 25 }).into())
    }

    fn look_back(&self) -> (What, Operation) {
        let (object, revision) = (self.object(), self.a_while_ago());
        let target = Target { object: self.oracle.borrow().objects[object].id.clone(), shard_key: None };
        let past = Past::Position(place(revision));
        (What::ReadPast(object, revision), Operation::ReadPast(ReadPast { target, past }))
    }

    /// As much is kept as before: what is kept of an object is the store's word, and this is a commit without a revision.
    fn retain(&self) -> (What, Operation) {
        let rule = Keep { versions: HISTORY_KEPT, age_ms: RETENTION_AGE_MS_DEFAULT + u64::from(self.draw(9)) };
        (What::Retain, Operation::SetRetention(SetRetention { data_type: None, rule: Some(rule) }))
    }

    fn list(&self) -> (What, Operation) {
        let client = self.draw(CLIENTS as u32) as usize;
        let back = self.one_in(2).then(|| self.a_while_ago());
        let list = List {
            at: back.map(place),
            client: client_name(client),
            data_type: None,
            prefix: None,
            limit: 2 * OBJECTS,
            token: None,
            with_payloads: false,
        };
        let what = back.map_or(What::List(client), |revision| What::ListAt(client, revision));
        (what, Operation::List(list))
    }

    fn ask(&self) -> Option<(What, Operation)> {
        let oracle = self.oracle.borrow();
        let back = self.draw(60) as usize;
        let at = oracle.actions.len().checked_sub(back + 1)?;
        let sent = &oracle.actions[at];
        let client = oracle.objects[sent.object].id.client().to_owned();
        Some((What::Ask(at), Operation::AskTicket(AskTicket { client, action_id: sent.id?, wait_ms: 0 })))
    }

    fn settle(&self) -> Option<(What, Operation)> {
        let mut oracle = self.oracle.borrow_mut();
        let open: Vec<u64> =
            oracle.escalations.iter().filter(|(_, of)| !of.settled).map(|(number, _)| *number).take(8).collect();
        let number = *open.get(self.draw(8) as usize)?;
        let action = oracle.escalations[&number].action;
        let object = oracle.actions[action].object;
        let deletes = oracle.actions[action].kind() == ActionKind::Delete;
        let (how, in_place) = match self.draw(3) {
            0 if !deletes => (SettleHow::Retry, None),
            1 => {
                let own = oracle.actions.len() as u64 + 1;
                let (action, choice) = (make(ActionKind::Put, own, 0), OnConflict::Reconcile);
                let resolve = Sent::new(own, object, action, Condition::None, choice, None);
                oracle.actions.push(Sent { in_place_of: Some(number), ..resolve });
                (SettleHow::Resolve, Some(own as usize - 1))
            }
            _ => (SettleHow::Discard, None),
        };
        if let Some(of) = oracle.escalations.get_mut(&number) {
            of.loose += 1;
        }
        let payload = in_place.and_then(|own: usize| oracle.actions[own].action.payload().cloned());
        let settle = SettleEscalation {
            escalation: Revision::new(number),
            how,
            payload,
            by: "somebody".into(),
            reason: "for a reason".into(),
        };
        Some((What::Settle(number, in_place), Operation::SettleEscalation(settle)))
    }

    fn look_at_escalations(&self) -> (What, Operation) {
        let newest = self.oracle.borrow().escalations.last_key_value().map(|(number, _)| *number);
        match newest.filter(|_| self.one_in(2)) {
            Some(number) => (What::ReadEscalation(number), Operation::ReadEscalation(Revision::new(number))),
            None => {
                let list = ListEscalations { client: None, limit: 20, token: None };
                (What::ListEscalations, Operation::ListEscalations(list))
            }
        }
    }
}
