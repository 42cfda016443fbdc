//! Unix sockets with nothing to report.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd as _, RawFd},
};

use anyhow::{Result, ensure};
use nix::{
    libc,
    sys::socket::{ControlMessage, MsgFlags, UnixAddr, recvmsg, sendmsg},
};

use super::socket::{
    self, DATAGRAM, Name, SEQPACKET, STREAM, accept, connected, listener, pair, receive, send,
};
use crate::{
    child::{self, Disposition, How},
    expected::Expected,
};

const SILENCE: Vec<Expected> = Vec::new();

/// Ten thousand connections, each with a question and an answer, closed first by either side.
pub(crate) fn connections() -> Result<Vec<Expected>> {
    const OFTEN: usize = 10_000;

    let name = Name::path("server")?;
    let listener = listener(STREAM, &name, 8)?;
    for round in 0..OFTEN {
        let client = connected(STREAM, &name)?;
        let server = accept(&listener)?;
        for (from, to) in [(&client, &server), (&server, &client)] {
            send(from, b"words")?;
            ensure!(receive(to)? == 5, "words are lost");
        }
        if round % 2 == 0 { drop((client, server)) } else { drop((server, client)) }
    }
    Ok(SILENCE)
}

/// Datagrams as of syslog and `sd_notify`.
pub(crate) fn datagrams() -> Result<Vec<Expected>> {
    for name in [Name::path("log")?, Name::hidden("notify")] {
        let receiver = socket::open(DATAGRAM)?;
        socket::bind(&receiver, &name)?;
        let log = connected(DATAGRAM, &name)?;
        for _ in 0..100 {
            send(&log, b"<13>line")?;
            ensure!(receive(&receiver)? == 8, "a line is lost");
        }
        // Unread data of datagram sockets resets nobody.
        send(&log, b"<13>last")?;
        drop(receiver);
    }
    // The association is dissolved.
    let name = Name::path("log")?;
    let receiver = socket::open(DATAGRAM)?;
    socket::bind(&receiver, &name)?;
    let log = connected(DATAGRAM, &name)?;
    // SAFETY: the fields are integers, which may all be 0: AF_UNSPEC.
    let unspecified: libc::sockaddr = unsafe { std::mem::zeroed() };
    // SAFETY: the address is as long as the given length.
    let returned = unsafe { libc::connect(log.as_raw_fd(), &raw const unspecified, 16) };
    ensure!(returned == 0, "not dissolved");
    Ok(SILENCE)
}

/// Pairs that are closed in order, and pairs by which a program wakes itself up: no call gets the errno.
pub(crate) fn pairs() -> Result<Vec<Expected>> {
    for socket_type in [STREAM, SEQPACKET, DATAGRAM] {
        let (near, far) = pair(socket_type)?;
        send(&near, b"words")?;
        ensure!(receive(&far)? == 5, "words are lost");
        drop(near);
        drop(far);
        let (near, far) = pair(socket_type)?;
        send(&near, b"wake up")?;
        drop(far);
        drop(near);
    }
    let (near, _far) = pair(STREAM)?;
    child::finish(child::start(&["end-with-pair"], near)?)?;
    Ok(SILENCE)
}

/// Exits with a byte unread in a pair of its own, in the child.
pub(crate) fn end_with_pair() -> Result<()> {
    let (near, far) = pair(STREAM)?;
    send(&near, b"wake up")?;
    // Closed when the process exits, one after the other.
    std::mem::forget((near, far));
    Ok(())
}

/// A broken pipe, which is not a socket, even if it kills a process.
pub(crate) fn broken_pipe() -> Result<Vec<Expected>> {
    let (reader, writer) = nix::unistd::pipe()?;
    drop(reader);
    let outcome = child::write(&writer.into(), How::Sendfile, Disposition::Ignored)?;
    ensure!(outcome.errnos == [libc::EPIPE; 2], "the child reported {outcome:?}");
    Ok(SILENCE)
}

/// Descriptors are passed, as over D-Bus.
pub(crate) fn passes_descriptors() -> Result<Vec<Expected>> {
    let (near, far) = pair(STREAM)?;
    for _ in 0..100 {
        let (one, other) = pair(STREAM)?;
        let descriptors = [one.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&descriptors)];
        let byte = [IoSlice::new(b"x")];
        sendmsg::<UnixAddr>(near.as_raw_fd(), &byte, &rights, MsgFlags::empty(), None)?;
        drop(one);
        let mut byte = [0];
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let mut space = nix::cmsg_space!(RawFd);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let got = recvmsg::<UnixAddr>(far.as_raw_fd(), &mut bytes, Some(&mut space), flags)?;
        for control in got.cmsgs()? {
            if let nix::sys::socket::ControlMessageOwned::ScmRights(fds) = control {
                for fd in fds {
                    nix::unistd::close(fd)?;
                }
            }
        }
        drop(other);
    }
    Ok(SILENCE)
}
