//! Every bound of the host and its protocol, in one place, related to each other.
//!
//! Nothing queues, grows or waits without a bound named here. Settings may lower some of them; none raises one.

/// Longest client id, in bytes of UTF-8.
pub const CLIENT_BYTES_MAX: usize = 256;
/// Longest data type, in bytes of UTF-8.
pub const TYPE_BYTES_MAX: usize = 128;
/// Longest object name, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 1024;
/// An object's text: client, type and name, with a separator between each.
pub const OBJECT_BYTES_MAX: usize = CLIENT_BYTES_MAX + TYPE_BYTES_MAX + NAME_BYTES_MAX + 2;

/// Largest payload, patch or body of an action, in bytes as they travel.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// How deep a structured payload may nest.
pub const PAYLOAD_DEPTH_MAX: usize = 64;
/// How deep a frame may nest outside its payload.
pub const FRAME_DEPTH_MAX: usize = 8;
/// Longest frame that either end accepts, without its length prefix: a payload and all that stands around it.
pub const FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + (64 << 10);
/// Longest hello, without its length prefix.
pub const HELLO_BYTES_MAX: usize = 1024;
/// Longest free text that either end puts into a frame (agent names, error messages).
pub const TEXT_BYTES_MAX: usize = 512;
/// Longest kind of a custom action.
pub const CUSTOM_KIND_BYTES_MAX: usize = 128;

/// The last version an object can have: the rows on disk give it 48 bits.
pub const VERSION_MAX: u64 = (1 << 48) - 1;
/// Values that a structured payload may hold, nested ones counted: what bounds the memory of working on one.
pub const PAYLOAD_VALUES_MAX: usize = 1 << 16;

/// Most objects on one page of a list.
pub const PAGE_ITEMS_MAX: usize = 1000;
/// Objects, deleted ones included, that are looked at for one page; a page that ends there is shorter than asked for.
pub const PAGE_EXAMINED_MAX: usize = 4_000;
/// Objects on a page when the request does not say.
pub const PAGE_ITEMS_DEFAULT: usize = 100;
/// Bytes after which a page ends (an object that alone is larger still gets a page).
pub const PAGE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + (32 << 10);
/// Longest page token.
pub const TOKEN_BYTES_MAX: usize = OBJECT_BYTES_MAX + 64;

