//! Unix connections whose other end is closed with unread data.

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Result, ensure};
use nix::libc;

use socktrace_diagnosis::Cause;

use super::socket::{
    self, Name, SEQPACKET, STREAM, UNKNOWN, accept, connected, errno, listener, pair,
};
use crate::{
    child::{self, ChildOutcome, Disposition, How},
    expected::Expected,
    process::Process,
};

/// Passes an end to a child that exits at once, and returns the child's pid.
fn close_in_child(end: OwnedFd) -> Result<u32> {
    let ChildOutcome { pid, .. } = child::finish(child::start(&["end"], end)?)?;
    Ok(pid)
}

/// Expected report about this process's end, after a child has closed the other.
fn was_reset(end: &OwnedFd, child: u32, name: Option<&Name>) -> Result<Expected> {
    let errno = errno("recv", socket::receive(end), libc::ECONNRESET)?;
    Ok(reset_by(child, errno).with("path", name.map(Name::shown)))
}

/// Expected report about an end of this process that a child has reset.
fn reset_by(child: u32, errno: i32) -> Expected {
    let this = Process::this();
    let leader = Process { tid: this.pid, comm: this.leader_comm.clone(), ..this };
    Expected::of_unix(Cause::ResetByPeer, "read_or_write", errno)
        .by(leader)
        .known_as(&["holder"])
        .reset_by(child, "exe", "")
        .with("rst_reason", UNKNOWN)
        .saying(format!("the peer closed with unread data; closed by exe[{child}]"))
        .advising(&format!("did exe[{child}] crash"))
}

/// A server exits with a question unread.
pub(crate) fn reset() -> Result<Vec<Expected>> {
    let mut failures = Vec::new();
    for socket_type in [STREAM, SEQPACKET] {
        for name in [Name::path("server")?, Name::hidden("server")] {
            let listener = listener(socket_type, &name, 1)?;
            let client = connected(socket_type, &name)?;
            let server = accept(&listener)?;
            socket::send(&client, b"question")?;
            let child = close_in_child(server)?;
            failures.push(was_reset(&client, child, Some(&name))?);
        }
    }
    Ok(failures)
}

/// A client exits with an answer unread.
pub(crate) fn reset_by_exit() -> Result<Vec<Expected>> {
    let name = Name::path("server")?;
    let listener = listener(STREAM, &name, 1)?;
    let client = connected(STREAM, &name)?;
    let server = accept(&listener)?;
    socket::send(&server, b"answer")?;
    let child = close_in_child(client)?;
    let failure = was_reset(&server, child, Some(&name))?;
    Ok(vec![failure.with("severity", "expected")])
}

/// A pair has no name.
pub(crate) fn reset_pair() -> Result<Vec<Expected>> {
    [STREAM, SEQPACKET]
        .into_iter()
        .map(|socket_type| {
            let (near, far) = pair(socket_type)?;
            socket::send(&near, b"question")?;
            let child = close_in_child(far)?;
            was_reset(&near, child, None)
        })
        .collect()
}

/// The peer closes with nothing unread, and a child keeps writing, in each way that raises SIGPIPE.
pub(crate) fn write_after_close() -> Result<Vec<Expected>> {
    let name = Name::path("server")?;
    let listener = listener(STREAM, &name, 1)?;
    let mut failures = Vec::new();
    for (how, disposition, verdict) in [
        (How::Write, Disposition::Default, "kills"),
        (How::Writev, Disposition::Ignored, "ignored"),
        (How::Sendfile, Disposition::Handled, "handled"),
        (How::Write, Disposition::Blocked, "blocked"),
    ] {
        let client = connected(STREAM, &name)?;
        drop(accept(&listener)?);
        let ChildOutcome { pid, errnos, killed_by } =
            child::write(&client.into(), how, disposition)?;
        let calls = match verdict {
            "kills" => {
                ensure!(killed_by == Some(libc::SIGPIPE), "the child reported {errnos:?}");
                1
            }
            _ => errnos.len(),
        };
        ensure!(errnos.iter().all(|errno| *errno == libc::EPIPE), "the child got {errnos:?}");
        let failure = Expected::of_unix(Cause::WriteAfterPeerClose, "write", libc::EPIPE)
            .with("path", name.shown())
            .sigpipe(verdict)
            .saying("the peer had closed; ")
            .by(Process::child(pid));
        failures.extend(vec![failure; calls]);
    }
    // Sending was shut down while the peer still exists.
    let (near, _far) = pair(STREAM)?;
    nix::sys::socket::shutdown(near.as_raw_fd(), nix::sys::socket::Shutdown::Write)?;
    let ChildOutcome { pid, errnos, .. } =
        child::write(&near.into(), How::Write, Disposition::Ignored)?;
    ensure!(errnos == [libc::EPIPE; 2], "the child got {errnos:?}");
    let failure = Expected::of_unix(Cause::WriteAfterShutdown, "write", libc::EPIPE)
        .state("ESTABLISHED")
        .sigpipe("ignored")
        .saying("sending was shut down, by this program (SHUT_WR) or by its peer (SHUT_RD); ")
        .by(Process::child(pid));
    failures.extend(vec![failure; 2]);
    Ok(failures)
}

/// A listener is closed with connections in its queue.
pub(crate) fn reset_by_listener() -> Result<Vec<Expected>> {
    let name = Name::path("server")?;
    let listener = listener(STREAM, &name, 3)?;
    let clients = [connected(STREAM, &name)?, connected(STREAM, &name)?];
    let child = close_in_child(listener)?;
    clients
        .iter()
        .map(|client| {
            let failure = was_reset(client, child, Some(&name))?;
            let words =
                format!("; the listener of exe[{child}] closed with this connection in its queue");
            Ok(failure.saying(words).advising(&format!("exe[{child}] was stopped")))
        })
        .collect()
}
