//! Traces the returns of `unix_stream_sendmsg` and `unix_dgram_sendmsg` (`net/unix/af_unix.c`): a
//! Unix socket sent something, or did not. `unix_seqpacket_sendmsg` ends in the latter.
//!
//! Prototype: `int (struct socket *, struct msghdr *, size_t)` in 5.10 to 7.3. They run for each
//! message, so they are attached only on request, and leave at the first test if the message was
//! sent. Each produces an event if it was not. EPIPE on a stream that raises SIGPIPE is reported by
//! [`super::send_sig`], where that finds the socket.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use socktrace_ebpf::{Detail, EventKind, Flags, Origin, Signature, Sigpipe};

use super::{unix_connect::describe_receiver, unix_signature};
use crate::{
    arguments::Arguments as _,
    emit::emit_unix,
    errno::{EAGAIN, ECONNREFUSED, EINTR, EPIPE, returned},
    load::{Direct, Probe},
    offsets,
    recipient::{Answer, Question},
    sigpipe::{self, MSG_NOSIGNAL},
    sock::Sock,
    sockaddr::SockAddr,
    socket::Socket,
    subject::Subject,
    system_call,
    unix::{self, Name},
};

/// `MSG_DONTWAIT` in `include/linux/socket.h`, which the kernel adds for a non-blocking file.
const MSG_DONTWAIT: i32 = 0x40;

/// Return of `unix_stream_sendmsg`.
#[fexit(function = "unix_stream_sendmsg")]
fn unix_stream_sendmsg_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(3));
    if matches!(errno, 0 | EINTR) {
        return 0;
    }
    let flags = message_flags(&ctx);
    match errno {
        // The buffer is full: the program should wait.
        EAGAIN if flags & MSG_DONTWAIT != 0 => return 0,
        EPIPE if flags & MSG_NOSIGNAL == 0 && system_call::written_descriptor().is_some() => {
            return 0;
        }
        _ => {}
    }
    let sock = sender(&ctx);
    let verdict = if errno == EPIPE { sigpipe::verdict(flags) } else { Sigpipe::NotRaised as u8 };
    not_written(sock, errno, verdict)
}

/// Return of `unix_dgram_sendmsg`.
#[fexit(function = "unix_dgram_sendmsg")]
fn unix_dgram_sendmsg_return(ctx: FExitContext) -> i32 {
    let errno = returned(ctx.argument(3));
    if matches!(errno, 0 | EINTR) {
        return 0;
    }
    let (sock, waits) = (sender(&ctx), message_flags(&ctx) & MSG_DONTWAIT == 0);
    if sock.has_connections() {
        // This function raises no signal.
        let verdict = if errno == EPIPE { Sigpipe::None } else { Sigpipe::NotRaised };
        return match errno {
            EAGAIN if !waits => 0,
            _ => not_written(sock, errno, verdict as u8),
        };
    }
    let name: *const u8 = Probe::read_member(ctx.pointer(1), &offsets::MSG_NAME);
    let length: i32 = Probe::read_member(ctx.pointer(1), &offsets::MSG_NAME_LENGTH);
    not_sent(sock, errno, SockAddr::<Probe>::new(name, length).unix_name(), length == 0, waits)
}

#[inline(always)]
fn message_flags(ctx: &FExitContext) -> i32 {
    Probe::read_member(ctx.pointer(1), &offsets::MSG_FLAGS)
}

#[inline(always)]
fn sender(ctx: &FExitContext) -> Sock<Probe> {
    Sock::new(Socket::<Direct>::new(ctx.pointer(0)).sock().key() as *const u8)
}

/// Reports a failed write on a connection.
#[inline(always)]
fn not_written(sock: Sock<Probe>, errno: u16, sigpipe: u8) -> i32 {
    let peer = sock.unix_peer();
    let flags = match errno {
        EPIPE => peer.end_flags(),
        _ => Flags::empty(),
    };
    let signature = Signature { sigpipe, ..unix_signature(EventKind::Write, sock, errno, flags) };
    let locate = |subject: &mut Subject| subject.netns = sock.netns();
    emit_unix(&signature, Question::caller(), locate, |named| {
        let name = sock.unix_name();
        if name.is_none() { peer.unix_name() } else { name }.write(&mut named.path);
        if errno == EAGAIN
            && let Some(limit) = sock.send_timeout()
        {
            let jiffies = limit.min(u32::MAX.into()) as u32;
            named.event.set_detail(Detail::SendTimeout { jiffies });
        }
    });
    0
}

/// Reports a datagram that was not sent: to this name, or to the peer if the socket `is_connected`.
#[inline(always)]
fn not_sent(sock: Sock<Probe>, errno: u16, name: Name, is_connected: bool, waits: bool) -> i32 {
    // NULL once the kernel has found the peer closed.
    let peer = sock.unix_peer();
    if errno == EAGAIN && !waits {
        // Both ends of a pair: the buffer is full, and the program should wait. `io_uring` tries
        // first without waiting.
        let is_pair = is_connected && peer.unix_peer().key() == sock.key();
        if is_pair || system_call::written_descriptor().is_none() {
            return 0;
        }
    }
    let flags = match errno {
        EPIPE => peer.end_flags(),
        ECONNREFUSED if is_connected => Flags::PEER_CLOSED,
        _ => Flags::empty(),
    };
    let origin = if errno == EAGAIN && waits { Origin::SendTimeout } else { Origin::Other };
    let signature = Signature {
        origin: origin as u8,
        sigpipe: if errno == EPIPE { Sigpipe::None } else { Sigpipe::NotRaised } as u8,
        ..unix_signature(EventKind::DatagramSend, sock, errno, flags)
    };
    // Not `Option`s: see `unix_connect`.
    let (mut receiver, mut is_known) = (Answer::NONE, false);
    let (mut waiting, mut limit) = (0, 0);
    let netns = sock.netns();
    if errno == EAGAIN {
        let found = if is_connected { peer } else { unix::find_receiver(name, netns) };
        if !found.is_null() {
            is_known = true;
            (waiting, limit) = (found.queue_length(), found.backlog());
            receiver = Question::search_unix(found.identity(), found.holder_flags()).ask();
        }
    }
    let locate = |subject: &mut Subject| subject.netns = netns;
    emit_unix(&signature, Question::caller(), locate, |named| {
        if is_connected { peer.unix_name() } else { name }.write(&mut named.path);
        (named.far_end.waiting, named.far_end.limit) = (waiting, limit);
        if is_known {
            describe_receiver(named, receiver);
        }
    });
    receiver.release();
    0
}
