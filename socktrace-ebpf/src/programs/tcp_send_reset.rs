//! Traces `tcp_v4_send_reset` (`net/ipv4/tcp_ipv4.c`) and `tcp_v6_send_reset`
//! (`net/ipv6/tcp_ipv6.c`): this host answers a segment with an RST.
//!
//! Prototypes: `(const struct sock *, struct sk_buff *)` up to 6.9, then with a `reason`; static,
//! but not inlined in 5.10 to 7.3. The socket is NULL, in `TIME_WAIT`, a listener (also for its
//! requests), or a full one. An RST is not answered. Anybody can send such segments: each is
//! counted by the kind of socket that answers, and produces an event of ordinary operation, which
//! is folded into a flood.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use socktrace_ebpf::{
    Detail, Event, EventKind, Family, Flags, Protocol, SentReset, Signature, TcpState,
    facts::ABSENT,
};

use crate::{
    arguments::Arguments,
    emit::stream_uncounted,
    measure, offsets,
    packet::Packet,
    recipient::Question,
    sock::{Identity, Sock},
    subject::Subject,
    tcp_sock::{Segment, TcpSock},
};

/// Declares the programs at a function: with and without a reason, by trampoline and by kprobe.
macro_rules! programs {
    ($function:literal, $family:expr, $plain:ident, $reason:ident, $kprobe:ident, $reason_kprobe:ident) => {
        #[doc = concat!("Entry of `", $function, "(sk, skb)`.")]
        #[fentry(function = $function)]
        fn $plain(ctx: FEntryContext) -> i32 {
            answering(&ctx, $family, ABSENT)
        }

        #[doc = concat!("Entry of `", $function, "(sk, skb, reason)`.")]
        #[fentry(function = $function)]
        fn $reason(ctx: FEntryContext) -> i32 {
            answering(&ctx, $family, ctx.int(2).cast_unsigned())
        }

        #[doc = concat!("Entry of `", $function, "(sk, skb)`, by kprobe.")]
        #[kprobe(function = $function)]
        fn $kprobe(ctx: ProbeContext) -> i32 {
            answering(&ctx, $family, ABSENT)
        }

        #[doc = concat!("Entry of `", $function, "(sk, skb, reason)`, by kprobe.")]
        #[kprobe(function = $function)]
        fn $reason_kprobe(ctx: ProbeContext) -> i32 {
            answering(&ctx, $family, ctx.int(2).cast_unsigned())
        }
    };
}

programs!(
    "tcp_v4_send_reset",
    Family::Ipv4,
    tcp_v4_send_reset,
    tcp_v4_send_reset_third,
    tcp_v4_send_reset_kprobe,
    tcp_v4_send_reset_third_kprobe
);
programs!(
    "tcp_v6_send_reset",
    Family::Ipv6,
    tcp_v6_send_reset,
    tcp_v6_send_reset_third,
    tcp_v6_send_reset_kprobe,
    tcp_v6_send_reset_third_kprobe
);

#[inline(always)]
fn answering<A: Arguments>(ctx: &A, family: Family, reason: u32) -> i32 {
    let skb = ctx.pointer(1);
    let Some(segment) = Segment::<A::Load>::of(skb) else {
        return 0;
    };
    if segment.has_rst() {
        return 0;
    }
    let sock = Sock::<A::Load>::new(ctx.pointer(0));
    if sock.is_null() {
        measure::sends_reset(SentReset::NoSocket, reason);
        let nobody = Question::presume(Identity::NONE, Flags::empty(), false);
        let locate = |subject: &mut Subject| Packet::locate(skb, family, subject);
        stream(
            SentReset::NoSocket,
            TcpState::Close as u8,
            Flags::empty(),
            family,
            reason,
            nobody,
            locate,
            |event| event.rst = segment.answer(),
        );
        return 0;
    }
    let state = sock.state();
    if state == TcpState::Listen as u8 {
        // A segment of a handshake in progress comes with its listener.
        let is_invalid = reason != ABSENT && reason == offsets::RST_INVALID_SYN.get();
        let is_request = segment.is_request() || is_invalid;
        let why = if is_request { SentReset::Request } else { SentReset::Listener };
        measure::sends_reset(why, reason);
        let locate = |subject: &mut Subject| {
            Packet::locate(skb, family, subject);
            subject.netns = sock.netns();
        };
        let listener = Question::listener(sock.key());
        stream(why, state, Flags::empty(), family, reason, listener, locate, |event| {
            event.rst = segment.answer();
        });
        return 0;
    }
    let is_over = state == TcpState::TimeWait as u8;
    let why = match state {
        _ if is_over => SentReset::TimeWait,
        CLOSE if sock.tcp().is_some_and(TcpSock::leaves_no_time) => SentReset::OrphanTimeout,
        CLOSE => SentReset::DataAfterClose,
        _ => SentReset::UnacceptableAck,
    };
    measure::sends_reset(why, reason);
    // A socket in TIME_WAIT has neither the flags of a full socket nor an owner.
    let (mut holder, mut socket) = (Flags::empty(), Identity::NONE);
    if !is_over {
        (holder, socket) = (sock.holder_flags(), sock.held_identity());
    }
    let question = Question::presume(socket, holder, false);
    let locate = |subject: &mut Subject| subject.locate(sock, family);
    stream(why, state, holder, family, reason, question, locate, |event| {
        sock.describe(event);
        event.rst = segment.answer();
    });
    0
}

const CLOSE: u8 = TcpState::Close as u8;

/// Streams an event about an RST that this host sends: `why`, and the kernel's own `reason`.
#[expect(clippy::too_many_arguments, reason = "the parts of a signature, and what completes it")]
#[inline(always)]
pub(super) fn stream(
    why: SentReset,
    state: u8,
    holder: Flags,
    family: Family,
    reason: u32,
    sender: Question,
    locate: impl FnOnce(&mut Subject),
    describe: impl FnOnce(&mut Event),
) {
    let signature = Signature {
        flags: holder.0,
        kind: EventKind::ResetSent as u8,
        origin: why as u8,
        state,
        family: family as u8,
        protocol: Protocol::Tcp as u8,
        ..Signature::default()
    };
    stream_uncounted(&signature, sender, locate, |event| {
        describe(event);
        event.set_detail(Detail::Peer { tgid: 0, comm: [0; 16], rst_reason: reason });
    });
}
