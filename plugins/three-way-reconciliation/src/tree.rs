//! A CBOR document as a tree of text-keyed maps over the bytes it was read from.
//!
//! Always holds: keys of a map are sorted and distinct; a leaf is one whole CBOR item, kept as the bytes it came in, so two
//! leaves are equal when their bytes are. That calls an unusual encoding of the same number another number, which only makes
//! the policy more careful. Nesting is bounded by [`DEPTH_MAX`], and nothing is reserved ahead of what the input holds.

use std::convert::Infallible;

use cbor4ii::core::dec::{Decode, Error, IgnoredAny, Read, Reference};
use cbor4ii::core::enc::{self, Encode, Write};
use cbor4ii::core::{major, types};

/// How deep maps, arrays and tags may nest.
const DEPTH_MAX: usize = 64;

const NULL: &[u8] = &[cbor4ii::core::marker::NULL];

/// One item of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tree<'a> {
    /// A map with text keys, sorted by key.
    Map(Vec<(&'a str, Tree<'a>)>),
    /// Anything else, as its bytes.
    Leaf(&'a [u8]),
}

impl<'a> Tree<'a> {
    /// What removes a member, in a merge patch.
    pub(crate) const NULL: Tree<'static> = Tree::Leaf(NULL);

    /// A whole document; none when it is not one CBOR item with text keys, or too deep.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Input { rest: bytes, depth_left: DEPTH_MAX };
        let tree = Self::read(&mut input).ok()??;
        input.rest.is_empty().then_some(tree)
    }

    pub(crate) fn is_null(&self) -> bool {
        *self == Self::NULL
    }

    /// The member of a map.
    pub(crate) fn member(&self, key: &str) -> Option<&Tree<'a>> {
        match self {
            Tree::Map(members) => {
                members.binary_search_by(|(other, _)| (*other).cmp(key)).ok().map(|found| &members[found].1)
            }
            Tree::Leaf(_) => None,
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut output = Output(Vec::new());
        let written = self.write(&mut output);
        debug_assert!(written.is_ok(), "memory takes every byte");
        output.0
    }

    /// `Ok(None)`: well-formed, but no document of ours.
    fn read(input: &mut Input<'a>) -> Result<Option<Self>, Error<Infallible>> {
        if input.rest.first().map(|byte| byte >> 5) != Some(major::MAP) {
            let before = input.rest;
            IgnoredAny::decode(input)?;
            return Ok(Some(Tree::Leaf(&before[..before.len() - input.rest.len()])));
        }
        if !input.step_in() {
            return Ok(None);
        }
        // Only the host's own encoder writes these documents, and it always tells the length.
        let Some(length) = types::Map::len(input)? else {
            return Ok(None);
        };
        let mut members = Vec::new();
        for _ in 0..length {
            let key = <&str>::decode(input)?;
            let Some(value) = Self::read(input)? else {
                return Ok(None);
            };
            members.push((key, value));
        }
        input.step_out();
        members.sort_unstable_by_key(|(key, _)| *key);
        let distinct = members.windows(2).all(|pair| pair[0].0 != pair[1].0);
        Ok(distinct.then_some(Tree::Map(members)))
    }

    fn write(&self, output: &mut Output) -> Result<(), enc::Error<Infallible>> {
        match self {
            Tree::Leaf(bytes) => output.push(bytes).map_err(enc::Error::Write),
            Tree::Map(members) => {
                types::Map::bounded(members.len(), output)?;
                members.iter().try_for_each(|(key, value)| {
                    key.encode(output)?;
                    value.write(output)
                })
            }
        }
    }
}

struct Input<'a> {
    rest: &'a [u8],
    depth_left: usize,
}

impl<'a> Read<'a> for Input<'a> {
    type Error = Infallible;

    fn fill<'short>(&'short mut self, want: usize) -> Result<Reference<'a, 'short>, Infallible> {
        Ok(Reference::Long(&self.rest[..want.min(self.rest.len())]))
    }

    fn advance(&mut self, n: usize) {
        self.rest = &self.rest[n.min(self.rest.len())..];
    }

    fn step_in(&mut self) -> bool {
        let deeper = self.depth_left.checked_sub(1);
        self.depth_left = deeper.unwrap_or(0);
        deeper.is_some()
    }

    fn step_out(&mut self) {
        self.depth_left += 1;
    }
}

struct Output(Vec<u8>);

impl Write for Output {
    type Error = Infallible;

    fn push(&mut self, input: &[u8]) -> Result<(), Infallible> {
        self.0.extend_from_slice(input);
        Ok(())
    }
}
