//! A compiled policy with its settings: what every instance of one generation is made from.

use std::any::Any;
use std::sync::Arc;

use ostrakon_core::policy::{Answer, PolicyFault, Question};
use ostrakon_wire::PolicyKind;
use parking_lot::Mutex;
use wasmtime::component::{
    Component, ComponentExportIndex, ComponentNamedList, InstancePre, Lift, Linker, Lower, TypedFunc,
};

use crate::abi::{About, Invalid};
use crate::bounds::{ANSWER_BYTES_SMALL, ANSWER_BYTES_VERDICT, Limits};
use crate::contract;
use crate::engine::PolicyEngine;
use crate::error::{LoadError, Stage};
use crate::instance::{Allowance, Instance};
use crate::meter::Meter;

/// What one kind of policy adds to an instance: its functions, looked up once, its questions and its answers.
pub(crate) trait Policy: Sized + 'static {
    /// The kind.
    const KIND: PolicyKind;
    /// Whether a call waits for an instance that another one uses. Where calls may take long it has a fresh one instead.
    const WAITS: bool = true;
    /// The functions that answer.
    type Functions: Send;
    /// What is asked.
    type Question<'a>: Copy;
    /// What is answered.
    type Answer: Clone + PartialEq + Send;

    /// Asks one question and checks the answer's bounds.
    fn ask(ready: &mut Ready<Self>, question: Self::Question<'_>, limits: &Limits)
    -> Result<Self::Answer, PolicyFault>;

    /// Whether an instance that has answered it may answer the next one.
    fn keeps_instance(_question: &Self::Question<'_>) -> bool {
        true
    }

    /// Which of the kind's functions it goes to, from 0 on.
    fn function(_question: &Self::Question<'_>) -> usize {
        0
    }

    /// The question as a value.
    fn kept(question: &Self::Question<'_>) -> Question;

    /// The question of a value; nothing for one of another kind.
    fn of(question: &Question) -> Option<Self::Question<'_>>;

    /// The answer as a value.
    fn answer(answer: Self::Answer) -> Answer;

    /// Looks the functions up.
    fn functions(prepared: &Prepared, instance: &mut Instance) -> wasmtime::Result<Self::Functions>;

    /// Asks what any policy of the kind can answer; the function's name stands beside a fault.
    fn trial(ready: &mut Ready<Self>, limits: &Limits) -> Result<(), (&'static str, PolicyFault)>;
}

/// An instance that has its settings.
pub(crate) struct Ready<P: Policy> {
    pub(crate) instance: Instance,
    pub(crate) functions: P::Functions,
}

/// A compiled policy with its settings.
pub(crate) struct Prepared {
    engine: PolicyEngine,
    pre: InstancePre<Meter>,
    functions: Arc<[(&'static str, ComponentExportIndex)]>,
    allowance: Allowance,
    settings: Arc<str>,
    state: Arc<[u8]>,
    /// Instances that were made when the policy was loaded, and have answered a first question: so many first calls need
    /// not make one.
    spare: Mutex<Vec<Box<dyn Any + Send>>>,
}

/// Why an instance did not get as far as its first question.
#[derive(Debug)]
pub(crate) enum StartError {
    Fault(Stage, PolicyFault),
    Refused(Invalid),
}

impl Prepared {
    /// Prepares a component whose world has been checked.
    pub(crate) fn new(
        engine: &PolicyEngine,
        component: &Component,
        kind: PolicyKind,
        settings: &str,
        state: &[u8],
    ) -> Result<Self, LoadError> {
        let linker = Linker::new(engine.wasm());
        let pre = linker.instantiate_pre(component).map_err(|error| LoadError::malformed(&error))?;
        let required = contract::required(kind);
        let missing = || LoadError::MissingInterface { interface: required.export() };
        let mut functions = Vec::new();
        for interface in [Some(required), contract::optional(kind)].into_iter().flatten() {
            let Some(parent) = component.get_export_index(None, interface.export()) else { continue };
            for function in interface.functions {
                let index = component.get_export_index(Some(&parent), function.name).ok_or_else(missing)?;
                functions.push((function.name, index));
            }
        }
        if functions.is_empty() {
            return Err(missing());
        }
        let limits = engine.limits();
        let allowance = match kind {
            PolicyKind::ShardKey | PolicyKind::Prediction => {
                Allowance { memory_bytes_max: limits.hot_memory_bytes_max, answer_bytes_max: ANSWER_BYTES_SMALL }
            }
            PolicyKind::Reconciliation => Allowance {
                memory_bytes_max: limits.reconciliation_memory_bytes_max,
                answer_bytes_max: ANSWER_BYTES_VERDICT,
            },
        };
        Ok(Self {
            engine: engine.clone(),
            pre,
            functions: functions.into(),
            allowance,
            settings: settings.into(),
            state: state.into(),
            spare: Mutex::default(),
        })
    }

    /// The same policy with another state.
    pub(crate) fn with_state(&self, state: Vec<u8>) -> Self {
        Self {
            engine: self.engine.clone(),
            pre: self.pre.clone(),
            functions: Arc::clone(&self.functions),
            allowance: self.allowance,
            settings: Arc::clone(&self.settings),
            state: state.into(),
            spare: Mutex::default(),
        }
    }

    /// The state that its instances are given.
    pub(crate) fn state(&self) -> &[u8] {
        &self.state
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.engine.limits()
    }

    /// What one of its instances may hold in memory, in bytes.
    pub(crate) fn memory_bytes_max(&self) -> usize {
        self.allowance.memory_bytes_max
    }

    pub(crate) fn settings(&self) -> &str {
        &self.settings
    }

    /// Looks one of the interfaces' functions up in an instance.
    pub(crate) fn function<A, R>(&self, instance: &mut Instance, name: &str) -> wasmtime::Result<TypedFunc<A, R>>
    where
        A: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let index = self.functions.iter().find(|(known, _)| *known == name).map(|(_, index)| *index);
        let index = index.ok_or_else(|| wasmtime::Error::msg(format!("no function `{name}`")))?;
        let (store, component) = instance.parts();
        component.get_typed_func(store, index)
    }

    /// Makes an instance and asks it who it is. It has no settings, so it answers nothing else.
    pub(crate) fn describe(&self) -> Result<About, (Stage, PolicyFault)> {
        let mut instance = self.instantiate().map_err(|fault| (Stage::Instantiate, fault))?;
        let describe =
            self.lookup::<(), (About,)>(&mut instance, "describe").map_err(|fault| (Stage::Describe, fault))?;
        let deadline_ms = self.limits().start_deadline_ms;
        let (about,) =
            instance.call(deadline_ms, |store| describe.call(store, ())).map_err(|fault| (Stage::Describe, fault))?;
        Ok(about)
    }

    /// Makes an instance and gives it its settings, before anything else is asked of it.
    pub(crate) fn start<P: Policy>(&self) -> Result<Ready<P>, StartError> {
        let mut instance = self.instantiate().map_err(|fault| StartError::Fault(Stage::Instantiate, fault))?;
        let failed = |fault| StartError::Fault(Stage::Configure, fault);
        let configure =
            self.lookup::<(&str, &[u8]), (Result<(), Invalid>,)>(&mut instance, "configure").map_err(failed)?;
        let (taken,) = instance
            .call(self.limits().start_deadline_ms, |store| configure.call(store, (&self.settings, &self.state)))
            .map_err(failed)?;
        taken.map_err(StartError::Refused)?;
        let functions =
            P::functions(self, &mut instance).map_err(|error| failed(PolicyFault::Impossible(error.to_string())))?;
        Ok(Ready { instance, functions })
    }

    /// Keeps an instance for one of the first calls.
    pub(crate) fn spare<P: Policy>(&self, ready: Ready<P>) {
        self.spare.lock().push(Box::new(ready));
    }

    /// Gives up the instances that were kept for first calls.
    pub(crate) fn drop_spares(&self) {
        self.spare.lock().clear();
    }

    /// An instance for calls: one that was kept for it, or a new one.
    pub(crate) fn start_or_spare<P: Policy>(&self) -> Result<Ready<P>, StartError> {
        let spare = self.spare.lock().pop().and_then(|spare| spare.downcast::<Ready<P>>().ok());
        spare.map_or_else(|| self.start(), |spare| Ok(*spare))
    }

    fn instantiate(&self) -> Result<Instance, PolicyFault> {
        Instance::new(&self.engine, &self.pre, self.allowance, self.limits().start_deadline_ms)
    }

    fn lookup<A, R>(&self, instance: &mut Instance, name: &str) -> Result<TypedFunc<A, R>, PolicyFault>
    where
        A: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.function(instance, name).map_err(|error| PolicyFault::Impossible(error.to_string()))
    }
}

impl StartError {
    /// The fault of a call that needed a new instance. Settings were taken when the policy was loaded, so a refusal now
    /// is another answer to the same question.
    pub(crate) fn into_fault(self) -> PolicyFault {
        match self {
            Self::Fault(_, fault) => fault,
            Self::Refused(_) => PolicyFault::Impure,
        }
    }
}
