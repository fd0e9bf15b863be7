//! Calls the functions of a component with arguments from JSON, whatever their types.
//!
//! As JSON, a record is an object, an enum its case, a variant an object of its case and payload, a list of bytes a string
//! of hexadecimal digits, an absent option null, a result an object of `ok` or `err`. The names are the contract's.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value, json};
use wasmtime::component::{Component, Func, Instance, Linker, Type, Val};
use wasmtime::{Engine, Store};

/// One instance of a component, and the interfaces of it that are called.
pub(crate) struct Runner {
    store: Store<()>,
    instance: Instance,
    interfaces: &'static [&'static str],
}

impl Runner {
    pub(crate) fn new(component: &[u8], interfaces: &'static [&'static str]) -> Result<Self> {
        let engine = Engine::default();
        let component = Component::new(&engine, component).map_err(|error| anyhow!(error))?;
        let mut store = Store::new(&engine, ());
        let linker = Linker::new(&engine);
        let instance = linker.instantiate(&mut store, &component).map_err(|error| anyhow!(error))?;
        Ok(Self { store, instance, interfaces })
    }

    pub(crate) fn call(&mut self, function: &str, arguments: &[Value]) -> Result<Value> {
        let callee = self.function(function).with_context(|| format!("no function {function}"))?;
        let ty = callee.ty(&self.store);
        let given = ty.params().zip(arguments).map(|((_, ty), value)| to_val(&ty, value));
        let given = given.collect::<Result<Vec<_>>>().with_context(|| format!("arguments of {function}"))?;
        let mut answers = vec![Val::Bool(false); ty.results().len()];
        callee
            .call(&mut self.store, &given, &mut answers)
            .map_err(|error| anyhow!(error))
            .with_context(|| format!("{function} failed"))?;
        answers.first().map_or(Ok(Value::Null), from_val)
    }

    fn function(&mut self, name: &str) -> Option<Func> {
        let function = self.interfaces.iter().find_map(|interface| {
            let interface = self.instance.get_export_index(&mut self.store, None, interface)?;
            self.instance.get_export_index(&mut self.store, Some(&interface), name)
        })?;
        self.instance.get_func(&mut self.store, function)
    }
}

fn to_val(ty: &Type, value: &Value) -> Result<Val> {
    let boxed = |ty: &Type, value: &Value| to_val(ty, value).map(Box::new);
    let val = match (ty, value) {
        (Type::Bool, Value::Bool(value)) => Val::Bool(*value),
        (Type::String, Value::String(text)) => Val::String(text.clone()),
        (Type::Enum(_), Value::String(case)) => Val::Enum(case.clone()),
        (Type::U8 | Type::U32 | Type::U64, Value::Number(_)) => return number(ty, value),
        (Type::List(list), Value::String(digits)) if list.ty() == Type::U8 => Val::List(bytes(digits)?),
        (Type::List(list), Value::Array(items)) => {
            Val::List(items.iter().map(|item| to_val(&list.ty(), item)).collect::<Result<_>>()?)
        }
        (Type::Option(_), Value::Null) => Val::Option(None),
        (Type::Option(option), value) => Val::Option(Some(boxed(&option.ty(), value)?)),
        (Type::Record(record), Value::Object(members)) => {
            let field = |field: wasmtime::component::types::Field<'_>| {
                let value = members.get(field.name).with_context(|| format!("no member {}", field.name))?;
                Ok((field.name.to_owned(), to_val(&field.ty, value)?))
            };
            Val::Record(record.fields().map(field).collect::<Result<_>>()?)
        }
        _ => bail!("{value} is no {ty:?}"),
    };
    Ok(val)
}

fn number(ty: &Type, value: &Value) -> Result<Val> {
    let number = value.as_u64().with_context(|| format!("{value} is no unsigned integer"))?;
    Ok(match ty {
        Type::U8 => Val::U8(number.try_into()?),
        Type::U32 => Val::U32(number.try_into()?),
        _ => Val::U64(number),
    })
}

fn from_val(val: &Val) -> Result<Value> {
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
            Value::Object(fields.iter().map(field).collect::<Result<_>>()?)
        }
        // The contract's only lists in answers are of bytes.
        Val::List(items) => Value::String(items.iter().map(digits).collect::<Result<_>>()?),
        other => bail!("the contract has no {other:?}"),
    })
}

fn digits(byte: &Val) -> Result<String> {
    match byte {
        Val::U8(byte) => Ok(format!("{byte:02x}")),
        other => bail!("{other:?} is no byte"),
    }
}

fn bytes(digits: &str) -> Result<Vec<Val>> {
    let pair = |at: usize| digits.get(at..at + 2).context("an odd number of digits");
    (0..digits.len()).step_by(2).map(|at| Ok(Val::U8(u8::from_str_radix(pair(at)?, 16)?))).collect()
}
