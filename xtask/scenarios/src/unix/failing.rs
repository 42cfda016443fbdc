//! Calls that fail with the name of a Unix socket.

use std::{
    fs,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::PermissionsExt as _,
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use nix::{
    libc,
    sys::{
        socket::{setsockopt, sockopt::SendTimeout},
        time::{TimeVal, TimeValLike as _},
    },
};

use socktrace_diagnosis::Cause;

use super::socket::{
    self, DATAGRAM, Name, SEQPACKET, STREAM, UNKNOWN, accept, connected, errno, failed_call,
    listener,
};
use crate::{bind::as_nobody, expected::Expected, iouring, process::Process, sees_tried_connects};

/// Makes a connect that fails with this errno.
fn fails(socket_type: i32, name: &Name, cause: Cause, wanted: i32) -> Result<Expected> {
    let socket = socket::open(socket_type)?;
    let errno = errno("connect", socket::connect(&socket, name), wanted)?;
    Ok(failed_call(cause, "connect", errno, Some(name)))
}

/// No listener: the file was left behind, or is not a socket; an abstract name is unused; a socket
/// has a name but does not listen.
pub(crate) fn refused() -> Result<Vec<Expected>> {
    let refused = |socket_type, name: &Name| {
        fails(socket_type, name, Cause::ConnectRefused, libc::ECONNREFUSED)
    };
    let mut failures = Vec::new();
    for socket_type in [STREAM, SEQPACKET, DATAGRAM] {
        let stale = Name::path("stale")?;
        socket::bind(&socket::open(socket_type)?, &stale)?;
        let words = format!("nobody listens at {}, though the file is there", stale.shown());
        failures.push(refused(socket_type, &stale)?.saying(words).advising("ss -xlp src"));
        failures.push(
            refused(socket_type, &Name::hidden("nobody"))?.saying("nobody listens at @nobody"),
        );
    }
    let silent = Name::path("silent")?;
    let bound = socket::open(STREAM)?;
    socket::bind(&bound, &silent)?;
    failures.push(refused(STREAM, &silent)?);
    let file = Name::path("file")?;
    fs::write(file.file(), "no socket")?;
    failures.push(refused(STREAM, &file)?);
    Ok(failures)
}

/// No file exists at the path.
pub(crate) fn no_such_socket() -> Result<Vec<Expected>> {
    [STREAM, SEQPACKET, DATAGRAM]
        .into_iter()
        .map(|socket_type| {
            let name = Name::path("nothing")?;
            let failure = fails(socket_type, &name, Cause::NoSuchSocket, libc::ENOENT)?;
            Ok(failure.saying(format!("there is no socket at {}", name.shown())))
        })
        .collect()
}

/// Programs look for optional services: libc for its cache, and systemd for the boot splash.
pub(crate) fn probes() -> Result<Vec<Expected>> {
    let cache = Name::exactly("/var/run/nscd/socket");
    let splash = Name::exactly("\0/org/freedesktop/plymouthd");
    let failures = [
        fails(STREAM, &cache, Cause::NoSuchSocket, libc::ENOENT)?,
        fails(STREAM, &splash, Cause::ConnectRefused, libc::ECONNREFUSED)?,
    ];
    Ok(failures.map(|failure| failure.with("severity", "expected")).into())
}

/// The kernel refuses the connect.
pub(crate) fn connect_local() -> Result<Vec<Expected>> {
    let refused =
        |socket_type, name: &Name, errno| fails(socket_type, name, Cause::ConnectLocal, errno);
    let datagrams = Name::path("datagrams")?;
    let receiver = socket::open(DATAGRAM)?;
    socket::bind(&receiver, &datagrams)?;
    let other_type = refused(STREAM, &datagrams, libc::EPROTOTYPE)?.saying("of another type");
    // From now on it only receives from its partner.
    let partner = Name::path("partner")?;
    let only = socket::open(DATAGRAM)?;
    socket::bind(&only, &partner)?;
    socket::connect(&receiver, &partner)?;
    let other_partner = refused(DATAGRAM, &datagrams, libc::EPERM)?;
    let below_file = Name::exactly(&format!("{}/below", datagrams.shown()));
    let no_directory = refused(STREAM, &below_file, libc::ENOTDIR)?.saying("is not a directory");
    let private = Name::path("private")?;
    let _listener = listener(STREAM, &private, 1)?;
    fs::set_permissions(private.file(), fs::Permissions::from_mode(0o600))?;
    let forbidden = as_nobody(|| refused(STREAM, &private, libc::EACCES))?;
    let forbidden = forbidden.saying("no permission").advising("namei -l");
    Ok(vec![other_type, other_partner, no_directory, forbidden])
}

/// A listener with a full queue, and the clients in the queue.
pub(super) fn full(socket_type: i32, name: &Name) -> Result<(OwnedFd, [OwnedFd; 2])> {
    let listener = listener(socket_type, name, 1)?;
    // One more than the backlog.
    Ok((listener, [connected(socket_type, name)?, connected(socket_type, name)?]))
}

/// Expected report of another connect to that listener.
fn too_many(errno: i32, name: &Name) -> Expected {
    failed_call(Cause::BacklogFull, "connect", errno, Some(name))
}

/// Sets the fields about the listener, which is this process.
fn of_this_listener(failure: Expected) -> Expected {
    let Process { pid, leader_comm, .. } = Process::this();
    failure
        .with("peer_pid", pid)
        .with("peer_comm", leader_comm.as_str())
        .with("accept_queue", 2)
        .with("accept_queue_limit", 1)
        .saying(format!("(2 wait, its backlog is 1); {leader_comm}[{pid}] listens there"))
        .advising(&format!("does {leader_comm}[{pid}] hang"))
}

/// The listener's queue is full.
pub(crate) fn backlog_full() -> Result<Vec<Expected>> {
    let mut failures = Vec::new();
    for socket_type in [STREAM, SEQPACKET] {
        for name in [Name::path("full")?, Name::hidden("full")] {
            let _full = full(socket_type, &name)?;
            let client = socket::open(socket_type)?;
            socket::make_non_blocking(&client)?;
            let errno = errno("connect", socket::connect(&client, &name), libc::EAGAIN)?;
            failures.push(of_this_listener(too_many(errno, &name)));
        }
    }
    Ok(failures)
}

/// With `io_uring`: a connect without a listener fails. One to a full queue waits for
/// room and is not reported.
pub(crate) fn by_io_uring() -> Result<Vec<Expected>> {
    let connect = |socket: &OwnedFd, name: &Name| {
        let (address, length) = name.address();
        // SAFETY: the address is as long as `length` says.
        unsafe { iouring::connect_to(socket.as_raw_fd(), (&raw const address).cast(), length) }
    };
    let stale = Name::path("stale")?;
    socket::bind(&socket::open(STREAM)?, &stale)?;
    let refused = errno("connect", connect(&socket::open(STREAM)?, &stale), libc::ECONNREFUSED)?;
    let refused = failed_call(Cause::ConnectRefused, "connect", refused, Some(&stale));
    if !sees_tried_connects() {
        return Ok(vec![refused]);
    }
    let name = Name::path("full")?;
    let (listener, _waiting) = full(STREAM, &name)?;
    let waits = socket::open(STREAM)?;
    thread::scope(|scope| {
        let connecting = scope.spawn(|| connect(&waits, &name));
        thread::sleep(Duration::from_millis(50));
        ensure!(!connecting.is_finished(), "connect did not wait");
        let _accepted = [accept(&listener)?, accept(&listener)?];
        connecting.join().map_err(|_| anyhow!("a thread panicked"))??;
        Ok(())
    })?;
    Ok(vec![refused])
}

/// The listener's queue is full, and connect waits until the program's timeout.
pub(crate) fn backlog_full_waited() -> Result<Vec<Expected>> {
    let name = Name::path("full")?;
    let _full = full(STREAM, &name)?;
    let client = socket::open(STREAM)?;
    let limit = Duration::from_millis(20);
    setsockopt(&client, SendTimeout, &TimeVal::milliseconds(limit.as_millis().try_into()?))?;
    let begun = std::time::Instant::now();
    let errno = errno("connect", socket::connect(&client, &name), libc::EAGAIN)?;
    ensure!(begun.elapsed() >= limit, "connect did not wait");
    let failure = of_this_listener(too_many(errno, &name));
    Ok(vec![failure.saying("; connect waited until SO_SNDTIMEO ran out")])
}

/// The path is another name of the listener's: the listener cannot be identified.
pub(crate) fn backlog_full_elsewhere() -> Result<Vec<Expected>> {
    let name = Name::path("full")?;
    let _full = full(STREAM, &name)?;
    let alias = Name::path("alias")?;
    std::os::unix::fs::symlink(name.file(), alias.file())?;
    let client = socket::open(STREAM)?;
    socket::make_non_blocking(&client)?;
    let errno = errno("connect", socket::connect(&client, &alias), libc::EAGAIN)?;
    let failure = too_many(errno, &alias).saying("its listener is not known");
    Ok(vec![failure.with("peer_pid", UNKNOWN).with("accept_queue_limit", UNKNOWN)])
}

/// Binds that fail.
pub(crate) fn bind() -> Result<Vec<Expected>> {
    let refused = |name: &Name, wanted| {
        let socket = socket::open(STREAM)?;
        let errno = errno("bind", socket::bind(&socket, name), wanted)?;
        Ok(failed_call(Cause::BindFailed, "bind", errno, Some(name)))
    };
    let stale = Name::path("stale")?;
    drop(listener(STREAM, &stale, 1)?);
    let hidden = Name::hidden("taken");
    let _holder = listener(STREAM, &hidden, 1)?;
    let nowhere = Name::exactly("/nowhere/x");
    let private = Name::path("closed")?;
    fs::create_dir_all(private.file())?;
    fs::set_permissions(private.file(), fs::Permissions::from_mode(0o700))?;
    let private = Name::exactly(&format!("{}/x", private.shown()));
    Ok(vec![
        refused(&stale, libc::EADDRINUSE)?.saying("exists already").advising("remove the file"),
        refused(&hidden, libc::EADDRINUSE)?.saying("is taken by another socket"),
        refused(&nowhere, libc::ENOENT)?.saying("the directory of /nowhere/x does not exist"),
        as_nobody(|| refused(&private, libc::EACCES))?.saying("no permission to make"),
    ])
}

/// Listens that fail.
pub(crate) fn listen() -> Result<Vec<Expected>> {
    let unnamed = socket::open(STREAM)?;
    let no_name = errno("listen", socket::listen(&unnamed, 1), libc::EINVAL)?;
    let name = Name::path("datagrams")?;
    let datagrams = socket::open(DATAGRAM)?;
    socket::bind(&datagrams, &name)?;
    let no_listener = errno("listen", socket::listen(&datagrams, 1), libc::EOPNOTSUPP)?;
    Ok(vec![
        failed_call(Cause::ListenFailed, "listen", no_name, None).saying("no name to listen at"),
        failed_call(Cause::ListenFailed, "listen", no_listener, Some(&name)),
    ])
}
