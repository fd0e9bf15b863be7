//! Listing the objects of a client, a page at a time, each page from one read view.

use std::sync::Arc;

use bytes::Bytes;
use ostrakon_store::{Head, ListItem, ReadError, ReadView};
use ostrakon_wire::answer::{Page, PageItem};
use ostrakon_wire::bounds::{PAGE_BYTES_MAX, PAGE_EXAMINED_MAX, TOKEN_BYTES_MAX};
use ostrakon_wire::{Code, Decided, Generations, List, ObjectId, ShardKey, WireError};

use crate::Engine;

/// What an item weighs on a page beside its texts and its payload.
pub(crate) const ITEM_OVERHEAD_BYTES: usize = 64;
/// First byte of a page token: what follows is the text of the last object that was looked at.
const TOKEN_TAG: u8 = 1;

impl Engine {
    pub(crate) async fn list(&self, list: &List) -> Result<Page, WireError> {
        let prefix = ObjectId::text_prefix(&list.client, list.data_type.as_deref(), list.prefix.as_deref());
        let after = list.token.as_deref().map(|token| parse_token(token, &prefix)).transpose()?;
        if let Some(at) = list.at {
            let page = self.list_at(prefix, after, list.limit, list.with_payloads, at);
            let ((items, token), decided) = page.await?;
            return Ok(Page { items, token, decided });
        }
        let view = self.owner.views().latest();
        let (limit, with_payloads) = (list.limit, list.with_payloads);
        let reading = Arc::clone(&view);
        let read = move || read_page(&reading, &prefix, after.as_ref(), limit, with_payloads);
        let (items, token) = self.owner.on_reader(read).await.map_err(|error| self.unreadable(&error))?;
        let decided = Decided {
            shard: None,
            epoch: view.map().epoch(),
            position: view.position(),
            generations: Generations::default(),
        };
        Ok(Page { items, token, decided })
    }
}

fn parse_token(token: &[u8], prefix: &str) -> Result<ObjectId, WireError> {
    let text = token.strip_prefix(&[TOKEN_TAG]).and_then(|text| std::str::from_utf8(text).ok());
    text.filter(|text| text.starts_with(prefix))
        .and_then(|text| ObjectId::from_text(text).ok())
        .ok_or_else(|| WireError::new(Code::InvalidToken, "the page token is not one that this list gave out"))
}

fn make_token(last: &ObjectId) -> Bytes {
    let token = [&[TOKEN_TAG], last.as_text().as_bytes()].concat();
    assert!(token.len() <= TOKEN_BYTES_MAX, "a token holds one object's text");
    token.into()
}

pub(crate) type ItemsAndToken = (Vec<PageItem>, Option<Bytes>);

fn read_page(
    view: &ReadView,
    prefix: &str,
    after: Option<&ObjectId>,
    limit: usize,
    with_payloads: bool,
) -> Result<ItemsAndToken, ReadError> {
    let found = view.list(prefix, after).map(|item| {
        let ListItem { object, shard_key, head } = item?;
        Ok((object, Some((shard_key, head))))
    });
    fill_page(view, found, limit, with_payloads)
}

/// Fills a page with the live ones of what is found under each name, in order; `None` where nothing is. It ends with the
/// names, or where one more would be too many items, bytes or names; the token is then of the last name that was looked at.
pub(crate) fn fill_page<E>(
    view: &ReadView,
    found: impl Iterator<Item = Result<(ObjectId, Option<(ShardKey, Head)>), E>>,
    limit: usize,
    with_payloads: bool,
) -> Result<ItemsAndToken, E> {
    let (mut items, mut bytes): (Vec<PageItem>, usize) = (Vec::new(), 0);
    let mut last: Option<ObjectId> = None;
    for (examined, item) in found.enumerate() {
        let (object, found) = item?;
        let payload = found.as_ref().and_then(|(_, head)| head.row.payload.as_ref());
        bytes += ITEM_OVERHEAD_BYTES + object.as_text().len();
        bytes += payload.filter(|_| with_payloads).map_or(0, |payload| payload.as_bytes().len());
        let full = items.len() == limit || bytes > PAGE_BYTES_MAX || examined == PAGE_EXAMINED_MAX;
        if let Some(last) = last.as_ref().filter(|_| full) {
            return Ok((items, Some(make_token(last))));
        }
        last = Some(object.clone());
        if let Some((shard_key, Head { version, row })) = found.filter(|(_, head)| head.row.payload.is_some()) {
            items.push(PageItem {
                object,
                version,
                revision: row.revision,
                shard_key,
                shard: view.map().shard_of(shard_key),
                payload: row.payload.filter(|_| with_payloads),
            });
        }
    }
    Ok((items, None))
}
