//! Refused calls of bind and listen.

use std::{net::SocketAddr, thread};

use anyhow::{Result, anyhow};
use nix::libc;
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    address::Odd,
    expected::Expected,
    network::Family,
    socket::{self, Ends, ensure_errno},
};

/// A user without privileges.
pub(super) const NOBODY: libc::uid_t = 65_534;

/// The port is in use.
pub(super) fn address_in_use(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let taken = socket::local(&listener)?;
    bind(&socket::stream(taken)?, taken, libc::EADDRINUSE)
}

/// No interface has the address.
pub(super) fn address_not_local(family: Family) -> Result<Vec<Expected>> {
    let address = family.elsewhere();
    bind(&socket::stream(address)?, address, libc::EADDRNOTAVAIL)
}

/// The port is privileged.
pub(super) fn privileged_port(family: Family) -> Result<Vec<Expected>> {
    let mut address = family.loopback();
    address.set_port(80);
    as_nobody(|| bind(&socket::stream(address)?, address, libc::EACCES))
}

/// The socket is already bound.
pub(super) fn twice(family: Family) -> Result<Vec<Expected>> {
    let bound = socket::bound(family.loopback())?;
    let mut another = family.loopback();
    another.set_port(socket::local(&socket::bound(family.loopback())?)?.port());
    bind(&bound, another, libc::EINVAL)
}

/// A truncated address, and one of another family.
pub(super) fn malformed(family: Family) -> Result<Vec<Expected>> {
    let address = family.loopback();
    let nothing = unspecified(family);
    let short = (Odd::short(address, 3), libc::EINVAL, "the address given has 3 bytes");
    let other = Odd::of_family(address, libc::AF_UNIX)?;
    let other = (other, libc::EAFNOSUPPORT, "the address given is of family AF_UNIX");
    [short, other]
        .into_iter()
        .map(|(odd, wanted, reason)| {
            let errno = socket::errno("bind", odd.bind(&socket::stream(address)?))?;
            ensure_errno("bind", errno, wanted)?;
            let failure = Expected::alone(Cause::BindFailed, "bind", errno, nothing);
            Ok(failure.flags(&["malformed"]).saying(reason))
        })
        .collect()
}

/// An IPv6-only socket is bound to an IPv4-mapped address.
pub(super) fn only_v6(family: Family) -> Result<Vec<Expected>> {
    let socket = socket::stream(family.loopback())?;
    socket.set_only_v6(true)?;
    let reported = bind(&socket, family.loopback(), libc::EINVAL)?;
    Ok(reported.into_iter().map(|failure| failure.saying("for IPv6 alone")).collect())
}

/// The unspecified address, with port 0.
pub(super) fn unspecified(family: Family) -> SocketAddr {
    match family {
        Family::Ipv4 => SocketAddr::from(([0; 4], 0)),
        Family::Ipv6 | Family::Mapped => SocketAddr::from(([0; 16], 0)),
    }
}

fn bind(socket: &Socket, address: SocketAddr, wanted: i32) -> Result<Vec<Expected>> {
    let errno = socket::errno("bind", socket.bind(&address.into()))?;
    ensure_errno("bind", errno, wanted)?;
    let address = Ends::new(address, address).local;
    Ok(vec![Expected::alone(Cause::BindFailed, "bind", errno, address)])
}

/// Two sockets bound to the same address both listen.
pub(super) fn listen_twice(family: Family) -> Result<Vec<Expected>> {
    let (_first, second) = listener_and_rival(family)?;
    listen(&second, libc::EADDRINUSE)
}

/// A listener, and a second socket bound to the same address.
pub(super) fn listener_and_rival(family: Family) -> Result<(Socket, Socket)> {
    let first = socket::stream(family.loopback())?;
    first.set_reuse_address(true)?;
    first.bind(&family.loopback().into())?;
    let address = socket::local(&first)?;
    let second = socket::stream(address)?;
    second.set_reuse_address(true)?;
    second.bind(&address.into())?;
    first.listen(1)?;
    Ok((first, second))
}

/// A connected socket listens.
pub(super) fn listen_connected(family: Family) -> Result<Vec<Expected>> {
    let pair = socket::Pair::new(family.loopback())?;
    let ends = Ends::of_client(&pair.client)?;
    let errno = socket::errno("listen", pair.client.listen(1))?;
    ensure_errno("listen", errno, libc::EINVAL)?;
    drop(pair.client);
    socket::read_end(&pair.server)?;
    Ok(vec![Expected::failure(Cause::ListenFailed, "listen", errno, ends).state("ESTABLISHED")])
}

fn listen(socket: &Socket, wanted: i32) -> Result<Vec<Expected>> {
    let address = socket::local(socket)?;
    let errno = socket::errno("listen", socket.listen(1))?;
    ensure_errno("listen", errno, wanted)?;
    Ok(vec![Expected::alone(Cause::ListenFailed, "listen", errno, address)])
}

/// Runs `act` as an ordinary user, in this process.
pub(super) fn as_nobody<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: takes numbers and touches no memory. Unlike the libc wrapper, it
            // changes only this thread.
            let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
            anyhow::ensure!(changed == 0, "cannot become another user");
            act()
        });
        thread.join().map_err(|_| anyhow!("a thread panicked"))?
    })
}
