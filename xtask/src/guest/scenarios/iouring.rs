//! The same failures by way of `io_uring`.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd as _, RawFd},
};

use anyhow::Result;
use io_uring::{IoUring, opcode, squeue, types::Fd};
use nix::libc;
use socket2::{SockAddr, Socket};

use super::{
    expected::Expected,
    network::{Family, Network},
    socket::{self, Ends, ensure_errno},
};

const HELLO: &[u8] = b"hello";

/// Sends a few bytes.
pub(super) fn send(socket: &Socket) -> io::Result<usize> {
    let length = HELLO.len().try_into().map_err(io::Error::other)?;
    // SAFETY: the bytes are static.
    unsafe { run(&opcode::Send::new(fd(socket), HELLO.as_ptr(), length).build()) }
}

/// Writes a few bytes.
pub(super) fn write(socket: &Socket) -> io::Result<usize> {
    let length = HELLO.len().try_into().map_err(io::Error::other)?;
    // SAFETY: the bytes are static.
    unsafe { run(&opcode::Write::new(fd(socket), HELLO.as_ptr(), length).build()) }
}

fn fd(socket: &Socket) -> Fd {
    let descriptor: RawFd = socket.as_raw_fd();
    Fd(descriptor)
}

/// Runs one operation to its end.
///
/// # Safety
///
/// What the entry points to must live as long as the call.
unsafe fn run(entry: &squeue::Entry) -> io::Result<usize> {
    let mut ring = IoUring::new(1)?;
    // SAFETY: as the caller promises.
    unsafe { ring.submission().push(entry) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().ok_or_else(|| io::Error::other("no completion"))?;
    usize::try_from(result.result()).map_err(|_| io::Error::from_raw_os_error(-result.result()))
}

fn connect(socket: &Socket, address: SocketAddr) -> io::Result<usize> {
    let address = SockAddr::from(address);
    // SAFETY: the address lives until the operation has ended.
    unsafe {
        run(&opcode::Connect::new(fd(socket), address.as_ptr().cast(), address.len()).build())
    }
}

/// Nobody listens.
pub(super) fn connect_refused(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let errno = socket::errno("connect", connect(&client, closed))?;
    ensure_errno("connect", errno, libc::ECONNREFUSED)?;
    Ok(vec![Expected::failure("connect_refused", "connect", errno, ends)])
}

/// No route leads there.
pub(super) fn connect_no_route(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    let target = family.elsewhere();
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, target);
    let errno = socket::errno("connect", connect(&client, target))?;
    ensure_errno("connect", errno, libc::ENETUNREACH)?;
    Ok(vec![Expected::failure("connect_no_route", "connect", errno, ends)])
}
