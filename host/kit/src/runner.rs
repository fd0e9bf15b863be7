//! Calls the functions of a component with arguments from JSON, whatever their types.
//!
//! As JSON, a record is an object, an enum its case, a variant an object of its case and payload, a list of bytes a string
//! of hexadecimal digits, an absent option null, a result an object of `ok` or `err`. The names are the contract's.
//!
//! Always holds: a call ends, with an answer or without.

use serde_json::{Map, Value, json};
use wasmtime::component::types::Field;
use wasmtime::component::{Component, Func, Instance, Linker, Type, Val};
use wasmtime::{Config, Engine, Store, StoreLimits, StoreLimitsBuilder, Trap};

use crate::component::{ComponentError, exports};

/// Instructions of one call, or nearly so: far more than any deadline lets through, and seconds at most.
const FUEL: u64 = 4_000_000_000;
/// Memory of an instance, in bytes: the most that a host gives any kind.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// A component that is compiled to be called so.
pub struct Callable {
    component: Component,
    interfaces: Vec<String>,
}

/// One instance of it.
pub struct Runner<'a> {
    store: Store<StoreLimits>,
    instance: Instance,
    interfaces: &'a [String],
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It is no component.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// It cannot be compiled, or no instance of it can be made.
    #[error("the component cannot be run: {0}")]
    Start(String),
    /// None of its interfaces has such a function.
    #[error("the policy has no function {0:?}")]
    NoFunction(String),
    /// Other arguments than the function takes.
    #[error("arguments of {function}: {wrong}")]
    Arguments {
        /// The function.
        function: String,
        /// What is wrong with them.
        wrong: String,
    },
    /// The call failed.
    #[error("{function} failed: {cause}")]
    Failed {
        /// The function.
        function: String,
        /// Why.
        cause: String,
    },
}

fn start(error: impl std::fmt::Display) -> RunError {
    RunError::Start(format!("{error:#}"))
}

impl Callable {
    /// Compiles a component.
    ///
    /// # Errors
    /// [`RunError`] where it is none, or imports something.
    pub fn new(component: &[u8]) -> Result<Self, RunError> {
        let interfaces = exports(component)?;
        let mut config = Config::new();
        // The bits of a NaN as the host has them.
        config.consume_fuel(true).cranelift_nan_canonicalization(true);
        let engine = Engine::new(&config).map_err(start)?;
        Ok(Self { component: Component::new(&engine, component).map_err(start)?, interfaces })
    }

    /// Makes an instance.
    ///
    /// # Errors
    /// [`RunError::Start`] where none can be made.
    pub fn instance(&self) -> Result<Runner<'_>, RunError> {
        let engine = self.component.engine();
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY_BYTES_MAX).build();
        let mut store = Store::new(engine, limits);
        store.limiter(|limits| limits);
        store.set_fuel(FUEL).map_err(start)?;
        let instance = Linker::new(engine).instantiate(&mut store, &self.component).map_err(start)?;
        Ok(Runner { store, instance, interfaces: &self.interfaces })
    }
}

impl Runner<'_> {
    /// Calls a function of whichever interface has it.
    ///
    /// # Errors
    /// [`RunError`]; after a failed call the instance answers no more.
    pub fn call(&mut self, function: &str, arguments: &[Value]) -> Result<Value, RunError> {
        let callee = self.function(function).ok_or_else(|| RunError::NoFunction(function.to_owned()))?;
        let wrong = |wrong: String| RunError::Arguments { function: function.to_owned(), wrong };
        let failed = |cause: String| RunError::Failed { function: function.to_owned(), cause };
        let ty = callee.ty(&self.store);
        if ty.params().len() != arguments.len() {
            return Err(wrong(format!("it takes {}, and there are {}", ty.params().len(), arguments.len())));
        }
        let given = ty
            .params()
            .zip(arguments)
            .map(|((name, ty), value)| to_val(&ty, value).map_err(|error| wrong(format!("`{name}`: {error}"))));
        let given = given.collect::<Result<Vec<_>, _>>()?;
        let mut answers = vec![Val::Bool(false); ty.results().len()];
        self.store.set_fuel(FUEL).map_err(start)?;
        callee.call(&mut self.store, &given, &mut answers).map_err(|error| {
            failed(match error.downcast_ref::<Trap>() {
                Some(Trap::OutOfFuel) => "it did not come to an end".to_owned(),
                Some(trap) => trap.to_string(),
                None => format!("{error:#}"),
            })
        })?;
        answers.first().map_or(Ok(Value::Null), from_val).map_err(failed)
    }

    fn function(&mut self, name: &str) -> Option<Func> {
        let function = self.interfaces.iter().find_map(|interface| {
            let interface = self.instance.get_export_index(&mut self.store, None, interface)?;
            self.instance.get_export_index(&mut self.store, Some(&interface), name)
        })?;
        self.instance.get_func(&mut self.store, function)
    }
}

