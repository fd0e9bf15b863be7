//! Where the host is, and who the client is.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ostrakon_wire::ALPN;
use ostrakon_wire::bounds::{CONNECTION_WINDOW_BYTES, IDLE_TIMEOUT_MS, KEEP_ALIVE_MS, STREAM_WINDOW_BYTES};
use quinn::VarInt;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

/// Where the host is, and who the client is. Plain data.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The host's address, `name:port` or `address:port`.
    pub server: String,
    /// The name in the host's certificate, where it is not that of `server`.
    pub server_name: Option<String>,
    /// The client's certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The authority of the host's certificate, PEM.
    pub ca: PathBuf,
    /// How long a request may take, repeats included.
    pub deadline: Duration,
    /// What the client calls itself, for the host's logs.
    pub agent: String,
}

/// What a host writes about itself once it serves, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFile {
    /// The address that it listens on.
    pub quic: SocketAddr,
    /// Its process id.
    pub pid: u32,
    /// The authority of its certificate; in a development host's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// A client certificate; in a development host's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its private key; in a development host's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read, or does not hold what it should.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The server's address is none.
    #[error("{server:?} is no address: {reason}")]
    Server {
        /// As given.
        server: String,
        /// Why.
        reason: String,
    },
    /// The certificate and its key do not go together.
    #[error("the certificates cannot be used: {0}")]
    Unusable(String),
}

const DEADLINE: Duration = Duration::from_secs(10);

impl HostFile {
    /// Its name in a data folder.
    pub const NAME: &str = "host.json";

    /// Reads the file of the host that runs on a data folder.
    pub fn read(data_folder: &Path) -> Result<Self, ConfigError> {
        let path = data_folder.join(Self::NAME);
        let fail = |reason: String| ConfigError::File { path: path.clone(), reason };
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => fail("no host serves this data folder".into()),
            _ => fail(error.to_string()),
        })?;
        serde_json::from_str(&text).map_err(|error| fail(error.to_string()))
    }
}

impl ClientConfig {
    /// A configuration with defaults for the rest.
    pub fn new(
        server: impl Into<String>,
        cert: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        ca: impl Into<PathBuf>,
    ) -> Self {
        Self {
            server: server.into(),
            server_name: None,
            cert: cert.into(),
            key: key.into(),
            ca: ca.into(),
            deadline: DEADLINE,
            agent: concat!("ostrakon-client/", env!("CARGO_PKG_VERSION")).into(),
        }
    }

    /// The configuration for the development host that runs on a data folder.
    pub fn from_data_folder(folder: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let file = HostFile::read(folder.as_ref())?;
        Self::of_host(&file).ok_or_else(|| ConfigError::File {
            path: folder.as_ref().join(HostFile::NAME),
            reason: "the host of this folder is no development host; name certificates instead".into(),
        })
    }

    /// The configuration for a development host; `None` for another, whose file names no certificates.
    pub fn of_host(file: &HostFile) -> Option<Self> {
        let HostFile { quic, cert: Some(cert), key: Some(key), ca: Some(ca), .. } = file else { return None };
        Some(Self::new(quic.to_string(), cert, key, ca))
    }

    /// The addresses that the server's name stands for.
    pub(crate) fn addresses(&self) -> Result<Vec<SocketAddr>, ConfigError> {
        let fail = |reason: String| ConfigError::Server { server: self.server.clone(), reason };
        let addresses: Vec<_> = self.server.to_socket_addrs().map_err(|error| fail(error.to_string()))?.collect();
        // One socket has one family. Hosts listen on IPv4 unless they are told otherwise.
        let v4 = addresses.iter().any(SocketAddr::is_ipv4);
        let usable: Vec<_> = addresses.into_iter().filter(|address| address.is_ipv4() == v4).collect();
        if usable.is_empty() { Err(fail("it stands for no address".into())) } else { Ok(usable) }
    }

    /// The name that the host's certificate must be for.
    pub(crate) fn certificate_name(&self) -> String {
        let of_server = || {
            let host = self.server.rsplit_once(':').map_or(self.server.as_str(), |(host, _)| host);
            host.trim_start_matches('[').trim_end_matches(']').to_owned()
        };
        self.server_name.clone().unwrap_or_else(of_server)
    }

    /// The QUIC configuration: TLS 1.3, the client's certificate, keep-alives.
    pub(crate) fn quic(&self) -> Result<quinn::ClientConfig, ConfigError> {
        let unusable = |error: &dyn std::fmt::Display| ConfigError::Unusable(error.to_string());
        let mut roots = RootCertStore::empty();
        for cert in read_certs(&self.ca)? {
            roots.add(cert).map_err(|error| file_error(&self.ca, error))?;
        }
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| file_error(&self.key, error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_client_auth_cert(read_certs(&self.cert)?, key)
            .map_err(|error| unusable(&error))?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let crypto = QuicClientConfig::try_from(tls).map_err(|error| unusable(&error))?;
        let mut transport = quinn::TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
            .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
            .keep_alive_interval(Some(Duration::from_millis(KEEP_ALIVE_MS)))
            .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MS as u32).into()));
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::new(transport));
        Ok(config)
    }
}

fn file_error(path: &Path, reason: impl ToString) -> ConfigError {
    ConfigError::File { path: path.into(), reason: reason.to_string() }
}

fn read_certs(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let certs = CertificateDer::pem_file_iter(path).map_err(|error| file_error(path, error))?;
    let certs: Vec<_> = certs.collect::<Result<_, _>>().map_err(|error| file_error(path, error))?;
    if certs.is_empty() { Err(file_error(path, "no certificate in it")) } else { Ok(certs) }
}
