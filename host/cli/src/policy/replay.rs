//! `policy replay`: decisions that were made before, through a candidate, away from any host.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use ostrakon_cloudtrail::{ObjectRef, Options, load, map};
use ostrakon_core::ShardMap;
use ostrakon_core::policy::{Answer, Heat, Placing, PolicyFault, Question};
use ostrakon_policy::{Limits, Loaded, PolicyEngine, Recorded, ShardOf, answer_all, read_decisions, replay, shipped};
use ostrakon_wire::bounds::SHARDS_MAX;
use ostrakon_wire::value::Value;
use ostrakon_wire::{Generation, PolicyKind};

use super::tell;
use crate::failure::Failure;
use crate::policies::{kind_of, read_settings};

/// What to replay.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ReplayArgs {
    /// Recorded decisions (files, or a data folder's policies/decisions), or CloudTrail files or folders
    /// [default: what the host of --data-dir has recorded]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// The component to try
    #[arg(long, value_name = "FILE")]
    candidate: PathBuf,

    /// Its kind: shard-key, prediction or reconciliation
    #[arg(long = "slot", value_name = "KIND", value_parser = kind_of)]
    kind: PolicyKind,

    /// Its settings: a file with a JSON object
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// CloudTrail files hold no decisions: compare with what this component answers [default: the shipped policy]
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,

    /// Tell the load of so many shards that the keys are cut into
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u32).range(1..=i64::from(SHARDS_MAX)))]
    shards: u32,

    /// Folder of the host whose decisions are replayed
    #[arg(long, env = "OSTRAKON_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Tell everything in JSON, on one line
    #[arg(long)]
    pub(crate) json: bool,
}

const AFTER_HELP: &str = "\
A host records decisions when it is told to: ostrakon serve --record-decisions 1%

The candidate's calls are bounded by fuel in place of time: the same decisions get the same answers on every
machine, and `answers` is the digest of all of them. A share of the calls is repeated on fresh instances; a policy
whose answers depend on earlier calls is impure. Exit code 1: it was impure, or failed.

Examples:
  ostrakon policy replay --slot shard-key --candidate mine.wasm --data-dir /tmp/ostrakon-dev
  ostrakon policy replay --slot shard-key --candidate mine.wasm my-cloudtrail-folder/
  ostrakon policy replay --slot reconciliation --candidate mine.wasm 00000000000000000001.decisions --json";

pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let engine = PolicyEngine::deterministic(Limits::default());
    let engine = engine.map_err(|error| Failure::failed(format!("policies cannot be run here: {error}")))?;
    let settings = args.settings.as_deref().map(read_settings).transpose()?.unwrap_or_else(|| "{}".to_owned());
    let candidate = load_file(&engine, args.kind, &args.candidate, &settings)?;
    let decisions = decisions(args, &engine)?;
    if decisions.is_empty() {
        return Err(Failure::failed(format!("there are no {} decisions to replay", args.kind.name())));
    }
    let map = ShardMap::equal(args.shards, 1);
    let shard_of: ShardOf = std::sync::Arc::new(move |key| map.shard_of(key));
    let began = Instant::now();
    let replayed = replay(&candidate, &decisions, Some(&shard_of));
    let took = began.elapsed();
    let mut facts = replayed.facts.clone();
    let per_s = replayed.decisions as f64 / took.as_secs_f64();
    facts.extend([
        ("kind".into(), Value::Text(args.kind.name().into())),
        ("candidate".into(), Value::Text(candidate.digest().to_owned())),
        ("ms".into(), Value::Integer(took.as_millis() as i64)),
        ("decisions-per-s".into(), Value::Integer(per_s as i64)),
    ]);
    if args.json {
        tell::as_json(&facts)?;
    } else {
        tell::replayed(&facts)?;
    }
    match (replayed.impure, replayed.faults) {
        (0, 0) => Ok(()),
        (0, faults) => Err(Failure::failed(format!("the candidate failed {faults} times"))),
        (impure, _) => {
            Err(Failure::failed(format!("the candidate is not pure: {impure} answers depended on calls before them")))
        }
    }
}

fn load_file(engine: &PolicyEngine, kind: PolicyKind, file: &Path, settings: &str) -> Result<Loaded, Failure> {
    let refused = |why: String| Failure::refused(format!("{}: {why}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| refused(error.to_string()))?;
    engine.load(kind, &bytes, settings).map_err(|error| refused(error.to_string()))
}

/// The decisions of the paths: recorded ones as they are; of CloudTrail files what a baseline answers.
fn decisions(args: &ReplayArgs, engine: &PolicyEngine) -> Result<Vec<Recorded>, Failure> {
    let mut paths = args.paths.clone();
    if paths.is_empty() {
        let folder = args.data_dir.as_ref().filter(|folder| !folder.as_os_str().is_empty());
        let folder =
            folder.ok_or_else(|| Failure::usage("name recorded decisions, CloudTrail files, or --data-dir DIR"))?;
        paths.push(folder.join("policies/decisions"));
    }
    let (recorded, traces): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| holds_decisions(path));
    let mut all = Vec::new();
    for path in &recorded {
        all.extend(read_decisions(path).map_err(|error| Failure::failed(error.to_string()))?);
    }
    all.retain(|decision| is_of(args.kind, &decision.question));
    if !traces.is_empty() {
        all.extend(of_traces(args, engine, &traces)?);
    }
    Ok(all)
}

fn holds_decisions(path: &Path) -> bool {
    let is_file = |path: &Path| path.extension().is_some_and(|extension| extension == "decisions");
    let holds =
        |path: &Path| std::fs::read_dir(path).is_ok_and(|all| all.flatten().any(|entry| is_file(&entry.path())));
    is_file(path) || path.ends_with("policies/decisions") || holds(path)
}

fn is_of(kind: PolicyKind, question: &Question) -> bool {
    let of = match question {
        Question::Place(_) => PolicyKind::ShardKey,
        Question::Predict(_) => PolicyKind::Prediction,
        Question::Judge { .. } | Question::Reconcile { .. } => PolicyKind::Reconciliation,
    };
    of == kind
}

/// What a baseline answers where the objects of CloudTrail files should live, once for each event that is about one.
fn of_traces(args: &ReplayArgs, engine: &PolicyEngine, traces: &[PathBuf]) -> Result<Vec<Recorded>, Failure> {
    if args.kind != PolicyKind::ShardKey {
        return Err(Failure::usage(
            "CloudTrail files tell where objects are, and nothing of conflicts: --slot shard-key",
        ));
    }
    let baseline = match &args.baseline {
        Some(file) => load_file(engine, args.kind, file, "{}")?,
        None => engine
            .load(args.kind, shipped(args.kind).bytes, "{}")
            .map_err(|error| Failure::failed(error.to_string()))?,
    };
    let events = load(traces).map_err(|error| Failure::failed(error.to_string()))?;
    let plays = events.iter().map(|event| map(event, &Options::default()));
    let questions: Vec<Question> =
        plays.filter_map(|play| play.object().map(|object| question(object, play.unix_ms))).collect();
    let answers: Vec<Result<Answer, PolicyFault>> = answer_all(&baseline, questions.iter());
    let recorded = |(question, answer)| Recorded { question, generation: Generation::FIRST, answer };
    Ok(questions.into_iter().zip(answers).map(recorded).collect())
}

fn question(object: &ObjectRef, timestamp_ms: u64) -> Question {
    let ObjectRef { client, data_type, name } = object;
    let placing = Placing { client, data_type, name, timestamp_ms, current: 0, heat: Heat::default() };
    Question::Place(placing.kept())
}
