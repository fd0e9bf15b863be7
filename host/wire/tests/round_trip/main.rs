//! Whatever one end writes the other reads as the same value; whatever else arrives is refused by code, never by a panic.

#![allow(clippy::unwrap_used)]

mod mutations;
mod refusals;
mod shards;
mod strategies;

use bytes::Bytes;
use ostrakon_wire::{Answer, ClientHello, Code, Request, ServerHello, cbor};
use proptest::prelude::*;
use proptest::test_runner::Config;

use strategies::{answer, request, server_hello, structured_value};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::new();
    write(&mut out);
    out.into()
}

fn config() -> Config {
    Config { failure_persistence: None, ..Config::with_cases(400) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_request_reads_back_as_it_was_written(request in request()) {
        prop_assert_eq!(Request::read(&written(|out| request.write(out))), Ok(request));
    }

    #[test]
    fn an_answer_reads_back_as_it_was_written(answer in answer()) {
        prop_assert_eq!(Answer::read(&written(|out| answer.write(out))), Ok(answer));
    }

    #[test]
    fn hellos_read_back_as_they_were_written(host in server_hello()) {
        let client = ClientHello { protocol: host.protocol, agent: host.agent.clone() };
        prop_assert_eq!(ClientHello::read(&written(|out| client.write(out))), Ok(client));
        prop_assert_eq!(ServerHello::read(&written(|out| host.write(out))), Ok(host));
    }

    #[test]
    fn an_answer_is_read_whatever_a_newer_host_adds_to_it(answer in answer(), key in 46..u64::MAX, value in structured_value(2)) {
        let content = written(|out| answer.write(out));
        let longer = with_pair(&content, |out| { cbor::uint(out, key); value.write(out); });
        prop_assert_eq!(Answer::read(&longer), Ok(answer));
    }

    #[test]
    fn a_request_with_an_unknown_key_is_refused_under_its_id(request in request(), key in 46..u64::MAX) {
        let content = written(|out| request.write(out));
        let longer = with_pair(&content, |out| { cbor::uint(out, key); cbor::uint(out, 0); });
        let (id, error) = Request::read(&longer).unwrap_err();
        prop_assert_eq!((id, error.code), (Some(request.id), Code::Malformed));
    }
}

/// The frame with one more pair at its end.
fn with_pair(content: &[u8], pair: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut longer = content.to_vec();
    longer[0] += 1;
    pair(&mut longer);
    longer.into()
}
