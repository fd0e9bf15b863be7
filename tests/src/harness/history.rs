//! Histories of concurrent clients, and whether one order of all operations explains them.
//!
//! Answers carry versions, so the order of an object's operations is told, and only has to be held: each version is made
//! once and on the one before it; what is read at a version is what its actions made; and no operation that ended before
//! another began comes after it. An action whose outcome was lost is asked for again under its id, and its operation lasts
//! until that is answered; one that nobody can ask for any more may or may not have been done, and is searched for.
//!
//! A transaction is one operation on each of its objects. That they are one is held where all objects were read at one place
//! of the log: see [`check_together`].

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
    /// This stood there at some time.
    Past { version: u64, state: State },
}

/// Versions that one transaction has made, by object.
pub(crate) type Together = Vec<(usize, u64)>;

/// Holds that every transaction was done whole: wherever all objects were read at one place, all of it was there or nothing
/// was. `places`: the version of every object.
pub(crate) fn check_together(transactions: &[Together], places: &[Vec<u64>]) -> Result<(), String> {
    for place in places {
        for transaction in transactions {
            let there = transaction.iter().filter(|(object, version)| place[*object] >= *version).count();
            if there != 0 && there != transaction.len() {
                return Err(format!("{place:?} shows {there} of the versions {transaction:?} of one transaction"));
            }
        }
    }
    Ok(())
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
    let mut reads: BTreeMap<u64, Vec<&State>> = BTreeMap::new();
    for event in events {
        if let What::Read { version, state } | What::Past { version, state } = &event.what {
            reads.entry(*version).or_default().push(state);
        }
    }
    let last = events.iter().filter_map(|event| version_of(event)).max().unwrap_or(1);
    // Whoever saw a version or a later one must have ended after it was asked for.
    let mut seen_by = BTreeMap::new();
    for event in events {
        if let Some(version) = version_of(event) {
            let ended = seen_by.entry(version).or_insert(event.ended);
            *ended = (*ended).min(event.ended);
        }
    }
    let open = events.iter().filter_map(|event| perhaps(event)).collect();
    let mut search = Search { events, reads, last, seen_by, open, steps: 0, wrong: None };
    match search.from(1, first.clone(), &mut writes) {
        true => Ok(()),
        false => Err(search.wrong.map_or_else(|| "no order explains it".to_owned(), |(_, wrong)| wrong)),
    }
}

/// Looks for those of the operations with an unknown outcome that were done, and when.
struct Search<'a> {
    events: &'a [&'a Event],
    reads: BTreeMap<u64, Vec<&'a State>>,
    last: u64,
    /// When the first ended that saw a version.
    seen_by: BTreeMap<u64, Instant>,
    /// Those that are not done yet.
    open: Vec<(&'a Event, &'a Effect)>,
    steps: u64,
    /// What did not fit on the way that went farthest, and how far that was.
    wrong: Option<(u64, String)>,
}

/// Ways that are tried before a history is given up on.
const STEPS_MAX: u64 = 2_000_000;

