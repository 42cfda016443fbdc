//! Sockets shared or passed between processes.

use std::{
    io::{IoSlice, IoSliceMut},
    net::SocketAddr,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
    process::Child,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    libc,
    sys::{
        signal::{Signal, kill},
        socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg},
    },
    unistd::Pid,
};
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    child::{self, ChildOutcome},
    expected::Expected,
    network::Family,
    process::Process,
    socket::{self, Ends, Pair},
};

/// Passes a socket to a new child over a Unix socket.
pub(super) fn pass(words: &[&str], socket: &Socket) -> Result<Child> {
    let (near, far) = UnixStream::pair()?;
    let receiver = child::start(words, far.into())?;
    let descriptors = [socket.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<UnixAddr>(near.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None)?;
    Ok(receiver)
}

/// A socket is passed to another process, which writes to it.
pub(super) fn passed(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    socket::close_with_reset(client)?;
    socket::until_reset(&server)?;
    let receiver = pass(&["write-passed"], &server)?;
    let ChildOutcome { pid, errnos, .. } = child::finish(receiver)?;
    let (reset, pipe) = (libc::ECONNRESET, libc::EPIPE);
    ensure!(errnos == [reset, pipe], "the child got {errnos:?}");
    let last = Expected::failure(Cause::WriteAfterReset, "write", pipe, ends).first(reset);
    Ok(vec![
        Expected::failure(Cause::ResetByPeer, "read_or_write", reset, ends).reset_here("tcp_state"),
        Expected::delivered(Cause::ResetByPeer, reset, ends).by(Process::child(pid)),
        last.sigpipe("none").by(Process::child(pid)),
    ])
}

/// Receives a passed socket, in the child.
pub(super) fn receive(from: &OwnedFd) -> Result<Socket> {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    let message = recvmsg::<UnixAddr>(
        from.as_raw_fd(),
        &mut bytes,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let descriptor = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has made this descriptor for this process alone.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor.context("no socket came")?) };
    Ok(descriptor.into())
}

/// The peer is a process of this host that resets the connection.
pub(super) fn reset_by_process(family: Family) -> Result<Vec<Expected>> {
    // The kernel's reset reason for a close with `SO_LINGER` 0.
    peer(family, "reset", "tcp_state")
}

/// The peer is a process of this host that is killed before it has read everything.
pub(super) fn reset_by_killed_process(family: Family) -> Result<Vec<Expected>> {
    peer(family, "killed", "tcp_abort_on_close")
}

fn peer(family: Family, end: &str, reason: &'static str) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?.to_string();
    let peer =
        child::start(&["peer", end, &address], OwnedFd::from(std::fs::File::open("/dev/null")?))?;
    let (server, _) = listener.accept()?;
    let ends = Ends::of_server(&server)?;
    socket::send(&server, b"question")?;
    let ChildOutcome { pid, .. } = child::finish(peer)?;
    let errno = socket::read_errno(&server)?;
    let failure = Expected::failure(Cause::ResetByPeer, "read_or_write", errno, ends);
    // A process is named after the last component of the path it was started by.
    Ok(vec![failure.reset_by(pid, "exe", reason)])
}

/// Connects, and ends the connection with an RST, in the child.
pub(super) fn be_peer(address: SocketAddr, end: &str) -> Result<()> {
    let client = socket::stream(address)?;
    client.connect(&address.into())?;
    match end {
        "reset" => {
            socket::receive(&client, b"question")?;
            socket::close_with_reset(client)
        }
        "killed" => {
            client.peek(&mut [std::mem::MaybeUninit::uninit()])?;
            kill(Pid::this(), Signal::SIGKILL)?;
            bail!("the signal did not kill");
        }
        _ => bail!("no such end: {end}"),
    }
}
