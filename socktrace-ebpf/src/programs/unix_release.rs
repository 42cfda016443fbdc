//! Traces `unix_release` (`net/unix/af_unix.c`): the last close of a Unix socket.
//!
//! Prototype: `int (struct socket *)` in every kernel from 5.10 to 7.3. A connected socket that is
//! closed with unread data leaves ECONNRESET in its peer (`unix_release_sock`), and so does a
//! listener in each peer that waits to be accepted. Produces an event about the peer, which gets
//! the errno. Most sockets have nothing unread, and cost only three loads.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{
    Detail, EventKind, Origin, Signature, TcpState, event::BY_LISTENER, facts::ABSENT,
};

use super::unix_signature;
use crate::{
    arguments::Arguments,
    emit::emit_unix,
    errno::ECONNRESET,
    load::Probe,
    offsets, owner,
    recipient::Question,
    sock::Sock,
    socket::Socket,
    subject::Subject,
    task::{self, Task},
    unix,
};

/// Number of connections in a listener's queue that are visited.
const QUEUED: usize = 256;

/// Entry of `unix_release`.
#[fentry(function = "unix_release")]
fn unix_release(ctx: FEntryContext) -> i32 {
    closing(&ctx)
}

/// Entry of `unix_release` by kprobe.
#[kprobe(function = "unix_release")]
fn unix_release_kprobe(ctx: ProbeContext) -> i32 {
    closing(&ctx)
}

#[inline(always)]
fn closing<A: Arguments>(ctx: &A) -> i32 {
    let sock = Socket::<A::Load>::new(ctx.pointer(0)).sock();
    if sock.is_null() || sock.queue_length() == 0 || !task::is_readable() {
        return 0;
    }
    let sock = Sock::<Probe>::new(sock.key() as *const u8);
    if !sock.has_connections() {
        return 0;
    }
    if sock.state() != TcpState::Listen as u8 {
        unix_reset_peer(sock.key(), u64::from(ABSENT));
        return 0;
    }
    let (mut at, end) = sock.queue();
    for _ in 0..QUEUED {
        if at == end || at == 0 {
            break;
        }
        let message = at as *const u8;
        let queued: u64 = Probe::read_member(message, offsets::SKB_SK.present());
        unix_reset_peer(queued, u64::from(ABSENT ^ BY_LISTENER));
        at = Probe::read_member(message, offsets::SKB_NEXT.present());
    }
    0
}

/// Reports the reset to the peer of a connection that is closed with unread data, or with its
/// listener; `reason` is as in [`Detail::Peer`]. A global function: the verifier walks it once per
/// program, whatever the paths to it, and allows only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn unix_reset_peer(closing: u64, reason: u64) -> u64 {
    if !task::is_readable() {
        return 0;
    }
    let closing = Sock::<Probe>::new(closing as *const u8);
    let peer = closing.unix_peer();
    // No other program has the other end any more.
    if peer.is_null() || peer.is_dead() || is_own(peer) {
        return 0;
    }
    let flags = peer.holder_flags();
    // Accepted connections have their listener's name, and clients hardly ever have one.
    let is_clients = closing.unix_name().is_none() && !peer.unix_name().is_none();
    let signature = Signature {
        origin: if is_clients { Origin::ClientClose } else { Origin::Reset } as u8,
        ..unix_signature(EventKind::ConnectionEnded, peer, ECONNRESET, flags)
    };
    let question = Question::search_unix(peer.identity(), flags);
    let locate = |subject: &mut Subject| subject.netns = peer.netns();
    emit_unix(&signature, question, locate, |named| {
        let name = peer.unix_name();
        if name.is_none() { closing.unix_name() } else { name }.write(&mut named.path);
        let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        let comm = bpf_get_current_comm().unwrap_or_default();
        named.event.set_detail(Detail::Peer { tgid, comm, rst_reason: reason as u32 });
        named.far_end.cgroup_id = owner::current_cgroup();
    });
    0
}

/// Whether the current process has the other end too, and nobody else waits for it: a pair with
/// which a program wakes itself up.
#[inline(always)]
fn is_own(peer: Sock<Probe>) -> bool {
    let answer = Question::search_unix(peer.identity(), peer.holder_flags()).ask();
    let process = (bpf_get_current_pid_tgid() >> 32) as u32;
    let holder = answer.recipient().map_or(0, |recipient| recipient.owner.tgid);
    answer.release();
    // An exiting process has given up its descriptors before they are closed (`exit_files`).
    let exits = holder == 0 && Task::current().is_exiting();
    holder == process
        || (exits && unix::maker(peer.key()).is_some_and(|maker| maker.tgid() == process))
}
