//! All slots of a kind at one time, found by client and data type.

use std::collections::HashMap;
use std::sync::Arc;

use ostrakon_wire::Slot;

use super::seat::Seat;
use crate::prepared::Policy;

/// Never changed; see [`super::Slots`].
pub(crate) struct Table<P: Policy> {
    default: Arc<Seat<P>>,
    others: Vec<Arc<Seat<P>>>,
    clients: HashMap<Box<str>, OfClient<P>>,
    types: HashMap<Box<str>, Arc<Seat<P>>>,
}

struct OfClient<P: Policy> {
    any: Option<Arc<Seat<P>>>,
    types: HashMap<Box<str>, Arc<Seat<P>>>,
}

impl<P: Policy> Table<P> {
    pub(crate) fn new(default: Arc<Seat<P>>, others: Vec<Arc<Seat<P>>>) -> Self {
        let (mut clients, mut types) = (HashMap::<Box<str>, OfClient<P>>::new(), HashMap::new());
        for seat in &others {
            let data_type = seat.slot.data_type.as_deref().map(Box::from);
            match (seat.slot.client.as_deref(), data_type) {
                (Some(client), data_type) => {
                    let of =
                        clients.entry(client.into()).or_insert_with(|| OfClient { any: None, types: HashMap::new() });
                    match data_type {
                        Some(data_type) => drop(of.types.insert(data_type, Arc::clone(seat))),
                        None => of.any = Some(Arc::clone(seat)),
                    }
                }
                (None, Some(data_type)) => drop(types.insert(data_type, Arc::clone(seat))),
                (None, None) => unreachable!("the default is no other"),
            }
        }
        Self { default, others, clients, types }
    }

    /// The most specific seat.
    #[inline]
    pub(crate) fn seat(&self, client: &str, data_type: &str) -> &Seat<P> {
        if self.others.is_empty() { &self.default } else { self.override_for(client, data_type) }
    }

    fn override_for(&self, client: &str, data_type: &str) -> &Seat<P> {
        let of_client = self.clients.get(client);
        let of_client = of_client.and_then(|of| of.types.get(data_type).or(of.any.as_ref()));
        of_client.or_else(|| self.types.get(data_type)).unwrap_or(&self.default)
    }

    #[cfg(test)]
    pub(crate) fn default(&self) -> &Seat<P> {
        &self.default
    }

    /// The default first.
    pub(crate) fn seats(&self) -> impl Iterator<Item = &Arc<Seat<P>>> {
        std::iter::once(&self.default).chain(&self.others)
    }

    pub(crate) fn get(&self, slot: &Slot) -> Option<&Arc<Seat<P>>> {
        self.seats().find(|seat| seat.slot == *slot)
    }

    /// The table with another seat for a slot; the default stays where nothing is given for it.
    pub(super) fn with(&self, slot: &Slot, seat: Option<Arc<Seat<P>>>) -> Self {
        if slot.is_default() {
            return Self::new(seat.unwrap_or_else(|| Arc::clone(&self.default)), self.others.clone());
        }
        let mut others: Vec<_> = self.others.iter().filter(|seat| seat.slot != *slot).cloned().collect();
        others.extend(seat);
        Self::new(Arc::clone(&self.default), others)
    }
}