/// Streams that a client may have open on one connection.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// Requests of one stream that are worked on at a time; the next ones wait.
pub const IN_FLIGHT_PER_STREAM_MAX: usize = 512;
/// Requests of one connection that are worked on at a time; more wait in the streams.
pub const IN_FLIGHT_PER_CONNECTION_MAX: usize = 2048;
/// The same in bytes of their frames.
pub const IN_FLIGHT_BYTES_PER_CONNECTION_MAX: usize = 8 << 20;
/// Requests that the active connections of a host share out among them: while there are several, each may have an equal
/// part of so many in work, counted like those of a connection. Few enough that who asks for little is not kept behind who
/// asks for much, enough that commit groups are large.
pub const IN_WORK_SHARED: usize = 384;
/// The most that a connection asks for, in work and waiting, while it counts as modest.
pub const MODEST_MAX: usize = 8;
/// What one that asks for more may have in work beside modest ones, times the number of those that do, and at least as many
/// as a modest one: who asks for little beside a single flood waits for a group of so many, not of half the budget.
pub const IN_WORK_BESIDE_MODEST: usize = 4;
/// From so many on, in work and waiting, a single one that asks for much is a flood and rests: more than a client comes to
/// have that asks at a pace of its own, fewer than a stream's line holds when it is full.
pub const FLOOD_MIN: usize = 384;
/// For how long a flood begins nothing after something of it was written: some times what a group takes to commit, so that
/// who asks for little seldom comes while one of the flood's is on its way.
pub const FLOOD_REST_MS: u64 = 5;
/// The least that a connection may have in work, however many are active.
pub const IN_WORK_SHARE_MIN: usize = 4;
/// Requests that have arrived and wait for their connection's turn, shared out in the same way; more are refused.
pub const WAITING_SHARED: usize = 32_768;
/// The least of them a connection.
pub const WAITING_SHARE_MIN: usize = 16;
/// The most of them a connection.
pub const WAITING_PER_CONNECTION_MAX: usize = 2048;
/// When as many wait on a stream as it may have in work, and the first of them has waited so long, those that come are refused.
pub const WAIT_MAX_MS: u64 = 250;
/// Requests of a stream that are answered for each that is refused, while more come than that; the rest is not read, so
/// that a load twice the host's work does not make the host refuse as much as it does.
pub const ANSWERS_OF_REFUSAL: usize = 8;
/// Requests of a stream that are refused before any is answered.
pub const REFUSALS_AHEAD_MAX: usize = 256;
/// How exactly waits are told.
pub const WAIT_TICK_MS: u64 = 50;
/// For how long a connection that has asked for something counts as active, at least.
pub const ACTIVE_MS: u64 = 400;
/// Bytes that a client may send on one stream before the host has read them.
pub const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// The same for one connection.
pub const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Bytes of datagrams that the system keeps for the host until it takes them, where the system allows so many; as many again
/// that it is yet to send. A burst of some thousand handshakes.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Bytes of answers that wait for a client to read them, a connection.
pub const SEND_WINDOW_BYTES: u64 = 4 << 20;
/// Answers gathered before they are written to a stream, in bytes.
pub const GATHER_BYTES_MAX: usize = 256 << 10;
/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 4096;
/// Connections among them that have not said hello yet. A newcomer beyond that takes the place of the oldest.
pub const UNGREETED_CONNECTIONS_MAX: usize = 1024;
/// How long a connection may take to say hello.
pub const HELLO_DEADLINE_MS: u64 = 5_000;
/// How long a stream may leave a begun frame unfinished.
pub const FRAME_DEADLINE_MS: u64 = 20_000;
/// How long a client may leave answers unread before its stream is given up.
pub const WRITE_DEADLINE_MS: u64 = 20_000;
/// The least that a client must take of answers that wait for it, in bytes a second, once the deadline has passed.
pub const ANSWER_BYTES_PER_S_MIN: u64 = 32 << 10;
/// How long a silent connection lives; a client sends keep-alives well inside it.
pub const IDLE_TIMEOUT_MS: u64 = 30_000;
/// How often a client library shows that it lives.
pub const KEEP_ALIVE_MS: u64 = 10_000;
/// How long a graceful stop waits for promised answers.
pub const DRAIN_DEADLINE_MS: u64 = 8_000;

/// Changes that wait for the committing thread.
pub const COMMIT_QUEUE_CHANGES_MAX: usize = 16_384;
/// The same in bytes.
pub const COMMIT_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Changes in one commit group.
pub const GROUP_CHANGES_MAX: usize = 1_024;
/// With so many changes a group does not wait for more, however short processors are: few enough that clients which wait for
/// answers before they ask again are seldom waited for, where more than so many requests are under way.
pub const GROUP_ENOUGH: usize = 32;
/// The longest that one waits for more, in microseconds; and then for a processor.
pub const GROUP_WAIT_US_MAX: u64 = 500;
/// Bytes in one commit group.
pub const GROUP_BYTES_MAX: usize = 8 << 20;
/// What an `overloaded` answer tells the client to wait, in milliseconds.
pub const RETRY_AFTER_MS: u32 = 20;
/// The same where it is requests that wait, not changes: about as long as what waits will take.
pub const WAIT_RETRY_AFTER_MS: u32 = WAIT_MAX_MS as u32;
/// Spans that wait to be exported; what comes beyond is dropped.
pub const SPANS_QUEUED_MAX: usize = 4_096;
/// Spans that are exported together.
pub const SPANS_A_BATCH_MAX: usize = 512;
/// Disagreements that a check of a folder tells one by one; the others are counted.
pub const CHECK_FINDINGS_MAX: usize = 100;
/// Threads that read what is not in memory.
pub const READER_THREADS: usize = 4;
/// Reads that wait for one of them.
pub const COLD_READS_MAX: usize = 16_384;

