//! What must hold of a policy, tried on its component in the host's own engine.
//!
//! Every property is drawn from a seed, so the same component gives the same report on every machine, but for times.

mod answers;
mod asker;
mod fixtures;
mod idempotence;
mod order;
mod spread;

use std::time::{Duration, Instant};

use ostrakon_policy::{EngineError, Limits, LoadError, PolicyEngine};
use ostrakon_wire::PolicyKind;
use serde_json::{Map, Value};

use crate::codec;
use crate::draw::Draws;
use crate::fixture::{Difference, Fixture, FixtureError, plain_or_same};
use crate::input;

pub(crate) use asker::Asker;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// The answers are those that files expect.
    Fixtures,
    /// Every question has a usable answer.
    Answers,
    /// A reused instance answers what a fresh one does.
    Determinism,
    /// Clients spread over shards as chance would have it.
    Spread,
    /// Inside a client and type, keys follow the time.
    Order,
    /// What is judged again after its change was made changes nothing more.
    Idempotence,
    /// No call runs into its deadline.
    Time,
}

impl Property {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 7] =
        [Self::Fixtures, Self::Answers, Self::Determinism, Self::Spread, Self::Order, Self::Idempotence, Self::Time];

    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fixtures => "fixtures",
            Self::Answers => "answers",
            Self::Determinism => "determinism",
            Self::Spread => "spread",
            Self::Order => "order",
            Self::Idempotence => "idempotence",
            Self::Time => "time",
        }
    }

    /// The property of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|property| property.name() == name)
    }

    /// Whether policies of this kind are held to it.
    fn is_of(self, kind: PolicyKind) -> bool {
        match self {
            Self::Spread | Self::Order => kind == PolicyKind::ShardKey,
            Self::Idempotence => kind == PolicyKind::Reconciliation,
            _ => true,
        }
    }
}

/// How a property came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// It was not looked at.
    Skipped,
}

impl Verdict {
    /// Its name, in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skipped => "skipped",
        }
    }
}

/// One property of one policy.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which.
    pub property: Property,
    /// How it came out.
    pub verdict: Verdict,
    /// For people: the figures in a sentence.
    pub words: String,
    /// The figures.
    pub figures: Map<String, Value>,
    /// A call for which it does not hold, as a fixture has it, and what was wrong with it.
    pub example: Option<Example>,
}

/// A call that shows what is wrong.
#[derive(Debug, Clone)]
pub struct Example {
    /// The call: `function` and `arguments`.
    pub call: Value,
    /// What was wrong.
    pub wrong: String,
}

impl Outcome {
    fn new(property: Property, holds: bool, words: String, figures: Value) -> Self {
        let verdict = if holds { Verdict::Pass } else { Verdict::Fail };
        let figures = match figures {
            Value::Object(figures) => figures,
            _ => Map::new(),
        };
        Self { property, verdict, words, figures, example: None }
    }

    fn skipped(property: Property, words: &str) -> Self {
        let words = words.to_owned();
        Self { property, verdict: Verdict::Skipped, words, figures: Map::new(), example: None }
    }

    fn with(self, example: Option<Example>) -> Self {
        Self { example, ..self }
    }
}

/// What to try.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The settings that the policy is tried with, beside those of the fixtures: the text of a JSON object.
    pub settings: &'a str,
    /// The fixtures.
    pub fixtures: Vec<Fixture>,
    /// Whether fixtures take the answers found as those expected.
    pub record: bool,
    /// What not to look at.
    pub skip: Vec<Property>,
    /// What questions are drawn from.
    pub seed: u64,
    /// How many questions are drawn for determinism.
    pub inputs: usize,
}

/// All that was found out.
#[derive(Debug)]
pub struct Report {
    /// The kind.
    pub kind: PolicyKind,
    /// The name that the policy gives itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// How long it took to compile and to try once.
    pub load: Duration,
    /// Each property that policies of the kind are held to.
    pub outcomes: Vec<Outcome>,
    /// Answers that are not those of the fixtures.
    pub differences: Vec<Difference>,
}

