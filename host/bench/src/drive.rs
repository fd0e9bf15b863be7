//! A load that goes on whatever the host answers: requests at times of its own, or a number kept under way.
//!
//! A request that is due counts from the moment it was due, whenever it could be sent. What is under way on a connection is
//! bounded, so a host that pushes back makes the load late, never large.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::ensure;
use ostrakon_wire::bounds::RETRY_AFTER_MS;
use tokio::task::JoinSet;

use crate::load::{Tally, Window};
use crate::pipe::{Caller, Kind, Outcome};

/// How requests follow each other on a connection.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// So many a second, whatever becomes of them; one that is refused is not repeated.
    Open {
        /// Requests a second.
        per_s: f64,
    },
    /// So many under way at any time; one that is refused comes again when the host says.
    Keep {
        /// Requests.
        under_way: usize,
    },
}

/// Requests under way on one connection of an open load; more are late.
const UNDER_WAY_MAX: usize = 8_192;
/// Bytes that wait to be sent before more requests are made.
const UNSENT_MAX: usize = 256 << 10;

/// What a load came to, inside its window.
pub(crate) struct Driven {
    /// Commits, from when they were due.
    pub(crate) tally: Tally,
    pub(crate) overloaded: u64,
    /// Whether every refusal said when to come again, and there was one.
    pub(crate) retry_after_seen: bool,
    /// Requests that were sent.
    pub(crate) sent: u64,
}

impl Driven {
    fn new(window: Window) -> Self {
        Self { tally: Tally::new(window), overloaded: 0, retry_after_seen: false, sent: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.retry_after_seen = match (self.overloaded, other.overloaded) {
            (_, 0) => self.retry_after_seen,
            (0, _) => other.retry_after_seen,
            _ => self.retry_after_seen && other.retry_after_seen,
        };
        self.overloaded += other.overloaded;
        self.sent += other.sent;
    }
}

/// Drives every caller at the same pace until the window is over; hands the callers back once all is answered.
pub(crate) async fn all(callers: Vec<Caller>, pace: Pace, window: Window) -> anyhow::Result<(Vec<Caller>, Driven)> {
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let driven = one(&mut caller, pace, window, |_, _| {}).await?;
            anyhow::Ok((caller, driven))
        });
    }
    let (mut callers, mut total) = (Vec::new(), Driven::new(window));
    while let Some(ended) = running.join_next().await {
        let (caller, driven) = ended??;
        total.add(&driven);
        callers.push(caller);
    }
    Ok((callers, total))
}

/// Drives one caller. `committed` is told of every commit, when it was due and when it was answered.
pub(crate) async fn one(
    caller: &mut Caller,
    pace: Pace,
    window: Window,
    mut committed: impl FnMut(Instant, Instant),
) -> anyhow::Result<Driven> {
    let (started, mut driven) = (Instant::now(), Driven::new(window));
    let mut free: VecDeque<usize> = (0..caller.objects()).collect();
    // Refused ones, and when they come again; the waits are all the same, so these are in order.
    let mut later: VecDeque<(Instant, usize)> = VecDeque::new();
    let mut due_at = vec![started; caller.objects()];
    let (mut made, mut under_way) = (0_u64, 0);
    if let Pace::Keep { under_way } = pace {
        ensure!(under_way <= free.len(), "there are fewer objects than requests under way");
    }
    loop {
        let now = Instant::now();
        let over = window.is_over(now);
        if over && under_way == 0 {
            return Ok(driven);
        }
        let mut wake = None;
        while !over && caller.unsent() < UNSENT_MAX {
            let next = match pace {
                Pace::Open { per_s } => {
                    let due = started + Duration::from_secs_f64(made as f64 / per_s);
                    wake = Some(due);
                    if due > now || under_way >= UNDER_WAY_MAX {
                        break;
                    }
                    free.pop_front().map(|object| (object, due))
                }
                Pace::Keep { under_way: wanted } => {
                    wake = later.front().map(|(at, _)| *at);
                    match later.front() {
                        Some((at, object)) if *at <= now => {
                            let object = *object;
                            later.pop_front();
                            Some((object, due_at[object]))
                        }
                        _ if under_way + later.len() < wanted => free.pop_front().map(|object| (object, now)),
                        _ => None,
                    }
                }
            };
            let Some((object, due)) = next else { break };
            due_at[object] = due;
            caller.request(Kind::Write, object)?;
            made += 1;
            driven.sent += u64::from(window.counts(now));
            under_way += 1;
        }
        // A request that is due and has no room is woken by answers.
        let wake = wake.filter(|wake| *wake > now && !over);
        let counted = |object: usize, outcome: Outcome| {
            let now = Instant::now();
            under_way -= 1;
            match outcome {
                Outcome::Committed => {
                    driven.tally.committed(due_at[object], now);
                    committed(due_at[object], now);
                    free.push_back(object);
                }
                Outcome::Overloaded(retry_after_ms) => {
                    if window.counts(now) {
                        driven.retry_after_seen =
                            retry_after_ms.is_some() && (driven.retry_after_seen || driven.overloaded == 0);
                        driven.overloaded += 1;
                    }
                    let pause = Duration::from_millis(retry_after_ms.unwrap_or(RETRY_AFTER_MS).into());
                    match pace {
                        Pace::Open { .. } => free.push_back(object),
                        Pace::Keep { .. } => later.push_back((now + pause, object)),
                    }
                }
            }
        };
        caller.turn(wake.or(window.end_after(now)), counted).await?;
    }
}
