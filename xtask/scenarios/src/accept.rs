//! Failing accepts.

use std::{
    io,
    net::{Shutdown, SocketAddr},
    os::fd::AsRawFd as _,
    ptr,
};

use anyhow::Result;
use nix::{
    libc,
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::SaFlags,
    },
};

use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    blocked,
    expected::Expected,
    network::Family,
    process::Process,
    reports_accept_errors,
    reset::greetingless,
    socket::{self, Ends, Pair, ensure_errno},
};

/// The listener is shut down while a thread waits in accept.
pub(super) fn listener_closed(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?;
    let (accepted, caller) = blocked::during(
        libc::SYS_accept4,
        || (listener.accept(), Process::this()),
        |_| Ok(listener.shutdown(Shutdown::Both)?),
    )?;
    let errno = socket::errno("accept", accepted)?;
    ensure_errno("accept", errno, libc::EINVAL)?;
    Ok(vec![seen_on_return(closed(errno, address), &listener).by(caller)])
}

/// Expected report of an accept from a listener that was shut down.
pub(super) fn closed(errno: i32, address: SocketAddr) -> Expected {
    Expected::alone(Cause::ListenerClosed, "accept", errno, address)
}

/// Accept from a listener with backlog 0 after it was shut down.
pub(super) fn listener_closed_without_backlog(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 0)?;
    let address = socket::local(&listener)?;
    listener.shutdown(Shutdown::Both)?;
    let errno = socket::errno("accept", listener.accept())?;
    ensure_errno("accept", errno, libc::EINVAL)?;
    Ok(vec![seen_on_return(closed(errno, address), &listener)])
}

/// Accepts from a socket that is only bound, and from one that is connected.
pub(super) fn never_listened(family: Family) -> Result<Vec<Expected>> {
    let accept = |socket: &Socket, failure: &dyn Fn(i32) -> Expected| {
        let errno = socket::errno("accept", socket.accept())?;
        ensure_errno("accept", errno, libc::EINVAL)?;
        let reported = failure(errno).flags(&["never_listened"]).saying("never listened");
        anyhow::Ok(seen_on_return(reported, socket))
    };
    let bound = socket::bound(family.loopback())?;
    let address = socket::local(&bound)?;
    let alone =
        |errno| Expected::alone(Cause::AcceptFailed, "accept", errno, address).state("CLOSE");
    let pair = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&pair.client)?;
    let connected =
        |errno| Expected::failure(Cause::AcceptFailed, "accept", errno, ends).state("ESTABLISHED");
    let reported = vec![accept(&bound, &alone)?, accept(&pair.client, &connected)?];
    drop(pair.client);
    socket::read_end(&pair.server)?;
    Ok(reported)
}

/// An accept whose errno may be seen only on return from the call, which names the listener's descriptor.
fn seen_on_return(failure: Expected, listener: &Socket) -> Expected {
    if reports_accept_errors() { failure } else { failure.with("fd", listener.as_raw_fd()) }
}

/// The process has reached its limit of open files.
pub(super) fn too_many_files(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // All lower descriptors are in use: stdin, stdout and stderr.
    setrlimit(Resource::RLIMIT_NOFILE, 3, hard)?;
    let accepted = listener.accept();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
    let errno = socket::errno("accept", accepted)?;
    ensure_errno("accept", errno, libc::EMFILE)?;
    // The connection is still in the accept queue.
    let (server, _) = listener.accept()?;
    drop(client);
    socket::read_end(&server)?;
    let address = socket::local(&listener)?;
    let failure = Expected::alone(Cause::AcceptResources, "accept", errno, address);
    Ok(vec![failure.with("fd", listener.as_raw_fd())])
}

/// The buffer for the client's address is unmapped: the connection is lost.
pub(super) fn bad_address(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = Ends::of_client(&client)?;
    let mut length = libc::socklen_t::try_from(size_of::<libc::sockaddr_in6>())?;
    let nowhere = ptr::without_provenance_mut(8);
    // SAFETY: the kernel checks the address before it writes there.
    let accepted = unsafe { libc::accept(listener.as_raw_fd(), nowhere, &raw mut length) };
    let accepted = if accepted < 0 { Err(io::Error::last_os_error()) } else { Ok(accepted) };
    let errno = socket::errno("accept", accepted)?;
    ensure_errno("accept", errno, libc::EFAULT)?;
    socket::read_end(&client)?;
    let address = socket::local(&listener)?;
    let failure = Expected::alone(Cause::AcceptFailed, "accept", errno, address);
    // The kernel has closed the connection that it could not hand over.
    Ok(vec![failure.with("fd", listener.as_raw_fd()), greetingless(ends)])
}

/// Flags that accept does not support, on an open listener.
pub(super) fn bad_flags(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    // SAFETY: no address is requested.
    let accepted =
        unsafe { libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), 1) };
    let accepted = if accepted < 0 { Err(io::Error::last_os_error()) } else { Ok(accepted) };
    let errno = socket::errno("accept", accepted)?;
    ensure_errno("accept", errno, libc::EINVAL)?;
    let address = socket::local(&listener)?;
    let failure = Expected::alone(Cause::AcceptFailed, "accept", errno, address);
    Ok(vec![failure.with("fd", listener.as_raw_fd())])
}

/// A signal interrupts the accept.
pub(super) fn interrupted(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?;
    let (accepted, caller) = blocked::interrupted(
        libc::SYS_accept4,
        SaFlags::empty(),
        || (listener.accept(), Process::this()),
        || Ok(()),
    )?;
    let errno = socket::errno("accept", accepted)?;
    ensure_errno("accept", errno, libc::EINTR)?;
    let failure = Expected::alone(Cause::Interrupted, "accept", errno, address).state("LISTEN");
    Ok(vec![seen_on_return(failure, &listener).by(caller)])
}

/// A signal after which the accept is restarted: the program does not notice.
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
