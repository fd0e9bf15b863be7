//! Two policies on the same questions: how often they differ, in which way, and what would come of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ostrakon_core::keys;
use ostrakon_core::policy::{
    Answer, Board, Forecast, Met, Outlook, Placement, Placing, PolicyFault, Question, Verdict,
};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{PolicyKind, ShardId, ShardKey};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::facts::{number, text};
use crate::latency::Latencies;

/// Differing answers that are kept to be shown.
const EXAMPLES_MAX: usize = 8;
/// Objects that are kept to tell which share of them would live elsewhere.
const OBJECTS_MAX: usize = 16 << 10;
/// Ways of differing that are counted apart.
const WAYS_MAX: usize = 64;

/// Which shard holds a key now.
pub type ShardOf = Arc<dyn Fn(ShardKey) -> ShardId + Send + Sync>;

/// What an answer was, and how long it took where that is known.
pub(crate) struct Answered {
    pub(crate) result: Result<Answer, PolicyFault>,
    pub(crate) took: Option<Duration>,
}

/// What was found so far.
pub(crate) struct Comparison {
    kind: PolicyKind,
    compared: u64,
    differ: u64,
    active_faults: u64,
    candidate_faults: u64,
    ways: BTreeMap<String, u64>,
    examples: Vec<Example>,
    active_took: Latencies,
    candidate_took: Latencies,
    boards: [Board; 2],
    moves: Moves,
}

struct Example {
    question: Question,
    active: String,
    candidate: String,
}

/// What a shard-key candidate would move.
#[derive(Default)]
struct Moves {
    placements: Elsewhere,
    uses: Elsewhere,
    objects: Objects,
    now: BTreeMap<ShardId, u64>,
    then: BTreeMap<ShardId, u64>,
}

#[derive(Default, Clone, Copy)]
struct Elsewhere {
    seen: u64,
    elsewhere: u64,
}

impl Elsewhere {
    fn add(&mut self, moves: bool) {
        self.seen += 1;
        self.elsewhere += u64::from(moves);
    }

    fn facts(self) -> Value {
        let share = (self.elsewhere * 1_000_000).checked_div(self.seen).map_or(Value::Null, number);
        Value::Map(Map::from([
            ("seen".into(), number(self.seen)),
            ("elsewhere".into(), number(self.elsewhere)),
            ("elsewhere-ppm".into(), share),
        ]))
    }
}

/// A fair sample of the objects that were seen: those whose hashes are low enough.
#[derive(Default)]
struct Objects {
    /// How often the bound was halved.
    halved: u32,
    moves: HashMap<u64, bool>,
}

impl Objects {
    fn add(&mut self, object: u64, moves: bool) {
        if object > u64::MAX >> self.halved {
            return;
        }
        self.moves.insert(object, moves);
        while self.moves.len() > OBJECTS_MAX {
            self.halved += 1;
            let below = u64::MAX >> self.halved;
            self.moves.retain(|object, _| *object <= below);
        }
    }

    fn facts(&self) -> Value {
        let scaled = |count: usize| (count as u64) << self.halved;
        let elsewhere = self.moves.values().filter(|moves| **moves).count();
        Elsewhere { seen: scaled(self.moves.len()), elsewhere: scaled(elsewhere) }.facts()
    }
}

impl Comparison {
    pub(crate) fn new(kind: PolicyKind) -> Self {
        Self {
            kind,
            compared: 0,
            differ: 0,
            active_faults: 0,
            candidate_faults: 0,
            ways: BTreeMap::new(),
            examples: Vec::new(),
            active_took: Latencies::new(),
            candidate_took: Latencies::new(),
            boards: Default::default(),
            moves: Moves::default(),
        }
    }

    /// Answers of both to one question. `new`: the question came from a decision, and not from the use of an object.
    pub(crate) fn add(
        &mut self,
        question: &Question,
        active: &Answered,
        candidate: &Answered,
        met: Option<&Met>,
        new: bool,
        shard_of: Option<&ShardOf>,
    ) {
        self.compared += 1;
        for (took, into) in [(active.took, &self.active_took), (candidate.took, &self.candidate_took)] {
            if let Some(took) = took {
                into.add(took);
            }
        }
        self.active_faults += u64::from(active.result.is_err());
        self.candidate_faults += u64::from(candidate.result.is_err());
        if let (Question::Place(placing), Ok(Answer::Placement(now)), Ok(Answer::Placement(then))) =
            (question, &active.result, &candidate.result)
        {
            self.moves.add(placing, *now, *then, new, shard_of);
        }
        if let (Question::Predict(outlook), Some(met)) = (question, met) {
            for (board, answered) in self.boards.iter().zip([active, candidate]) {
                if let Ok(Answer::Forecast(forecast)) = &answered.result {
                    board.judge(forecast, outlook.known, met);
                }
            }
        }
        if let Some(way) = way(&active.result, &candidate.result) {
            self.differ += 1;
            if self.ways.len() < WAYS_MAX || self.ways.contains_key(&way) {
                *self.ways.entry(way).or_default() += 1;
            }
            if self.examples.len() < EXAMPLES_MAX {
                let [active, candidate] = [active, candidate].map(|it| shown(&it.result));
                self.examples.push(Example { question: question.clone(), active, candidate });
            }
        }
    }

