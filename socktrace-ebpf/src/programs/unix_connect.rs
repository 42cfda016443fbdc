//! Traces connects of Unix sockets: at the return of `__sys_connect_file`
//! ([`super::sys_connect_file`]) or, where that cannot be used, at the returns of
//! `unix_stream_connect` and `unix_dgram_connect` (`net/unix/af_unix.c`).
//!
//! Prototype: `int (struct socket *, struct sockaddr *, int addr_len, int flags)` in 5.10 to 6.18,
//! with a `struct sockaddr_unsized *` in 7.3. Produces an event when connect fails. For a full
//! queue, the event includes the listener: its owner, how many connections wait there and how many
//! may.

use aya_ebpf::{
    macros::{fexit, kprobe, kretprobe},
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::{Detail, EventKind, Flags, NamedEvent, Origin, Signature, facts::ABSENT};

use super::unix_signature;
use crate::{
    arguments::Arguments,
    calls::{self, Function},
    emit::emit_unix,
    errno::{EAGAIN, EALREADY, ECONNREFUSED, EISCONN, ENOENT, returned},
    load::Load,
    offsets,
    recipient::{Answer, Question},
    sock::{Identity, Sock},
    sockaddr::SockAddr,
    socket::{O_NONBLOCK, Socket},
    subject::Subject,
    unix,
};

/// Return of `unix_stream_connect`.
#[fexit(function = "unix_stream_connect")]
fn unix_stream_connect_return(ctx: FExitContext) -> i32 {
    ended(&ctx, returned(ctx.argument(4)))
}

/// Return of `unix_dgram_connect`.
#[fexit(function = "unix_dgram_connect")]
fn unix_dgram_connect_return(ctx: FExitContext) -> i32 {
    ended(&ctx, returned(ctx.argument(4)))
}

/// Entry of `unix_stream_connect` by kprobe.
#[kprobe(function = "unix_stream_connect")]
fn unix_stream_connect_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::UnixConnect, &ctx);
    0
}

/// Return of `unix_stream_connect` by kprobe.
#[kretprobe(function = "unix_stream_connect")]
fn unix_stream_connect_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::UnixConnect).map_or(0, |call| ended(&call, returned(ctx.ret())))
}

/// Entry of `unix_dgram_connect` by kprobe.
#[kprobe(function = "unix_dgram_connect")]
fn unix_dgram_connect_kprobe(ctx: ProbeContext) -> i32 {
    calls::enter(Function::UnixConnect, &ctx);
    0
}

/// Return of `unix_dgram_connect` by kprobe.
#[kretprobe(function = "unix_dgram_connect")]
fn unix_dgram_connect_kretprobe(ctx: RetProbeContext) -> i32 {
    calls::leave(Function::UnixConnect).map_or(0, |call| ended(&call, returned(ctx.ret())))
}

#[inline(always)]
fn ended<A: Arguments>(ctx: &A, errno: u16) -> i32 {
    if errno == 0 {
        return 0;
    }
    let sock = Socket::<A::Load>::new(ctx.pointer(0)).sock();
    let target = SockAddr::<A::Load>::new(ctx.pointer(1), ctx.int(2));
    // The flags are the file's (`__sys_connect_file`).
    call_returned(sock, errno, target, ctx.int(3) & O_NONBLOCK == 0)
}

/// Handles the return of a connect, if the socket is a Unix socket. `may_wait` states whether calls
/// on its file wait.
#[inline(always)]
pub(super) fn call_returned<L: Load, T: Load>(
    sock: Sock<L>,
    errno: u16,
    target: SockAddr<T>,
    may_wait: bool,
) -> i32 {
    if matches!(errno, 0 | EALREADY | EISCONN) || !sock.is_unix() {
        return 0;
    }
    let name = target.unix_name();
    let origin = match errno {
        // The call waits for room in the queue, until SO_SNDTIMEO expires (`unix_wait_for_peer`).
        EAGAIN if may_wait => Origin::SendTimeout,
        ENOENT | ECONNREFUSED if name.is_of_spare_service() => Origin::SpareService,
        _ => Origin::Other,
    };
    let signature = Signature {
        origin: origin as u8,
        ..unix_signature(EventKind::Connect, sock, errno, Flags::empty())
    };
    let netns = sock.netns();
    // Not `Option`s: the compiler moves the read of a value that may not exist, which the verifier
    // rejects before 6.3.
    let (mut listener, mut is_known) = (Answer::NONE, false);
    let (mut waiting, mut limit) = (0, 0);
    if errno == EAGAIN && offsets::READ_KERNEL.get() == 1 {
        let found = unix::find(name, netns);
        if !found.is_null() {
            is_known = true;
            (waiting, limit) = (found.queue_length(), found.backlog());
            let identity = Identity::of_numbers(found.key(), 0);
            listener = Question::search_unix(identity, Flags::empty()).ask();
        }
    }
    let locate = |subject: &mut Subject| subject.netns = netns;
    emit_unix(&signature, Question::caller(), locate, |named| {
        name.write(&mut named.path);
        (named.far_end.waiting, named.far_end.limit) = (waiting, limit);
        if is_known {
            describe_receiver(named, listener);
        }
    });
    listener.release();
    0
}

/// Adds the owner of the socket whose queue is full, if it is known.
#[inline(always)]
pub(super) fn describe_receiver(named: &mut NamedEvent, receiver: Answer) {
    let (mut tgid, mut comm) = (0, [0; 16]);
    if let Some(recipient) = receiver.recipient() {
        (tgid, comm) = (recipient.owner.tgid, recipient.owner.comm);
        named.far_end.cgroup_id = recipient.owner.cgroup_id;
    }
    named.event.set_detail(Detail::Peer { tgid, comm, rst_reason: ABSENT });
}
