//! Failures of `io_uring` operations.

use std::{
    fs, io,
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd as _, FromRawFd as _, RawFd},
    ptr,
};

use anyhow::{Context as _, Result, ensure};
use io_uring::{IoUring, opcode, squeue, types::Fd};
use nix::libc;
use socket2::{SockAddr, Socket};
use socktrace_diagnosis::Cause;

use super::{
    accept, bind,
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

/// Reads a few bytes.
pub(super) fn receive(socket: &Socket) -> io::Result<usize> {
    let mut buffer = [0_u8; 16];
    let length = buffer.len().try_into().map_err(io::Error::other)?;
    // SAFETY: the buffer lives until the operation has ended.
    unsafe { run(&opcode::Recv::new(fd(socket), buffer.as_mut_ptr(), length).build()) }
}

/// Closes a descriptor, which must have no other owner.
pub(super) fn close(descriptor: RawFd) -> io::Result<usize> {
    // SAFETY: the entry points to nothing.
    unsafe { run(&opcode::Close::new(Fd(descriptor)).build()) }
}

fn fd(socket: &Socket) -> Fd {
    let descriptor: RawFd = socket.as_raw_fd();
    Fd(descriptor)
}

/// Runs one operation to completion.
///
/// # Safety
///
/// Everything that the entry points to must live as long as the call.
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

/// Connects to an address of any family.
///
/// # Safety
///
/// `address` must be valid for `length` bytes.
pub(super) unsafe fn connect_to(
    descriptor: RawFd,
    address: *const libc::sockaddr,
    length: libc::socklen_t,
) -> io::Result<usize> {
    // SAFETY: as the caller promises; it lives until the operation has ended.
    unsafe { run(&opcode::Connect::new(Fd(descriptor), address, length).build()) }
}

/// Connect to a port without a listener.
pub(super) fn connect_refused(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let errno = socket::errno("connect", connect(&client, closed))?;
    ensure_errno("connect", errno, libc::ECONNREFUSED)?;
    Ok(vec![Expected::failure(Cause::ConnectRefused, "connect", errno, ends)])
}

/// Connect to an address without a route.
pub(super) fn connect_no_route(family: Family) -> Result<Vec<Expected>> {
    Network::get()?;
    let target = family.elsewhere();
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, target);
    let errno = socket::errno("connect", connect(&client, target))?;
    ensure_errno("connect", errno, libc::ENETUNREACH)?;
    Ok(vec![Expected::failure(Cause::ConnectNoRoute, "connect", errno, ends)])
}

fn accept_one(listener: &Socket) -> io::Result<Socket> {
    let (address, length) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the peer's address is not requested.
    let descriptor = unsafe { run(&opcode::Accept::new(fd(listener), address, length).build()) }?;
    let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given the descriptor to this process.
    Ok(unsafe { Socket::from_raw_fd(descriptor) })
}

/// The client resets before the connection is accepted.
pub(super) fn reset_before_accept(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = socket::reset_unaccepted(client)?;
    let server = accept_one(&listener).context("accept must succeed")?;
    let errno = socket::read_errno(&server)?;
    Ok(vec![
        Expected::failure(Cause::ResetBeforeAccept, "read_or_write", errno, ends)
            .unaccepted()
            .reset_here("tcp_state"),
        Expected::accepted_reset("read_or_write", errno, ends),
    ])
}

/// The listener was shut down. Not reported where accept's errno is visible only in the system call.
pub(super) fn listener_closed(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?;
    listener.shutdown(Shutdown::Both)?;
    let errno = socket::errno("accept", accept_one(&listener))?;
    ensure_errno("accept", errno, libc::EINVAL)?;
    let reported = accept::closed(errno, address);
    Ok(if super::reports_accept_errors() { vec![reported] } else { vec![] })
}

/// The address is in use. `IORING_OP_BIND` came with Linux 6.11.
pub(super) fn bind_in_use(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let taken = socket::local(&listener)?;
    let address = SockAddr::from(taken);
    let socket = socket::stream(taken)?;
    let entry = opcode::Bind::new(fd(&socket), address.as_ptr().cast(), address.len()).build();
    // SAFETY: the address lives until the operation has ended.
    let errno = socket::errno("bind", unsafe { run(&entry) })?;
    if !kernel_has("io_bind")? {
        ensure_errno("bind", errno, libc::EINVAL)?;
        return Ok(vec![]);
    }
    ensure_errno("bind", errno, libc::EADDRINUSE)?;
    Ok(vec![Expected::alone(Cause::BindFailed, "bind", errno, taken)])
}

/// The address has a listener. `IORING_OP_LISTEN` came with Linux 6.11.
pub(super) fn listen_in_use(family: Family) -> Result<Vec<Expected>> {
    let (_first, second) = bind::listener_and_rival(family)?;
    let address = socket::local(&second)?;
    // SAFETY: the entry points to nothing.
    let result = unsafe { run(&opcode::Listen::new(fd(&second), 1).build()) };
    let errno = socket::errno("listen", result)?;
    if !kernel_has("io_listen")? {
        ensure_errno("listen", errno, libc::EINVAL)?;
        return Ok(vec![]);
    }
    ensure_errno("listen", errno, libc::EADDRINUSE)?;
    Ok(vec![Expected::alone(Cause::ListenFailed, "listen", errno, address)])
}

/// A value of the wrong size. `SOCKET_URING_OP_SETSOCKOPT` came with Linux 6.7.
pub(super) fn sockopt_rejected(family: Family) -> Result<Vec<Expected>> {
    let socket = socket::bound(family.loopback())?;
    let value = [1_u8];
    let (level, option) = (libc::SOL_SOCKET.cast_unsigned(), libc::SO_KEEPALIVE.cast_unsigned());
    let (pointer, length) = (value.as_ptr().cast(), value.len().try_into()?);
    let entry = opcode::SetSockOpt::new(fd(&socket), level, option, pointer, length).build();
    // SAFETY: the value lives until the operation has ended.
    let errno = socket::errno("setsockopt", unsafe { run(&entry) })?;
    if !kernel_has("do_sock_setsockopt")? {
        ensure!([libc::EINVAL, libc::EOPNOTSUPP].contains(&errno), "errno {errno}");
        return Ok(vec![]);
    }
    ensure_errno("setsockopt", errno, libc::EINVAL)?;
    let address = socket::local(&socket)?;
    let refused = Expected::alone(Cause::SockoptRejected, "setsockopt", errno, address);
    Ok(vec![refused.option("SOL_SOCKET", "SO_KEEPALIVE")])
}

/// Whether the kernel has a function of this name.
fn kernel_has(function: &str) -> Result<bool> {
    let symbols = fs::read_to_string("/proc/kallsyms")?;
    Ok(symbols.lines().any(|line| line.split_whitespace().nth(2) == Some(function)))
}
