//! Decisions that are written down: what was asked, what was answered, by which generation.
//!
//! A file begins with a line that names its format. Then record follows record: the length of its content and a checksum
//! (four bytes each, little-endian), then the content, one CBOR array. A record that was cut off ends a file.

mod codec;
mod file;
mod recorder;

use ostrakon_core::policy::{Answer, PolicyFault, Question};
use ostrakon_wire::Generation;

pub use file::{DecisionsError, read_decisions};
pub(crate) use recorder::Recorder;
pub use recorder::Recording;

/// A decision as it was written down.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What was asked.
    pub question: Question,
    /// Who answered.
    pub generation: Generation,
    /// What; a fault without its particulars.
    pub answer: Result<Answer, PolicyFault>,
}
