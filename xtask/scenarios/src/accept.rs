//! Accepts that fail.

use std::net::Shutdown;

use anyhow::Result;
use nix::{
    libc,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::SaFlags,
    },
};

use super::{
    blocked,
    expected::Expected,
    network::Family,
    socket::{self, ensure_errno},
};

/// The listener is shut down while a thread waits in accept.
pub(super) fn listener_closed(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?;
    let accepted = blocked::during(
        libc::SYS_accept4,
        || listener.accept(),
        |_| Ok(listener.shutdown(Shutdown::Both)?),
    )?;
    let errno = socket::errno("accept", accepted)?;
    ensure_errno("accept", errno, libc::EINVAL)?;
    Ok(vec![Expected::alone("listener_closed", "accept", errno, address)])
}

/// The process may open no more files.
pub(super) fn too_many_files(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // All lower descriptors are in use: those of stdin, stdout and stderr.
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard)?;
    let accepted = listener.accept();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    let errno = socket::errno("accept", accepted)?;
    ensure_errno("accept", errno, libc::EMFILE)?;
    // The connection has waited for better times.
    let (server, _) = listener.accept()?;
    drop(client);
    socket::read_end(&server)?;
    let address = socket::local(&listener)?;
    Ok(vec![Expected::alone("accept_resources", "accept", errno, address)])
}

/// A signal ends the accept.
pub(super) fn interrupted(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?;
    let accepted =
        blocked::interrupted(libc::SYS_accept4, SaFlags::empty(), || listener.accept(), || Ok(()))?;
    let errno = socket::errno("accept", accepted)?;
    ensure_errno("accept", errno, libc::EINTR)?;
    Ok(vec![Expected::alone("interrupted", "accept", errno, address)])
}

/// A signal that lets the accept go on: the program does not notice.
pub(super) fn interrupted_and_restarted(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let mut client = None;
    let accepted = blocked::interrupted(
        libc::SYS_accept4,
        SaFlags::SA_RESTART,
        || listener.accept(),
        || {
            client = Some(socket::connect(&listener)?);
            Ok(())
        },
    )?;
    let (server, _) = accepted?;
    drop(client);
    socket::read_end(&server)?;
    Ok(Vec::new())
}