/// Versions of an object that history keeps when the settings do not say.
pub const HISTORY_VERSIONS_DEFAULT: u32 = 16;
/// The most that the settings may ask for.
pub const HISTORY_VERSIONS_MAX: u32 = 1_000_000;
/// Action ids that are remembered when the settings do not say.
pub const ACTION_IDS_DEFAULT: usize = 500_000;
/// The fewest and the most that the settings may ask for.
pub const ACTION_IDS_MIN: usize = 1_000;
/// See [`ACTION_IDS_MIN`].
pub const ACTION_IDS_MAX: usize = 20_000_000;
/// Changes that the log keeps for those who watch when the settings do not say; never fewer than ids are remembered.
pub const LOG_CHANGES_DEFAULT: usize = 2_000_000;
/// The most that the settings may ask for.
pub const LOG_CHANGES_MAX: usize = 100_000_000;
/// How far ahead of the host's clock the time in an action id may lie.
pub const ACTION_ID_AHEAD_MS: u64 = 10 * 60 * 1000;
/// Clients whose ids ran ahead of the clock and are remembered as such once their ids are dropped.
pub const AHEAD_CLIENTS_MAX: usize = 4_096;

/// Shards that a new data folder starts with when the settings do not say.
pub const SHARDS_DEFAULT: u32 = 16;
/// The fewest that a folder may start with.
pub const SHARDS_MIN: u32 = 16;
/// The most shards of a host.
pub const SHARDS_MAX: u32 = 996;
/// Keyspaces of the whole store, beside those of the shards.
pub const KEYSPACES_BESIDE_SHARDS: usize = 4;
/// Keyspaces that can be opened: the engine below may queue work for each before anybody takes from the queue, and waits
/// for ever over one more.
pub const KEYSPACES_MAX: usize = 1_000;

/// Owners of a host, its worker lanes, when the settings do not say.
pub const OWNERS_DEFAULT: u32 = 4;
/// The most owners of a host.
pub const OWNERS_MAX: u32 = 64;

/// Migrations that have ended and are remembered.
pub const MIGRATIONS_KEPT: usize = 256;
/// Migrations that run at a time; more are refused.
pub const MIGRATIONS_RUNNING_MAX: usize = 8;
/// How long a step of a migration may take to gather what it writes, in microseconds: then it ends; one object at least.
pub const MIGRATION_STEP_US_AIM: u64 = 2_000;
/// A migration rests so many times as long as its step took, so that most of the committing thread is for others.
pub const MIGRATION_RESTS: u32 = 3;
/// Where it meets a queue, it rests up to so many times as long.
pub const MIGRATION_RESTS_MAX: u32 = 24;
/// The queue that a step may meet, in microseconds: behind a longer one migrations rest longer, until it is short again.
pub const MIGRATION_QUEUE_US_AIM: u64 = 4_000;
/// Objects that a step of a re-key looks at.
pub const REKEY_STEP_OBJECTS: usize = 64;
/// Objects that a step of a migration goes past at most.
pub const MIGRATION_STEP_OBJECTS_MAX: usize = 4_096;
/// Rows that differ or were written since, after which a step ends.
pub const MIGRATION_STEP_ROWS_MAX: usize = 1_024;
/// Bytes of them after which it does. An object that alone has more is still mended whole, all versions at once.
pub const MIGRATION_STEP_BYTES_MAX: usize = 512 << 10;
/// Objects that are copied at a time, ahead of the steps.
pub const STRETCH_OBJECTS_MAX: usize = 1 << 16;
/// Bytes after which that ends.
pub const STRETCH_BYTES_MAX: usize = 64 << 20;
/// Rows that may be written of objects while they are copied, before it has to be done in shorter stretches,
pub const MIGRATION_CHANGED_ROWS_MAX: usize = 1 << 18;
/// and bytes of them.
pub const MIGRATION_CHANGED_BYTES_MAX: usize = 64 << 20;
/// Keyspaces that stand ready: on a host that never rests so many shards can be split off before one has to be made while commits
/// wait. Each takes about 4 ms of the first start, and 100 KiB of memory.
pub const SPARE_SHARDS_DEFAULT: usize = 32;
/// Objects between two places where a step may end.
pub const STRETCH_PIECE_OBJECTS: usize = 16;
/// Rows that are worth a table of their own; fewer go through the journal,
pub const STRETCH_TABLE_ROWS_MIN: usize = 256;
/// if they have fewer bytes than this.
pub const STRETCH_TABLE_BYTES_MIN: u64 = 128 << 10;
/// Rows that leave at a time what has given them away.
pub const SWEEP_ROWS: usize = 256;

