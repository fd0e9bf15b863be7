//! The socket that all connections share.
//!
//! What arrives while the host does something else waits in the system's buffer, and is lost once that is full: then QUIC
//! sends it again, later and slower, and a handshake waits for a second. Systems give a socket little unless it asks.

use std::io::Result;
use std::net::{SocketAddr, UdpSocket};

use ostrakon_wire::bounds::SOCKET_BUFFER_BYTES;
use socket2::SockRef;

/// Binds a socket whose buffers are as large as they are to be, or as the system allows.
pub(crate) fn bind(listen: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(listen)?;
    let options = SockRef::from(&socket);
    // Linux cuts off what is more than it allows; other systems refuse it, and leave the buffer as it was.
    let asked = options
        .set_recv_buffer_size(SOCKET_BUFFER_BYTES)
        .and_then(|()| options.set_send_buffer_size(SOCKET_BUFFER_BYTES));
    if let Err(error) = asked {
        tracing::info!(%error, wanted = SOCKET_BUFFER_BYTES, "the socket's buffers stay as the system made them");
    }
    let given = options.recv_buffer_size()?;
    if given < SOCKET_BUFFER_BYTES {
        tracing::info!(
            given,
            wanted = SOCKET_BUFFER_BYTES,
            "the system allows sockets less: bursts may lose datagrams"
        );
    }
    Ok(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_keeps_the_buffer_that_it_was_given() {
        let size = |socket: &UdpSocket| SockRef::from(socket).recv_buffer_size().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (plain, asked) = (UdpSocket::bind(any).unwrap(), bind(any).unwrap());
        // How much it is, is the system's to say; some allow no more than they give.
        assert!(size(&asked) >= size(&plain).min(SOCKET_BUFFER_BYTES));
        let most =
            std::fs::read_to_string("/proc/sys/net/core/rmem_max").ok().and_then(|most| most.trim().parse().ok());
        match most {
            Some(most) => assert!(size(&asked) >= SOCKET_BUFFER_BYTES.min(most), "{}", size(&asked)),
            None => eprintln!("skipped: this system does not say how much it allows"),
        }
    }
}
