//! A host in this process: built from plain data, run until it is told to stop, drained.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ostrakon_client::HostFile;
use ostrakon_engine::{Engine, EngineConfig, Opened, StartError};
use ostrakon_policy::Registry;
use ostrakon_server::dev::DevCertificates;
use ostrakon_server::{BindError, Deadlines, Identity, Sampling, Server, ServerConfig};
use ostrakon_store::{StoreConfig, Verify};
use ostrakon_wire::LogId;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::failure::Failure;
use crate::policies::{self, PolicyFiles};

/// How to build a host. Plain data.
#[derive(Debug, Clone)]
pub(crate) struct HostConfig {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    /// `None`: a development host, with certificates of its own making in its data folder.
    pub(crate) identity: Option<Identity>,
    pub(crate) deadlines: Deadlines,
    pub(crate) shards: u32,
    pub(crate) owners: u32,
    pub(crate) history_versions: Option<u32>,
    pub(crate) action_ids: usize,
    pub(crate) log_changes: usize,
    pub(crate) tries_max: u32,
    pub(crate) observe_lag: Duration,
    pub(crate) queued_changes_max: usize,
    /// `None`: as many as take about as long as they may.
    pub(crate) migration_step_objects: Option<usize>,
    pub(crate) verify: Verify,
    pub(crate) policies: PolicyFiles,
    /// Which requests are traced, where traces are exported.
    pub(crate) sampling: Option<Sampling>,
}

/// A host that serves.
pub(crate) struct Host {
    pub(crate) file: HostFile,
    #[cfg(feature = "test-control")]
    pub(crate) policies: Registry,
    path: PathBuf,
    stop: watch::Sender<bool>,
    running: JoinHandle<bool>,
}

impl Host {
    /// Opens the store, loads the policies, listens, and says so in the data folder.
    pub(crate) async fn start(config: HostConfig) -> Result<Self, Failure> {
        let building = tokio::task::spawn_blocking(move || build(&config).map(|parts| (config, parts)));
        let built = building.await.map_err(|error| Failure::failed(error.to_string()))?;
        let (config, built) = built?;
        let Built { engine, identity, policies } = built;
        let (stop, stopping) = watch::channel(false);
        let HostConfig { listen, deadlines, sampling, .. } = config;
        let listening = ServerConfig { listen, identity, deadlines, sampling };
        let server = Server::bind(&listening, engine, stopping).map_err(bind_failure)?;
        let file = host_file(&config, server.address());
        let path = config.data_dir.join(HostFile::NAME);
        write_host_file(&path, &file)?;
        let running = tokio::spawn(server.run());
        #[cfg(not(feature = "test-control"))]
        drop(policies);
        Ok(Self {
            file,
            #[cfg(feature = "test-control")]
            policies,
            path,
            stop,
            running,
        })
    }

    /// Waits until the listener ends by itself.
    pub(crate) async fn ended(&mut self) {
        let _ = (&mut self.running).await;
    }

    /// Stops taking requests, answers those that were taken, and returns. `false`: some connections were cut off.
    pub(crate) async fn stop(self) -> bool {
        self.stop.send_replace(true);
        let drained = self.running.await.unwrap_or(false);
        let _ = std::fs::remove_file(&self.path);
        drained
    }
}

/// The engine below keeps files open, and gives up for good when it may open no more.
fn allow_open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the bound on open files cannot be raised");
    }
}

struct Built {
    engine: Arc<Engine>,
    identity: Identity,
    policies: Registry,
}

fn build(config: &HostConfig) -> Result<Built, Failure> {
    allow_open_files();
    let named = config.policies.clone().read()?;
    let store = StoreConfig {
        path: config.data_dir.clone(),
        shards: config.shards,
        spare_shards: ostrakon_wire::bounds::SPARE_SHARDS_DEFAULT,
        owners: config.owners,
        history_versions: config.history_versions,
        action_ids: config.action_ids,
        log_changes: config.log_changes,
        verify: config.verify,
        new_log: LogId::new(uuid::Uuid::new_v4().as_u128() as u64),
    };
    let settings = EngineConfig {
        store,
        tries_max: config.tries_max,
        observe_lag: config.observe_lag,
        queued_changes_max: config.queued_changes_max,
        migration_step_objects: config.migration_step_objects,
    };
    let failed = |error: StartError| Failure::failed(error.to_string());
    // The folder is this process's before anything is written beside the store.
    let opened = Opened::open(settings).map_err(failed)?;
    let policies = named.open(&config.data_dir)?;
    let engine = opened.start(policies::for_engine(&policies)).map_err(failed)?;
    policies.know_shards(Arc::new(engine.shard_of()));
    let identity = match &config.identity {
        Some(identity) => identity.clone(),
        None => {
            let certificates = DevCertificates::of(&config.data_dir);
            certificates.ensure().map_err(|error| Failure::failed(error.to_string()))?;
            certificates.server()
        }
    };
    Ok(Built { engine: Arc::new(engine), identity, policies })
}

fn bind_failure(error: BindError) -> Failure {
    Failure::failed(error.to_string())
}

fn host_file(config: &HostConfig, quic: SocketAddr) -> HostFile {
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    let dev = config.identity.is_none().then(|| DevCertificates::of(&config.data_dir));
    HostFile {
        quic: reachable(quic),
        pid: std::process::id(),
        ca: dev.as_ref().map(|dev| absolute(dev.ca())),
        cert: dev.as_ref().map(|dev| absolute(dev.client_cert())),
        key: dev.as_ref().map(|dev| absolute(dev.client_key())),
    }
}

/// An address that a client on this machine can use, where the host listens on all of them.
fn reachable(listening: SocketAddr) -> SocketAddr {
    match listening {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (std::net::Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, v6.port()).into(),
        address => address,
    }
}

/// Writes the file whole or not at all, so that whoever waits for it reads all of it.
pub(crate) fn write_host_file(path: &Path, file: &HostFile) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::failed(format!("{}: {error}", path.display()));
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let text = serde_json::to_string(file).map_err(|error| Failure::failed(error.to_string()))?;
    std::fs::write(&draft, text + "\n").map_err(fail)?;
    std::fs::rename(&draft, path).map_err(fail)
}
