//! Writes to sockets that have already failed, or that the program itself has shut down.

use std::{io, net::Shutdown, os::fd::AsRawFd as _, ptr, thread};

use anyhow::{Result, anyhow};
use nix::libc;
use serde_json::Value;

use socktrace_diagnosis::Cause;

use super::{
    address,
    expected::Expected,
    network::Family,
    socket::{self, Ends, Pair, ensure_errno},
};

/// A reset, then two writes: the first returns the reset, and the second gets EPIPE.
pub(super) fn after_reset(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    socket::close_with_reset(client)?;
    socket::until_reset(&server)?;
    let first = socket::write_errno(&server)?;
    let second = socket::write_errno(&server)?;
    ensure_errno("the second write", second, libc::EPIPE)?;
    Ok(vec![
        Expected::failure(Cause::ResetByPeer, "read_or_write", first, ends).reset_here("tcp_state"),
        Expected::delivered(Cause::ResetByPeer, first, ends),
        Expected::failure(Cause::WriteAfterReset, "write", second, ends)
            .first(first)
            .sigpipe("none"),
    ])
}

/// A read has already taken the errno of the reset.
pub(super) fn after_reset_was_read(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    socket::close_with_reset(client)?;
    let first = socket::read_errno(&server)?;
    let reset = Expected::failure(Cause::ResetByPeer, "read_or_write", first, ends);
    let mut expected = vec![reset.reset_here("tcp_state")];
    // A program that ignores errno continues like this.
    for _ in 0..3 {
        let errno = socket::write_errno(&server)?;
        ensure_errno("a later write", errno, libc::EPIPE)?;
        let failure = Expected::failure(Cause::WriteAfterReset, "write", errno, ends);
        expected.push(failure.first(first).sigpipe("none"));
    }
    Ok(expected)
}

/// The program sends after it has shut down sending.
pub(super) fn after_shutdown(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    client.shutdown(Shutdown::Write)?;
    socket::until_end_taken(&client)?;
    let errno = socket::write_errno(&client)?;
    socket::read_end(&server)?;
    drop(server);
    socket::read_end(&client)?;
    Ok(vec![Expected::failure(Cause::WriteAfterShutdown, "write", errno, ends).sigpipe("none")])
}

/// The same after the peer has also closed, earlier or later than this end.
pub(super) fn after_both_have_closed(family: Family) -> Result<Vec<Expected>> {
    let mut expected = Vec::new();
    for peer_first in [false, true] {
        let Pair { client, server } = Pair::new(family.loopback())?;
        let ends = Ends::of_client(&client)?;
        socket::exchange(&client, &server)?;
        if peer_first {
            drop(server);
            socket::read_end(&client)?;
            client.shutdown(Shutdown::Write)?;
        } else {
            client.shutdown(Shutdown::Write)?;
            socket::read_end(&server)?;
            drop(server);
            socket::read_end(&client)?;
        }
        socket::until_closed(&client)?;
        let errno = socket::write_errno(&client)?;
        ensure_errno("write", errno, libc::EPIPE)?;
        let failure = Expected::failure(Cause::WriteAfterShutdown, "write", errno, ends);
        let failure = failure.state("CLOSE").flags(&["send_shutdown", "peer_closed"]);
        expected.push(failure.sigpipe("none"));
    }
    Ok(expected)
}

/// Many connections at once, whose failures must not be mixed up.
pub(super) fn after_resets_in_a_crowd(family: Family) -> Result<Vec<Expected>> {
    const THREADS: usize = 4;
    const ROUNDS: usize = 40;

    let rounds = || (0..ROUNDS).map(|_| after_reset(family)).collect::<Result<Vec<_>>>();
    let expected = thread::scope(|scope| {
        let threads = [(); THREADS].map(|()| scope.spawn(rounds));
        let expected = threads.map(|thread| {
            thread.join().map_err(|_| anyhow!("a thread panicked")).and_then(|result| result)
        });
        expected.into_iter().collect::<Result<Vec<_>>>()
    })?;
    Ok(expected.into_iter().flatten().flatten().collect())
}

/// The program sends without ever having connected.
pub(super) fn unconnected(family: Family) -> Result<Vec<Expected>> {
    let socket = socket::bound(family.loopback())?;
    let address = socket::local(&socket)?;
    let errno = socket::write_errno(&socket)?;
    ensure_errno("write", errno, libc::EPIPE)?;
    Ok(vec![Expected::alone(Cause::WriteUnconnected, "write", errno, address).sigpipe("none")])
}

/// The program dissolves its own connection, and keeps writing.
pub(super) fn after_dissolving(family: Family) -> Result<Vec<Expected>> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::bound(family.loopback())?;
    client.connect(&listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    let (ours, theirs) = (Ends::of_client(&client)?, Ends::of_server(&server)?);
    address::dissolve(&client)?;
    let their_errno = socket::read_errno(&server)?;
    let reset = Expected::failure(Cause::ResetByPeer, "read_or_write", their_errno, theirs);
    let mut reported = vec![reset.reset_here("tcp_state")];
    // The socket no longer has a remote port; it is known only where the call is seen in time.
    let port = ours.remote.port();
    for (wanted, sigpipe) in [(libc::ECONNRESET, None), (libc::EPIPE, Some("none"))] {
        let errno = socket::write_errno(&client)?;
        ensure_errno("write", errno, wanted)?;
        let failure = Expected::failure(Cause::WriteUnconnected, "write", errno, ours);
        let failure = failure.flags(&["reported"]).first(libc::ECONNRESET).with("sigpipe", sigpipe);
        let failure = failure.one_of("remote_port", vec![port.into(), 0.into()]);
        let failure = failure.one_of("service_port", vec![port.into(), Value::Null]);
        let failure = failure.with("flow", Value::Null);
        reported.push(failure.saying("the program itself had dissolved the connection"));
    }
    Ok(reported)
}

/// A write with an unknown control message type.
pub(super) fn bad_control_message(family: Family) -> Result<Vec<Expected>> {
    const NO_SUCH_TYPE: libc::c_int = 9999;

    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    // SAFETY: computes a value from its argument alone.
    let length = usize::try_from(unsafe { libc::CMSG_LEN(0) })?;
    let control =
        libc::cmsghdr { cmsg_len: length, cmsg_level: libc::SOL_SOCKET, cmsg_type: NO_SUCH_TYPE };
    let mut data = *b"hello";
    let mut data = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: all zeros are an empty message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = (&raw const control).cast_mut().cast();
    message.msg_controllen = length;
    // SAFETY: everything the message points to lives until the call returns, and is only read.
    let sent = unsafe { libc::sendmsg(client.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    let result = if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    let errno = socket::errno("sendmsg", result)?;
    ensure_errno("sendmsg", errno, libc::EINVAL)?;
    drop(client);
    socket::read_end(&server)?;
    Ok(vec![Expected::failure(Cause::WriteFailed, "write", errno, ends)])
}

/// A write from an address that is not mapped.
pub(super) fn bad_buffer(family: Family) -> Result<Vec<Expected>> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    let nowhere = ptr::without_provenance(1);
    // SAFETY: the kernel answers EFAULT for such an address.
    let sent = unsafe { libc::send(client.as_raw_fd(), nowhere, 5, libc::MSG_NOSIGNAL) };
    let result = if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    let errno = socket::errno("send", result)?;
    ensure_errno("send", errno, libc::EFAULT)?;
    drop(client);
    socket::read_end(&server)?;
    Ok(vec![Expected::failure(Cause::WriteFailed, "write", errno, ends)])
}
