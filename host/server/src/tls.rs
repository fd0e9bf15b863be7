//! Who the host is, and whose clients it serves: TLS 1.3, client certificates required.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ostrakon_wire::ALPN;
use quinn::crypto::rustls::QuicServerConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// Files in PEM: the host's certificate chain and key, and the authority of its clients.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The host's certificate, and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities whose clients are served.
    pub client_ca: PathBuf,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of its kind.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// They do not go together.
    #[error("the certificates cannot be used: {0}")]
    Unusable(String),
}

fn file_error(path: &Path, reason: impl ToString) -> TlsError {
    TlsError::File { path: path.into(), reason: reason.to_string() }
}

/// Reads the certificates of a PEM file; at least one.
pub(crate) fn read_certs(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certs = CertificateDer::pem_file_iter(path).map_err(|error| file_error(path, error))?;
    let certs: Vec<_> = certs.collect::<Result<_, _>>().map_err(|error| file_error(path, error))?;
    if certs.is_empty() { Err(file_error(path, "no certificate in it")) } else { Ok(certs) }
}

impl Identity {
    pub(crate) fn server_crypto(&self) -> Result<QuicServerConfig, TlsError> {
        let unusable = |error: &dyn std::fmt::Display| TlsError::Unusable(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for cert in read_certs(&self.client_ca)? {
            roots.add(cert).map_err(|error| file_error(&self.client_ca, error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| unusable(&error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| file_error(&self.key, error))?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable(&error))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(read_certs(&self.cert)?, key)
            .map_err(|error| unusable(&error))?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // Early data could be replayed: a write must not come that way.
        tls.max_early_data_size = 0;
        QuicServerConfig::try_from(tls).map_err(|error| unusable(&error))
    }
}
