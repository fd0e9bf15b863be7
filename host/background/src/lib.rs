//! Threads that give way to those that serve, where the platform knows how; where it does not, nothing is worse than before.
//!
//! There are two kinds. A nice thread runs less than others and is never left out; but it keeps its core for its slice, and
//! whoever is woken meanwhile waits for milliseconds. An idle one runs when nobody else wants to, and whoever is woken takes
//! the core at once; what cores share it takes all the same, so it rests within long work. A thread that serves can ask how long
//! it waits for a core itself.

mod idle;
mod nice;
mod rests;
mod waits;

pub use idle::{Haste, Keeping, Pace, comes_back, give_way_to_all, idly};
pub use nice::give_way;
pub use rests::Rests;
pub use waits::ProcessorWaits;