    /// Answers that differ.
    pub(crate) fn differ(&self) -> u64 {
        self.differ
    }

    /// The candidate's faults.
    pub(crate) fn candidate_faults(&self) -> u64 {
        self.candidate_faults
    }

    pub(crate) fn facts(&self) -> Map {
        let faults = Map::from([
            ("active".into(), number(self.active_faults)),
            ("candidate".into(), number(self.candidate_faults)),
        ]);
        let latency = Map::from([
            ("active".into(), crate::facts::latency(&self.active_took.summary())),
            ("candidate".into(), crate::facts::latency(&self.candidate_took.summary())),
        ]);
        let ways = self.ways.iter().map(|(way, count)| (way.clone(), number(*count))).collect();
        let mut facts = Map::from([
            ("compared".into(), number(self.compared)),
            ("differ".into(), number(self.differ)),
            ("ways".into(), Value::Map(ways)),
            ("faults".into(), Value::Map(faults)),
            ("latency".into(), Value::Map(latency)),
            ("examples".into(), Value::Array(self.examples.iter().map(Example::facts).collect())),
        ]);
        match self.kind {
            PolicyKind::ShardKey => facts.extend([
                ("placements".into(), self.moves.placements.facts()),
                ("traffic".into(), self.moves.uses.facts()),
                ("objects".into(), self.moves.objects.facts()),
                ("shards".into(), self.moves.load()),
            ]),
            PolicyKind::Prediction => {
                let [active, candidate] = &self.boards;
                let boards = [("active".into(), active), ("candidate".into(), candidate)];
                let boards = boards.map(|(of, board)| (of, Value::Map(board.facts())));
                facts.insert("scoreboards".into(), Value::Map(Map::from(boards)));
            }
            PolicyKind::Reconciliation => {}
        }
        facts
    }
}

impl Moves {
    fn add(
        &mut self,
        placing: &Placing<Box<str>>,
        now: Placement,
        then: Placement,
        new: bool,
        shard_of: Option<&ShardOf>,
    ) {
        let [now, then] = [now, then].map(|placement| keys::fill(placement, &placing.name));
        let moves = match shard_of {
            Some(shard_of) => {
                let [now, then] = [now, then].map(|key| shard_of(key));
                *self.now.entry(now).or_default() += 1;
                *self.then.entry(then).or_default() += 1;
                now != then
            }
            None => now != then,
        };
        if new {
            self.placements.add(moves)
        } else {
            self.uses.add(moves)
        }
        let seed = xxh3_64_with_seed(placing.client.as_bytes(), xxh3_64(placing.data_type.as_bytes()));
        self.objects.add(xxh3_64_with_seed(placing.name.as_bytes(), seed), moves);
    }

    /// The load of each shard: now, and as it would be.
    fn load(&self) -> Value {
        let mut shards: Vec<_> = self.now.keys().chain(self.then.keys()).collect();
        shards.sort_unstable();
        shards.dedup();
        let of = |load: &BTreeMap<ShardId, u64>, shard: &ShardId| number(load.get(shard).copied().unwrap_or(0));
        let line = |shard: &ShardId| {
            Value::Map(Map::from([
                ("shard".into(), number(shard.get().into())),
                ("now".into(), of(&self.now, shard)),
                ("then".into(), of(&self.then, shard)),
            ]))
        };
        Value::Array(shards.into_iter().map(line).collect())
    }
}

impl Example {
    fn facts(&self) -> Value {
        let mut facts = Map::from([
            ("question".into(), text(subject(&self.question))),
            ("active".into(), text(self.active.clone())),
            ("candidate".into(), text(self.candidate.clone())),
        ]);
        facts.insert("function".into(), text(self.question.function()));
        Value::Map(facts)
    }
}

/// What a question is about, in a line.
pub(crate) fn subject(question: &Question) -> String {
    match question {
        Question::Place(Placing { client, data_type, name, timestamp_ms, current, .. }) => {
            format!("{client} {data_type} {name} at {timestamp_ms}, current {current:#018x}")
        }
        Question::Predict(Outlook { known, observed, observed_age_us, queued, .. }) => {
            format!("known {known}, observed {observed} ({observed_age_us} us ago), queued {queued}")
        }
        Question::Judge { brief, .. } | Question::Reconcile { brief, .. } => format!(
            "{} of {} {} {}, known {}, latest {}",
            brief.kind.name(),
            brief.client,
            brief.data_type,
            brief.name,
            brief.known,
            brief.latest
        ),
    }
}

