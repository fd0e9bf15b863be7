//! Which slot a command is about.

use clap::Args;
use ostrakon_wire::{PolicyKind, Slot};

use crate::policies::kind_of;

/// One slot.
#[derive(Debug, Clone, Args)]
pub(super) struct SlotArgs {
    /// The kind of policy: shard-key, prediction or reconciliation
    #[arg(long = "slot", value_name = "KIND", value_parser = kind_of)]
    kind: PolicyKind,

    /// The override for this client
    #[arg(long, value_name = "CLIENT")]
    client: Option<String>,

    /// The override for this data type
    #[arg(long = "type", value_name = "TYPE")]
    data_type: Option<String>,
}

/// One slot, or all.
#[derive(Debug, Clone, Args)]
pub(super) struct AnySlotArgs {
    /// Of this slot alone: shard-key, prediction or reconciliation
    #[arg(long = "slot", value_name = "KIND", value_parser = kind_of)]
    kind: Option<PolicyKind>,

    /// The override for this client
    #[arg(long, value_name = "CLIENT", requires = "kind")]
    client: Option<String>,

    /// The override for this data type
    #[arg(long = "type", value_name = "TYPE", requires = "kind")]
    data_type: Option<String>,
}

impl SlotArgs {
    pub(super) fn slot(&self) -> Slot {
        Slot { kind: self.kind, client: self.client.clone(), data_type: self.data_type.clone() }
    }
}

impl AnySlotArgs {
    pub(super) fn slot(&self) -> Option<Slot> {
        let Self { kind, client, data_type } = self.clone();
        kind.map(|kind| Slot { kind, client, data_type })
    }
}

/// A share, as in `5%` or `0.5%`, in millionths.
pub(crate) fn share(text: &str) -> Result<u32, String> {
    const PPM_OF_PERCENT: f64 = 10_000.0;
    let percent: f64 = text.strip_suffix('%').unwrap_or(text).trim().parse().map_err(|_| wrong(text))?;
    let ppm = (percent * PPM_OF_PERCENT).round();
    if (1.0..=100.0 * PPM_OF_PERCENT).contains(&ppm) { Ok(ppm as u32) } else { Err(wrong(text)) }
}

fn wrong(text: &str) -> String {
    format!("{text:?} is no share: above 0% and at most 100%, as in 5% or 0.5%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_as_another_one() {
        for (text, ppm) in [("100%", 1_000_000), ("5%", 50_000), ("0.5%", 5_000), ("7", 70_000), ("0.0001%", 1)] {
            assert_eq!(share(text), Ok(ppm), "{text}");
        }
        for text in ["0%", "-1%", "101%", "x%", "", "nan", "0.00001%"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
