//! Every bound of this crate. The id bounds are the host's own: an id that breaks them would be refused there.

/// Bytes of one file after decompression. CloudTrail's own files stay below 50 MB.
pub const FILE_BYTES_MAX: u64 = 1 << 30;

/// Bytes of one text field of a record that the mapping reads (`eventName`, an ARN of the identity, ...).
pub const FIELD_BYTES_MAX: usize = 4096;

/// JSON bytes of `params` in one merge; larger ones are left out and their size is noted instead. CloudTrail cuts an
/// event at 256 KB, and CBOR at its widest (`0.5,` becomes nine bytes) still stays below the payload bound.
pub const PARAMS_BYTES_MAX: usize = 256 << 10;

/// Bytes of one payload at the host.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Bytes of a client id.
pub const CLIENT_BYTES_MAX: usize = 256;
/// Bytes of a data type.
pub const TYPE_BYTES_MAX: usize = 128;
/// Bytes of an object's name.
pub const NAME_BYTES_MAX: usize = 1024;

/// Bits of milliseconds in an action id.
pub const ACTION_TIME_BITS: u32 = 48;

const _: () = assert!(PARAMS_BYTES_MAX / 4 * 9 + 4 * FIELD_BYTES_MAX < PAYLOAD_BYTES_MAX);
