//! Policies that are swapped while the host serves: no request fails, and no decision mixes two generations.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ostrakon_client::{ConditionalWrite, Operation, Reply, ShardKey};
use ostrakon_policy::shipped;
use ostrakon_policy::testing::Recipe;
use ostrakon_wire::{Generation, Generations, PolicyKind};
use serde_json::json;

use crate::harness::{
    Folder, Host, Raw, Stream, component_file, info, object, prediction_of, read, shard_key_of, structured, target,
    until, version,
};

const CLIENTS: u64 = 5;
const ROUNDS: u64 = 150;
/// What the keys of each shard-key component begin with.
const MARKS: [u16; 4] = [0x1111, 0x5555, 0x9999, 0xdddd];

/// The newest generation of each slot that one connection was told of.
#[derive(Default)]
struct Newest(Generations);

impl Newest {
    fn told(&mut self, of: Generations) {
        let hold = |newest: &mut Option<Generation>, told: Option<Generation>| {
            if told.is_some() {
                assert!(told >= *newest, "{told:?} after {newest:?}");
                *newest = told;
            }
        };
        hold(&mut self.0.shard_key, of.shard_key);
        hold(&mut self.0.prediction, of.prediction);
        hold(&mut self.0.reconciliation, of.reconciliation);
    }
}

/// A key, and the generation that is said to have made it.
type Placed = (Generation, ShardKey);

/// Creates, reads and changes objects until told to stop; every key that a policy made. Any error is a failure.
async fn load(mut stream: Stream, number: u64, stop: Arc<AtomicBool>, asked: Arc<AtomicU64>) -> Vec<Placed> {
    let (mut placed, mut newest) = (Vec::new(), Newest::default());
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let object = object("swap", format!("{number}-{n}"));
        let write = |new_version| {
            Operation::ConditionalWrite(ConditionalWrite {
                target: target(&object),
                new_version: version(new_version),
                payload: structured(&json!({ "n": n })),
                action_id: None,
            })
        };
        let would = Operation::GetShardKey(target(&object));
        for operation in [would, write(1), read(&object), write(2)] {
            let creates = matches!(&operation, Operation::ConditionalWrite(write) if write.new_version == version(1));
            let reply = stream.ask(operation).await.unwrap_or_else(|error| panic!("{object}: {error}"));
            let generations = reply.decided().generations;
            newest.told(generations);
            match reply {
                Reply::ShardKey(would) => placed.push((generations.shard_key.unwrap(), would.shard_key)),
                Reply::Committed(done) => {
                    assert!(generations.prediction.is_some(), "nobody foresaw a conditional write");
                    assert_eq!(generations.shard_key.is_some(), creates);
                    placed.extend(generations.shard_key.map(|generation| (generation, done.shard_key)));
                }
                Reply::Object(_) => {}
                other => panic!("{other:?}"),
            }
            asked.fetch_add(1, Ordering::Relaxed);
        }
    }
    placed
}

/// Puts every component into its slot in turn; the mark of each generation of the shard-key slot.
async fn swap_all(host: &Host, files: &Files, asked: &AtomicU64) -> BTreeMap<Generation, u16> {
    let mut marks = BTreeMap::from([(Generation::FIRST, MARKS[0])]);
    for round in 1..=ROUNDS {
        let which = round as usize % MARKS.len();
        let generation = host.swap("shard-key", &files.shard_key[which]);
        assert_eq!(generation, round + 1);
        marks.insert(Generation::new(generation), MARKS[which]);
        let generation = host.swap("prediction", &files.prediction[round as usize % files.prediction.len()]);
        assert_eq!(generation, round + 1);
        if round % 10 == 0 {
            host.swap("reconciliation", &files.reconciliation[(round / 10) as usize % files.reconciliation.len()]);
        }
        // Every generation is to have decided something.
        let before = asked.load(Ordering::Relaxed);
        until("requests between two swaps", || (asked.load(Ordering::Relaxed) >= before + 8).then_some(())).await;
    }
    marks
}

