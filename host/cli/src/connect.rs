//! Which host a command talks to, as whom, and for how long: the same arguments for every command that talks to one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use ostrakon_client::{Client, ClientConfig, ConfigError, Error, HostFile, TimestampMs, TraceParent};

use crate::failure::Failure;

/// Which host, as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    /// Answer in JSON, one object a line, errors too, all on standard output
    #[arg(long)]
    pub(crate) json: bool,

    /// Data folder of the development host to talk to: its address and certificates are found there
    #[arg(long, env = "OSTRAKON_DATA_DIR", value_name = "DIR", value_parser = folder(), help_heading = HEADING)]
    data_dir: Option<PathBuf>,

    /// Address of the host to talk to; goes before --data-dir
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = with_port, requires_all = ["cert", "key", "ca"], help_heading = HEADING)]
    server: Option<String>,

    /// The client's certificate chain, PEM
    #[arg(long, value_name = "FILE", requires_all = ["key", "ca"], help_heading = HEADING)]
    cert: Option<PathBuf>,

    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = HEADING)]
    key: Option<PathBuf>,

    /// The authority of the host's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = HEADING)]
    ca: Option<PathBuf>,

    /// The name in the host's certificate, where it is not that of the address
    #[arg(long, value_name = "NAME", help_heading = HEADING)]
    server_name: Option<String>,

    /// How long a request may take, repeats included
    /// [default: 10; for what compiles a policy 120]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = HEADING)]
    timeout: Option<Duration>,

    /// W3C trace parent that the requests carry: 00-<32 hexadecimal digits>-<16>-<2>
    #[arg(long, value_name = "TRACEPARENT", help_heading = HEADING)]
    traceparent: Option<TraceParent>,

    /// Time that the requests carry instead of the host's clock, in milliseconds since 1970
    #[arg(long, value_name = "MS", help_heading = HEADING)]
    timestamp: Option<u64>,
}

/// How long a command waits for its leave-taking to be sent.
pub(crate) const LEAVE: Duration = Duration::from_millis(15);

/// How long a request may take where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

const HEADING: &str = "Connection";

const NO_HOST: &str = "no host is named; give --data-dir DIR (or OSTRAKON_DATA_DIR) for a development host, \
or --server ADDRESS:PORT --cert FILE --key FILE --ca FILE";

impl ConnectArgs {
    /// Does `work` on a connection, and takes leave of the host.
    pub(crate) async fn run<T>(&self, work: impl AsyncFnOnce(&Client) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut client = dial(self.config()?).await?;
        if let Some(trace_parent) = self.traceparent {
            client = client.with_trace_parent(trace_parent);
        }
        if let Some(timestamp) = self.timestamp {
            client = client.with_timestamp(TimestampMs::new(timestamp));
        }
        let outcome = work(&client).await;
        // The host has heard it by then; that it has also forgotten the connection is nothing to wait for.
        let _ = tokio::time::timeout(LEAVE, client.close()).await;
        outcome
    }

    /// Waits for so long where nothing else is said.
    pub(crate) fn with_patience(mut self, timeout: Duration) -> Self {
        self.timeout.get_or_insert(timeout);
        self
    }

    /// How to connect.
    pub(crate) fn config(&self) -> Result<ClientConfig, Failure> {
        let config = match (&self.cert, &self.key, &self.ca) {
            (Some(cert), Some(key), Some(ca)) => ClientConfig::new(self.address()?, cert, key, ca),
            _ => {
                let folder = self.folder().ok_or_else(|| Failure::usage(NO_HOST))?;
                ClientConfig::from_data_folder(folder).map_err(|error| no_host_there(folder, &error))?
            }
        };
        Ok(ClientConfig {
            server_name: self.server_name.clone(),
            deadline: self.timeout.unwrap_or(TIMEOUT),
            agent: concat!("ostrakon/", env!("CARGO_PKG_VERSION")).into(),
            ..config
        })
    }

    /// An empty OSTRAKON_DATA_DIR names no folder.
    fn folder(&self) -> Option<&Path> {
        self.data_dir.as_deref().filter(|folder| !folder.as_os_str().is_empty())
    }

    fn address(&self) -> Result<String, Failure> {
        match (&self.server, self.folder()) {
            (Some(server), _) => Ok(server.clone()),
            (None, Some(folder)) => {
                let file = HostFile::read(folder).map_err(|error| no_host_there(folder, &error))?;
                Ok(file.quic.to_string())
            }
            (None, None) => Err(Failure::usage(NO_HOST)),
        }
    }
}

/// Connects; says where it tried to when nobody answers.
pub(crate) async fn dial(config: ClientConfig) -> Result<Client, Failure> {
    let (server, deadline) = (config.server.clone(), config.deadline);
    Client::connect(config).await.map_err(|error| match error {
        Error::Deadline => {
            Failure::unreachable(format!("nobody answers at {server} within {} s", deadline.as_secs_f64()))
        }
        error => error.into(),
    })
}

fn folder() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A folder that no host serves is a host that cannot be reached; anything else about it is for whoever named it.
fn no_host_there(folder: &Path, error: &ConfigError) -> Failure {
    if folder.join(HostFile::NAME).exists() {
        Failure::usage(error.to_string())
    } else {
        Failure::unreachable(format!("{error}; start one: ostrakon serve --dev --data-dir {}", folder.display()))
    }
}

fn with_port(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(text.to_owned()),
        _ => Err("it has no port; an address reads 127.0.0.1:7400, [::1]:7400 or name:7400".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    const TIMEOUT_S_MAX: f64 = 86_400.0;
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= TIMEOUT_S_MAX => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("it is a number of seconds, above 0 and at most a day".into()),
    }
}
