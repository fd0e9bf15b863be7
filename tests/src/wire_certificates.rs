//! Who is let in: certificates and ALPN. Whoever is not leaves with the alert that says why, and the next is served.

use ostrakon_wire::ALPN;
use quinn::{ConnectionError, TransportErrorCode};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;

use crate::harness::{
    Authority, Folder, Host, Raw, Tls, client_certificate, server_certificate, serves, serves_as, shared,
};

/// Alerts of TLS (RFC 8446, section 6).
const UNSUPPORTED_CERTIFICATE: u8 = 43;
const CERTIFICATE_EXPIRED: u8 = 45;
const UNKNOWN_CA: u8 = 48;
const DECRYPT_ERROR: u8 = 51;
const CERTIFICATE_REQUIRED: u8 = 116;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Holds that the host ends the handshake with this alert. A client may think that its handshake is done when the host
/// has not looked at its certificate yet.
async fn refused_by(host: &Host, tls: Tls, alert: u8) {
    let error = match Raw::dial(host, tls).await {
        Ok(raw) => raw.closed().await,
        Err(error) => error,
    };
    let code = match error {
        ConnectionError::ConnectionClosed(close) => close.error_code,
        ConnectionError::TransportError(error) => error.code,
        other => panic!("{other}"),
    };
    assert_eq!(code, TransportErrorCode::crypto(alert));
}

/// The same of a host that others use too, which goes on.
async fn refused(tls: impl FnOnce(Tls) -> Tls, alert: u8) {
    let host = shared();
    refused_by(&host, tls(Tls::of(&host)), alert).await;
    serves(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_certificate_is_served() {
    let nobody = |tls| Tls { identity: None, ..tls };
    refused(nobody, CERTIFICATE_REQUIRED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_authority_is_served() {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let identity = Some((cert.der().clone(), key));
    refused(|tls| Tls { identity, ..tls }, UNKNOWN_CA).await;
    let identity = Some(Authority::new("somebody else's authority").identity(client_certificate()));
    refused(|tls| Tls { identity, ..tls }, UNKNOWN_CA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_no_good_lets_its_client_in() {
    let authority = Authority::new("the authority");
    let namesake = Authority::new("the authority");
    let folder = Folder::new();
    let host = folder.serve_of(&authority);
    let tls = |authority_of_client: &Authority, params: CertificateParams| Tls {
        identity: Some(authority_of_client.identity(params)),
        trusts: authority.der(),
        alpn: vec![ALPN.to_vec()],
    };
    let (mut expired, mut early) = (client_certificate(), client_certificate());
    expired.not_after = date_time_ymd(2020, 1, 1);
    early.not_before = date_time_ymd(2200, 1, 1);
    early.not_after = date_time_ymd(2300, 1, 1);
    for (what, tls_of_client, alert) in [
        ("none", Tls { identity: None, ..tls(&authority, client_certificate()) }, CERTIFICATE_REQUIRED),
        ("of a namesake of the authority", tls(&namesake, client_certificate()), DECRYPT_ERROR),
        ("expired", tls(&authority, expired), CERTIFICATE_EXPIRED),
        ("not valid yet", tls(&authority, early), CERTIFICATE_EXPIRED),
        ("for servers alone", tls(&authority, server_certificate()), UNSUPPORTED_CERTIFICATE),
    ] {
        println!("a certificate: {what}");
        refused_by(&host, tls_of_client, alert).await;
        serves_as(&host, tls(&authority, client_certificate())).await;
    }
    let mut unsaid = client_certificate();
    unsaid.extended_key_usages.clear();
    serves_as(&host, tls(&authority, unsaid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_protocol_is_served() {
    let h3 = |tls| Tls { alpn: vec![b"h3".to_vec()], ..tls };
    refused(h3, NO_APPLICATION_PROTOCOL).await;
    let none = |tls| Tls { alpn: vec![], ..tls };
    refused(none, NO_APPLICATION_PROTOCOL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_offers_more_protocols_is_not_served() {
    let host = shared();
    let alpn = vec![b"ostrakon/2".to_vec(), ALPN.to_vec()];
    serves_as(&host, Tls { alpn, ..Tls::of(&host) }).await;
}
