//! Traces the tracepoint `udp:udp_fail_queue_rcv_skb` (`__udp_queue_rcv_skb`, `net/ipv4/udp.c`, and
//! `__udpv6_queue_rcv_skb`, `net/ipv6/udp.c`, since 6.5): a datagram finds no room in its socket.
//!
//! Arguments: `(int rc, struct sock *)`, since 6.10 also the segment. The errno is the kernel's
//! own: -ENOMEM if the receive buffer is full, -ENOBUFS if UDP may use no more memory
//! (`net.ipv4.udp_mem`). No call ever returns it. Hot under overload: neither the socket's waiters
//! nor its holders are looked up, since a program that is too slow waits for nothing.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use socktrace_ebpf::{EventKind, Flags, Signature};

use crate::{
    arguments::Arguments as _,
    emit::emit,
    errno::{ENOBUFS, ENOMEM},
    load::Direct,
    recipient::Question,
    sock::Sock,
    subject::Subject,
};

/// The tracepoint.
#[btf_tracepoint(function = "udp_fail_queue_rcv_skb")]
fn udp_fail_queue_rcv_skb(ctx: BtfTracePointContext) -> i32 {
    if !matches!(ctx.int(0).wrapping_neg() as u16, ENOMEM | ENOBUFS) {
        return 0;
    }
    let sock = Sock::<Direct>::new(ctx.pointer(1));
    let Some(family) = sock.shown_family() else {
        return 0;
    };
    let signature = Signature {
        kind: EventKind::ReceiveQueueFull as u8,
        state: sock.state(),
        family: family as u8,
        protocol: sock.kind().protocol as u8,
        ..Signature::default()
    };
    let question = Question::presume(sock.identity(), Flags::empty(), false);
    let locate = |subject: &mut Subject| subject.locate(sock, family);
    emit(&signature, question, locate, |event| event.unread_bytes = sock.queued_bytes());
    0
}
