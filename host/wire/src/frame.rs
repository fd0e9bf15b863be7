//! Frames: four bytes of length, big-endian, then that many bytes of CBOR.

use bytes::{Buf, Bytes, BytesMut};

use crate::bounds::FRAME_BYTES_MAX;

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// The length prefix says more than the bound, or nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Longer than the bound.
    #[error("a frame of {bytes} bytes is over the bound of {bytes_max}")]
    TooLarge {
        /// What the prefix says.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Of length 0.
    #[error("a frame of no bytes")]
    Empty,
}

/// Takes one whole frame off the front of `buffer`; `None` while it has not all arrived. The length is judged before
/// anything is allocated for it.
pub fn split(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = buffer.first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let bytes = u32::from_be_bytes(*prefix) as usize;
    if bytes > bytes_max {
        return Err(FrameError::TooLarge { bytes, bytes_max });
    }
    if bytes == 0 {
        return Err(FrameError::Empty);
    }
    if buffer.len() < PREFIX_BYTES + bytes {
        return Ok(None);
    }
    buffer.advance(PREFIX_BYTES);
    Ok(Some(buffer.split_to(bytes).freeze()))
}

/// Appends one frame to `out`; `body` appends its content.
pub fn append(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    body(out);
    let bytes = out.len() - start - PREFIX_BYTES;
    assert!(bytes <= FRAME_BYTES_MAX, "a frame that this end writes is inside the bound");
    out[start..start + PREFIX_BYTES].copy_from_slice(&(bytes as u32).to_be_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_arrive() {
        let mut wire = Vec::new();
        append(&mut wire, |out| out.extend_from_slice(b"one"));
        append(&mut wire, |out| out.extend_from_slice(b"twenty"));
        let mut buffer = BytesMut::new();
        let mut seen = Vec::new();
        for byte in wire {
            buffer.extend_from_slice(&[byte]);
            seen.extend(split(&mut buffer, 100).unwrap());
        }
        assert_eq!(seen, ["one", "twenty"]);
    }

    #[test]
    fn a_length_over_the_bound_is_refused_before_its_bytes_arrive() {
        let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert_eq!(split(&mut buffer, 100), Err(FrameError::TooLarge { bytes: u32::MAX as usize, bytes_max: 100 }));
        assert_eq!(split(&mut BytesMut::from(&[0, 0, 0, 0][..]), 100), Err(FrameError::Empty));
    }
}
