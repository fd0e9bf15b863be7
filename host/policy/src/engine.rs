//! One WebAssembly engine a process: its features, its pool of instances, its clock.

use std::path::Path;
use std::sync::Arc;

use ostrakon_wire::PolicyKind;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::bounds::{
    CORE_INSTANCES_MAX, INSTANCE_BYTES_MAX, KEEP_RESIDENT_BYTES, Limits, MEMORIES_MAX, MEMORY_RESERVED_BYTES,
    STACK_BYTES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX,
};
use crate::cache::Cache;
use crate::error::{EngineError, LoadError};
use crate::gently::BetweenFunctions;
use crate::load::{self, Loaded, Whole};
use crate::ticker::Ticker;

/// Compiles policies and bounds them. A clone is another handle to the same engine; loaded policies keep it alive.
#[derive(Clone)]
pub struct PolicyEngine {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    limits: Limits,
    by_fuel: bool,
    cache: Cache,
    ticker: Ticker,
}

impl PolicyEngine {
    /// Starts an engine and the thread of its clock.
    ///
    /// # Errors
    /// [`EngineError`] where this machine cannot run WebAssembly, has too little address space, or gives no thread.
    pub fn new(limits: Limits) -> Result<Self, EngineError> {
        let mut config = config(&limits);
        let asked = config.enable_incremental_compilation(Arc::new(BetweenFunctions));
        asked.map_err(failed)?;
        Self::with_config(&config, limits, false)
    }

    /// An engine for whoever asks policies away from requests: calls are bounded by fuel in place of time, so that the
    /// same question ends at the same instruction on every machine. It is slower.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn deterministic(limits: Limits) -> Result<Self, EngineError> {
        let mut config = config(&limits);
        config.consume_fuel(true).epoch_interruption(false);
        Self::with_config(&config, limits, true)
    }

    fn with_config(config: &Config, limits: Limits, by_fuel: bool) -> Result<Self, EngineError> {
        let engine = Engine::new(config).map_err(failed)?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| EngineError::Start(error.to_string()))?;
        Ok(Self { inner: Arc::new(Inner { engine, limits, by_fuel, cache: Cache::default(), ticker }) })
    }

    /// Keeps what is compiled in a folder as well, which is made this user's alone.
    ///
    /// # Errors
    /// Where the folder cannot be used.
    pub fn keep_compiled_in(&self, folder: &Path) -> Result<(), EngineError> {
        let kept = self.inner.cache.keep_in(&self.inner.engine, folder);
        kept.map_err(|error| EngineError::Start(format!("{}: {error}", folder.display())))
    }

    /// The bounds it was started with.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Checks and compiles a component, tries it once, and answers a policy that is ready for a slot.
    ///
    /// `settings` is the text of a JSON object. Compiling takes as long as the component is large, seconds for megabytes:
    /// call it off the request path.
    ///
    /// # Errors
    /// [`LoadError`] names what is wrong with the component or its settings.
    pub fn load(&self, kind: PolicyKind, component: &[u8], settings: &str) -> Result<Loaded, LoadError> {
        load::load(self, &self.inner.cache, kind, component, None, settings)
    }

    /// The same for a component that was held against its digest already.
    pub(crate) fn load_whole(&self, kind: PolicyKind, whole: &Whole, settings: &str) -> Result<Loaded, LoadError> {
        load::load(self, &self.inner.cache, kind, &whole.bytes, Some(&whole.digest), settings)
    }

    /// Whether the component of this digest is compiled, in memory.
    pub(crate) fn has_compiled(&self, digest: &str) -> bool {
        self.inner.cache.recent(digest).is_some()
    }

    /// Whether somebody is on trial, so that deadlines are kept closely.
    pub(crate) fn watch_closely(&self, closely: bool) {
        self.inner.ticker.watch_closely(closely);
    }

    /// Whether calls are bounded by fuel.
    pub(crate) fn is_by_fuel(&self) -> bool {
        self.inner.by_fuel
    }

    pub(crate) fn wasm(&self) -> &Engine {
        &self.inner.engine
    }
}

fn failed(error: wasmtime::Error) -> EngineError {
    EngineError::Start(format!("{error:#}"))
}

/// Only what a policy needs, and the same answers on every machine: NaNs have one bit pattern, and whatever leaves results
/// to the processor is off.
fn config(limits: &Limits) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES_MAX)
        .wasm_backtrace_max_frames(None)
        .wasm_gc(false)
        .wasm_memory64(false)
        // Not for policies' own use: the glue between the parts of a component may need it.
        .wasm_multi_memory(true)
        .wasm_relaxed_simd(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .memory_reservation(MEMORY_RESERVED_BYTES as u64)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    config
}

fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(limits.instances_max)
        .total_core_instances(limits.instances_max * 2)
        .total_memories(limits.instances_max)
        .total_tables(limits.instances_max * 2)
        .max_unused_warm_slots(16)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(2)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        // The meter of each instance is the bound; the pool only keeps the addresses.
        .max_memory_size(MEMORY_RESERVED_BYTES)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .table_keep_resident(KEEP_RESIDENT_BYTES);
    pool
}
