//! Builds one component from the core WebAssembly text of its functions.
//!
//! The functions see their flattened parameters by name, write their answer at a fixed place and leave its address; see
//! [`snippets`]. Memory that the host asked for is forgotten after every call.

use std::fmt::Write as _;

use ostrakon_wire::PolicyKind;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const WIT: &str = include_str!("../../../../wit/policy.wit");
const PACKAGE_LINE: &str = "package ostrakon:policy@0.1.0;";

/// Core WebAssembly text to put together.
pub mod snippets {
    /// Where `describe` leaves its answer.
    pub const ABOUT_AT: u32 = 1024;
    /// Where `configure` leaves its answer.
    pub const CONFIGURED_AT: u32 = 1088;
    /// Where the function that decides leaves its answer.
    pub const ANSWER_AT: u32 = 1152;
    /// Traps.
    pub const TRAP: &str = "(unreachable)";
    /// Never ends.
    pub const FOREVER: &str = "(call $forever)";
    /// Calls itself until the stack is used up.
    pub const RECURSE: &str = "(drop (call $deeper (i64.const 0)))";
    /// Takes memory until it is refused, then traps.
    pub const EAT: &str = "(call $eat)";

    /// Counts so far, in a parameter of 32 bits that nothing reads afterwards.
    pub fn spin(parameter: &str, turns: u32) -> String {
        format!(
            "(local.set {parameter} (i32.const {turns})) (loop $again
             (local.set {parameter} (i32.sub (local.get {parameter}) (i32.const 1)))
             (br_if $again (local.get {parameter})))"
        )
    }

    /// `describe`: name and version are so many bytes at such addresses. "test-policy" lies at 16, "1.0.0" at 32.
    pub fn about(name: (u32, u32), version: (u32, u32)) -> String {
        format!(
            "(call $pair (i32.const 1024) (i32.const {}) (i32.const {}))
             (call $pair (i32.const 1032) (i32.const {}) (i32.const {}))
             (i32.store8 (i32.const 1040) (i32.const 0))
             (i32.const 1024)",
            name.0, name.1, version.0, version.1
        )
    }

    /// `configure`: takes the settings.
    pub fn accept() -> String {
        "(i32.store8 (i32.const 1088) (i32.const 0)) (i32.const 1088)".into()
    }

    /// `configure`: refuses the settings at "/weights" with "too heavy", or with a message of so many bytes from 48 on.
    pub fn refuse(message_bytes: Option<u32>) -> String {
        format!(
            "(i32.store8 (i32.const 1088) (i32.const 1))
             (call $pair (i32.const 1092) (i32.const 48) (i32.const 8))
             (call $pair (i32.const 1100) (i32.const 64) (i32.const {}))
             (i32.const 1088)",
            message_bytes.unwrap_or(9)
        )
    }

    /// `get-shard-key`: a constant answer.
    pub fn placement(key: u64, bits: u8) -> String {
        format!(
            "(i64.store (i32.const 1152) (i64.const {key})) (i32.store8 (i32.const 1160) (i32.const {bits}))
             (i32.const 1152)"
        )
    }

    /// `get-shard-key`: counts the calls of its instance.
    pub fn counting_placement() -> String {
        "(global.set $count (i64.add (global.get $count) (i64.const 1)))
         (i64.store (i32.const 1152) (global.get $count)) (i32.store8 (i32.const 1160) (i32.const 8))
         (i32.const 1152)"
            .into()
    }

    /// `predict`: the version that is known, with this confidence and route.
    pub fn forecast(confidence_ppm: u32, route: u8) -> String {
        format!(
            "(i64.store (i32.const 1152) (local.get $known)) (i32.store (i32.const 1160) (i32.const {confidence_ppm}))
             (i32.store8 (i32.const 1164) (i32.const {route})) (i32.const 1152)"
        )
    }

    /// `judge` and `reconcile`: the case of that number, and the four words that follow it.
    pub fn verdict(case: u8, words: [u32; 4]) -> String {
        format!(
            "(i32.store8 (i32.const 1152) (i32.const {case}))
             (call $pair (i32.const 1156) (i32.const {}) (i32.const {}))
             (call $pair (i32.const 1164) (i32.const {}) (i32.const {}))
             (i32.const 1152)",
            words[0], words[1], words[2], words[3]
        )
    }
}

/// A component to be built.
#[derive(Debug, Clone)]
pub struct Recipe {
    kind: PolicyKind,
    package: String,
    world: String,
    version: String,
    imports: String,
    fields: String,
    pages: u32,
    describe: String,
    configure: String,
    triggered: String,
    decide: String,
}

impl Recipe {
    /// A policy of this kind that works: a constant placement, a forecast of the known version, a rerun.
    pub fn new(kind: PolicyKind) -> Self {
        Self {
            kind,
            package: WIT.to_owned(),
            world: format!("export {};", kind.name()),
            version: "0.1.0".into(),
            imports: String::new(),
            fields: String::new(),
            pages: 1,
            describe: snippets::about((16, 11), (32, 5)),
            configure: snippets::accept(),
            triggered: String::new(),
            decide: match kind {
                PolicyKind::ShardKey => snippets::placement(0xabcd << 48, 16),
                PolicyKind::Prediction => snippets::forecast(500_000, 0),
                PolicyKind::Reconciliation => snippets::verdict(0, [0; 4]),
            },
        }
    }

