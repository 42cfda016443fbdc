//! Listeners: the packets they drop, and their owners.
//!
//! A listener counts every handshake packet that it drops in its `sk_drops` (`tcp_listendrop`, 5.10
//! to 7.3), above all because its accept queue is full. It also counts segments that fit no
//! handshake: of a port scan, of a health check that resets half-open connections, a retransmitted
//! SYN. The queue distinguishes them: only accept makes room in it, so a queue that was full when a
//! packet was dropped is full until the next accept.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{HashMap, PerCpuArray},
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::btf_map,
};
use socktrace_ebpf::{
    AcceptQueue, Address, Counter, Detail, EventKind, Family, Flags, Owned, Protocol, Signature,
    Sigpipe, TcpState,
    listener::{EPISODE_NS, LISTENER_BYTES, LISTENERS as ENTRIES},
    owned::LISTENER_DROPS,
};

use crate::{
    emit::emit,
    load::{Load, number},
    offsets, owned_tally,
    owner::{self, Owner},
    recipient::Question,
    sock::Sock,
    subject::Subject,
    tally::{add_to, bump},
    task::{self, Task},
};

/// Listener, by its address in the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Listener {
    /// When it was last reported, in nanoseconds since boot; 0 for never.
    reported_ns: u64,
    /// `sk_drops` up to which drops have been counted.
    drops: u32,
    /// Packets dropped since the last report because the queue was full.
    unreported: u32,
    /// Limit of its queue at the last count.
    limit: u32,
    pub(crate) netns: u32,
    pub(crate) port: u16,
    pub(crate) family: u8,
    reserved: [u8; 5],
    /// Address that it is bound to.
    pub(crate) local: Address,
    /// Process that called listen, or has accepted since: late, or after a drop.
    pub(crate) owner: Owner,
}

const _: () = assert!(size_of::<Listener>() == LISTENER_BYTES);

#[btf_map]
static LISTENERS: HashMap<u64, Listener, ENTRIES> = HashMap::new();

/// Listeners whose drops a program is counting. One program at a time, because kernels before 5.12
/// have no instruction by which two could agree on who counts what.
#[btf_map]
static COUNTING: HashMap<u64, u8, ENTRIES> = HashMap::new();

/// Packets that listeners have dropped: IPv4, IPv6, and the same two with a full accept queue.
#[btf_map]
static DROPS: PerCpuArray<u64, { 2 * Family::ALL.len() }> = PerCpuArray::new();

/// Reason for a look at a listener.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The current process has just accepted a connection.
    Accept,
    /// The current process closes the listener. Its report is left for the next look, because such
    /// a program does not have enough stack.
    Close,
    /// The iterator visits a listener that is closed.
    Closed,
    /// The iterator visits a listener.
    Look,
}

/// Tracks a socket on which the current process calls listen.
#[inline(always)]
pub(crate) fn listens<L: Load>(sock: Sock<L>) {
    remember(sock, 0);
}

/// Tracks a socket that was listening before socktrace started, and its holder.
#[inline(always)]
pub(crate) fn listened<L: Load>(sock: Sock<L>, holder: Task) {
    remember(sock, number(holder.address() as *const u8));
}

#[inline(always)]
fn remember<L: Load>(sock: Sock<L>, holder: u64) {
    if offsets::SOCK_DROPS.is_absent() || sock.state() != TcpState::Listen as u8 {
        return;
    }
    if let Some(family) = sock.family() {
        let port = u64::from(sock.bound_port()) | (family as u64) << 16;
        remember_listener(sock.key(), port, u64::from(sock.drops()), holder);
        if let Some(listener) = LISTENERS.get_ptr_mut(sock.key()) {
            // SAFETY: just looked up.
            let listener = unsafe { &mut *listener };
            (listener.local, listener.netns) = (sock.local(family), sock.netns());
        }
    }
}