fn to_val(ty: &Type, value: &Value) -> Result<Val, String> {
    let boxed = |ty: &Type, value: &Value| to_val(ty, value).map(Box::new);
    let val = match (ty, value) {
        (Type::Bool, Value::Bool(value)) => Val::Bool(*value),
        (Type::String, Value::String(text)) => Val::String(text.clone()),
        (Type::Enum(_), Value::String(case)) => Val::Enum(case.clone()),
        (Type::U8 | Type::U32 | Type::U64, Value::Number(_)) => return number(ty, value),
        (Type::List(list), Value::String(digits)) if list.ty() == Type::U8 => Val::List(bytes(digits)?),
        (Type::List(list), Value::Array(items)) => {
            Val::List(items.iter().map(|item| to_val(&list.ty(), item)).collect::<Result<_, String>>()?)
        }
        (Type::Option(_), Value::Null) => Val::Option(None),
        (Type::Option(option), value) => Val::Option(Some(boxed(&option.ty(), value)?)),
        (Type::Record(record), Value::Object(members)) => {
            let field = |field: Field<'_>| {
                let value = members.get(field.name).ok_or_else(|| format!("no member {:?}", field.name))?;
                Ok((field.name.to_owned(), to_val(&field.ty, value)?))
            };
            Val::Record(record.fields().map(field).collect::<Result<_, String>>()?)
        }
        _ => return Err(format!("{value} is not what the contract has there")),
    };
    Ok(val)
}

fn number(ty: &Type, value: &Value) -> Result<Val, String> {
    let number = value.as_u64().ok_or_else(|| format!("{value} is no unsigned integer"))?;
    Ok(match ty {
        Type::U8 => Val::U8(number.try_into().map_err(|_| format!("{number} is too large"))?),
        Type::U32 => Val::U32(number.try_into().map_err(|_| format!("{number} is too large"))?),
        _ => Val::U64(number),
    })
}

fn from_val(val: &Val) -> Result<Value, String> {
    let payload = |payload: &Option<Box<Val>>| payload.as_deref().map_or(Ok(Value::Null), from_val);
    Ok(match val {
        Val::Bool(value) => json!(value),
        Val::U8(value) => json!(value),
        Val::U32(value) => json!(value),
        Val::U64(value) => json!(value),
        Val::String(text) => json!(text),
        Val::Enum(case) => json!(case),
        Val::Option(value) => payload(value)?,
        Val::Result(Ok(value)) => json!({ "ok": payload(value)? }),
        Val::Result(Err(value)) => json!({ "err": payload(value)? }),
        Val::Variant(case, value) => Value::Object(Map::from_iter([(case.clone(), payload(value)?)])),
        Val::Record(fields) => {
            let field = |(name, value): &(String, Val)| Ok((name.clone(), from_val(value)?));
            Value::Object(fields.iter().map(field).collect::<Result<_, String>>()?)
        }
        // The contract's only lists in answers are of bytes.
        Val::List(items) => Value::String(items.iter().map(digits).collect::<Result<_, String>>()?),
        other => return Err(format!("the contract has no {other:?}")),
    })
}

fn digits(byte: &Val) -> Result<String, String> {
    match byte {
        Val::U8(byte) => Ok(format!("{byte:02x}")),
        other => Err(format!("{other:?} is no byte")),
    }
}

fn bytes(digits: &str) -> Result<Vec<Val>, String> {
    let wrong = || format!("{digits:?} is no string of hexadecimal digits, two a byte");
    if !digits.len().is_multiple_of(2) {
        return Err(wrong());
    }
    let byte = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..digits.len()).step_by(2).map(|at| byte(at).map(Val::U8).ok_or_else(wrong)).collect()
}
