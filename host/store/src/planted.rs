//! Faults planted on purpose, in builds with the feature `planted-faults` alone: a test that does not notice them proves
//! nothing. In all other builds every question is answered with no, and nothing of them is left.
//!
//! A simulation chooses one for its thread; in builds with the feature `planted-faults-of-process` as well
//! `OSTRAKON_PLANTED_FAULT` chooses one for a process.

#[cfg(feature = "planted-faults")]
pub use planting::plant;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident = $name:literal,)*) => {
        /// A fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $fault,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$fault),*];

            /// The fault of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|fault| fault.name() == name)
            }

            /// What it is called where it is chosen.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$fault => $name,)*
                }
            }
        }
    };
}

faults! {
    /// A group is committed without its sync.
    NoSync = "no-sync",
    /// Writers are answered before their group is committed.
    AnswerEarly = "answer-early",
    /// A read is answered with what is not durable yet.
    ReadTheTip = "read-the-tip",
    /// A refused writer is told of a winner that is not durable yet.
    TellTheTip = "tell-the-tip",
    /// An action is applied to what is durable, though changes are on their way.
    IgnoreTheTip = "ignore-the-tip",
    /// The id of an action that is done is not remembered.
    ForgetId = "forget-id",
    /// The ids that the log holds are not remembered after a restart.
    ForgetIdsAtRestart = "forget-ids-at-restart",
    /// Ids that leave the log leave no floor behind.
    NoFloor = "no-floor",
    /// A repeat does not wait for the first, but runs.
    RaceTheFirst = "race-the-first",
    /// A put that was made for another version is written over what stands there.
    BlindReapply = "blind-reapply",
    /// A write's condition is not looked at.
    SkipPrecondition = "skip-precondition",
    /// Patches are taken for disjoint, and never judged.
    SkipJudgement = "skip-judgement",
    /// The ticket of a detached action is not written.
    DropTicket = "drop-ticket",
    /// The ticket of an action that is done stays open.
    KeepTicket = "keep-ticket",
    /// What is to be tried again is dropped.
    DropRetry = "drop-retry",
    /// What did not fit into the commit queue counts as written.
    DropWhenFull = "drop-when-full",
    /// An escalation is told of and not kept.
    DropEscalation = "drop-escalation",
    /// A ticket is told of before it is durable.
    TellTicketEarly = "tell-ticket-early",
    /// A failed persist is taken for a commit.
    TrustFailedPersist = "trust-failed-persist",
    /// A condition of a transaction is not looked at.
    SkipCondition = "skip-condition",
    /// The last action of a transaction is left out.
    HalfATransaction = "half-a-transaction",
    /// Conditions of a transaction are held against what is durable, though changes are on their way.
    JudgeTheDurable = "judge-the-durable",
    /// A read at a place shows what stands there now.
    ReadPastNow = "read-past-now",
    /// What takes no revision counts as the one that comes next.
    UpkeepRunsAhead = "upkeep-runs-ahead",
    /// Who watches is not told of some changes.
    FeedSkips = "feed-skips",
    /// Who watches from a place is told again the commit unit before it.
    FeedRepeats = "feed-repeats",
    /// Who watches is told changes in another order.
    FeedDisorder = "feed-disorder",
    /// Who watches is told a part of a transaction as if it were all.
    FeedTears = "feed-tears",
    /// Who watches is told of objects of others.
    FeedFilterOff = "feed-filter-off",
    /// What is told to have stood there before is what stands there now.
    FeedPreviousOff = "feed-previous-off",
    /// A bookmark names a place that nothing was told up to.
    FeedBookmarkAhead = "feed-bookmark-ahead",
    /// A frame of the feed names a place behind more than it tells.
    FeedResumesAhead = "feed-resumes-ahead",
    /// Who watches from a place is not told the next commit unit.
    FeedGap = "feed-gap",
    /// A row of each object that is copied for a migration does not arrive.
    MigrationLosesRow = "migration-loses-row",
    /// What has changed since it was copied for a migration is not mended.
    MigrationMissesChanges = "migration-misses-changes",
    /// What a shard is asked to give up is removed, whoever holds it.
    SweepTakesHeld = "sweep-takes-held",
    /// Rows move and the cursor does not.
    MigrationCursorLags = "migration-cursor-lags",
    /// Rows are looked for where they were before the last step.
    MigrationStaleMap = "migration-stale-map",
    /// Of an object that comes under another key only the newest version arrives.
    RekeyLosesHistory = "rekey-loses-history",
    /// An object that comes under another key is looked for under the one before.
    RekeyKeepsLocator = "rekey-keeps-locator",
}

/// Whether this fault is planted here.
#[cfg(not(feature = "planted-faults"))]
#[inline(always)]
pub fn is(_fault: Fault) -> bool {
    false
}

#[cfg(feature = "planted-faults")]
pub use planting::is;

#[cfg(feature = "planted-faults")]
mod planting {
    use std::cell::Cell;
    #[cfg(feature = "planted-faults-of-process")]
    use std::sync::OnceLock;

    use super::Fault;

    thread_local! {
        static OF_THREAD: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// Plants a fault into what runs on this thread from now on; `None` takes it out again.
    pub fn plant(fault: Option<Fault>) {
        OF_THREAD.set(fault);
    }

    /// Whether this fault is planted here.
    pub fn is(fault: Fault) -> bool {
        OF_THREAD.get() == Some(fault) || of_process() == Some(fault)
    }

    #[cfg(not(feature = "planted-faults-of-process"))]
    fn of_process() -> Option<Fault> {
        None
    }

    #[cfg(feature = "planted-faults-of-process")]
    fn of_process() -> Option<Fault> {
        static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
        *FAULT.get_or_init(|| {
            let name = std::env::var("OSTRAKON_PLANTED_FAULT").ok()?;
            Some(Fault::from_name(&name).unwrap_or_else(|| panic!("there is no planted fault {name:?}")))
        })
    }
}
