//! Sockets for scenarios: connected pairs, and calls that are expected to fail.

use std::{
    io::{self, Read as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::libc;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Both ends of a connection as seen from one of them, IPv4-mapped addresses as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

impl Ends {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Self { local: canonical(local), remote: canonical(remote) }
    }

    /// The ends of a connected socket. To be asked before it fails.
    pub(super) fn of(socket: &Socket) -> Result<Self> {
        Ok(Self::new(local(socket)?, address(&socket.peer_addr()?)?))
    }
}

/// The address a socket is bound to.
pub(super) fn local(socket: &Socket) -> Result<SocketAddr> {
    address(&socket.local_addr()?)
}

fn address(address: &SockAddr) -> Result<SocketAddr> {
    address.as_socket().context("no IP address")
}

/// A TCP socket of the address's family.
pub(super) fn stream(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // For IPv4-mapped addresses, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// A TCP socket bound to this address, port 0 for any.
pub(super) fn bound(address: SocketAddr) -> Result<Socket> {
    let socket = stream(address)?;
    socket.bind(&address.into()).with_context(|| format!("cannot bind {address}"))?;
    Ok(socket)
}

/// A listening socket at this address.
pub(super) fn listener(address: SocketAddr, backlog: i32) -> Result<Socket> {
    let socket = bound(address)?;
    socket.listen(backlog)?;
    Ok(socket)
}

/// Connects to a listener; the connection is left in its queue.
pub(super) fn connect(listener: &Socket) -> Result<Socket> {
    let address = local(listener)?;
    let socket = stream(address)?;
    socket.connect(&address.into())?;
    Ok(socket)
}

/// A connected pair: who connected, and who accepted.
pub(super) struct Pair {
    pub(super) client: Socket,
    pub(super) server: Socket,
}

impl Pair {
    /// Connects two ends at this address of the same host.
    pub(super) fn new(address: SocketAddr) -> Result<Self> {
        Self::through(&listener(address, 1)?)
    }

    /// Connects two ends through a listener.
    pub(super) fn through(listener: &Socket) -> Result<Self> {
        let client = connect(listener)?;
        let (server, _) = listener.accept()?;
        Ok(Self { client, server })
    }
}

/// Closes the socket so that it sends RST.
pub(super) fn close_with_reset(socket: Socket) -> Result<()> {
    socket.set_linger(Some(Duration::ZERO))?;
    drop(socket);
    Ok(())
}

/// The errno of a call that must fail.
pub(super) fn errno<T>(call: &str, result: io::Result<T>) -> Result<i32> {
    match result {
        Ok(_) => bail!("{call} succeeded"),
        Err(error) => error.raw_os_error().with_context(|| format!("{call}: {error}")),
    }
}

/// The errno of a read that must fail.
pub(super) fn read_errno(mut socket: &Socket) -> Result<i32> {
    errno("read", socket.read(&mut [0; 16]))
}

/// Checks that a read returns 0: the peer has closed.
pub(super) fn read_end(mut socket: &Socket) -> Result<()> {
    let count = socket.read(&mut [0; 16])?;
    ensure!(count == 0, "read returned {count} bytes where the end was due");
    Ok(())
}

/// The errno of a write that must fail; no SIGPIPE.
pub(super) fn write_errno(socket: &Socket) -> Result<i32> {
    errno("write", write(socket))
}

/// Writes a few bytes; no SIGPIPE.
pub(super) fn write(socket: &Socket) -> io::Result<usize> {
    socket.send_with_flags(b"hello", libc::MSG_NOSIGNAL)
}

/// Writes until the peer's window is closed and the send buffer is full; how much went in.
///
/// On return the peer has acknowledged all it will take.
pub(super) fn fill(socket: &Socket) -> Result<usize> {
    let chunk = vec![0_u8; 64 * 1024];
    socket.set_nonblocking(true)?;
    let mut written = 0;
    let mut last_progress = Instant::now();
    while last_progress.elapsed() < Duration::from_secs(1) {
        match socket.send_with_flags(&chunk, libc::MSG_NOSIGNAL) {
            Ok(count) => {
                written += count;
                last_progress = Instant::now();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => return Err(error.into()),
        }
    }
    socket.set_nonblocking(false)?;
    Ok(written)
}
