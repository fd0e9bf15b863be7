//! `serve`: run a host until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ostrakon_policy::Recording;
use ostrakon_server::{Collector, Deadlines, Export, ExportError, Identity, Sampling};
use ostrakon_store::Verify;
use ostrakon_wire::bounds::{
    ACTION_IDS_DEFAULT, ACTION_IDS_MAX, ACTION_IDS_MIN, COMMIT_QUEUE_CHANGES_MAX, HISTORY_VERSIONS_MAX,
    LOG_CHANGES_DEFAULT, LOG_CHANGES_MAX, OWNERS_DEFAULT, OWNERS_MAX, RECONCILE_TRIES_DEFAULT, RECONCILE_TRIES_MAX,
    SHARDS_DEFAULT, SHARDS_MAX, SHARDS_MIN,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::host::{Host, HostConfig, write_host_file};
use crate::policies::{KindAndFile, PolicyFiles};

/// How to serve.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServeArgs {
    /// Where the objects are kept; made if it is missing
    #[arg(long, env = "OSTRAKON_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,

    /// Make a local authority, a server's and a client's certificate in the data folder, and use them
    #[arg(long, conflicts_with_all = ["cert", "key", "client_ca"], required_unless_present = "cert")]
    dev: bool,

    /// Address to listen on; port 0 takes any free one [default: 127.0.0.1:7400, with --dev 127.0.0.1:0]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// The host's certificate chain, PEM
    #[arg(long, value_name = "FILE", requires_all = ["key", "client_ca"])]
    cert: Option<PathBuf>,

    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// The authority whose clients are served, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    client_ca: Option<PathBuf>,

    /// Write the addresses to this file, as JSON, once the host serves
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,

    /// Let this component decide by default for its kind (shard-key, prediction or reconciliation), from now on: it stays
    /// when the host is started without; KIND=shipped goes back to what the host brings
    #[arg(long, value_name = "KIND=FILE")]
    policy: Vec<KindAndFile>,

    /// Settings (a JSON object) for the policy of a kind
    #[arg(long, value_name = "KIND=FILE")]
    policy_settings: Vec<KindAndFile>,

    /// Put components in as they are saved in this folder: KIND.wasm, with settings in KIND.json; for an override
    /// KIND,client=CLIENT.wasm, KIND,type=TYPE.wasm or both
    #[arg(long, value_name = "DIR")]
    policy_dir: Option<PathBuf>,

    /// Write this share of the policies' decisions down, to be replayed through candidates
    #[arg(long, value_name = "PERCENT", value_parser = crate::policy::share)]
    record_decisions: Option<u32>,

    /// Recorded decisions hold at most so many MiB; the oldest make room
    #[arg(long, value_name = "MIB", default_value_t = RECORD_MIB, requires = "record_decisions",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    record_mib: u32,

    /// Export traces to this collector, by OTLP over HTTP: http://HOST:PORT, to which /v1/traces is added
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    otlp: Option<String>,

    /// Trace this share of the requests that come without a trace parent; one that comes with one is traced if that is
    /// sampled
    #[arg(long, value_name = "PERCENT", default_value = "1%", requires = "otlp", value_parser = sampled_share)]
    otlp_sample: u32,

    /// Threads that serve connections [default: the cores but one, which commits]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,

    #[command(flatten)]
    store: StoreArgs,
}

/// How to keep.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreArgs {
    /// Shards that a new data folder starts with
    #[arg(long, value_name = "N", default_value_t = SHARDS_DEFAULT,
          value_parser = clap::value_parser!(u32).range(i64::from(SHARDS_MIN)..=i64::from(SHARDS_MAX)))]
    shards: u32,

    /// Owners of shards, the host's worker lanes: what is reconciled for a shard is done by its owner, one turn at a time
    #[arg(long, value_name = "N", default_value_t = OWNERS_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(OWNERS_MAX)))]
    owners: u32,

    /// Versions of each object that history keeps from now on, where its type has no rule of its own (see `retention`)
    /// [default: as many as before; 16 in a new data folder]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(HISTORY_VERSIONS_MAX)))]
    history: Option<u32>,

    /// Action ids that are remembered, so that a repeat has no second effect
    #[arg(long, value_name = "N", default_value_t = ACTION_IDS_DEFAULT as u32,
          value_parser = clap::value_parser!(u32).range(ACTION_IDS_MIN as i64..=ACTION_IDS_MAX as i64))]
    action_ids: u32,

    /// Changes that the log keeps, so that a watch can go on where it stood; never fewer than ids are remembered
    #[arg(long, value_name = "N", default_value_t = LOG_CHANGES_DEFAULT as u32,
          value_parser = clap::value_parser!(u32).range(ACTION_IDS_MIN as i64..=LOG_CHANGES_MAX as i64))]
    log_changes: u32,

    /// How often the reconciliation policy is asked for one action before a person has it
    #[arg(long, value_name = "N", default_value_t = RECONCILE_TRIES_DEFAULT,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(RECONCILE_TRIES_MAX)))]
    tries: u32,

    /// Let predictions see versions that are at least this old: what they would be worth on a front end apart from the owner
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    observe_lag_ms: u64,

    /// How closely files are looked at before the host serves: `full` reads every byte, `quick` trusts the inside of tables
    #[arg(long, value_name = "HOW", value_enum, default_value_t = VerifyArg::Full)]
    verify: VerifyArg,
}

/// How closely to look at files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum VerifyArg {
    Full,
    Quick,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon serve --dev --data-dir /tmp/ostrakon-dev
  ostrakon serve --data-dir /var/lib/ostrakon --listen 0.0.0.0:7400 \\
      --cert host.pem --key host.key --client-ca clients.pem
  ostrakon serve --dev --data-dir D --policy shard-key=mine.wasm --policy-settings shard-key=mine.json

