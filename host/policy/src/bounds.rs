//! Every bound on a policy, in one place.
//!
//! [`Limits`] holds those that a host may set; the constants are the same on all hosts, because a policy that loads here
//! must load there.

use std::time::Duration;

use ostrakon_wire::bounds::POLICY_SETTINGS_BYTES_MAX;

/// Longest name or version that a policy may give itself, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 128;
/// Longest text in an answer: words of a rejection or an escalation, why settings were refused.
pub(crate) const TEXT_BYTES_MAX: usize = 4 << 10;
/// Longest body or reply in a verdict, in bytes: that of a payload.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// Longest a reconciliation may put an action off, in milliseconds.
pub(crate) const RETRY_AFTER_MS_MAX: u32 = 60_000;
/// The surest a forecast can be, in millionths.
pub(crate) const CONFIDENCE_PPM_MAX: u32 = 1_000_000;

/// What the host copies out of a policy for one answer that holds numbers or short texts, in bytes.
pub(crate) const ANSWER_BYTES_SMALL: usize = 64 << 10;
/// Payloads of one reconciliation, all together, that a kept instance is asked about; a question on more has a fresh one. In
/// bytes.
pub(crate) const PAYLOAD_BYTES_ON_KEPT_MAX: usize = 16 << 10;
/// Longest state that the host keeps for a policy, in bytes.
pub(crate) const STATE_BYTES_MAX: usize = 32 << 10;
/// What the host copies out for one verdict, in bytes.
pub(crate) const ANSWER_BYTES_VERDICT: usize = 4 << 20;

/// Core instances, memories and tables that one component may be made of.
pub(crate) const CORE_INSTANCES_MAX: u32 = 16;
/// See [`CORE_INSTANCES_MAX`].
pub(crate) const MEMORIES_MAX: u32 = 4;
/// See [`CORE_INSTANCES_MAX`].
pub(crate) const TABLES_MAX: u32 = 8;
/// Entries of one table.
pub(crate) const TABLE_ELEMENTS_MAX: usize = 64 << 10;
/// What the runtime itself keeps for one instance (globals, tables of pointers), in bytes.
pub(crate) const INSTANCE_BYTES_MAX: usize = 1 << 20;
/// Address space kept for one linear memory, in bytes: all that 32 bits can name, so that accesses need no check.
pub(crate) const MEMORY_RESERVED_BYTES: usize = 1 << 32;
/// Memory of a returned instance that is cleared by hand rather than given back to the system, in bytes.
pub(crate) const KEEP_RESIDENT_BYTES: usize = 256 << 10;
/// Stack that a policy may use of the thread that calls it, in bytes.
pub(crate) const STACK_BYTES_MAX: usize = 512 << 10;

/// How often the clock of the deadlines ticks, in milliseconds: a deadline is kept to within one tick. Waking a thread
/// every millisecond takes 2 % of a core where every five take 0.4 %.
pub(crate) const TICK_MS: u64 = 5;
/// The same while a policy is on trial, in milliseconds.
pub(crate) const CLOSE_TICK_MS: u64 = 1;
/// Fuel that stands for a millisecond where calls are bounded by fuel: about the instructions of a fast machine.
pub(crate) const FUEL_PER_MS: u64 = 2_000_000;
/// Deadlines that a call is given, one after the other, as long as the processor gives it little of them.
pub(crate) const DEADLINES_WAITED_MAX: u32 = 10;

/// Instances that are made when a policy is loaded.
pub(crate) const SPARES: usize = 4;
/// Bad calls after which a generation on trial is given up.
pub(crate) const BAD_CALLS_MAX: u32 = 16;
/// How long after its first bad call it is given up at the latest, in milliseconds.
pub(crate) const BAD_WAIT_MS: u64 = 25;
/// Calls in a row of which half must not be slow.
pub(crate) const SLOW_WINDOW: u32 = 64;
/// A generation that was put in is on trial for so many calls at least, and so long, in milliseconds.
pub(crate) const TRIAL_CALLS_MIN: u64 = 1_024;
/// See [`TRIAL_CALLS_MIN`].
pub(crate) const TRIAL_MS_MIN: u64 = 60_000;

/// Decisions that wait to be looked at by a shadow, or to be written down.
pub(crate) const SIGHT_MAX: usize = 4_096;
/// What they may hold together, in bytes.
pub(crate) const SIGHT_BYTES_MAX: usize = 16 << 20;