/// Uses of objects a second that the heat is told of; of more a part is, and stands for all.
pub const HEAT_TOUCHES_PER_S: u64 = 10_000;
/// How long the answer to a question for a later shard map may wait, in milliseconds.
pub const MAP_WAIT_MS_MAX: u32 = 60_000;
/// Requests that may wait for a later shard map; the others are answered at once.
pub const MAP_WAITERS_MAX: usize = 4_096;
/// Migrations that have ended, or decisions, that are told when a request does not say.
pub const SHARD_EVENTS_DEFAULT: usize = 20;
/// The most of them.
pub const SHARD_EVENTS_MAX: usize = 256;
/// Longest text of the planner's limits, in bytes.
pub const SHARD_LIMITS_BYTES_MAX: usize = 4_096;

/// Actions that wait for reconciliation, and their bytes; more are refused.
pub const RECONCILING_MAX: usize = 16_384;
/// See [`RECONCILING_MAX`].
pub const RECONCILING_BYTES_MAX: usize = 64 << 20;
/// Those of them that wait for one object.
pub const RECONCILING_PER_OBJECT_MAX: usize = 2_048;
/// How often a prediction policy that learns is told what became of its forecasts, in milliseconds.
pub const LEARNING_EVERY_MS: u64 = 50;
/// Forecasts that it is told of at a time; the first ones of that while.
pub const LEARNING_BATCH_MAX: usize = 1_024;
/// Actions of one object that are worked on before another object has its turn.
pub const RECONCILE_RUN_MAX: usize = 128;
/// The same in time.
pub const RECONCILE_RUN_MS: u64 = 5;
/// The same in bytes of the versions that are made.
pub const RECONCILE_RUN_BYTES: usize = 512 << 10;
/// Longest that an object waits for its next turn because its actions are dear, in milliseconds.
pub const RECONCILE_PAUSE_MS_MAX: u64 = 500;
/// Bytes of the versions that an object's last turns made and that are kept for those that were made for them; of so many
/// objects.
pub const RECENT_BYTES_MAX: usize = 96 << 10;
/// See [`RECENT_BYTES_MAX`].
pub const RECENT_OBJECTS_MAX: usize = 512;
/// Runs of the policy after which an action is escalated, when the settings do not say.
pub const RECONCILE_TRIES_DEFAULT: u32 = 5;
/// The most that the settings may ask for.
pub const RECONCILE_TRIES_MAX: u32 = 1_000;
/// Longest reply that a reconciliation policy may send to a caller.
pub const REPLY_BYTES_MAX: usize = 16 << 10;
/// Detached actions that are not done yet; more are refused.
pub const TICKETS_MAX: usize = 8_192;
/// How long an answer to the question after a ticket may wait for the action's end.
pub const TICKET_WAIT_MS_MAX: u32 = 60_000;
/// Escalations that nobody has settled; an action that would be one more goes on being tried or is refused.
pub const ESCALATIONS_OPEN_MAX: usize = 10_000;
/// Escalations that were settled and are kept to be looked at; the oldest make room.
pub const ESCALATIONS_SETTLED_MAX: usize = 10_000;

/// Conditions of a transaction.
pub const TRANSACTION_CONDITIONS_MAX: usize = 64;
/// Actions of a transaction, each on an object of its own.
pub const TRANSACTION_ACTIONS_MAX: usize = 64;
/// Bytes of all that a transaction stores: what `merge` and `add` make counted whole.
pub const TRANSACTION_BYTES_MAX: usize = 4 << 20;
/// Longest JSON pointer of a condition.
pub const POINTER_BYTES_MAX: usize = 1024;
/// Transactions at a time that keep other writers from their objects while they are judged again.
pub const TRANSACTIONS_HOLDING_MAX: usize = 4_096;
/// Threads that judge transactions again.
pub const TRANSACT_THREADS: usize = 4;

