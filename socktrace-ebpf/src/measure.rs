//! Numbers that metrics need and no signature holds: counts, durations and fill levels.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{HashMap, PerCpuArray},
    macros::btf_map,
};
use socktrace_ebpf::{
    Counter, EventKind, Family, Owned, Protocol, RST_ANSWERERS, RST_REASONS, SentReset, Signature,
    Sockopt,
    histogram::{self, ACCEPT_WAIT_MS, QUEUE_PERCENT, RTO_MS, SLOW_ACCEPT_MS},
    owned::SLOW_ACCEPT,
    sockopt::SOCKOPT_ENTRIES,
};

use crate::{
    load::Load,
    offsets, owned_tally, owner,
    sock::Sock,
    tally::{add, add_to, bump},
};

/// Connections that programs have taken out of accept queues: IPv4, IPv6.
#[btf_map]
static ACCEPTED: PerCpuArray<u64, { Family::ALL.len() }> = PerCpuArray::new();

/// Time that connections waited to be accepted, if they waited for at least one tick of the
/// kernel's clock. [`ACCEPTED`] includes the others too.
#[btf_map]
static ACCEPT_WAITS: PerCpuArray<u64, { histogram::slots(ACCEPT_WAIT_MS.len()) }> =
    PerCpuArray::new();

/// Retransmission timeouts that have expired.
#[btf_map]
static RTOS: PerCpuArray<u64, { histogram::slots(RTO_MS.len()) }> = PerCpuArray::new();

/// Fill levels of accept queues when a connection was accepted that had been reset.
#[btf_map]
static QUEUES_AT_RESETS: PerCpuArray<u64, { histogram::slots(QUEUE_PERCENT.len()) }> =
    PerCpuArray::new();

/// Fill levels of accept queues when accept failed for lack of resources.
#[btf_map]
static QUEUES_AT_FAILURES: PerCpuArray<u64, { histogram::slots(QUEUE_PERCENT.len()) }> =
    PerCpuArray::new();

/// RSTs sent, by reason: of sockets' own accord, then in answer to segments, by the kind of socket
/// that answered.
#[btf_map]
static RESETS_SENT: PerCpuArray<u64, { (RST_REASONS + 1) * (RST_ANSWERERS + 1) }> =
    PerCpuArray::new();

/// Refused socket options.
#[btf_map]
static SOCKOPTS: HashMap<Sockopt, u64, SOCKOPT_ENTRIES> = HashMap::new();

/// Counts a connection that a program takes out of an accept queue.
#[inline(always)]
pub(crate) fn accepted(family: Family) {
    add_to(&ACCEPTED, usize::from(family as u8 == Family::Ipv6 as u8), 1);
}

/// Measures how long a connection that is being accepted has waited since its handshake. Most do
/// not wait for a tick, and cost only a look at the clock.
#[inline(always)]
pub(crate) fn waited<L: Load>(accepted: Sock<L>) {
    if offsets::TCP_LSNDTIME.is_absent() {
        return;
    }
    let Some(tcp) = accepted.tcp() else {
        return;
    };
    let ticks = tcp.since_handshake();
    if ticks != 0 {
        accept_waited(u64::from(ticks), u64::from(accepted.bound_port()));
    }
}

/// A global function: the verifier walks it once per program, whatever the paths to it, and allows
/// only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn accept_waited(ticks: u64, port: u64) -> u64 {
    let ms = (ticks * u64::from(offsets::JIFFY_US.get()) / 1_000) as u32;
    observe(&ACCEPT_WAITS, &ACCEPT_WAIT_MS, ms);
    // A single tick may pass in no time.
    if ticks > 1 && offsets::OWNED_COUNTS.get() == 1 {
        count_slow_accept(histogram::slot(&SLOW_ACCEPT_MS, ms) as u64, 1, port);
        count_slow_accept(histogram::sum_slot(SLOW_ACCEPT_MS.len()) as u64, u64::from(ms), port);
    }
    0
}

