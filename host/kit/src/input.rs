//! Questions drawn from a seed: what a host may ask, the odd and the extreme among it.

use ostrakon_core::policy::{Heat, Outlook, Placing, Question};
use ostrakon_wire::{ActionKind, OnConflict, PolicyKind};

use crate::case::Case;
use crate::draw::Draws;

/// A moment in the first half of 2024, as milliseconds since 1970.
pub(crate) const NOW_MS: u64 = 1_710_000_000_000;

/// So many questions to policies of a kind, or a few more.
pub(crate) fn questions(kind: PolicyKind, draws: &mut Draws, count: usize) -> Vec<Question> {
    let mut questions = Vec::with_capacity(count + 1);
    while questions.len() < count {
        match kind {
            PolicyKind::ShardKey => questions.push(Question::Place(placing(draws))),
            PolicyKind::Prediction => questions.push(Question::Predict(outlook(draws))),
            PolicyKind::Reconciliation => {
                let case = Case::drawn(draws);
                questions.extend(case.on_patches());
                questions.push(case.on_payloads());
            }
        }
    }
    questions
}

/// Names as clients have them: service names, paths, addresses, and now and then a long one or one in another script.
pub(crate) fn client(draws: &mut Draws) -> Box<str> {
    let number = draws.below(1_000);
    match draws.below(7) {
        0 => format!("client-{number}"),
        1 => format!("tenant-{}/agent-{number}", draws.below(20)),
        2 => format!("tenant-{}.eu-{}", draws.below(20), number % 4),
        3 => format!("arn:aws:iam::{:012}:role/role-{number}", draws.below(1 << 36)),
        4 => format!("user{number}@example.org"),
        5 => format!("клиент-{number}"),
        _ => format!("{number}-{}", "x".repeat(draws.below(100) as usize)),
    }
    .into()
}

/// A placing with nothing known of its use.
pub(crate) fn cold(client: Box<str>, data_type: &str, name: String, timestamp_ms: u64) -> Question {
    let heat = Heat { idle_ms: u64::MAX, ..Heat::default() };
    Question::Place(Placing { client, data_type: data_type.into(), name: name.into(), timestamp_ms, current: 0, heat })
}

fn placing(draws: &mut Draws) -> Placing<Box<str>> {
    let heat = Heat {
        client_ppm: draws.small(1_000_001),
        type_ppm: draws.small(1_000_001),
        window_ppm: draws.small(1_000_001),
        write_ppm: draws.small(1_000_001),
        callers: draws.small(40),
        idle_ms: draws.one_of([0, 7, 60_000, u64::MAX]),
        shards: draws.small(12),
    };
    let cold = Heat { idle_ms: u64::MAX, ..Heat::default() };
    let timestamp_ms = match draws.below(10) {
        0 => 0,
        1 => u64::MAX - draws.below(10),
        _ => NOW_MS + draws.below(10 * 365 * 86_400_000),
    };
    Placing {
        client: client(draws),
        data_type: draws.one_of(["volume", "instance", "cluster", "policy/rôle", "t"]).into(),
        name: format!("{:x}", draws.bits()).into(),
        timestamp_ms,
        current: if draws.once_in(4) { draws.bits() } else { 0 },
        heat: if draws.once_in(3) { cold } else { heat },
    }
}

fn outlook(draws: &mut Draws) -> Outlook {
    let known = draws.one_of([0, 1, 5, 1_000, u64::MAX - 3]);
    let age_max_us = draws.one_of([1_000, 1_000_000, 100_000_000]);
    Outlook {
        known,
        observed: draws.one_of([known, known, known.saturating_add(1), known / 2]),
        observed_age_us: draws.one_of([age_max_us / 7 * 3, u64::MAX, age_max_us]),
        read_age_us: draws.one_of([u64::MAX, age_max_us / 3]),
        queued: draws.one_of([0, 0, 1, 5, 70, u32::MAX]),
        in_group: draws.small(300),
        write_millihz: draws.one_of([0, 3, 900, 40_000, 5_000_000, u64::MAX]),
        conflict_ppm: draws.one_of([0, 20_000, 500_000, 1_000_000]),
        commit_us: draws.small(20_000),
        kind: draws.one_of([
            ActionKind::Put,
            ActionKind::Merge,
            ActionKind::Add,
            ActionKind::Delete,
            ActionKind::Custom,
        ]),
        choice: draws.one_of([OnConflict::Reject, OnConflict::Reconcile, OnConflict::Detach]),
        attempt: draws.small(4),
        payload_bytes: draws.small(1 << 20),
        scope: draws.bits(),
    }
}
