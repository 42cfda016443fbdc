//! Raw socket addresses, including ones that the kernel refuses.

use std::{io, net::SocketAddr, os::fd::AsRawFd as _};

use anyhow::Result;
use nix::libc::{self, c_int, sa_family_t, socklen_t};
use socket2::{SockAddr, Socket};

/// A call that takes a descriptor and an address.
type Call = unsafe extern "C" fn(c_int, *const libc::sockaddr, socklen_t) -> c_int;

/// An address whose family and length may not match its contents.
pub(super) struct Odd {
    address: libc::sockaddr_storage,
    length: socklen_t,
}

impl Odd {
    /// Truncates the address to `length` bytes.
    pub(super) fn short(address: SocketAddr, length: socklen_t) -> Self {
        Self { length, ..Self::whole(address) }
    }

    /// Labels the address with another family.
    pub(super) fn of_family(address: SocketAddr, family: c_int) -> Result<Self> {
        let mut odd = Self::whole(address);
        odd.address.ss_family = sa_family_t::try_from(family)?;
        Ok(odd)
    }

    fn whole(address: SocketAddr) -> Self {
        let address = SockAddr::from(address);
        let length = address.len();
        // SAFETY: both types have the same size, and any bytes are valid.
        let address = unsafe { std::mem::transmute_copy(&address.as_storage()) };
        Self { address, length }
    }

    /// Calls connect with this address.
    pub(super) fn connect(&self, socket: &Socket) -> io::Result<()> {
        self.call(libc::connect, socket)
    }

    /// Calls bind with this address.
    pub(super) fn bind(&self, socket: &Socket) -> io::Result<()> {
        self.call(libc::bind, socket)
    }

    /// Sends a few bytes to this address with `MSG_FASTOPEN` and without SIGPIPE.
    pub(super) fn send(&self, socket: &Socket) -> io::Result<()> {
        let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
        let (fd, address) = (socket.as_raw_fd(), (&raw const self.address).cast());
        // SAFETY: the address is longer than its length says, and the bytes are valid.
        let sent =
            unsafe { libc::sendto(fd, b"hello".as_ptr().cast(), 5, flags, address, self.length) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn call(&self, call: Call, socket: &Socket) -> io::Result<()> {
        // SAFETY: the address is longer than its length says.
        let result =
            unsafe { call(socket.as_raw_fd(), (&raw const self.address).cast(), self.length) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Dissolves the socket's connection.
pub(super) fn dissolve(socket: &Socket) -> Result<()> {
    let nowhere = SocketAddr::from(([0; 4], 0));
    Ok(Odd::of_family(nowhere, libc::AF_UNSPEC)?.connect(socket)?)
}
