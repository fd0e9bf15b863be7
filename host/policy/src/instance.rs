//! One instance of a policy in a store of its own, and what its failures are called.
//!
//! A trap leaves a store in no state to be used again, so whoever gets a fault throws the instance away.

use ostrakon_core::policy::PolicyFault;
use wasmtime::component::InstancePre;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::bounds::FUEL_PER_MS;
use crate::engine::PolicyEngine;
use crate::meter::Meter;
use crate::patience::Patience;
use crate::ticker::Ticker;

/// How much one instance may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// Its memory, in bytes.
    pub(crate) memory_bytes_max: usize,
    /// What is copied out of it for one answer, in bytes.
    pub(crate) answer_bytes_max: usize,
}

/// A store and the component in it.
pub(crate) struct Instance {
    store: Store<Meter>,
    component: wasmtime::component::Instance,
}

impl Instance {
    /// Makes one; start functions run here, under the deadline.
    pub(crate) fn new(
        engine: &PolicyEngine,
        pre: &InstancePre<Meter>,
        allowance: Allowance,
        deadline_ms: u64,
    ) -> Result<Self, PolicyFault> {
        let mut store = Store::new(engine.wasm(), Meter::new(allowance.memory_bytes_max, engine.is_by_fuel()));
        store.limiter(|meter| meter);
        store.set_hostcall_fuel(allowance.answer_bytes_max);
        if !engine.is_by_fuel() {
            store.epoch_deadline_callback(|mut store| {
                let patience = &mut store.data_mut().patience;
                if patience.is_left() {
                    Ok(UpdateDeadline::Continue(Ticker::ticks(patience.deadline_ms())))
                } else {
                    Err(Trap::Interrupt.into())
                }
            });
        }
        begin(&mut store, deadline_ms);
        match pre.instantiate(&mut store) {
            Ok(component) => Ok(Self { store, component }),
            Err(error) => Err(fault(&error, store.data(), deadline_ms)),
        }
    }

    /// Runs one call under a deadline. `call` does nothing but call one function.
    #[inline]
    pub(crate) fn call<R>(
        &mut self,
        deadline_ms: u64,
        call: impl FnOnce(&mut Store<Meter>) -> wasmtime::Result<R>,
    ) -> Result<R, PolicyFault> {
        begin(&mut self.store, deadline_ms);
        self.store.data_mut().forgive();
        call(&mut self.store).map_err(|error| fault(&error, self.store.data(), deadline_ms))
    }

    /// What its memories hold, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().bytes()
    }

    /// Store and component, to look functions up.
    pub(crate) fn parts(&mut self) -> (&mut Store<Meter>, wasmtime::component::Instance) {
        (&mut self.store, self.component)
    }
}

/// A call begins, with its deadline before it.
fn begin(store: &mut Store<Meter>, deadline_ms: u64) {
    if store.data().by_fuel {
        store.set_fuel(deadline_ms * FUEL_PER_MS).expect("the engine counts fuel");
        return;
    }
    store.set_epoch_deadline(Ticker::ticks(deadline_ms));
    store.data_mut().patience = Patience::new(deadline_ms);
}

const NO_INSTANCE: &str = "no instance could be made";

/// Whether a fault is that there is no room for another instance.
pub(crate) fn is_no_instance(fault: &PolicyFault) -> bool {
    matches!(fault, PolicyFault::Trapped(words) if words.starts_with(NO_INSTANCE))
}

#[cold]
fn fault(error: &wasmtime::Error, meter: &Meter, deadline_ms: u64) -> PolicyFault {
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt | Trap::OutOfFuel) => PolicyFault::Overran { deadline_ms },
        _ if meter.refused() => PolicyFault::OutOfMemory { bytes_max: meter.bytes_max() },
        Some(trap) => {
            let words = trap.to_string();
            PolicyFault::Trapped(words.strip_prefix("wasm trap: ").unwrap_or(&words).to_owned())
        }
        None if error.is::<PoolConcurrencyLimitError>() => PolicyFault::Trapped(format!("{NO_INSTANCE}: {error}")),
        // What is no trap comes from reading the answer: pointers, lengths, texts and cases that cannot be.
        None => PolicyFault::Impossible(format!("{error:#}")),
    }
}