impl Report {
    /// Whether all holds that was looked at.
    pub fn passed(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.verdict != Verdict::Fail)
    }
}

/// Why a policy could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Components cannot be run here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A host would refuse it.
    #[error("a host would refuse the component: {0}")]
    Refused(#[from] LoadError),
    /// A fixture cannot be read, asked or written.
    #[error(transparent)]
    Fixture(#[from] FixtureError),
}

/// Tries a policy.
///
/// # Errors
/// [`CheckError`] where it cannot be tried at all; what does not hold stands in the report.
pub fn check(component: &[u8], kind: PolicyKind, mut plan: Plan<'_>) -> Result<Report, CheckError> {
    let engine = PolicyEngine::new(Limits::default())?;
    let with_fixtures = !plan.skip.contains(&Property::Fixtures);
    let begun = Instant::now();
    // Large components take seconds to compile, and the fixtures' runner compiles its own.
    let (loaded, load, asked) = std::thread::scope(|scope| {
        let asking = with_fixtures.then(|| scope.spawn(|| fixtures::check(component, &mut plan.fixtures, plan.record)));
        let loaded = engine.load(kind, component, plan.settings);
        let load = begun.elapsed();
        (loaded, load, asking.map(|asking| asking.join().expect("asking fixtures answers errors and does not panic")))
    });
    let loaded = loaded?;
    let (fixtures, differences) = asked.transpose()?.unzip();
    let mut outcomes: Vec<_> = fixtures.into_iter().collect();
    let mut asker = Asker::new(&loaded, engine.limits(), kind);
    outcomes.extend(tried(&mut asker, kind, &plan));
    for property in Property::ALL.into_iter().filter(|property| property.is_of(kind)) {
        if plan.skip.contains(&property) {
            outcomes.retain(|outcome| outcome.property != property);
            outcomes.push(Outcome::skipped(property, "not looked at, as asked for"));
        }
    }
    outcomes.sort_by_key(|outcome| Property::ALL.iter().position(|property| *property == outcome.property));
    let (name, version, digest) = (loaded.name().into(), loaded.version().into(), loaded.digest().into());
    Ok(Report { kind, name, version, digest, load, outcomes, differences: differences.unwrap_or_default() })
}

/// The properties that the host's engine shows. Each draws from the seed anew, whatever else is looked at.
fn tried(asker: &mut Asker<'_>, kind: PolicyKind, plan: &Plan<'_>) -> Vec<Outcome> {
    let wanted = |property: Property| property.is_of(kind) && !plan.skip.contains(&property);
    let draws = || Draws::new(plan.seed);
    let mut questions = told(&plan.fixtures);
    let from_fixtures = questions.len();
    questions.extend(input::questions(kind, &mut draws(), plan.inputs));
    // Whether it answers, and how fast, is seen on the same questions.
    let mut outcomes = vec![answers::determinism(asker, &questions)];
    if wanted(Property::Spread) {
        outcomes.push(spread::check(asker, &mut draws()));
    }
    if wanted(Property::Order) {
        outcomes.push(order::check(asker, &mut draws()));
    }
    if wanted(Property::Idempotence) {
        outcomes.push(idempotence::check(asker, &questions[..from_fixtures], &mut draws()));
    }
    outcomes.push(answers::usable(asker));
    outcomes.push(answers::time(asker));
    outcomes
}

/// The fixtures' questions: what their author thought of goes where chance may not.
fn told(fixtures: &[Fixture]) -> Vec<ostrakon_core::policy::Question> {
    let calls = fixtures.iter().flat_map(|fixture| &fixture.calls);
    let question = |call: &crate::fixture::Call| {
        let arguments: Vec<_> = call.arguments.iter().map(plain_or_same).collect();
        codec::question(&call.function, &arguments)
    };
    calls.filter_map(question).collect()
}
