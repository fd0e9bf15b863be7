//! What the objects of a load are called, and what they hold.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use ostrakon_wire::{ObjectId, Payload};

use crate::load::Random;

/// What the objects' payloads weigh.
const PAYLOAD_BYTES: usize = 256;
const STAMP_BYTES: usize = size_of::<u64>();
/// Client ids whose objects these are.
pub(crate) const CLIENT_IDS: usize = 100;

pub(super) fn payload(random: &mut Random) -> anyhow::Result<Payload> {
    Ok(Payload::bytes(content(random))?)
}

/// What an object holds.
pub(crate) fn content(random: &mut Random) -> Vec<u8> {
    (0..PAYLOAD_BYTES / 8).flat_map(|_| random.next().to_be_bytes()).collect()
}

/// The same, with the microseconds since then in front.
pub(super) fn stamped(payload: &Payload, since: Instant) -> anyhow::Result<Payload> {
    let mut bytes = payload.as_bytes().to_vec();
    bytes[..STAMP_BYTES].copy_from_slice(&(since.elapsed().as_micros() as u64).to_be_bytes());
    Ok(Payload::bytes(bytes)?)
}

/// When a payload was sent that says so.
pub(crate) fn stamp(content: &[u8], since: Instant) -> anyhow::Result<Instant> {
    let stamp = content.first_chunk::<STAMP_BYTES>().context("a payload without a stamp")?;
    let after = Duration::from_micros(u64::from_be_bytes(*stamp));
    since.checked_add(after).context("a payload of no time")
}

/// One of the client ids.
pub(crate) fn client_id(client: usize) -> String {
    format!("client-{client}")
}

/// The objects are spread over all client ids.
pub(crate) fn object_id(object: usize) -> anyhow::Result<ObjectId> {
    Ok(ObjectId::new(&client_id(object % CLIENT_IDS), "volume", &format!("vol-{object:08}"))?)
}

/// The number of an object, from its name.
pub(crate) fn object_number(name: &str) -> anyhow::Result<usize> {
    name.strip_prefix("vol-").and_then(|number| number.parse().ok()).context("an object of no number")
}