impl<'a> Search<'a> {
    /// Whether the versions behind this one, which holds `state`, can be explained.
    fn from(&mut self, mut version: u64, mut state: State, writes: &mut BTreeMap<u64, &'a Event>) -> bool {
        loop {
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "too many operations have an unknown outcome to tell");
            if let Some(read) = self.reads.get(&version).and_then(|all| all.iter().find(|read| ***read != state)) {
                return self.fails(version, format!("{read:?} was read at version {version}, which holds {state:?}"));
            }
            if version == self.last {
                return match check_time(self.events, writes) {
                    Ok(()) => true,
                    Err(wrong) => self.fails(version, wrong),
                };
            }
            version += 1;
            let Some(What::Wrote { effect, .. }) = writes.get(&version).map(|event| &event.what) else { break };
            state = effect.apply(&state);
        }
        // A version that nobody was told of: one of those that may have been done.
        let mut tried: Vec<(&Effect, Instant)> = Vec::new();
        for at in 0..self.open.len() {
            let (event, effect) = self.open[at];
            let too_late = self.seen_by.range(version..).any(|(_, ended)| event.begun > *ended);
            // One that does the same and began before was tried in its place.
            let same = tried.iter().any(|(other, begun)| *other == effect && *begun <= event.begun);
            if too_late || same {
                continue;
            }
            tried.push((effect, event.begun));
            self.open.remove(at);
            writes.insert(version, event);
            if self.from(version, effect.apply(&state), writes) {
                return true;
            }
            writes.remove(&version);
            self.open.insert(at, (event, effect));
        }
        self.fails(version, format!("version {version} was made by nobody"))
    }

    fn fails(&mut self, version: u64, wrong: String) -> bool {
        if self.wrong.as_ref().is_none_or(|(farthest, _)| *farthest < version) {
            self.wrong = Some((version, wrong));
        }
        false
    }
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
        // One that looks back says nothing of when it was.
        What::Perhaps { .. } | What::Past { .. } => None,
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

        fn perhaps_sets(self, begun: u64, ended: u64, n: i64) -> Self {
            self.event(begun, ended, What::Perhaps { effect: Effect::Put(state(n)) })
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
    fn half_a_transaction_is_taken_for_a_whole_one() {
        let transactions = [vec![(0, 2), (1, 5)], vec![(1, 6), (2, 3)]];
        let of = |places: &[[u64; 3]]| {
            let places: Vec<_> = places.iter().map(|place| place.to_vec()).collect();
            check_together(&transactions, &places)
        };
        assert_eq!(of(&[[1, 4, 1], [2, 5, 2], [2, 6, 3], [9, 9, 9]]), Ok(()));
        assert!(of(&[[2, 4, 1]]).is_err() && of(&[[1, 5, 1]]).is_err() && of(&[[2, 6, 2]]).is_err());
    }

    #[test]
    fn what_once_was_is_held_to_another_time_or_not_at_all() {
        let past = |version, n| What::Past { version, state: state(n) };
        Made::new().add(0, 1, 2).add(2, 3, 3).event(8, 9, past(1, 0)).event(8, 9, past(2, 1)).fits();
        Made::new().add(0, 1, 2).event(8, 9, past(2, 7)).wrong("was read at version 2");
    }

    #[test]
    fn good_histories_are_taken_for_bad_ones() {
        Made::new().fits();
        Made::new().add(0, 5, 2).add(1, 4, 3).read(2, 3, 1, 0).read(6, 7, 3, 2).fits();
        Made::new().add(0, 9, 3).add(1, 2, 2).read(3, 4, 2, 1).fits();
        Made::new().perhaps(0, 1).read(2, 3, 1, 0).fits();
        Made::new().perhaps(0, 1).read(2, 3, 2, 1).add(4, 5, 3).fits();
        // The first that fits is not the one: only the other way round is 7 left.
        Made::new().perhaps_sets(0, 1, 7).perhaps_sets(0, 1, 9).read(8, 9, 3, 7).fits();
        Made::new().perhaps_sets(0, 1, 9).perhaps_sets(0, 1, 7).read(8, 9, 3, 7).fits();
        Made::new().perhaps_sets(0, 1, 7).perhaps(0, 1).add(2, 3, 4).read(8, 9, 4, 8).fits();
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
        Made::new().perhaps(0, 1).read(2, 3, 2, 5).wrong("was read at version 2");
        Made::new().perhaps(0, 1).add(2, 3, 2).add(4, 5, 4).read(6, 7, 4, 2).wrong("was read at version 4");
        Made::new().perhaps(0, 1).read(2, 3, 3, 2).wrong("made by nobody");
        Made::new().read(0, 1, 2, 1).perhaps(2, 3).wrong("made by nobody");
        Made::new().perhaps_sets(0, 1, 7).perhaps_sets(0, 1, 9).read(8, 9, 3, 5).wrong("was read at version 3");
    }
}
