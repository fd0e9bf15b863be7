//! Who is let in: TLS, ALPN, the hello.

use ostrakon_wire::{ALPN, Answer, ClientHello, Code, frame};
use quinn::{ConnectionError, TransportErrorCode};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use crate::harness::{Ended, Raw, Tls, shared};

/// Alerts of TLS (RFC 8446, section 6).
const UNKNOWN_CA: u8 = 48;
const CERTIFICATE_REQUIRED: u8 = 116;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// Holds that the host ends the handshake with this alert. A client may think that its handshake is done when the host
/// has not looked at its certificate yet.
async fn refused(tls: impl FnOnce(Tls) -> Tls, alert: u8) {
    let host = shared();
    let error = match Raw::dial(&host, tls(Tls::of(&host))).await {
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
    let tls = Tls { alpn, ..Tls::of(&host) };
    Raw::dial(&host, tls).await.unwrap();
}

/// Holds that the host closes the connection with this code.
async fn closes(raw: &Raw, code: Code) {
    match raw.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(u64::from(close.error_code), u64::from(code.number()), "{close}");
        }
        other => panic!("{other}"),
    }
}

/// Sends this as the first frame, and holds that the connection is closed over it.
async fn closed_over(first: &[u8], code: Code) {
    let host = shared();
    let raw = Raw::dial(&host, Tls::of(&host)).await.unwrap();
    let mut stream = raw.open().await;
    stream.write(first).await;
    closes(&raw, code).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_keeps_its_connection() {
    let host = shared();
    let silent = Raw::dial(&host, Tls::of(&host)).await.unwrap();
    let slow = Raw::dial(&host, Tls::of(&host)).await.unwrap();
    let mut stream = slow.open().await;
    stream.write(&[0, 0, 0, 9, 0xa2]).await;
    closes(&silent, Code::TooSlow).await;
    closes(&slow, Code::TooSlow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_taken_before_a_hello() {
    let mut request = Vec::new();
    // {0: 1, 1: 9, 2: {}}: info, with the request number 1.
    frame::append(&mut request, |out| out.extend_from_slice(&[0xa3, 0, 1, 1, 9, 2, 0xa0]));
    closed_over(&request, Code::Malformed).await;
    closed_over(&[0, 0, 0, 2, 0xff, 0xff], Code::Malformed).await;
    closed_over(&[0, 0, 0x10, 0], Code::FrameTooLarge).await;
    closed_over(b"GET / HTTP/1.1\r\n\r\n", Code::FrameTooLarge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_version_that_is_not_spoken_goes_unanswered() {
    let host = shared();
    let raw = Raw::dial(&host, Tls::of(&host)).await.unwrap();
    let mut stream = raw.open().await;
    let hello = ClientHello { protocol: 2, ..ClientHello::new("later") };
    stream.frame(|out| hello.write(out)).await;
    let Answer { id, outcome } = stream.answer().await;
    let error = outcome.unwrap_err();
    assert_eq!((id, error.code), (0, Code::UnsupportedProtocol));
    assert!(error.message.contains('2') && error.message.contains('1'), "{}", error.message);
    let closed = Ended::Closed(Code::UnsupportedProtocol.number().into());
    match stream.answer_or_end().await {
        Err(ended) => assert!(ended == Ended::Finished || ended == closed, "{ended:?}"),
        Ok(answer) => panic!("{answer:?}"),
    }
    raw.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_of_a_later_client_with_more_in_it_is_refused() {
    let host = shared();
    let raw = Raw::dial(&host, Tls::of(&host)).await.unwrap();
    let mut stream = raw.open().await;
    // {40: 1, 41: "x", 99: [1, 2]}
    let hello = [0xa3, 0x18, 40, 1, 0x18, 41, 0x61, b'x', 0x18, 99, 0x82, 1, 2];
    stream.frame(|out| out.extend_from_slice(&hello)).await;
    stream.next_frame().await.unwrap();
    stream.ask(ostrakon_client::Operation::Info).await.unwrap();
}
