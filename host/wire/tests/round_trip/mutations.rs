//! Valid frames, changed at random: bits flipped, pieces cut off, put in and doubled, lengths that lie.

use bytes::{Bytes, BytesMut};
use ostrakon_wire::value::{self, Value};
use ostrakon_wire::{Answer, ClientHello, Code, Request, ServerHello, bounds, frame};
use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use crate::strategies::{answer, client_hello, request, server_hello, structured};
use crate::{config, written};

/// SplitMix64: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Below `end`, or 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }
}

/// Heads of items that claim far more than any frame holds.
pub(crate) const LYING_HEADS: [[u8; 9]; 4] = [
    [0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    [0x7b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    [0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    [0xbb, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff],
];
/// Bytes with a meaning: indefinite lengths, breaks, tags, floats, simple values, heads of every width.
const TELLING_BYTES: [u8; 16] =
    [0x00, 0x18, 0x1b, 0x3b, 0x5f, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xf6, 0xf7, 0xf9, 0xfb, 0xff];

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(bytes.len());
    let to = (at + 1 + dice.below(12)).min(bytes.len());
    match dice.below(8) {
        0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
        2 if !bytes.is_empty() => bytes[at] = TELLING_BYTES[dice.below(TELLING_BYTES.len())],
        3 => bytes.truncate(at),
        4 => bytes.insert(at, dice.roll() as u8),
        5 => {
            let piece = bytes[at..to].to_vec();
            let target = dice.below(bytes.len());
            bytes.splice(target..target, piece);
        }
        6 => drop(bytes.drain(at..to)),
        _ => {
            let head = LYING_HEADS[dice.below(LYING_HEADS.len())];
            bytes.splice(at..to, head);
        }
    }
}

fn sampled<T>(strategy: &impl Strategy<Value = T>, seed: u64) -> T {
    let seed: Vec<u8> = [seed; 4].iter().flat_map(|word| word.to_be_bytes()).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(config(), rng);
    strategy.new_tree(&mut runner).unwrap().current()
}

const SEEDS: u64 = 1_000;
const MUTANTS_PER_SEED: usize = 40;

/// Runs `check` on mutants of sampled frames; a panic inside it names the seed and the bytes.
fn on_mutants<T>(strategy: impl Strategy<Value = T>, write: impl Fn(&T, &mut Vec<u8>), check: impl Fn(&Bytes)) {
    for seed in 0..SEEDS {
        let value = sampled(&strategy, seed);
        let mut dice = Dice(seed);
        for _ in 0..MUTANTS_PER_SEED {
            let mut bytes = Vec::new();
            write(&value, &mut bytes);
            for _ in 0..=dice.below(3) {
                mutate(&mut bytes, &mut dice);
            }
            let bytes = Bytes::from(bytes);
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&bytes)));
            assert!(checked.is_ok(), "seed {seed}, bytes {bytes:02x?}");
        }
    }
}

#[test]
fn a_mutated_request_is_refused_with_a_code_of_its_own_or_read_as_something_stable() {
    let codes = [
        Code::Malformed,
        Code::UnknownRequest,
        Code::InvalidId,
        Code::InvalidPayload,
        Code::PayloadTooLarge,
        Code::InvalidToken,
        // Of a transaction: a condition's pointer, a custom action.
        Code::InvalidPointer,
        Code::Unsupported,
    ];
    on_mutants(
        request(),
        |request, out| request.write(out),
        |bytes| match Request::read(bytes) {
            Ok(request) => assert_eq!(Request::read(&written(|out| request.write(out))), Ok(request)),
            Err((id, error)) => {
                assert!(codes.contains(&error.code), "{error}");
                assert!(id.is_some() || error.code == Code::Malformed, "{error}");
            }
        },
    );
}

#[test]
fn a_mutated_answer_is_refused_or_read_as_something_stable() {
    on_mutants(
        answer(),
        |answer, out| answer.write(out),
        |bytes| {
            if let Ok(answer) = Answer::read(bytes) {
                assert_eq!(Answer::read(&written(|out| answer.write(out))), Ok(answer));
            }
        },
    );
}

#[test]
fn a_mutated_hello_is_refused_or_read_as_something_stable() {
    on_mutants(
        server_hello(),
        |hello, out| hello.write(out),
        |bytes| {
            if let Ok(hello) = ServerHello::read(bytes) {
                assert_eq!(ServerHello::read(&written(|out| hello.write(out))), Ok(hello));
            }
        },
    );
    on_mutants(
        client_hello(),
        |hello, out| hello.write(out),
        |bytes| {
            if let Ok(hello) = ClientHello::read(bytes) {
                assert_eq!(ClientHello::read(&written(|out| hello.write(out))), Ok(hello));
            }
        },
    );
}

#[test]
fn a_mutated_structured_payload_passes_the_check_exactly_if_it_has_a_value() {
    on_mutants(
        structured(),
        |payload, out| out.extend_from_slice(payload.as_bytes()),
        |bytes| {
            let value = Value::from_cbor(bytes);
            assert_eq!(value::check(bytes).is_ok(), matches!(value, Ok(Value::Map(_))));
            if let Ok(value) = value {
                assert_eq!(Value::from_cbor(&value.to_cbor()), Ok(value));
            }
        },
    );
}

#[test]
fn mutated_streams_of_frames_split_into_no_more_than_what_arrived() {
    let requests = vec(request(), 1..4);
    let write = |requests: &Vec<Request>, out: &mut Vec<u8>| {
        for request in requests {
            frame::append(out, |out| request.write(out));
        }
    };
    on_mutants(requests, write, |bytes| {
        let mut buffer = BytesMut::new();
        let mut taken = 0;
        for chunk in bytes.chunks(7) {
            buffer.extend_from_slice(chunk);
            loop {
                match frame::split(&mut buffer, bounds::FRAME_BYTES_MAX) {
                    Ok(Some(frame)) => taken += frame::PREFIX_BYTES + frame.len(),
                    Ok(None) => break,
                    Err(_) => return,
                }
            }
            assert!(buffer.capacity() <= 2 * (bounds::FRAME_BYTES_MAX + frame::PREFIX_BYTES));
        }
        assert_eq!(taken + buffer.len(), bytes.len());
    });
}