/// Tracks a listener of the task at the address `holder`, or of the current task if that is 0.
///
/// A global function: the verifier walks it once per program, whatever the paths to it, and allows
/// only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn remember_listener(address: u64, port_family: u64, drops: u64, holder: u64) -> u64 {
    let (port, family, drops) = (port_family as u16, (port_family >> 16) as u8, drops as u32);
    let known = LISTENERS.get_ptr_mut(address);
    // Another listener may have been at that address.
    let is_known = known.is_some_and(|known| {
        // SAFETY: just looked up.
        let known = unsafe { &*known };
        known.port == port && known.family == family && known.drops <= drops
    });
    if !is_known {
        let listener = Listener {
            reported_ns: 0,
            drops,
            unreported: 0,
            limit: 0,
            netns: 0,
            port,
            family,
            reserved: [0; 5],
            local: Address { octets: [0; 16] },
            owner: Owner::NONE,
        };
        // By reference: a copy would be on the stack.
        let new = &listener;
        if LISTENERS.insert(address, new, 0).is_err() {
            bump(Counter::ListenersFull);
            return 0;
        }
    }
    let Some(listener) = LISTENERS.get_ptr_mut(address) else {
        return 0;
    };
    // SAFETY: just looked up.
    let owner = unsafe { &mut (*listener).owner };
    if holder == 0 {
        owner.open(owner::current_cgroup());
    } else if task::is_readable() && owner.tgid <= 1 {
        // Processes are visited in order of their ids, and the first one may hold the listener for
        // a service.
        owner.set(Task::new(holder as *const u8));
    }
    0
}

/// Owner of the listener at this address.
#[inline(always)]
pub(crate) fn owner(address: u64) -> Option<&'static Owner> {
    let listener = LISTENERS.get_ptr_mut(address)?;
    // SAFETY: just looked up.
    Some(unsafe { &(*listener).owner })
}

/// Forgets a listener that the current process closes, unless there is something to report.
#[inline(always)]
pub(crate) fn closes<L: Load>(sock: Sock<L>) {
    let mut unreported = 0;
    if let Some((drops, queue)) = state(sock) {
        unreported = count_drops(sock.key(), drops, queue, Occasion::Close as u64);
    }
    if unreported == 0 || offsets::READ_KERNEL.get() != 1 {
        let _unknown = LISTENERS.remove(sock.key());
    }
}

/// Number of packets that a listener has dropped, if any, and its queue, with the limit in the
/// upper half. Most listeners have never dropped anything.
#[inline(always)]
fn state<L: Load>(sock: Sock<L>) -> Option<(u64, u64)> {
    if offsets::SOCK_DROPS.is_absent() || offsets::SOCK_ACK_BACKLOG.is_absent() {
        return None;
    }
    let drops = sock.drops();
    if drops == 0 {
        return None;
    }
    let (waiting, limit) = sock.accept_queue();
    Some((u64::from(drops), u64::from(limit) << 32 | u64::from(waiting)))
}

/// Counts what a listener has dropped since the last look, and reports it if that is due.
#[inline(always)]
pub(crate) fn look_at<L: Load>(sock: Sock<L>, occasion: Occasion) {
    if let Some((drops, queue)) = state(sock) {
        if occasion == Occasion::Accept {
            take_over(sock.key());
        }
        let dropped = count_drops(sock.key(), drops, queue, occasion as u64);
        if dropped != 0 {
            report_drops(sock.key(), dropped, queue, occasion as u64);
        }
    }
}

/// Makes the current process, which accepts from a listener, its owner.
///
/// A global function, like [`remember_listener`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn take_over(address: u64) -> u64 {
    if let Some(listener) = LISTENERS.get_ptr_mut(address) {
        // SAFETY: just looked up.
        let owner = unsafe { &mut (*listener).owner };
        if !owner.is_current() {
            owner.open(owner::current_cgroup());
        }
    }
    0
}

/// Reports the remaining drops of a closed listener.
#[inline(always)]
pub(crate) fn look_at_closed(address: u64, listener: &Listener) {
    let queue = u64::from(listener.limit) << 32;
    let drops = u64::from(listener.drops);
    let dropped = count_drops(address, drops, queue, Occasion::Closed as u64);
    if dropped != 0 {
        report_drops(address, dropped, queue, Occasion::Closed as u64);
    }
}

