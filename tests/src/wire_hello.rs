//! The hello: what is one, what is answered to it, and what becomes of a connection without.

use ostrakon_wire::bounds::FRAME_DEPTH_MAX;
use ostrakon_wire::{Answer, ClientHello, Code, PROTOCOL, frame};

use crate::harness::{Ended, Raw, Tls, closes, serves, shared};

/// Sends this as the first frame, and holds that the connection is closed over it.
async fn closed_over(first: &[u8], code: Code) {
    let host = shared();
    let raw = Raw::dial(&host, Tls::of(&host)).await.unwrap();
    let mut stream = raw.open().await;
    stream.write(first).await;
    closes(&raw, code).await;
    serves(&host).await;
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
    serves(&host).await;
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
    for protocol in [0, PROTOCOL + 1, u64::from(u32::MAX) + 2, u64::MAX] {
        let raw = Raw::dial(&host, Tls::of(&host)).await.unwrap();
        let mut stream = raw.open().await;
        let hello = ClientHello { protocol, ..ClientHello::new("later") };
        stream.frame(|out| hello.write(out)).await;
        let Answer { id, outcome } = stream.answer().await;
        let error = outcome.unwrap_err();
        assert_eq!((id, error.code), (0, Code::UnsupportedProtocol));
        let (theirs, ours) = (protocol.to_string(), PROTOCOL.to_string());
        assert!(error.message.contains(&theirs) && error.message.contains(&ours), "{}", error.message);
        let closed = Ended::Closed(Code::UnsupportedProtocol.number().into());
        match stream.answer_or_end().await {
            Err(ended) => assert!(ended == Ended::Finished || ended == closed, "{ended:?}"),
            Ok(answer) => panic!("{answer:?}"),
        }
        closes(&raw, Code::UnsupportedProtocol).await;
        serves(&host).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_may_nest_deeper_than_a_frame() {
    let host = shared();
    // {40: 1, 99: [[[...0]]]}
    let nested = |levels: usize| [&[0xa2, 0x18, 40, 1, 0x18, 99][..], &vec![0x81; levels], &[0]].concat();
    let raw = Raw::dial(&host, Tls::of(&host)).await.unwrap();
    let mut stream = raw.open().await;
    stream.frame(|out| out.extend(nested(FRAME_DEPTH_MAX - 1))).await;
    stream.next_frame().await.unwrap();
    for levels in [FRAME_DEPTH_MAX + 1, 1_000] {
        let mut hello = Vec::new();
        frame::append(&mut hello, |out| out.extend(nested(levels)));
        closed_over(&hello, Code::Malformed).await;
    }
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
