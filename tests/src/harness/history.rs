//! Histories of concurrent clients, and whether one order of all operations explains them.
//!
//! Answers carry versions, so the order of an object's operations is told, and only has to be held: each version is made
//! once and on the one before it; what is read at a version is what its actions made; and no operation that ended before
//! another began comes after it. An action whose outcome was lost is asked for again under its id, and its operation lasts
//! until that is answered; one that nobody can ask for any more may or may not have been done, and is searched for.

use std::collections::BTreeMap;
use std::time::Instant;

/// What an object holds: numbers by name.
pub(crate) type State = BTreeMap<String, i64>;

/// What a write does to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// All of it is this.
    Put(State),
    /// These members are set.
    Merge(State),
    /// So much is added to a member.
    Add(String, i64),
}

/// One operation of a client.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) object: usize,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// It made this version.
    Wrote { version: u64, effect: Effect },
    /// It was sent, and nobody knows whether it made a version.
    Perhaps { effect: Effect },
    /// This stood there.
    Read { version: u64, state: State },
}

impl Effect {
    fn apply(&self, state: &State) -> State {
        let mut state = state.clone();
        match self {
            Self::Put(all) => return all.clone(),
            Self::Merge(some) => state.extend(some.clone()),
            Self::Add(name, more) => *state.entry(name.clone()).or_default() += more,
        }
        state
    }
}

/// Holds a history to one order; in words, what does not fit.
pub(crate) fn check(first: &State, events: &[Event]) -> Result<(), String> {
    let objects: std::collections::BTreeSet<usize> = events.iter().map(|event| event.object).collect();
    for object in objects {
        let of_object: Vec<&Event> = events.iter().filter(|event| event.object == object).collect();
        check_object(first, &of_object).map_err(|wrong| format!("object {object}: {wrong}"))?;
    }
    Ok(())
}

/// Every object begins as version 1 with the first state.
fn check_object(first: &State, events: &[&Event]) -> Result<(), String> {
    let mut writes: BTreeMap<u64, &Event> = BTreeMap::new();
    for event in events {
        if let What::Wrote { version, .. } = event.what
            && writes.insert(version, event).is_some()
        {
            return Err(format!("version {version} was made twice"));
        }
    }
    let last = events.iter().filter_map(|event| version_of(event)).max().unwrap_or(1);
    let mut open: Vec<(&Event, &Effect)> = events.iter().filter_map(|event| perhaps(event)).collect();
    let mut states = BTreeMap::from([(1, first.clone())]);
    for version in 2..=last {
        let before = states[&(version - 1)].clone();
        let state = match writes.get(&version).map(|event| &event.what) {
            Some(What::Wrote { effect, .. }) => effect.apply(&before),
            _ => {
                // A version that nobody was told of: one of those that may have been done, whichever explains what was read.
                let read = events.iter().find_map(|event| match &event.what {
                    What::Read { version: at, state } if *at == version => Some(state),
                    _ => None,
                });
                let fits = |(_, effect): &(&Event, &Effect)| read.is_none_or(|read| effect.apply(&before) == *read);
                let Some(found) = open.iter().position(fits) else {
                    return Err(format!("version {version} was made by nobody"));
                };
                let (event, effect) = open.remove(found);
                writes.insert(version, event);
                effect.apply(&before)
            }
        };
        states.insert(version, state);
    }
    for event in events {
        if let What::Read { version, state } = &event.what
            && states.get(version) != Some(state)
        {
            return Err(format!("{state:?} was read at version {version}, which holds {:?}", states.get(version)));
        }
    }
    check_time(events, &writes)
}

fn perhaps<'a>(event: &&'a Event) -> Option<(&'a Event, &'a Effect)> {
    match &event.what {
        What::Perhaps { effect } => Some((event, effect)),
        _ => None,
    }
}

fn version_of(event: &Event) -> Option<u64> {
    match event.what {
        What::Wrote { version, .. } | What::Read { version, .. } => Some(version),
        What::Perhaps { .. } => None,
    }
}