/// Adds to a slot of the current process's service. A global function, like [`accept_waited`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_slow_accept(slot: u64, amount: u64, port: u64) -> u64 {
    let signature = Signature {
        errno: slot as u16,
        kind: SLOW_ACCEPT,
        protocol: Protocol::Tcp as u8,
        ..Signature::default()
    };
    let service_port = if offsets::SERVICE_PORTS.get() == 1 { port as u16 } else { 0 };
    let cgroup_id = owner::current_cgroup();
    owned_tally::count_by(&Owned { cgroup_id, signature, service_port, reserved: 0 }, amount);
    0
}

/// Records that a retransmission timeout of this many jiffies has expired.
#[inline(always)]
pub(crate) fn timed_out(jiffies: u32) {
    let ms = (u64::from(jiffies) * u64::from(offsets::JIFFY_US.get()) / 1_000) as u32;
    observe(&RTOS, &RTO_MS, ms);
}

/// Records that a connection that was reset is accepted from this listener.
#[inline(always)]
pub(crate) fn accepted_reset<L: Load>(listener: Sock<L>) {
    if let Some(percent) = listener.accept_queue_percent() {
        observe(&QUEUES_AT_RESETS, &QUEUE_PERCENT, percent);
    }
}

/// Records that accept fails on this listener for lack of resources. Connections of an MPTCP
/// listener wait in the queue of its first subflow, which is not examined.
#[inline(always)]
pub(crate) fn accept_failed<L: Load>(listener: Sock<L>) {
    if !listener.is_mptcp()
        && let Some(percent) = listener.accept_queue_percent()
    {
        observe(&QUEUES_AT_FAILURES, &QUEUE_PERCENT, percent);
    }
}

/// Counts an RST that this host sends: `why`, and the kernel's own `reason`.
#[inline(always)]
pub(crate) fn sends_reset(why: SentReset, reason: u32) {
    let slot = if (reason as usize) < RST_REASONS { reason as usize } else { RST_REASONS };
    let answerer = match why {
        SentReset::NoSocket => 1,
        SentReset::Listener => 2,
        SentReset::Request => 3,
        SentReset::TimeWait => 4,
        SentReset::DataAfterClose | SentReset::UnacceptableAck => RST_ANSWERERS,
        _ => 0,
    };
    add_to(&RESETS_SENT, answerer * (RST_REASONS + 1) + slot, 1);
}

/// Counts a refused socket option.
#[inline(always)]
pub(crate) fn refused_option(kind: EventKind, protocol: u8, level: i32, option: i32, errno: u16) {
    let how = u64::from(kind as u8) << 32 | u64::from(protocol) << 16 | u64::from(errno);
    count_refused_option(how, level as u64, option as u64);
}

/// A global function: the verifier walks it once per program, whatever the paths to it, and allows
/// only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_refused_option(how: u64, level: u64, option: u64) -> u64 {
    let (kind, protocol, errno) = ((how >> 32) as u8, (how >> 16) as u8, how as u16);
    let refused = &Sockopt::new(kind, protocol, level as i32, option as i32, errno);
    // NOEXIST, so that a count made meanwhile on another CPU is not overwritten.
    let _known = SOCKOPTS.insert(refused, 0, u64::from(BPF_NOEXIST));
    match SOCKOPTS.get_ptr_mut(refused) {
        // SAFETY: just looked up.
        Some(value) => unsafe { add(value, 1) },
        None => bump(Counter::SockoptsFull),
    }
    0
}

#[inline(always)]
fn observe<const N: usize, const SLOTS: usize>(
    histogram: &PerCpuArray<u64, SLOTS>,
    bounds: &[u32; N],
    value: u32,
) {
    add_to(histogram, histogram::slot(bounds, value), 1);
    add_to(histogram, histogram::sum_slot(N), u64::from(value));
}