Ctrl-C and SIGTERM stop the host: it answers what it has taken, then exits 0. A second one stops it at once.
A policy that is refused ends the start with exit code 6 and the reason.";

/// What recorded decisions hold where nothing else is said, in MiB.
const RECORD_MIB: u32 = 256;

/// What names a collector.
const OTLP: &str = "--otlp or OTEL_EXPORTER_OTLP_ENDPOINT";

const LISTEN: &str = "127.0.0.1:7400";
const LISTEN_DEV: &str = "127.0.0.1:0";

impl ServeArgs {
    /// Threads of the runtime. One core is left to the thread that commits: it is the one that must never wait its turn.
    pub(crate) fn runtime_threads(&self) -> usize {
        self.threads.map_or(crate::available_cores().saturating_sub(1).max(1), usize::from)
    }

    /// Starts the export of traces, where it is asked for.
    pub(crate) fn export(&self) -> Result<Option<Export>, Failure> {
        let Some(url) = self.collector() else { return Ok(None) };
        let collector: Collector = url.parse().map_err(|error| Failure::usage(format!("{OTLP}: {error}")))?;
        Export::start(&collector).map(Some).map_err(|error| match error {
            ExportError::Settings(_) => Failure::usage(format!("{OTLP}: {error}")),
            ExportError::Thread(_) => Failure::failed(error.to_string()),
        })
    }

    /// An empty variable says as much as none.
    fn collector(&self) -> Option<&str> {
        self.otlp.as_deref().filter(|url| !url.is_empty())
    }

    fn config(&self) -> HostConfig {
        let default = if self.dev { LISTEN_DEV } else { LISTEN };
        let identity = match (&self.cert, &self.key, &self.client_ca) {
            (Some(cert), Some(key), Some(client_ca)) => {
                Some(Identity { cert: cert.clone(), key: key.clone(), client_ca: client_ca.clone() })
            }
            _ => None,
        };
        HostConfig {
            listen: self.listen.unwrap_or_else(|| default.parse().expect("the default is an address")),
            identity,
            policies: PolicyFiles {
                components: self.policy.clone(),
                settings: self.policy_settings.clone(),
                watched: self.policy_dir.clone(),
                recording: self
                    .record_decisions
                    .map(|share_ppm| Recording { share_ppm, bytes_max: u64::from(self.record_mib) << 20 }),
            },
            sampling: self.collector().map(|_| Sampling { share_ppm: self.otlp_sample }),
            ..self.store.config(self.data_dir.clone())
        }
    }
}

impl StoreArgs {
    /// A development host with these.
    pub(crate) fn config(&self, data_dir: PathBuf) -> HostConfig {
        HostConfig {
            data_dir,
            listen: LISTEN_DEV.parse().expect("the default is an address"),
            identity: None,
            deadlines: Deadlines::default(),
            shards: self.shards,
            owners: self.owners,
            history_versions: self.history,
            action_ids: self.action_ids as usize,
            log_changes: self.log_changes as usize,
            tries_max: self.tries,
            observe_lag: Duration::from_millis(self.observe_lag_ms),
            queued_changes_max: COMMIT_QUEUE_CHANGES_MAX,
            migration_step_objects: None,
            verify: match self.verify {
                VerifyArg::Full => Verify::Full,
                VerifyArg::Quick => Verify::Quick,
            },
            policies: PolicyFiles::default(),
            sampling: None,
        }
    }
}

pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    // From here on a signal stops the host in good order, however early it comes.
    let mut signals = Signals::listen()?;
    let config = args.config();
    #[cfg(feature = "test-control")]
    let config = crate::test_control::applied(config)?;
    let mut host = Host::start(config).await?;
    #[cfg(feature = "test-control")]
    crate::test_control::listen(host.policies.clone())?;
    tell(&format!("serving on {} (QUIC), data in {}", host.file.quic, args.data_dir.display()));
    if args.dev {
        print_next_steps(&args.data_dir);
    }
    if let Some(ready_file) = &args.ready_file {
        write_host_file(ready_file, &host.file)?;
    }
    tokio::select! {
        () = signals.told() => {}
        () = host.ended() => return Err(Failure::failed("the listener ended: the socket cannot be used any more")),
    }
    tell("stopping: answering what was taken");
    tokio::select! {
        drained = host.stop() => {
            if !drained {
                tell("some connections had to be cut off");
            }
            Ok(())
        }
        () = signals.told() => Err(Failure::failed("stopped at once")),
    }
}

/// A share of the requests, in millionths; none is one too.
fn sampled_share(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse();
    if number.is_ok_and(|percent: f64| percent == 0.0) {
        return Ok(0);
    }
    crate::policy::share(text).map_err(|_| format!("{text:?} is no share: 0% to 100%, as in 1% or 0.1%"))
}

/// Says something to whoever reads along; a host serves on when nobody does.
fn tell(line: &str) {
    if let Err(failure) = crate::output::say(&line) {
        tracing::debug!(?failure, "nobody reads standard output");
    }
}

/// What to type next, for somebody who sees this for the first time.
pub(crate) fn print_next_steps(data_dir: &std::path::Path) {
    tell("try, in another terminal:");
    tell(&format!("  export OSTRAKON_DATA_DIR={}", data_dir.display()));
    tell("  ostrakon put acme volume vol-1 --data '{\"size\":10}'");
    tell("  ostrakon get acme volume vol-1");
    tell("  ostrakon info");
}

/// Ctrl-C and SIGTERM, from when it was made.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> Result<Self, Failure> {
        let fail = |error: std::io::Error| Failure::failed(format!("signals cannot be waited for: {error}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate()).map_err(fail)? })
    }

    /// Waits for the next one.
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