/// No operation comes before one that ended before it began.
fn check_time(events: &[&Event], writes: &BTreeMap<u64, &Event>) -> Result<(), String> {
    let mut by_begin: Vec<&&Event> = events.iter().filter(|event| version_of(event).is_some()).collect();
    let mut by_end = by_begin.clone();
    by_begin.sort_by_key(|event| event.begun);
    by_end.sort_by_key(|event| event.ended);
    let (mut ended, mut newest) = (by_end.into_iter().peekable(), 0);
    for event in by_begin {
        while let Some(before) = ended.next_if(|before| before.ended < event.begun) {
            newest = newest.max(version_of(before).unwrap_or_default());
        }
        let version = version_of(event).unwrap_or_default();
        let stale = match event.what {
            What::Read { .. } => version < newest,
            _ => version <= newest,
        };
        if stale {
            return Err(format!("version {version} came after version {newest} had been answered"));
        }
        if writes.get(&version).is_some_and(|write| write.begun > event.ended) {
            return Err(format!("version {version} was seen before it was asked for"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Made {
        zero: Instant,
        events: Vec<Event>,
    }

    fn state(n: i64) -> State {
        State::from([("n".to_owned(), n)])
    }

    impl Made {
        fn new() -> Self {
            Self { zero: Instant::now(), events: Vec::new() }
        }

        fn event(mut self, begun: u64, ended: u64, what: What) -> Self {
            let at = |ms| self.zero + Duration::from_millis(ms);
            let (begun, ended) = (at(begun), at(ended));
            self.events.push(Event { object: 0, begun, ended, what });
            self
        }

        fn add(self, begun: u64, ended: u64, version: u64) -> Self {
            self.event(begun, ended, What::Wrote { version, effect: Effect::Add("n".into(), 1) })
        }

        fn read(self, begun: u64, ended: u64, version: u64, n: i64) -> Self {
            self.event(begun, ended, What::Read { version, state: state(n) })
        }

        fn perhaps(self, begun: u64, ended: u64) -> Self {
            self.event(begun, ended, What::Perhaps { effect: Effect::Add("n".into(), 1) })
        }

        #[track_caller]
        fn fits(self) {
            assert_eq!(check(&state(0), &self.events), Ok(()));
        }

        #[track_caller]
        fn wrong(self, words: &str) {
            let wrong = check(&state(0), &self.events).unwrap_err();
            assert!(wrong.contains(words), "{wrong}");
        }
    }

    #[test]
    fn good_histories_are_taken_for_bad_ones() {
        Made::new().fits();
        Made::new().add(0, 5, 2).add(1, 4, 3).read(2, 3, 1, 0).read(6, 7, 3, 2).fits();
        Made::new().add(0, 9, 3).add(1, 2, 2).read(3, 4, 2, 1).fits();
        Made::new().perhaps(0, 1).read(2, 3, 1, 0).fits();
        Made::new().perhaps(0, 1).read(2, 3, 2, 1).add(4, 5, 3).fits();
    }

    #[test]
    fn bad_histories_are_taken_for_good_ones() {
        Made::new().add(0, 1, 2).add(2, 3, 2).wrong("made twice");
        Made::new().add(0, 1, 3).wrong("made by nobody");
        Made::new().add(0, 1, 2).read(2, 3, 1, 0).wrong("came after version 2");
        Made::new().add(0, 1, 3).add(2, 3, 2).wrong("came after version 3");
        Made::new().add(0, 1, 2).read(2, 3, 2, 2).wrong("was read at version 2");
        Made::new().read(0, 1, 2, 1).add(2, 3, 2).wrong("before it was asked for");
        Made::new().read(0, 1, 2, 1).read(2, 3, 1, 0).add(0, 5, 2).wrong("came after version 2");
        Made::new().perhaps(0, 1).read(2, 3, 2, 5).wrong("made by nobody");
        Made::new().perhaps(0, 1).add(2, 3, 2).add(4, 5, 4).read(6, 7, 4, 2).wrong("was read at version 4");
    }
}
