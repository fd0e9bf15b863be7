//! The durable store: fjall, a keyspace a shard, one log, group commit, read views.
//!
//! One thread commits: it takes what is queued, writes it as one batch with one sync, publishes one read view, then
//! tells every change's owner. Nobody else opens snapshots, so nothing is read before it is durable.

mod acknowledged;
mod check;
mod clock;
mod commit;
mod compact;
mod disk;
mod doomed;
mod error;
mod files;
mod floors;
mod flush;
mod held;
mod keyspaces;
mod making;
mod migrate;
mod open;
pub mod planted;
mod queue;
pub mod record;
mod seal;
#[cfg(feature = "simulation")]
mod simulated;
mod stretch;
mod survey;
mod sweep;
mod tables;
mod unit;
mod view;

pub use check::{CheckReport, Finding, check};
pub use clock::Clock;
#[cfg(feature = "simulation")]
pub use commit::Driver;
pub use commit::{CommitStats, Committer, Durable, Settled, Sink};
pub use error::{CommitError, OpenError, ReadError};
pub use floors::Floors;
pub use making::{MakingError, ShardMaking};
pub use migrate::{Chunk, Does, NewShard, NotStepped, Steer, Step, Stepped};
pub use open::{Numbers, Recovered, Remembered, Store, StoreConfig, Verify};
pub use queue::QueueFull;
pub use record::case::{Escalation, Ticket};
pub use record::locator::{ObjectNumber, Place};
pub use record::log::{Entry, Identity, Outcome, Record};
pub use record::meta::{Forgotten, Retention};
pub use record::migration::{Course, Ended, Migration, Moved};
pub use record::row::Row;
#[cfg(feature = "simulation")]
pub use simulated::{PersistFault, SimulatedClock, SimulatedDisk};
pub use stretch::{Left, Piece, Stretch, StretchBounds};
#[cfg(feature = "fuzzing")]
pub use survey::fuzzed;
pub use unit::{Beside, CaseWrite, Change, Forget, Note, Rekey, Unit, Upkeep};
pub use view::{Head, ListItem, LogIter, ReadView, RowIter, Then, Views};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
