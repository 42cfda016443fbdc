//! A network namespace with only loopback, free of other programs' sockets.

use std::{
    fs, io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
};

use anyhow::{Context as _, Result};
use nix::{
    libc,
    sched::{CloneFlags, unshare},
};
use socket2::{Domain, Socket, Type};

/// Moves this thread to a new network namespace with loopback up; returns the namespace's inode.
pub(super) fn enter() -> Result<u32> {
    unshare(CloneFlags::CLONE_NEWNET)
        .context("cannot make a network namespace, which needs CAP_SYS_ADMIN")?;
    loopback_up().context("cannot bring loopback up, which needs CAP_NET_ADMIN")?;
    let namespace =
        fs::metadata("/proc/thread-self/ns/net").context("cannot find the network namespace")?;
    // The kernel stores namespace numbers in 32 bits.
    u32::try_from(namespace.ino()).context("an inode of a network namespace has 32 bits")
}

fn loopback_up() -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    // SAFETY: all zeros is a valid value of this plain struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    // SAFETY: the ioctl reads this request, which lives until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