    /// Another body for `describe`.
    pub fn describe(mut self, body: impl Into<String>) -> Self {
        self.describe = body.into();
        self
    }

    /// Another body for `configure`.
    pub fn configure(mut self, body: impl Into<String>) -> Self {
        self.configure = body.into();
        self
    }

    /// Another body for the function that decides.
    pub fn decide(mut self, body: impl Into<String>) -> Self {
        self.decide = body.into();
        self
    }

    /// What runs instead when a call is meant to go wrong: the data type has seven letters (as "hostile" has), or for a
    /// prediction the known version is 7. A body that goes on to decide leaves nothing; one that answers returns.
    pub fn triggered(mut self, body: impl Into<String>) -> Self {
        self.triggered = body.into();
        self
    }

    /// A change to the text of the WIT package.
    pub fn wit(mut self, from: &str, to: &str) -> Self {
        assert!(self.package.contains(from), "the WIT has no {from:?}");
        self.package = self.package.replace(from, to);
        self
    }

    /// Another version of the contract.
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.into();
        let line = PACKAGE_LINE.replace("0.1.0", version);
        self.wit(PACKAGE_LINE, &line)
    }

    /// Another content of the world.
    pub fn world(mut self, world: &str) -> Self {
        self.world = world.into();
        self
    }

    /// Imports of the core module.
    pub fn imports(mut self, imports: &str) -> Self {
        self.imports = imports.into();
        self
    }

    /// More fields of the core module.
    pub fn fields(mut self, fields: &str) -> Self {
        self.fields = fields.into();
        self
    }

    /// Pages of 64 KiB that its memory begins with.
    pub fn pages(mut self, pages: u32) -> Self {
        self.pages = pages;
        self
    }

    /// The core module, in binary form.
    pub fn core_module(&self) -> Vec<u8> {
        wat::parse_str(self.text()).expect("the text of a test component is valid")
    }

    /// The component.
    pub fn build(&self) -> Vec<u8> {
        let mut module = self.core_module();
        let mut resolve = Resolve::default();
        let source = format!("{}\nworld under-test {{ {} }}\n", self.package, self.world);
        let package = resolve.push_source("policy.wit", &source).expect("the WIT of a test component is valid");
        let world = resolve.select_world(&[package], Some("under-test")).expect("the world is there");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).expect("metadata fits");
        let mut encoder = ComponentEncoder::default();
        encoder.module(&module).expect("the module has the world's shape");
        encoder.encode().expect("the component can be encoded")
    }

    fn text(&self) -> String {
        let Self { imports, fields, pages, describe, configure, triggered, decide, .. } = self;
        let interface = format!("ostrakon:policy/{}@{}", self.kind.name(), self.version);
        let (parameters, condition, functions): (_, _, &[&str]) = match self.kind {
            PolicyKind::ShardKey => (
                "(param i32) (param $client_len i32) (param i32) (param $type_len i32) (param i32 i32 i64 i64)
                 (param i32 i32 i32 i32 i32 i64 i32)",
                "(i32.eq (local.get $type_len) (i32.const 7))",
                &["get-shard-key"],
            ),
            PolicyKind::Prediction => (
                "(param $known i64) (param i64 i64 i64 i32 i32 i64 i32 i32 i32 i32 i32 i32 i64)",
                "(i64.eq (local.get $known) (i64.const 7))",
                &["predict"],
            ),
            PolicyKind::Reconciliation => (
                "(param $arguments i32)",
                "(i32.eq (i32.load offset=12 (local.get $arguments)) (i32.const 7))",
                &["judge", "reconcile"],
            ),
        };
        let mut deciding = String::new();
        for function in functions {
            let _ = writeln!(
                deciding,
                "(func (export \"{interface}#{function}\") {parameters} (result i32)
                   (global.set $next (i32.const 8192))
                   (if {condition} (then {triggered}))
                   {decide})"
            );
        }
        format!(
            r#"(module
              {imports}
              (memory (export "memory") {pages})
              (global $next (mut i32) (i32.const 8192))
              (global $count (mut i64) (i64.const 0))
              (data (i32.const 16) "test-policy")
              (data (i32.const 32) "1.0.0")
              (data (i32.const 48) "/weights")
              (data (i32.const 64) "too heavy")
              (data (i32.const 12288) "\ff\fe\fd")
              (data (i32.const 12304) "bell\07")
              (func $pair (param $at i32) (param $first i32) (param $second i32)
                (i32.store (local.get $at) (local.get $first))
                (i32.store offset=4 (local.get $at) (local.get $second)))
              (func $forever (loop $again (br $again)))
              (func $deeper (param i64) (result i64)
                (i64.add (i64.const 1) (call $deeper (i64.add (local.get 0) (i64.const 1)))))
              (func $eat (loop $again
                (br_if $again (i32.ne (i32.const -1) (memory.grow (i32.const 16))))
                (unreachable)))
              (func (export "cabi_realloc") (param $old i32) (param i32) (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                  (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                  (i32.sub (i32.const 0) (local.get $align))))
                (global.set $next (i32.add (local.get $at) (local.get $size)))
                (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
                  (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1)
                    (i32.div_u (local.get $size) (i32.const 65536))))) (then (unreachable)))))
                (local.get $at))
              (func (export "{interface}#describe") (result i32) {describe})
              (func (export "{interface}#configure") (param i32 i32 i32 i32) (result i32)
                (global.set $next (i32.const 8192))
                {configure})
              {deciding}
              {fields})"#
        )
    }
}
