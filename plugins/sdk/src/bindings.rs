//! What wit-bindgen makes of the contract: lowering and lifting at the component's edge, and the only `unsafe` here.
//!
//! The `pub_export_macro` form puts the description of a world into the crate that exports it, not into this one: a
//! policy names the one world it is of, though all of them are compiled here.
#![allow(unsafe_code, reason = "generated: pointers and lengths as the canonical ABI passes them")]
#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]

/// The world of shard-key policies.
pub mod shard_key_world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "shard-key-policy",
        pub_export_macro: true,
        default_bindings_module: "ostrakon_policy_sdk::bindings::shard_key_world",
        export_macro_name: "export_shard_key_world",
        additional_derives: [PartialEq, Eq],
        runtime_path: "::ostrakon_policy_sdk::wit_bindgen_rt",
    });
}

/// The world of prediction policies that do not learn.
pub mod prediction_world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "prediction-policy",
        pub_export_macro: true,
        default_bindings_module: "ostrakon_policy_sdk::bindings::prediction_world",
        export_macro_name: "export_prediction_world",
        additional_derives: [PartialEq, Eq],
        runtime_path: "::ostrakon_policy_sdk::wit_bindgen_rt",
    });
}

/// What a learning policy exports beside `prediction`. The contract's own world holds both, and generating `prediction`
/// a second time would give one policy two incompatible sets of types; two worlds in one component add up.
pub mod learning_world {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "package ostrakon:policy-sdk; world learning-beside { export ostrakon:policy/learning@0.1.0; }",
        world: "ostrakon:policy-sdk/learning-beside",
        pub_export_macro: true,
        default_bindings_module: "ostrakon_policy_sdk::bindings::learning_world",
        export_macro_name: "export_learning_world",
        additional_derives: [PartialEq, Eq],
        runtime_path: "::ostrakon_policy_sdk::wit_bindgen_rt",
    });
}

/// The world of reconciliation policies.
pub mod reconciliation_world {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "reconciliation-policy",
        pub_export_macro: true,
        default_bindings_module: "ostrakon_policy_sdk::bindings::reconciliation_world",
        export_macro_name: "export_reconciliation_world",
        additional_derives: [PartialEq, Eq],
        runtime_path: "::ostrakon_policy_sdk::wit_bindgen_rt",
    });
}
