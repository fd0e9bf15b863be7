//! Counts the memory of one instance and refuses what is over its bound.

use wasmtime::ResourceLimiter;

use crate::bounds::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX};
use crate::patience::Patience;

/// What one store's memories hold together, and whether growth was refused since the flag was last cleared.
#[derive(Debug)]
pub(crate) struct Meter {
    bytes: usize,
    bytes_max: usize,
    refused: bool,
    /// Calls are bounded by fuel and not by time.
    pub(crate) by_fuel: bool,
    /// What the call under way has left of its time.
    pub(crate) patience: Patience,
}

impl Meter {
    pub(crate) fn new(bytes_max: usize, by_fuel: bool) -> Self {
        Self { bytes: 0, bytes_max, refused: false, by_fuel, patience: Patience::default() }
    }

    /// What its memories hold together, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bound, in bytes.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Whether memory was refused since [`Self::forgive`].
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    /// Clears the flag: a policy may survive a refusal, and a later trap has another cause.
    pub(crate) fn forgive(&mut self) {
        self.refused = false;
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let together = (self.bytes - current).saturating_add(desired);
        if together > self.bytes_max {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = together;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, wasmtime::Error> {
        let fits = desired <= TABLE_ELEMENTS_MAX;
        self.refused |= !fits;
        Ok(fits)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }
}
