//! Connects that fail for the peer's sake, or that the program gives up.

use anyhow::Result;
use nix::{libc, sys::signal::SaFlags};

use super::{
    blocked,
    expected::Expected,
    network::{Family, NOBODY_LISTENS, Network, Silence},
    socket::{self, Ends, ensure_errno},
};

/// A blocking connect to a port where nobody listens.
pub(super) fn refused(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let errno = socket::errno("connect", client.connect(&closed.into()))?;
    Ok(vec![Expected::failure("connect_refused", "connect", errno, ends)])
}

/// A non-blocking one: the errno comes through `SO_ERROR`.
pub(super) fn refused_nonblocking(family: Family) -> Result<Vec<Expected>> {
    let refused = Refused::new(family)?;
    let errno = socket::finish_connect(&refused.client)?;
    Ok(vec![refused.failure(errno)])
}

/// A non-blocking one whose errno is asked for by calling connect again.
pub(super) fn refused_asked_by_connect(family: Family) -> Result<Vec<Expected>> {
    let refused = Refused::new(family)?;
    let errno = refused.connect_again()?;
    Ok(vec![refused.failure(errno)])
}

/// The same, asked for by a write.
pub(super) fn refused_asked_by_write(family: Family) -> Result<Vec<Expected>> {
    let refused = Refused::new(family)?;
    let errno = socket::write_errno(&refused.client)?;
    let delivered = Expected::delivered("connect_refused", errno, refused.ends);
    Ok(vec![refused.failure(errno), delivered])
}

/// A connect by a call that sends.
pub(super) fn refused_fast_open(family: Family) -> Result<Vec<Expected>> {
    let closed = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    let sent = client.send_to_with_flags(b"hello", &closed.into(), flags);
    let errno = socket::errno("sendto", sent)?;
    ensure_errno("sendto", errno, libc::ECONNREFUSED)?;
    Ok(vec![
        Expected::failure("connect_refused", "connect", errno, ends),
        Expected::delivered("connect_refused", errno, ends),
    ])
}

/// Connect is called again after the failure was read.
pub(super) fn retried_after_failure(family: Family) -> Result<Vec<Expected>> {
    let refused = Refused::new(family)?;
    let first = socket::finish_connect(&refused.client)?;
    let errno = refused.connect_again()?;
    ensure_errno("connect", errno, libc::ECONNABORTED)?;
    let retried =
        Expected::failure("connect_retried_after_failure", "connect", errno, refused.ends);
    Ok(vec![refused.failure(first), retried])
}

/// The program loses patience and closes the socket while the SYN is unanswered.
pub(super) fn cancelled(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let silent = family.peer_port(NOBODY_LISTENS);
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, silent);
    let cut = network.cut(Silence::Drop)?;
    socket::start_connect(&client, silent)?;
    drop(client);
    drop(cut);
    Ok(vec![Expected::failure("connect_cancelled", "none", libc::ECANCELED, ends).noise()])
}

/// A signal ends a blocking connect; the attempt goes on until the socket is closed.
pub(super) fn interrupted(family: Family) -> Result<Vec<Expected>> {
    let network = Network::get()?;
    let silent = family.peer_port(NOBODY_LISTENS);
    let client = socket::bound(family.host())?;
    let ends = Ends::new(socket::local(&client)?, silent);
    let cut = network.cut(Silence::Drop)?;
    let connected = blocked::interrupted(
        libc::SYS_connect,
        SaFlags::empty(),
        || client.connect(&silent.into()),
        || Ok(()),
    )?;
    let errno = socket::errno("connect", connected)?;
    ensure_errno("connect", errno, libc::EINTR)?;
    drop(client);
    drop(cut);
    Ok(vec![
        Expected::failure("interrupted", "connect", errno, ends),
        Expected::failure("connect_cancelled", "none", libc::ECANCELED, ends).noise(),
    ])
}

/// A non-blocking connect that has been refused.
struct Refused {
    client: socket2::Socket,
    ends: Ends,
}

impl Refused {
    fn new(family: Family) -> Result<Self> {
        let closed = socket::closed_port(family)?;
        let client = socket::bound(family.loopback())?;
        let ends = Ends::new(socket::local(&client)?, closed);
        // On loopback the answer is there before the call returns.
        socket::start_connect(&client, closed)?;
        Ok(Self { client, ends })
    }

    fn connect_again(&self) -> Result<i32> {
        socket::errno("connect", self.client.connect(&self.ends.remote.into()))
    }

    fn failure(&self, errno: i32) -> Expected {
        Expected::failure("connect_refused", "connect", errno, self.ends)
    }
}