/// Watches of a host at a time.
pub const WATCHES_MAX: usize = 16_384;
/// Changes that wait in memory for one watcher; one for whom more would wait reads on from the log, at its own pace.
pub const WATCH_QUEUE_CHANGES_MAX: usize = 256;
/// The same in bytes. A change that alone is larger waits by itself.
pub const WATCH_QUEUE_BYTES_MAX: usize = 64 << 10;
/// Commit groups that wait to be handed out to the watchers; beyond that all of them read on from the log.
pub const FEED_GROUPS_MAX: usize = 64;
/// Where groups have so many changes, more than they wait for, the host has as much to do as it can: those who watch are told
/// one change for [`FEED_YIELDS_TO`] that are committed, all of them together.
pub const FEED_YIELDS_AT: usize = 48;
/// See [`FEED_YIELDS_AT`].
pub const FEED_YIELDS_TO: usize = 4;
/// How many of these may be saved up.
pub const FEED_CREDIT_MAX: usize = 4_096;
/// For how long that holds behind such a group, in milliseconds.
pub const FEED_YIELDS_MS: u64 = 50;
/// How often those who wait for that look whether it is over, in milliseconds.
pub const FEED_LOOKS_MS: u64 = 250;
/// Threads that tell those who watch.
pub const WATCHING_THREADS: usize = 1;
/// Threads that read the log for those who watch.
pub const FEED_READER_THREADS: usize = 2;
/// Commit units of the log that are read at a time for those who read the feed from it.
pub const FEED_SEGMENT_REVISIONS: u64 = 4_096;
/// A part with so many changes ends there.
pub const FEED_SEGMENT_CHANGES: usize = 8_192;
/// So many such parts are kept in memory.
pub const FEED_SEGMENTS: usize = 16;
/// Larger payloads are not kept with them, in bytes.
pub const FEED_SEGMENT_ROW_BYTES: usize = 1 << 10;
/// Changes that are made ready for a watcher from the log before others have their turn.
pub const FEED_EXAMINED_MAX: usize = 1_024;
/// Bytes of changes after which a frame of the feed ends (a change that alone is larger still gets a frame).
pub const FEED_FRAME_BYTES_MAX: usize = 256 << 10;
/// How often a watcher to whom nothing happens is told where it stands, in milliseconds, when it does not say.
pub const BOOKMARK_MS_DEFAULT: u32 = 5_000;
/// The least and the most that it may say.
pub const BOOKMARK_MS_MIN: u32 = 100;
/// See [`BOOKMARK_MS_MIN`].
pub const BOOKMARK_MS_MAX: u32 = 60_000;

/// Data types with a retention of their own.
pub const RETENTION_RULES_MAX: usize = 1_024;
/// How long a version is kept that another one has replaced, when the settings do not say, in milliseconds.
pub const RETENTION_AGE_MS_DEFAULT: u64 = 30 * 24 * 60 * 60 * 1000;
/// The least that the settings may ask for.
pub const RETENTION_AGE_MS_MIN: u64 = 1_000;
/// The most.
pub const RETENTION_AGE_MS_MAX: u64 = 100 * 365 * 24 * 60 * 60 * 1000;
/// Rows that are looked at for what need not be kept any longer, before others have their turn.
pub const RETENTION_EXAMINED_MAX: usize = 2_000;
/// Versions that are dropped in one commit unit.
pub const RETENTION_DROPPED_MAX: usize = 512;
/// How long the host rests after so much.
pub const RETENTION_REST_MS: u64 = 50;
/// How long it rests at most once it has looked at everything, and at least.
pub const RETENTION_EVERY_MS_MAX: u64 = 60 * 60 * 1000;
/// See [`RETENTION_EVERY_MS_MAX`].
pub const RETENTION_EVERY_MS_MIN: u64 = 1_000;

/// Bytes of a component that one request carries.
pub const COMPONENT_PART_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;
/// The text of a policy's settings, in bytes.
pub const POLICY_SETTINGS_BYTES_MAX: usize = 64 << 10;
/// A whole, in millionths.
pub const SHARE_PPM_MAX: u32 = 1_000_000;
/// Events of policies that are told where a request does not say how many, and at most.
pub const POLICY_EVENTS_DEFAULT: usize = 50;
/// See [`POLICY_EVENTS_DEFAULT`].
pub const POLICY_EVENTS_MAX: usize = 200;
/// Requests that change policies or send components, in work at the same time.
pub const POLICY_REQUESTS_MAX: usize = 8;