/// Reports this many dropped packets.
///
/// A global function, like [`remember_listener`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn report_drops(address: u64, dropped: u64, queue: u64, occasion: u64) -> u64 {
    let Some(listener) = LISTENERS.get_ptr_mut(address) else {
        return 0;
    };
    // SAFETY: just looked up.
    let listener = unsafe { &*listener };
    let signature = Signature {
        flags: Flags::empty().0,
        errno: 0,
        kind: EventKind::HandshakesDropped as u8,
        origin: 0,
        state: TcpState::Listen as u8,
        family: listener.family,
        sigpipe: Sigpipe::NotRaised as u8,
        protocol: Protocol::Tcp as u8,
    };
    let is_call = occasion == Occasion::Accept as u64;
    let question = if is_call { Question::caller() } else { Question::listener(address) };
    let locate = |subject: &mut Subject| {
        (subject.local, subject.local_port) = (listener.local, listener.port);
        subject.netns = listener.netns;
    };
    emit(&signature, question, locate, |event| {
        event.set_detail(Detail::AcceptQueue(AcceptQueue {
            dropped: dropped as u32,
            waiting: queue as u32,
            limit: (queue >> 32) as u32,
            accepting: is_call,
        }));
    });
    0
}

/// Whether the accept queue was full when the last packets were dropped.
///
/// Several programs may accept at once, and each sees the room that the others have made, so an
/// eighth may be free after an accept.
#[inline(always)]
fn was_full(waiting: u32, limit: u32, occasion: u64) -> bool {
    let made = if occasion == Occasion::Accept as u64 { 1 + u64::from(limit / 8) } else { 0 };
    u64::from(waiting) + made > u64::from(limit)
}

/// Counts what a listener has dropped since the last look. Returns the number of packets dropped
/// with a full queue whose report is due, or, if the listener closes, is left to the next look.
///
/// A global function, like [`remember_listener`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_drops(address: u64, drops: u64, queue: u64, occasion: u64) -> u64 {
    let Some(listener) = LISTENERS.get_ptr_mut(address) else {
        return 0;
    };
    // SAFETY: just looked up.
    let listener = unsafe { &mut *listener };
    if listener.drops == drops as u32 && listener.unreported == 0 {
        return 0;
    }
    // The next look finds what is not counted here.
    if COUNTING.insert(address, 1, u64::from(BPF_NOEXIST)).is_err() {
        return 0;
    }
    // SAFETY: just looked up. Volatile, because another program may have been writing it until now.
    let known = unsafe { (&raw const listener.drops).read_volatile() };
    let added = (drops as u32).wrapping_sub(known);
    // Not if the other program has seen more.
    if added != 0 && added < 1 << 31 {
        (listener.drops, listener.limit) = (drops as u32, (queue >> 32) as u32);
        let full = u64::from(was_full(queue as u32, (queue >> 32) as u32, occasion));
        listener.unreported = listener.unreported.wrapping_add(full as u32 * added);
        let port_family = u64::from(listener.port) | u64::from(listener.family) << 16;
        count_dropped(u64::from(added), full, port_family, listener.owner.cgroup_id);
    }
    // SAFETY: the helper takes nothing and cannot fail.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let is_due = listener.reported_ns == 0
        || now.wrapping_sub(listener.reported_ns) >= EPISODE_NS
        || occasion == Occasion::Closed as u64;
    let mut due = u64::from(listener.unreported);
    if occasion == Occasion::Close as u64 {
        // Reported by the next look.
    } else if !is_due {
        due = 0;
    } else if due != 0 {
        (listener.reported_ns, listener.unreported) = (now, 0);
    }
    let _is_there = COUNTING.remove(address);
    due
}

/// Counts packets for the host, and for the listener's owner. A global function, like
/// [`remember_listener`].
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn count_dropped(added: u64, full: u64, port_family: u64, cgroup_id: u64) -> u64 {
    let family = (port_family >> 16) as u8;
    let slot = 2 * full as usize + usize::from(family == Family::Ipv6 as u8);
    add_to(&DROPS, slot, added);
    if offsets::OWNED_COUNTS.get() != 1 {
        return 0;
    }
    let signature = Signature {
        errno: full as u16,
        kind: LISTENER_DROPS,
        protocol: Protocol::Tcp as u8,
        ..Signature::default()
    };
    let service_port = if offsets::SERVICE_PORTS.get() == 1 { port_family as u16 } else { 0 };
    owned_tally::count_by(&Owned { cgroup_id, signature, service_port, reserved: 0 }, added);
    0
}
