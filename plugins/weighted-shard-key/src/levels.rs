//! How finely the objects of a client are told apart by their keys: the more it is used, the finer.
//!
//! Always holds: every level puts an object into its client's range, and every one but the first into its type's range
//! inside that. So a change of level never takes an object away from its client, and the levels may lie side by side.

use ostrakon_policy_sdk::shard_key::{Heat, Placement, Request};

use crate::settings::Settings;
use crate::{BITS_MAX, Key, high, low, stable_hash};

/// What comes after the client in a key. The host's part, drawn from the name, comes last in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing: a quiet client stays together, and where it is cut after all, objects of one name stay side by side.
    Together,
    /// The data type: a client that outgrows a shard is cut between its types.
    Type,
    /// Type and time window: a type that outgrows a shard is cut between times, the busy ones from the idle ones.
    Window,
    /// Type, some bits of the name, and only then the window: what is new does not all land at the end of the windows,
    /// where it would be hot wherever it is cut.
    Spread,
}

impl Level {
    /// The level that a heat asks for. Nothing known is what it was before there was any heat: by window.
    pub(crate) fn of(heat: &Heat, settings: &Settings) -> Self {
        let outgrows = |share_ppm: u32| share_ppm >= settings.shard_ppm;
        let takes_most = u64::from(heat.window_ppm) * 2 > u64::from(heat.type_ppm);
        if is_unknown(heat) {
            Self::Window
        } else if !outgrows(heat.client_ppm) && heat.shards < 2 {
            Self::Together
        } else if !outgrows(heat.type_ppm) {
            Self::Type
        } else if outgrows(heat.window_ppm) && takes_most {
            Self::Spread
        } else {
            Self::Window
        }
    }

    /// The key of an object at this level.
    pub(crate) fn place(self, ask: &Request<'_>, settings: &Settings) -> Placement {
        let mut key = Key::default();
        key.push(high(stable_hash(ask.client.as_bytes()), settings.client_bits), settings.client_bits);
        if self >= Self::Type {
            key.push(high(stable_hash(ask.data_type.as_bytes()), settings.type_bits), settings.type_bits);
        }
        if self >= Self::Spread {
            let bits = settings.spread_bits();
            key.push(high(stable_hash(ask.name.as_bytes()), bits), bits);
        }
        if self >= Self::Window {
            key.push(low(ask.timestamp_ms / settings.window_ms, settings.window_bits), settings.window_bits);
        }
        key.placement()
    }
}

/// Whether nothing is known of a client.
fn is_unknown(heat: &Heat) -> bool {
    heat.client_ppm | heat.callers | heat.shards == 0
}

/// The key that an object has, where it still fits.
///
/// A key in the range of its type fits at every level: the finer ones only order what lies there, and a range whose
/// objects spread by name can be cut as it is. So neither a heat that goes up and down nor a time that is told otherwise
/// later moves an object. A key that lies in its client's range alone was given to a quiet client; it fits until the
/// object's type has outgrown a shard by itself: a client of which nothing is known has not.
pub(crate) fn kept(ask: &Request<'_>, wanted: Level, settings: &Settings) -> Option<Placement> {
    let lies_in =
        |range: Placement| (ask.current ^ range.key).checked_shr(64 - u32::from(range.bits)).unwrap_or(0) == 0;
    let fits = lies_in(Level::Type.place(ask, settings))
        || (wanted <= Level::Type || is_unknown(&ask.heat)) && lies_in(Level::Together.place(ask, settings));
    // The host fills the lowest bits as it did before, from the same name.
    let meant = u64::MAX << (64 - BITS_MAX);
    (ask.current != 0 && fits).then_some(Placement { key: ask.current & meant, bits: BITS_MAX as u8 })
}