/// Recent uses that the heat keeps to tell from where in the key space the load falls.
pub const HEAT_SAMPLES: usize = 1 << 15;
/// The same of pairs of objects that were used together.
pub const HEAT_PAIR_SAMPLES: usize = 1 << 13;
/// Clients that the heat tells apart; a less busy one makes room.
pub const HEAT_CLIENTS: usize = 1 << 12;
/// The same of data types, each of one client.
pub const HEAT_TYPES: usize = 1 << 12;
/// The same of time windows, each of one data type.
pub const HEAT_WINDOWS: usize = 1 << 13;
/// The same of objects.
pub const HEAT_OBJECTS: usize = 1 << 11;
/// The same of pairs of objects that are used together.
pub const HEAT_PAIRS: usize = 1 << 11;
/// Objects of a client whose shards are told apart.
pub const HEAT_KEYS_PER_CLIENT: usize = 16;
/// Pairs that one use of several objects counts for.
pub const HEAT_PAIRS_PER_USE: usize = 32;
/// Samples of a shard that the planner is told.
pub const HEAT_SAMPLES_PER_SHARD: usize = 256;
/// Memory of the heat, in bytes, names included, however many clients there are.
pub const HEAT_BYTES_MAX: usize = 16 << 20;

/// Memory for the heads of objects that were used recently, in bytes.
pub const HEAD_CACHE_BYTES: usize = 256 << 20;
/// A payload larger than this is not kept with its head.
pub const HEAD_PAYLOAD_BYTES_MAX: usize = 4 << 10;
/// Objects that a front end remembers the last seen version of.
pub const OBSERVED_OBJECTS: usize = 1 << 16;
/// Bytes of unflushed changes, all shards together, above which the largest are flushed. Every flush makes commits wait
/// for a handful of syncs, so few large ones are better than many small ones.
pub const MEMTABLE_BYTES_MAX: u64 = 512 << 20;
/// Unflushed changes of one shard, in bytes, above which it is flushed.
pub const SHARD_MEMTABLE_BYTES_MAX: u64 = 64 << 20;
/// Journals above which the shards that pin the oldest are flushed.
pub const JOURNALS_MAX: usize = 8;
/// Block cache of the store, in bytes.
pub const BLOCK_CACHE_BYTES: u64 = 256 << 20;

