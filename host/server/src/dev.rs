//! Certificates for development: a local authority, a server's and a client's certificate, made once and kept.

use std::io::Write;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::tls::Identity;

/// The name that the server's certificate is for, beside the loopback addresses.
pub const SERVER_NAME: &str = "localhost";

/// The files of a development folder.
#[derive(Debug, Clone)]
pub struct DevCertificates {
    folder: PathBuf,
}

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A file cannot be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// Some of the files are there and some are not.
    #[error("{} holds some of the certificates and not {}; remove the folder to have all made anew", folder.display(), missing)]
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// A file that is missing.
        missing: String,
    },
}

const FILES: [&str; 5] = ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"];

impl DevCertificates {
    /// The certificates of a data folder, whether they are there or not.
    pub fn of(data_folder: &Path) -> Self {
        Self { folder: data_folder.join("tls") }
    }

    /// Makes them unless they are there. The authority's key is not kept: nobody can make more of them.
    pub fn ensure(&self) -> Result<(), DevError> {
        let missing: Vec<_> = FILES.iter().filter(|name| !self.folder.join(name).exists()).collect();
        match missing.first() {
            None => Ok(()),
            Some(_) if missing.len() == FILES.len() => self.make(),
            Some(name) => Err(DevError::Incomplete { folder: self.folder.clone(), missing: (**name).to_owned() }),
        }
    }

    /// What a server needs.
    pub fn server(&self) -> Identity {
        Identity { cert: self.path("server.pem"), key: self.path("server.key"), client_ca: self.ca() }
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The client's certificate.
    pub fn client_cert(&self) -> PathBuf {
        self.path("client.pem")
    }

    /// The client's private key.
    pub fn client_key(&self) -> PathBuf {
        self.path("client.key")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn make(&self) -> Result<(), DevError> {
        let ca_key = KeyPair::generate()?;
        let mut ca = params("Ostrakon development authority", vec![])?;
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = ca.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(ca, ca_key);
        let names = vec![SERVER_NAME.to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let server = issue("Ostrakon development host", names, ExtendedKeyUsagePurpose::ServerAuth, &issuer)?;
        let client = issue("Ostrakon development client", vec![], ExtendedKeyUsagePurpose::ClientAuth, &issuer)?;
        // Written beside its place and renamed: the folder is there whole or not at all.
        let draft = self.folder.with_extension("draft");
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| DevError::File { path, source }
        };
        let _ = std::fs::remove_dir_all(&draft);
        std::fs::create_dir_all(&draft).map_err(fail(&draft))?;
        let contents = [&ca_pem, &server.0, &server.1, &client.0, &client.1];
        for (name, content) in FILES.iter().zip(contents) {
            let path = draft.join(name);
            write_private(&path, content).map_err(fail(&path))?;
        }
        let _ = std::fs::remove_dir(&self.folder);
        std::fs::rename(&draft, &self.folder).map_err(fail(&self.folder))?;
        // Clients are told where they stand: a power cut must not bring others there.
        let parent = self.folder.parent().unwrap_or(Path::new("."));
        std::fs::File::open(parent).and_then(|parent| parent.sync_all()).map_err(fail(parent))
    }
}

fn params(name: &str, subjects: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(subjects)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn issue(
    name: &str,
    subjects: Vec<String>,
    usage: ExtendedKeyUsagePurpose,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = params(name, subjects)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

fn write_private(path: &Path, content: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let certificates = DevCertificates::of(folder.path());
        certificates.ensure().unwrap();
        let before = std::fs::read(certificates.client_cert()).unwrap();
        certificates.ensure().unwrap();
        assert_eq!(std::fs::read(certificates.client_cert()).unwrap(), before);
        certificates.server().server_crypto().unwrap();
        std::fs::remove_file(certificates.client_key()).unwrap();
        assert!(matches!(certificates.ensure(), Err(DevError::Incomplete { .. })));
    }
}
