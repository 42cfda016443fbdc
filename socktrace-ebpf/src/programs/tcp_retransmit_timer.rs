//! Traces `tcp_retransmit_timer` (`net/ipv4/tcp_timer.c`): a retransmission timeout (RTO) fired.
//!
//! Prototype: `(struct sock *)` in every kernel from 5.10 to 7.2. When the retries are exhausted it
//! sets `sk_err` and calls `tcp_done` (`tcp_write_err`, inlined everywhere). The entry program
//! leaves a note for `tcp_done` that this timer is the reason, and measures the timeout that has
//! expired. The exit program counts the timeouts that the connection survives, and produces an
//! event for each: progress, no failure.

use aya_ebpf::{
    btf_maps::PerCpuArray,
    macros::{btf_map, fentry, fexit, kprobe, kretprobe},
    programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext},
};
use socktrace_ebpf::{EventKind, Flags, Origin, Protocol, Signature};

use crate::{
    arguments::Arguments as _,
    emit::emit_if,
    load::{Direct, Load, Probe},
    measure,
    note::{self, Note},
    offsets,
    recipient::Question,
    sock::Sock,
    subject::Subject,
};

/// Entry of `tcp_retransmit_timer`.
#[fentry(function = "tcp_retransmit_timer")]
fn tcp_retransmit_timer(ctx: FEntryContext) -> i32 {
    firing(Sock::<Direct>::new(ctx.pointer(0)))
}

/// Return of `tcp_retransmit_timer`.
#[fexit(function = "tcp_retransmit_timer")]
fn tcp_retransmit_timer_return(ctx: FExitContext) -> i32 {
    fired(Sock::<Direct>::new(ctx.pointer(0)))
}

/// Socket whose timer fires, for the return by kprobe. The function runs with softirqs off: one at
/// a time on a CPU, without migrating.
#[btf_map]
static FIRING: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Entry of `tcp_retransmit_timer` by kprobe.
#[kprobe(function = "tcp_retransmit_timer")]
fn tcp_retransmit_timer_kprobe(ctx: ProbeContext) -> i32 {
    let sock = Sock::<Probe>::new(ctx.pointer(0));
    if let Some(slot) = FIRING.get_ptr_mut(0) {
        // SAFETY: this CPU's slot, just looked up.
        unsafe { slot.write(sock.key()) };
    }
    firing(sock)
}

/// Return of `tcp_retransmit_timer` by kprobe.
#[kretprobe(function = "tcp_retransmit_timer")]
fn tcp_retransmit_timer_kretprobe(_ctx: RetProbeContext) -> i32 {
    let Some(slot) = FIRING.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's slot, just looked up.
    let sock = unsafe { slot.replace(0) };
    fired(Sock::<Probe>::new(sock as *const u8))
}

#[inline(always)]
fn firing<L: Load>(sock: Sock<L>) -> i32 {
    let Some(tcp) = sock.tcp() else {
        return 0;
    };
    let mut note = Note::new(Origin::RetransmitTimer, Flags::empty());
    let fired = tcp.has_packets_out();
    // Read now, because it is doubled before the function returns.
    if fired && let Some(rto) = tcp.rto() {
        measure::timed_out(rto);
    }
    note.fired = u8::from(fired);
    note::put(sock, note);
    0
}

/// Handles the return. The note is gone if `tcp_done` has closed the socket.
#[inline(always)]
fn fired<L: Load>(sock: Sock<L>) -> i32 {
    let note = note::take(sock);
    if note.fired == 0 {
        return 0;
    }
    let Some(family) = sock.family() else {
        return 0;
    };
    let flags = sock.holder_flags();
    let signature = Signature {
        kind: EventKind::Retransmission as u8,
        origin: note.origin,
        state: sock.state(),
        family: family as u8,
        protocol: Protocol::Tcp as u8,
        ..Signature::default()
    };
    debug!((), "tcp_retransmit_timer: state {}", signature.state);
    let wanted = offsets::STREAM_RETRANSMITS.get() == 1;
    let question = Question::presume(sock.held_identity(), flags, sock.is_owned());
    let locate = |subject: &mut Subject| subject.locate(sock, family);
    emit_if(wanted, &signature, question, locate, |event| sock.describe(event));
    0
}
