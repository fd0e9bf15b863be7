//! Traces of requests, as a collector has them, and what a collector that is no good may cost.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use ostrakon_client::{Action, Client, Expect, OnConflict, Outcome, Perform, TraceParent};
use serde_json::json;

use crate::harness::{Collector, Folder, Manner, attributes, object, run, structured, target, until, version, within};

const SPAN: u64 = 0xb7ad_6b71_6920_3331;

fn parent(trace: u128, flags: &str) -> TraceParent {
    format!("00-{trace:032x}-{SPAN:016x}-{flags}").parse().unwrap()
}

fn traced(client: &Client, trace: u128) -> Client {
    client.with_trace_parent(parent(trace, "01"))
}

/// The one span of that name.
#[track_caller]
fn the<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut named = spans.iter().filter(|span| span.name == name);
    let found = named.next().unwrap_or_else(|| panic!("no {name} in {spans:?}"));
    assert!(named.next().is_none(), "several {name} in {spans:?}");
    found
}

/// The trace, whole: its root, which the caller's span is the parent of, and its steps, which the root is the parent of.
#[track_caller]
fn whole(collector: &Collector, trace: u128, name: &str) -> (Span, Vec<Span>) {
    let mut spans = collector.spans_of(trace);
    let root = spans.iter().position(|span| span.name == name).unwrap_or_else(|| panic!("no {name}: {spans:?}"));
    let root = spans.remove(root);
    assert_eq!(root.parent_span_id, SPAN.to_be_bytes());
    for step in &spans {
        assert_eq!(step.parent_span_id, root.span_id, "{step:?}");
        let inside = root.start_time_unix_nano..=root.end_time_unix_nano;
        assert!(inside.contains(&step.start_time_unix_nano) && inside.contains(&step.end_time_unix_nano), "{step:?}");
    }
    (root, spans)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_does_not_tell_where_by_whom_and_which_way_a_request_was_decided() {
    let collector = Collector::start(Manner::Takes);
    let folder = Folder::new();
    let host = folder.serve_with(&["--otlp", &collector.url, "--otlp-sample", "0%"]);
    let client = host.client().await;
    let new = object("traces", "written");
    let made = traced(&client, 1).write(&new, version(1), structured(&json!({"a": 1, "b": 1}))).await.unwrap();
    client.merge(&new, structured(&json!({"a": 2})), Expect::Any).await.unwrap();
    let stale = Perform {
        target: target(&new),
        action: Action::Merge(structured(&json!({"b": 2}))),
        known: Some(version(1)),
        action_id: Some(Client::new_action_id()),
        on_conflict: OnConflict::Reconcile,
    };
    let Outcome::Committed(again) = traced(&client, 2).start(stale).await.unwrap() else { panic!() };
    traced(&client, 3).read(&new).await.unwrap();
    traced(&client, 4).write(&new, version(2), structured(&json!({}))).await.unwrap_err();
    client.with_trace_parent(parent(5, "00")).read(&new).await.unwrap();
    client.read(&new).await.unwrap();
    host.stop();

    let (root, steps) = whole(&collector, 1, "perform-conditional-write");
    let told = attributes(&root);
    let decided = &made.decided;
    assert_eq!(told["ostrakon.client"], "traces");
    assert_eq!(told["ostrakon.data_type"], "thing");
    assert_eq!(told["ostrakon.shard"], decided.shard.unwrap().get().to_string());
    assert_eq!(told["ostrakon.epoch"], decided.epoch.get().to_string());
    assert_eq!(told["ostrakon.revision"], made.revision.get().to_string());
    let generation = |kind: &str| told[&format!("ostrakon.generation.{kind}")].parse::<u64>().ok();
    assert_eq!(generation("shard_key"), decided.generations.shard_key.map(|generation| generation.get()));
    assert_eq!(generation("prediction"), decided.generations.prediction.map(|generation| generation.get()));
    assert_eq!(told["ostrakon.route"], "write");
    assert!(!format!("{root:?}{steps:?}").contains("written"), "names of objects are nobody else's");
    let mut from: Vec<_> = steps.iter().filter(|step| step.name == "locate").collect();
    from.sort_by_key(|step| step.start_time_unix_nano);
    let from: Vec<_> = from.into_iter().map(|step| attributes(step)["ostrakon.shard_key_from"].clone()).collect();
    assert_eq!(from, ["none", "policy"]);
    let forecast = attributes(the(&steps, "predict"));
    assert!(forecast.contains_key("ostrakon.forecast.version") && forecast.contains_key("ostrakon.forecast.route"));
    assert!(forecast["ostrakon.forecast.confidence_ppm"].parse::<u32>().unwrap() <= 1_000_000);
    let wrote = attributes(the(&steps, "write"));
    assert_eq!(wrote["ostrakon.version"], "1");
    assert!(wrote["ostrakon.commit_us"].parse::<u64>().unwrap() > 0 && wrote.contains_key("ostrakon.queue_us"));

    let (root, steps) = whole(&collector, 2, "perform-control-plane-action");
    let told = attributes(&root);
    assert_eq!(told["ostrakon.route"], "reconcile");
    let judged_by = again.decided.generations.reconciliation.unwrap().get().to_string();
    assert_eq!(told["ostrakon.generation.reconciliation"], judged_by);
    assert_eq!(attributes(the(&steps, "locate"))["ostrakon.shard_key_from"], "recorded");
    the(&steps, "predict");
    let judged = attributes(the(&steps, "reconcile"));
    assert_eq!([&judged["ostrakon.verdict"], &judged["ostrakon.version"]], ["made", "3"]);
    assert_eq!(judged["ostrakon.tries"], again.tries.to_string());

    let (root, steps) = whole(&collector, 3, "read");
    assert_eq!(attributes(&root)["ostrakon.shard"], decided.shard.unwrap().get().to_string());
    assert_eq!(attributes(the(&steps, "locate"))["ostrakon.shard_key_from"], "recorded");

    let (root, steps) = whole(&collector, 4, "perform-conditional-write");
    assert_eq!(attributes(&root)["error.type"], "conflict");
    assert_eq!(attributes(the(&steps, "write"))["error.type"], "conflict");

    assert!(collector.spans_of(5).is_empty(), "its parent is not sampled");
    let of_all: usize = (1..=4).map(|trace| collector.spans_of(trace).len()).sum();
    assert_eq!(collector.taken(), of_all, "somebody else was traced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_trace_parent_is_never_traced_or_the_variable_says_nothing() {
    let collector = Collector::start(Manner::Takes);
    let folder = Folder::new();
    let host = folder.serve_under(
        &["--otlp-sample", "100%", "--log", "info"],
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.clone().into())],
    );
    let client = host.client().await;
    client.put(&object("traces", "by-chance"), structured(&json!({})), Expect::Any).await.unwrap();
    until("a trace", || (collector.taken() >= 3).then_some(())).await;
    assert!(!host.stderr().contains("request"), "traces are logged as well: {}", host.stderr());
    host.stop();
}

