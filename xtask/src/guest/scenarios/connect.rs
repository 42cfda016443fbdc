//! Connects that are refused.

use std::{os::fd::AsFd as _, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    network::Family,
    socket::{self, Ends},
    verify::Expected,
};

/// A blocking connect to a port where nobody listens.
pub(super) fn refused(family: Family) -> Result<Vec<Expected>> {
    let closed = closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let errno = socket::errno("connect", client.connect(&closed.into()))?;
    // On loopback the RST comes while connect still holds the socket, and is processed by the
    // connecting process when it lets go.
    Ok(vec![Expected::failure("connect_refused", "connect", errno, ends).in_this_process()])
}

/// A non-blocking one: the errno comes through `SO_ERROR`.
pub(super) fn refused_nonblocking(family: Family) -> Result<Vec<Expected>> {
    let closed = closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    client.set_nonblocking(true)?;
    let ends = Ends::new(socket::local(&client)?, closed);
    let first = socket::errno("connect", client.connect(&closed.into()))?;
    ensure!(first == libc::EINPROGRESS, "connect failed with errno {first}, not EINPROGRESS");
    let mut polled = [PollFd::new(client.as_fd(), PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::try_from(Duration::from_secs(5))?)?;
    let error = client.take_error()?.context("SO_ERROR is 0")?;
    let errno = error.raw_os_error().context("no errno")?;
    Ok(vec![Expected::failure("connect_refused", "connect", errno, ends).in_this_process()])
}

/// A port that was free a moment ago: bound, and closed again.
fn closed_port(family: Family) -> Result<std::net::SocketAddr> {
    socket::local(&socket::bound(family.loopback())?)
}
