//! Merge patches (RFC 7396) as trees: what two of them have to do with each other, and how one is made from two documents.
//!
//! Always holds: a patch touches the paths of its leaves; a map inside it touches nothing by itself, but that it wants a
//! map there. `null` removes.

use std::cmp::Ordering;

use crate::tree::Tree;

/// What ours and theirs have to do with each other, both made from the same base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    /// Everything that ours sets, theirs has set to the same.
    Contained,
    /// No path that ours sets is set otherwise by theirs.
    Disjoint,
    /// At least one path is set by both, to different values.
    Overlapping,
}

/// How `ours` relates to `theirs`.
pub(crate) fn relate(ours: &Tree<'_>, theirs: &Tree<'_>) -> Relation {
    match (ours, theirs) {
        // A patch of no members changed nothing, whatever ours makes of the whole.
        (Tree::Leaf(_), Tree::Map(members)) if members.is_empty() => Relation::Disjoint,
        _ => relate_at_path(ours, theirs),
    }
}

/// The same below the root, where an empty map says that something else was replaced by one.
fn relate_at_path(ours: &Tree<'_>, theirs: &Tree<'_>) -> Relation {
    match (ours, theirs) {
        (Tree::Map(members), Tree::Map(_)) => {
            members.iter().fold(Relation::Contained, |so_far, (key, value)| match theirs.member(key) {
                Some(other) => so_far.and(relate_at_path(value, other)),
                None => so_far.and(Relation::Disjoint),
            })
        }
        _ if ours == theirs => Relation::Contained,
        _ => Relation::Overlapping,
    }
}

impl Relation {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Relation::Overlapping, _) | (_, Relation::Overlapping) => Relation::Overlapping,
            (Relation::Contained, Relation::Contained) => Relation::Contained,
            _ => Relation::Disjoint,
        }
    }
}

/// Whether applying `patch` to `document` would change nothing.
pub(crate) fn shows(document: &Tree<'_>, patch: &Tree<'_>) -> bool {
    let Tree::Map(changes) = patch else {
        return document == patch;
    };
    matches!(document, Tree::Map(_))
        && changes.iter().all(|(key, change)| match document.member(key) {
            None => change.is_null(),
            Some(_) if change.is_null() => false,
            Some(value) => shows(value, change),
        })
}

/// The patch that makes `to` out of `from`; none when there is none, because `to` holds a null that `from` does not.
pub(crate) fn difference<'a>(from: &Tree<'a>, to: &Tree<'a>) -> Option<Tree<'a>> {
    let (Tree::Map(before), Tree::Map(after)) = (from, to) else {
        return expressible(to).then(|| to.clone());
    };
    let mut changes = Vec::new();
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return Some(Tree::Map(changes)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { after.next() } else { None };
        match (old, new) {
            (Some((_, old)), Some((_, new))) if old == new => {}
            (Some((key, old)), Some((_, new))) => changes.push((*key, replacement(old, new)?)),
            (Some((key, _)), None) => changes.push((*key, Tree::NULL)),
            (None, Some((key, new))) => changes.push((*key, expressible(new).then(|| new.clone())?)),
            (None, None) => {}
        }
    }
}

/// The change of a member from `old` to `new`.
fn replacement<'a>(old: &Tree<'a>, new: &Tree<'a>) -> Option<Tree<'a>> {
    if new.is_null() {
        return None;
    }
    difference(old, new)
}

/// Whether a patch can set this value where no map stood: it cannot set a null, which would remove.
fn expressible(value: &Tree<'_>) -> bool {
    match value {
        Tree::Map(members) => members.iter().all(|(_, member)| expressible(member)),
        Tree::Leaf(_) => !value.is_null(),
    }
}