/// How long a policy is loaded beside everything else before it is loaded like everything else.
pub(crate) const LOAD_PATIENCE: Duration = Duration::from_secs(2);
/// How often the watched folder is looked at, in milliseconds.
pub(crate) const FOLDER_EVERY_MS: u64 = 200;
/// Outcomes that a candidate beside the requests is taught at a time.
pub(crate) const LESSON_MAX: usize = 1_024;
/// Slots of one kind, the default counted.
pub(crate) const SLOTS_MAX: usize = 64;
/// Generations of one slot that are remembered, so that one of them can be put in again.
pub(crate) const GENERATIONS_KEPT: usize = 16;
/// Events that the history remembers.
pub(crate) const EVENTS_KEPT: usize = 1_024;
/// Words of a reason that the history keeps, in bytes.
pub(crate) const WHY_BYTES_MAX: usize = 1 << 10;
/// How long a component that nobody has named is kept, in seconds.
pub(crate) const UNNAMED_KEPT_S: u64 = 600;
/// Components that are half here.
pub(crate) const UPLOADS_MAX: usize = 8;
/// What compiled components may hold in memory so that they need not be read again, in bytes.
pub(crate) const COMPILED_KEPT_BYTES: usize = 64 << 20;

const _: () = assert!(BAD_CALLS_MAX <= 64 && BAD_WAIT_MS + 2 * TICK_MS < 100);
const _: () = assert!(TEXT_BYTES_MAX + NAME_BYTES_MAX < ANSWER_BYTES_SMALL);
const _: () = assert!(STATE_BYTES_MAX < ANSWER_BYTES_SMALL);
const _: () = assert!(2 * BODY_BYTES_MAX < ANSWER_BYTES_VERDICT);

/// The bounds that a host may set for its policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Size of a component, in bytes.
    pub component_bytes_max: usize,
    /// Size of the settings' JSON text, in bytes.
    pub settings_bytes_max: usize,
    /// Memory of one instance of a shard-key or prediction policy, in bytes, all its memories together.
    pub hot_memory_bytes_max: usize,
    /// Memory of one instance of a reconciliation policy, in bytes, all its memories together.
    pub reconciliation_memory_bytes_max: usize,
    /// Deadline of one instantiation, one `describe` or one `configure`, in milliseconds.
    pub start_deadline_ms: u64,
    /// Deadline of one call of a shard-key or prediction policy, in milliseconds.
    pub hot_deadline_ms: u64,
    /// The same while the policy is on trial: who runs too long then is given up at once, and others wait no longer than
    /// they must.
    pub trial_deadline_ms: u64,
    /// Deadline of one call that learns, in milliseconds.
    pub learning_deadline_ms: u64,
    /// Deadline of one call of a reconciliation policy without payloads, in milliseconds.
    pub reconciliation_deadline_ms: u64,
    /// Payload bytes that lengthen a reconciliation's deadline by one millisecond.
    pub reconciliation_bytes_per_ms: usize,
    /// Every how many calls of a reused instance one is repeated on a fresh instance and compared; 0 for never.
    pub purity_every: u32,
    /// Instances that one generation keeps for reuse. Of a hot policy threads beyond that share them.
    pub lanes: usize,
    /// Instances that live at the same time in the whole process.
    pub instances_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(4, usize::from);
        Self {
            component_bytes_max: 32 << 20,
            settings_bytes_max: POLICY_SETTINGS_BYTES_MAX,
            hot_memory_bytes_max: 16 << 20,
            reconciliation_memory_bytes_max: 64 << 20,
            start_deadline_ms: 50,
            hot_deadline_ms: 20,
            trial_deadline_ms: 2,
            learning_deadline_ms: 250,
            reconciliation_deadline_ms: 100,
            reconciliation_bytes_per_ms: 16 << 10,
            purity_every: 1_024,
            lanes: (2 * threads).clamp(4, 64),
            instances_max: 1_024,
        }
    }
}

impl Limits {
    /// The bounds of a policy on trial.
    pub(crate) fn on_trial(&self) -> Self {
        Self { hot_deadline_ms: self.trial_deadline_ms.min(self.hot_deadline_ms), ..self.clone() }
    }

    /// Deadline of one reconciliation over so many payload bytes, in milliseconds.
    pub(crate) fn verdict_deadline_ms(&self, payload_bytes: usize) -> u64 {
        self.reconciliation_deadline_ms + (payload_bytes / self.reconciliation_bytes_per_ms.max(1)) as u64
    }
}