/// An answer in a line.
pub(crate) fn shown(result: &Result<Answer, PolicyFault>) -> String {
    match result {
        Ok(Answer::Placement(Placement { key, bits })) => format!("{key:#018x}/{bits}"),
        Ok(Answer::Forecast(Forecast { version, confidence_ppm, route })) => {
            format!("{} {version} ({confidence_ppm} ppm)", route.name())
        }
        Ok(Answer::Verdict(verdict)) => match verdict {
            Verdict::Reject(words) | Verdict::Escalate(words) => format!("{}: {words}", verdict.name()),
            Verdict::RetryAfterMs(ms) => format!("{} {ms}", verdict.name()),
            _ => verdict.name().to_owned(),
        },
        Err(fault) => fault.to_string(),
    }
}

/// In which way answers differ; nothing where they do not.
pub(crate) fn way(active: &Result<Answer, PolicyFault>, candidate: &Result<Answer, PolicyFault>) -> Option<String> {
    if active == candidate {
        return None;
    }
    Some(match (active, candidate) {
        (Ok(Answer::Placement(active)), Ok(Answer::Placement(candidate))) => {
            if active.bits == candidate.bits {
                "another key".into()
            } else {
                "another number of bits".into()
            }
        }
        (Ok(Answer::Forecast(active)), Ok(Answer::Forecast(candidate))) => {
            if active.route != candidate.route {
                format!("{} -> {}", active.route.name(), candidate.route.name())
            } else if active.version != candidate.version {
                "another version".into()
            } else {
                "another confidence".into()
            }
        }
        (Ok(Answer::Verdict(active)), Ok(Answer::Verdict(candidate))) => {
            if active.name() == candidate.name() {
                format!("{} of another content", active.name())
            } else {
                format!("{} -> {}", active.name(), candidate.name())
            }
        }
        (active, candidate) => format!("{} -> {}", short(active), short(candidate)),
    })
}

fn short(result: &Result<Answer, PolicyFault>) -> &'static str {
    match result {
        Ok(_) => "an answer",
        Err(fault) => fault.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement(key: u64) -> Answered {
        Answered { result: Ok(Answer::Placement(Placement { key, bits: 16 })), took: None }
    }

    fn place(name: &str) -> Question {
        let heat = Default::default();
        let placing = Placing { client: "acme", data_type: "volume", name, timestamp_ms: 1, current: 0, heat };
        Question::Place(placing.kept())
    }

    #[test]
    fn a_sample_of_objects_is_no_longer_fair_when_it_is_full() {
        let shard_of: ShardOf = Arc::new(|key| ShardId::new((key.get() >> 63) as u32));
        let mut comparison = Comparison::new(PolicyKind::ShardKey);
        for n in 0..100_000_u64 {
            // A quarter moves.
            let then = if n % 4 == 0 { 1 << 63 } else { 0 };
            let question = place(&format!("name-{n}"));
            comparison.add(&question, &placement(0), &placement(then), None, true, Some(&shard_of));
        }
        assert!(comparison.moves.objects.moves.len() <= OBJECTS_MAX);
        let facts = comparison.facts();
        let Value::Map(objects) = &facts["objects"] else { panic!("a map") };
        let (Value::Integer(seen), Value::Integer(ppm)) = (&objects["seen"], &objects["elsewhere-ppm"]) else {
            panic!("numbers")
        };
        assert!((*seen - 100_000).abs() < 3_000 && (*ppm - 250_000).abs() < 15_000, "{objects:?}");
        assert_eq!((comparison.compared, comparison.differ), (100_000, 25_000));
        assert_eq!(comparison.examples.len(), EXAMPLES_MAX);
        assert_eq!(comparison.moves.now, BTreeMap::from([(ShardId::new(0), 100_000)]));
        assert_eq!(comparison.moves.then, BTreeMap::from([(ShardId::new(0), 75_000), (ShardId::new(1), 25_000)]));
    }

    #[test]
    fn the_same_answers_differ() {
        assert_eq!(way(&placement(1).result, &placement(1).result), None);
        assert_eq!(way(&placement(1).result, &placement(2).result).as_deref(), Some("another key"));
        let fault = Err(PolicyFault::Impure);
        assert_eq!(way(&placement(1).result, &fault).as_deref(), Some("an answer -> impure"));
        let [reject, rerun] = [Verdict::Reject("no".into()), Verdict::Rerun].map(|it| Ok(Answer::Verdict(it)));
        assert_eq!(way(&reject, &rerun).as_deref(), Some("reject -> rerun"));
    }
}