/// Requests answered one after the other, all of them traced; how long they took.
async fn busy(client: &Client, requests: u64) -> Duration {
    let begun = Instant::now();
    let object = object("traces", "busy");
    for _ in 0..requests {
        within("a request", client.put(&object, structured(&json!({"n": 1})), Expect::Any)).await.unwrap();
    }
    begun.elapsed()
}

/// More spans than wait for a collector.
const REQUESTS: u64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_slows_requests_or_the_stop() {
    let (good, silent) = (Collector::start(Manner::Takes), Collector::start(Manner::Silent));
    let mut took = Vec::new();
    for collector in [&good, &silent] {
        let folder = Folder::new();
        let host = folder.serve_with(&["--otlp", &collector.url, "--otlp-sample", "100%"]);
        let client = host.client().await;
        took.push(busy(&client, REQUESTS).await);
        drop(client);
        let begun = Instant::now();
        host.stop();
        assert!(begun.elapsed() < Duration::from_secs(6), "the stop took {:?}", begun.elapsed());
    }
    assert_eq!(silent.taken(), 0);
    // A wait for the collector would be one of seconds.
    assert!(took[1] < 3 * took[0] + Duration::from_secs(3), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_refuses_is_told_of_again_and_again() {
    let refuses = Collector::start(Manner::Refuses);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [refuses.url.clone(), format!("http://{nobody}")] {
        let folder = Folder::new();
        let host = folder.serve_with(&["--otlp", &url, "--otlp-sample", "100%"]);
        let client = host.client().await;
        let said = |host: &crate::harness::Host| host.stderr().matches("spans cannot be exported").count();
        // Two batches by size, one by time, and what is left at the stop.
        busy(&client, 400).await;
        until("a warning", || (said(&host) > 0).then_some(())).await;
        busy(&client, 400).await;
        let stderr = folder.beside("stderr-0");
        drop(client);
        host.stop();
        let log = std::fs::read_to_string(stderr).unwrap();
        assert_eq!(log.matches("spans cannot be exported").count(), 1, "{log}");
        assert!(log.contains(&url), "{log}");
    }
}

#[test]
fn what_cannot_be_exported_to_is_found_out_too_late() {
    let folder = Folder::new();
    let refused = |more: &[&str], words: &str| {
        let data = folder.data();
        let serve = ["serve", "--dev", "--data-dir", data.to_str().unwrap()];
        let ran = run(None, serve.iter().chain(more)).exits(2);
        assert!(ran.stderr.contains(words), "{more:?}: {ran:?}");
        assert!(!data.exists(), "{more:?}");
    };
    refused(&["--otlp", "collector:4318"], "http://");
    refused(&["--otlp", "ftp://collector"], "http://");
    refused(&["--otlp", "https://collector:4318"], "https is not spoken");
    refused(&["--otlp", "http://collector:port"], "collector:port");
    for share in ["101%", "-1%", "some", ""] {
        refused(&["--otlp", "http://collector", &format!("--otlp-sample={share}")], "0% to 100%");
    }
    refused(&["--otlp-sample", "5%"], "--otlp");
}