struct Files {
    shard_key: Vec<PathBuf>,
    prediction: Vec<PathBuf>,
    reconciliation: Vec<PathBuf>,
}

impl Files {
    fn of(folder: &Folder) -> Self {
        let file = |name: String, bytes: &[u8]| component_file(&folder.beside(""), &name, bytes);
        let shard_key = MARKS.map(|mark| file(format!("shard-key-{mark:x}"), &shard_key_of(mark)));
        let sure = [0, 250_000, 1_000_000].map(|ppm| file(format!("prediction-{ppm}"), &prediction_of(ppm)));
        let kind = PolicyKind::Reconciliation;
        let reconciliation = [
            file("reconciliation-rerun".into(), &Recipe::new(kind).build()),
            file("reconciliation-shipped".into(), shipped(kind).bytes),
        ];
        Self { shard_key: shard_key.into(), prediction: sure.into(), reconciliation: reconciliation.into() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_under_load_fails_a_request_or_mixes_two_generations() {
    let folder = Folder::new();
    let files = Files::of(&folder);
    let host = folder.serve_with(&["--policy", &format!("shard-key={}", files.shard_key[0].display())]);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut loading = Vec::new();
    for number in 0..CLIENTS {
        let (raw, stream) = Raw::greet(&host).await;
        let work = load(stream, number, Arc::clone(&stop), Arc::clone(&asked));
        loading.push(tokio::spawn(async move { (work.await, raw).0 }));
    }
    let marks = swap_all(&host, &files, &asked).await;
    stop.store(true, Ordering::Relaxed);
    let (mut decided, mut seen) = (0, std::collections::BTreeSet::new());
    for loading in loading {
        for (generation, key) in loading.await.unwrap() {
            let mark = marks[&generation];
            assert_eq!(key.get() >> 48, u64::from(mark), "generation {generation}");
            seen.insert(generation);
            decided += 1;
        }
    }
    println!("{} requests, {decided} keys of {} generations", asked.load(Ordering::Relaxed), seen.len());
    assert!(seen.len() as u64 > ROUNDS / 2, "most generations decided nothing");
    let facts = info(&host.client().await).await;
    assert_eq!(facts["policies"]["shard-key"]["generation"], ROUNDS + 1);
    assert_eq!(facts["policies"]["reconciliation"]["generation"], ROUNDS / 10 + 1);
    assert_eq!((&facts["shard-key-faults"], &facts["predictions"]["faults"]), (&json!(0), &json!(0)));
    hold_reachable(&host).await;
}

/// A key that is recorded stays what it was: every object is found, whoever decides now.
async fn hold_reachable(host: &Host) {
    let client = host.client().await;
    for number in 0..CLIENTS {
        let object = object("swap", format!("{number}-0"));
        let placed = client.shard_key(&object).await.unwrap();
        assert!(placed.recorded && placed.decided.generations.shard_key.is_none());
        let read = client.read(&object).await.unwrap();
        assert_eq!(read.shard_key, placed.shard_key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_refused_takes_a_slot() {
    let folder = Folder::new();
    let host = folder.serve();
    let good = component_file(&folder.beside(""), "good", &shard_key_of(7));
    let bad = component_file(&folder.beside(""), "bad", b"\0asm nothing");
    for line in [
        json!({ "swap": "shard-key", "file": bad }),
        json!({ "swap": "prediction", "file": good }),
        json!({ "swap": "taste", "file": good }),
        json!({ "swap": "shard-key", "file": "/no/such/file" }),
        json!({ "swop": "shard-key" }),
    ] {
        let answer = host.control(&line);
        assert!(answer["error"].is_string(), "{line}: {answer}");
    }
    let client = host.client().await;
    let would = client.shard_key(&object("swap", "refused")).await.unwrap();
    assert_eq!(would.decided.generations.shard_key, Some(Generation::FIRST));
    assert_eq!(host.swap("shard-key", &good), 2);
    let would = client.shard_key(&object("swap", "refused")).await.unwrap();
    assert_eq!((would.decided.generations.shard_key, would.shard_key.get() >> 48), (Some(Generation::new(2)), 7));
}
