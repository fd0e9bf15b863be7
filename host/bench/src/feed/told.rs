//! What a watch is answered. No more of a frame is read than is held against what was written: the host is measured here,
//! not the client.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use ostrakon_wire::Answer;
use ostrakon_wire::cbor::{FieldReader, Reader};

const BODY: u64 = 2;
const ERROR: u64 = 3;
const NAME: u64 = 8;
const VERSION: u64 = 10;
const PAYLOAD: u64 = 13;
const ITEMS: u64 = 25;

/// A change as a watcher is told it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) name: &'a str,
    pub(super) version: u64,
    /// What the object holds; `None` where history no longer had it.
    pub(super) content: Option<&'a [u8]>,
}

/// Hands out the changes of a frame, in order; a bookmark has none.
pub(super) fn changes(frame: &Bytes, mut one: impl FnMut(Change<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut reader = Reader::new(frame);
    let mut fields = FieldReader::new(&mut reader)?;
    while let Some((key, value)) = fields.next_field()? {
        match key {
            BODY => {
                let mut body = FieldReader::new(value)?;
                while let Some((key, value)) = body.next_field()? {
                    match key {
                        ITEMS => {
                            for _ in 0..value.array()? {
                                one(change(value)?)?;
                            }
                        }
                        _ => drop(value.skip()?),
                    }
                }
            }
            ERROR => bail!("the host refused a watch: {:?}", Answer::read(frame)?.outcome),
            _ => drop(value.skip()?),
        }
    }
    Ok(())
}

fn change<'a>(value: &mut Reader<'a>) -> anyhow::Result<Change<'a>> {
    let (mut name, mut version, mut content) = (None, None, None);
    let mut fields = FieldReader::new(value)?;
    while let Some((key, value)) = fields.next_field()? {
        match key {
            NAME => name = Some(value.text()?),
            VERSION => version = Some(value.uint()?),
            PAYLOAD => {
                value.array()?;
                value.skip()?;
                content = Some(value.bytes()?);
            }
            _ => drop(value.skip()?),
        }
    }
    let (name, version) = name.zip(version).context("a change of no object, or to no version")?;
    Ok(Change { name, version, content })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ostrakon_wire::answer::{Event, Events};
    use ostrakon_wire::{
        ActionKind, Code, Decided, ObjectId, Payload, Reply, Revision, TimestampMs, Version, WireError,
    };

    use super::*;

    fn frame(outcome: Result<Reply, WireError>) -> Bytes {
        let mut out = Vec::new();
        Answer { id: 0, outcome }.write(&mut out);
        out.into()
    }

    fn event(number: u64, payload: Option<Payload>) -> Event {
        Event {
            object: ObjectId::new("acme", "volume", &format!("vol-{number}")).unwrap(),
            version: Version::new(number),
            revision: Revision::new(7),
            timestamp: TimestampMs::new(1),
            kind: ActionKind::Put,
            action_id: None,
            by: Some("somebody".into()),
            deleted: false,
            escalated: false,
            omitted: payload.is_none(),
            payload,
            previous: None,
        }
    }

    #[test]
    fn a_change_is_read_otherwise_than_it_was_written() {
        let payload = Payload::bytes(vec![1, 2, 3]).unwrap();
        let items = vec![event(4, Some(payload)), event(5, None)];
        let events = Events { items, more: true, decided: Decided::default() };
        let mut read = Vec::new();
        changes(&frame(Ok(Reply::Events(events))), |change| {
            read.push((change.name.to_owned(), change.version, change.content.map(<[u8]>::to_vec)));
            Ok(())
        })
        .unwrap();
        assert_eq!(read, [("vol-4".to_owned(), 4, Some(vec![1, 2, 3])), ("vol-5".to_owned(), 5, None)]);
    }

    #[test]
    fn a_refusal_passes_for_a_bookmark() {
        let refused = frame(Err(WireError::new(Code::Draining, "the host is stopping")));
        assert!(changes(&refused, |_| Ok(())).is_err());
    }
}
