//! Writes a component's types as WIT does, with every named type written out.

use wasmtime::component::Type;
use wasmtime::component::types::ComponentFunc;

/// After so many bytes the rest is left out: the contract's longest has fewer, and types can be made to grow exponentially.
const SIGNATURE_BYTES_MAX: usize = 2_048;

/// The type of a function.
pub(crate) fn function(function: &ComponentFunc) -> String {
    let mut out = String::from(if function.async_() { "async func(" } else { "func(" });
    commas(&mut out, function.params(), |out, (name, ty)| field(out, name, &ty));
    out.push(')');
    let mut results = function.results();
    if let Some(result) = results.next() {
        out.push_str(" -> ");
        value(&mut out, &result);
    }
    if out.len() > SIGNATURE_BYTES_MAX {
        out.push_str("...");
    }
    out
}

fn value(out: &mut String, ty: &Type) {
    if out.len() > SIGNATURE_BYTES_MAX {
        return;
    }
    match ty {
        Type::Bool => out.push_str("bool"),
        Type::S8 => out.push_str("s8"),
        Type::U8 => out.push_str("u8"),
        Type::S16 => out.push_str("s16"),
        Type::U16 => out.push_str("u16"),
        Type::S32 => out.push_str("s32"),
        Type::U32 => out.push_str("u32"),
        Type::S64 => out.push_str("s64"),
        Type::U64 => out.push_str("u64"),
        Type::Float32 => out.push_str("f32"),
        Type::Float64 => out.push_str("f64"),
        Type::Char => out.push_str("char"),
        Type::String => out.push_str("string"),
        Type::List(list) => wrapped(out, "list<", ">", |out| value(out, &list.ty())),
        Type::Option(option) => wrapped(out, "option<", ">", |out| value(out, &option.ty())),
        Type::Tuple(tuple) => wrapped(out, "tuple<", ">", |out| commas(out, tuple.types(), |out, ty| value(out, &ty))),
        Type::Record(record) => wrapped(out, "record { ", " }", |out| {
            commas(out, record.fields(), |out, each| field(out, each.name, &each.ty));
        }),
        Type::Enum(names) => wrapped(out, "enum { ", " }", |out| commas(out, names.names(), String::push_str)),
        Type::Flags(names) => wrapped(out, "flags { ", " }", |out| commas(out, names.names(), String::push_str)),
        Type::Variant(variant) => wrapped(out, "variant { ", " }", |out| {
            commas(out, variant.cases(), |out, case| {
                out.push_str(case.name);
                if let Some(ty) = case.ty {
                    wrapped(out, "(", ")", |out| value(out, &ty));
                }
            });
        }),
        Type::Result(result) => match (result.ok(), result.err()) {
            (None, None) => out.push_str("result"),
            (ok, err) => wrapped(out, "result<", ">", |out| {
                match ok {
                    Some(ok) => value(out, &ok),
                    None => out.push('_'),
                }
                if let Some(err) = err {
                    out.push_str(", ");
                    value(out, &err);
                }
            }),
        },
        Type::Own(_) | Type::Borrow(_) => out.push_str("resource"),
        _ => out.push_str("unknown"),
    }
}

fn field(out: &mut String, name: &str, ty: &Type) {
    out.push_str(name);
    out.push_str(": ");
    value(out, ty);
}

fn wrapped(out: &mut String, open: &str, close: &str, inner: impl FnOnce(&mut String)) {
    out.push_str(open);
    inner(out);
    out.push_str(close);
}

fn commas<T>(out: &mut String, parts: impl Iterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    for (index, part) in parts.enumerate() {
        if out.len() > SIGNATURE_BYTES_MAX {
            return;
        }
        if index > 0 {
            out.push_str(", ");
        }
        write(out, part);
    }
}
