//! Who is at the other end of a connection, by the certificate that was held against the authority.

use std::sync::Arc;

use quinn::Connection;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The common name of a connection's client certificate, if it has one that can be shown.
pub(crate) fn name(connection: &Connection) -> Option<Arc<str>> {
    let identity = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    common_name(identity.first()?)
}

fn common_name(certificate: &[u8]) -> Option<Arc<str>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    let shown = !name.is_empty() && !name.chars().any(char::is_control);
    shown.then(|| name.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::common_name;

    fn certificate(name: Option<&str>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        name.into_iter().for_each(|name| params.distinguished_name.push(DnType::CommonName, name));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_name_that_cannot_be_shown_is_taken() {
        assert_eq!(common_name(&certificate(Some("deploy-bot"))).as_deref(), Some("deploy-bot"));
        assert_eq!(common_name(&certificate(Some("a\nb"))), None);
        assert_eq!(common_name(&certificate(None)), None);
        assert_eq!(common_name(&[0x30, 0x80]), None);
    }
}