const _: () = assert!(PAGE_BYTES_MAX + OBJECT_BYTES_MAX + 1024 <= FRAME_BYTES_MAX);
const _: () = assert!(PAYLOAD_BYTES_MAX + OBJECT_BYTES_MAX + 1024 <= FRAME_BYTES_MAX);
const _: () = assert!(STREAM_WINDOW_BYTES as usize >= FRAME_BYTES_MAX + 4);
const _: () = assert!(CONNECTION_WINDOW_BYTES >= STREAM_WINDOW_BYTES);
const _: () = assert!(IN_FLIGHT_BYTES_PER_CONNECTION_MAX >= 2 * FRAME_BYTES_MAX);
const _: () = assert!(IN_FLIGHT_PER_STREAM_MAX <= IN_FLIGHT_PER_CONNECTION_MAX);
const _: () = assert!(UNGREETED_CONNECTIONS_MAX <= CONNECTIONS_MAX / 2);
const _: () = assert!(IN_WORK_SHARED <= IN_FLIGHT_PER_CONNECTION_MAX && MODEST_MAX <= IN_WORK_SHARED / 2);
const _: () = assert!(MODEST_MAX < FLOOD_MIN && FLOOD_MIN < IN_FLIGHT_PER_STREAM_MAX);
const _: () = assert!(IN_WORK_SHARE_MIN <= MODEST_MAX && IN_WORK_BESIDE_MODEST <= MODEST_MAX);
const _: () = assert!(IN_WORK_SHARE_MIN * CONNECTIONS_MAX <= COMMIT_QUEUE_CHANGES_MAX);
const _: () = assert!(WAITING_SHARE_MIN <= WAITING_PER_CONNECTION_MAX && WAITING_PER_CONNECTION_MAX <= WAITING_SHARED);
const _: () = assert!(IN_FLIGHT_PER_STREAM_MAX < WAITING_PER_CONNECTION_MAX);
const _: () = assert!(WAIT_MAX_MS >= 2 * WAIT_TICK_MS && ACTIVE_MS >= 2 * WAIT_TICK_MS);
const _: () = assert!(GROUP_BYTES_MAX >= 2 * PAYLOAD_BYTES_MAX && COMMIT_QUEUE_BYTES_MAX >= GROUP_BYTES_MAX);
const _: () = assert!(GROUP_CHANGES_MAX <= COMMIT_QUEUE_CHANGES_MAX);
const _: () = assert!(GROUP_ENOUGH < FEED_YIELDS_AT && FEED_YIELDS_AT <= GROUP_CHANGES_MAX);
const _: () = assert!(PAGE_ITEMS_DEFAULT <= PAGE_ITEMS_MAX);
const _: () = assert!(SPANS_A_BATCH_MAX <= SPANS_QUEUED_MAX);
const _: () = assert!(SHARDS_MIN <= SHARDS_DEFAULT && SHARDS_DEFAULT <= SHARDS_MAX);
const _: () = assert!(SHARDS_MAX as usize + KEYSPACES_BESIDE_SHARDS <= KEYSPACES_MAX);
const _: () = assert!(1 <= OWNERS_DEFAULT && OWNERS_DEFAULT <= OWNERS_MAX);
const _: () = assert!(MIGRATION_RESTS <= MIGRATION_RESTS_MAX);
const _: () = assert!(MIGRATION_STEP_BYTES_MAX <= GROUP_BYTES_MAX);
const _: () = assert!(ACTION_IDS_MIN <= ACTION_IDS_DEFAULT && ACTION_IDS_DEFAULT <= ACTION_IDS_MAX);
const _: () = assert!(ACTION_IDS_DEFAULT <= LOG_CHANGES_DEFAULT && LOG_CHANGES_DEFAULT <= LOG_CHANGES_MAX);
const _: () = assert!(KEEP_ALIVE_MS * 2 < IDLE_TIMEOUT_MS && HELLO_DEADLINE_MS < IDLE_TIMEOUT_MS);
const _: () = assert!(RECONCILING_PER_OBJECT_MAX <= RECONCILING_MAX && TICKETS_MAX <= RECONCILING_MAX);
const _: () = assert!(RECONCILING_BYTES_MAX >= 2 * PAYLOAD_BYTES_MAX && REPLY_BYTES_MAX <= PAYLOAD_BYTES_MAX);
const _: () = assert!(RECONCILE_TRIES_DEFAULT >= 1 && RECONCILE_TRIES_DEFAULT <= RECONCILE_TRIES_MAX);
const _: () = assert!(2 * TRANSACTION_BYTES_MAX <= GROUP_BYTES_MAX && PAYLOAD_BYTES_MAX <= TRANSACTION_BYTES_MAX);
const _: () = assert!(FEED_FRAME_BYTES_MAX <= PAGE_BYTES_MAX && WATCH_QUEUE_BYTES_MAX <= FEED_FRAME_BYTES_MAX);
const _: () = assert!(FEED_EXAMINED_MAX <= FEED_CREDIT_MAX);
const _: () = assert!(BOOKMARK_MS_MIN <= BOOKMARK_MS_DEFAULT && BOOKMARK_MS_DEFAULT <= BOOKMARK_MS_MAX);
const _: () = assert!((BOOKMARK_MS_DEFAULT as u64) < IDLE_TIMEOUT_MS);
const _: () =
    assert!(RETENTION_AGE_MS_MIN <= RETENTION_AGE_MS_DEFAULT && RETENTION_AGE_MS_DEFAULT <= RETENTION_AGE_MS_MAX);
const _: () = assert!(OBSERVED_OBJECTS.is_power_of_two());
const _: () = assert!(HEAT_SAMPLES_PER_SHARD <= HEAT_SAMPLES && HEAT_PAIRS_PER_USE <= HEAT_PAIR_SAMPLES);
