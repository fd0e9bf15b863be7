//! Traces on their way to a collector, by OTLP over HTTP.
//!
//! One thread of its own encodes and sends. It is fed by a queue with a bound, which drops what finds no room, so a
//! collector that is down, slow or refuses takes no time from any request. That it does so is said once, and again when it
//! is over.

use std::collections::HashMap;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use ostrakon_engine::TRACE;
use ostrakon_wire::bounds::{SPANS_A_BATCH_MAX, SPANS_QUEUED_MAX};
use tokio::runtime::Runtime;
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// How long a span waits for others to travel with.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take for a batch.
const SEND: Duration = Duration::from_secs(5);
/// How long the host waits at its stop for what is on its way.
const FLUSH: Duration = Duration::from_secs(2);

const PATH: &str = "/v1/traces";

/// Where a collector listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(String);

/// The text does not say where a collector listens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCollector {
    /// Another scheme.
    #[error("{0:?} is no URL of a collector: it begins with http://, as in http://127.0.0.1:4318")]
    NotHttp(String),
    /// A scheme that others speak.
    #[error("{0:?}: https is not spoken; name a collector on this machine or in its network by http://")]
    Https(String),
    /// No URL.
    #[error("{0:?} is no URL of a collector: {1}; it reads like http://127.0.0.1:4318")]
    Malformed(String, String),
}

impl std::str::FromStr for Collector {
    type Err = InvalidCollector;

    /// Reads a URL; `/v1/traces` is added where it does not end so.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |why: &str| InvalidCollector::Malformed(text.into(), why.into());
        let uri: http::Uri = text.parse().map_err(|error: http::uri::InvalidUri| malformed(&error.to_string()))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(InvalidCollector::Https(text.into())),
            _ => return Err(InvalidCollector::NotHttp(text.into())),
        }
        let authority = uri.authority().ok_or_else(|| malformed("it names no host"))?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(malformed("a host and a port are expected behind http://"));
        }
        let port = authority.as_str().rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(malformed("its port is no number up to 65535"));
        }
        if uri.query().is_some() {
            return Err(malformed("a query has no meaning here"));
        }
        let path = uri.path().trim_end_matches('/');
        let path = path.strip_suffix(PATH).unwrap_or(path);
        Ok(Self(format!("http://{authority}{path}{PATH}")))
    }
}

impl std::fmt::Display for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why nothing can be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// What the environment says of exports cannot be followed.
    #[error("spans cannot be exported: {0}")]
    Settings(#[from] ExporterBuildError),
    /// No runtime for the thread.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// The export of spans; what is on its way is waited for, within a bound, when it is stopped.
pub struct Export {
    provider: SdkTracerProvider,
}

impl Export {
    /// Starts the thread that sends.
    pub fn start(collector: &Collector) -> Result<Self, ExportError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::new(collector)?)
            // What a connection is told between two batches nobody would hear.
            .with_headers(HashMap::from([("connection".to_owned(), "close".to_owned())]))
            .with_endpoint(collector.to_string())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(SEND)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(SPANS_QUEUED_MAX)
            .with_max_export_batch_size(SPANS_A_BATCH_MAX)
            .with_scheduled_delay(GATHER)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let provider = SdkTracerProvider::builder()
            // Which requests are traced is decided before they have a span.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource())
            .with_span_processor(processor)
            .build();
        Ok(Self { provider })
    }

    /// What hands the spans of traces over, and nothing else that is logged.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let tracer = self.provider.tracer("ostrakon");
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            // Every span names its parent.
            .with_context_activation(false)
            .with_filter(Targets::new().with_target(TRACE, Level::INFO))
    }

    /// Sends what waits, for two seconds at most.
    pub fn stop(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH) {
            tracing::debug!(%error, "not all spans were exported before the stop");
        }
    }
}

fn resource() -> Resource {
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty());
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    if named { resource.build() } else { resource.with_service_name("ostrakon").build() }
}

/// What sends a batch, on the thread that asks for it, and says when that begins and ceases to fail.
#[derive(Debug)]
struct Sender {
    collector: Collector,
    client: HyperClient,
    /// On that thread alone; `None` at the end.
    runtime: Option<Runtime>,
    failing: AtomicBool,
    gave_way: Once,
}

impl Sender {
    fn new(collector: &Collector) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            collector: collector.clone(),
            client: HyperClient::with_default_connector(SEND, None),
            runtime: Some(runtime),
            failing: AtomicBool::new(false),
            gave_way: Once::new(),
        })
    }

    fn judge(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let why = match sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status())),
            Err(error) => Some(words_of(error.as_ref())),
        };
        let collector = &self.collector;
        match (why, self.failing.load(Ordering::Relaxed)) {
            (Some(why), false) => {
                self.failing.store(true, Ordering::Relaxed);
                tracing::warn!(%collector, %why, "spans cannot be exported, and are dropped until they can");
            }
            (None, true) => {
                self.failing.store(false, Ordering::Relaxed);
                tracing::warn!(%collector, "spans are exported again");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.gave_way.call_once(ostrakon_background::give_way);
        let runtime = self.runtime.as_ref().expect("it is there until the end");
        let sent = runtime.block_on(self.client.send_bytes(request));
        self.judge(&sent);
        sent
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // A name that is being looked up is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An error with its causes.
fn words_of(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_read_as_another_one() {
        for (text, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
            ("http://collector", "http://collector/v1/traces"),
            ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
            ("http://[::1]", "http://[::1]/v1/traces"),
            ("http://gateway:80/otlp/", "http://gateway:80/otlp/v1/traces"),
            ("http://gateway:80/otlp/v1/traces", "http://gateway:80/otlp/v1/traces"),
        ] {
            assert_eq!(text.parse::<Collector>().unwrap().to_string(), url, "{text}");
        }
        for bad in [
            "",
            "collector",
            "collector:4318",
            "127.0.0.1:4318",
            "http://",
            "http:///v1",
            "http://host:99999",
            "http://host:x",
            "http://a@host:1",
            "http://host:1?a=b",
            "grpc://host:4317",
            "https://host:4318",
            "http://ho st",
        ] {
            assert!(bad.parse::<Collector>().is_err(), "{bad}");
        }
    }
}
