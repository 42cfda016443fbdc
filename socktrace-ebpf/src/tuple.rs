//! Connections by their addresses and ports, and what is remembered about them.

use aya_ebpf::{btf_maps::LruHashMap, helpers::generated::bpf_ktime_get_boot_ns, macros::btf_map};
use socktrace_ebpf::{Address, Detail, Event, Family, TUPLE_ENTRIES};

use crate::{load::Load, sock::Sock};

/// A connection, seen from one of its ends.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Tuple {
    pub(crate) local: Address,
    pub(crate) remote: Address,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    /// A `Family`; four bytes, so that there is no padding in the key.
    pub(crate) family: u32,
}

impl Tuple {
    /// The socket's connection.
    #[inline(always)]
    pub(crate) fn of<L: Load>(sock: Sock<L>, family: Family) -> Self {
        Self {
            local: sock.local(family),
            remote: sock.remote(family),
            local_port: sock.local_port(),
            remote_port: sock.remote_port(),
            family: family as u32,
        }
    }

    /// The same connection seen from its other end.
    #[inline(always)]
    pub(crate) fn reversed(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
            local_port: self.remote_port,
            remote_port: self.local_port,
            family: self.family,
        }
    }
}

/// An ICMP error that came for a connection.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Icmp {
    /// When it came, in nanoseconds of the monotonic clock, which TCP's stamps go by.
    pub(crate) mono_ns: u64,
    pub(crate) router: Address,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) reserved: [u8; 6],
}

#[btf_map]
static ICMP_ERRORS: LruHashMap<Tuple, Icmp, TUPLE_ENTRIES> = LruHashMap::new();

/// Remembers an ICMP error for the socket it may come to concern.
#[inline(always)]
pub(crate) fn record_icmp(tuple: &Tuple, icmp: &Icmp) {
    let _forgotten = ICMP_ERRORS.insert(tuple, icmp, 0);
}

/// Adds the last ICMP error of the event's connection to the event.
#[inline(always)]
pub(crate) fn describe_icmp(tuple: &Tuple, event: &mut Event) {
    // SAFETY: copied field by field at once; a slot reused meanwhile would be of the same type.
    if let Some(icmp) = unsafe { ICMP_ERRORS.get(tuple) } {
        let Icmp { router, kind, code, .. } = *icmp;
        event.set_detail(Detail::Icmp { router, kind, code });
    }
}

/// The last ICMP error of this connection, if one came.
#[inline(always)]
pub(crate) fn find_icmp(tuple: &Tuple) -> Option<Icmp> {
    // SAFETY: copied at once.
    unsafe { ICMP_ERRORS.get(tuple) }.copied()
}

/// A reset that a process of this host has sent.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SentReset {
    pub(crate) boot_ns: u64,
    pub(crate) tgid: u32,
    pub(crate) reason: u32,
    pub(crate) comm: [u8; 16],
}

/// Longest time between sending and receiving on one host: ports are used again.
const SENT_RESET_VALID_NS: u64 = 1_000_000_000;

#[btf_map]
static SENT_RESETS: LruHashMap<Tuple, SentReset, TUPLE_ENTRIES> = LruHashMap::new();

/// Remembers a reset for the end that will receive it, if that is on this host.
#[inline(always)]
pub(crate) fn record_sent_reset(tuple: &Tuple, tgid: u32, comm: [u8; 16], reason: u32) {
    // SAFETY: the helper takes nothing and cannot fail.
    let boot_ns = unsafe { bpf_ktime_get_boot_ns() };
    let _forgotten = SENT_RESETS.insert(tuple, SentReset { boot_ns, tgid, reason, comm }, 0);
}

/// Adds who sent the reset to the event of the end that received it.
#[inline(always)]
pub(crate) fn describe_sender(tuple: Tuple, event: &mut Event) {
    // SAFETY: as above.
    if let Some(sent) = unsafe { SENT_RESETS.get(tuple.reversed()) }
        && event.boot_ns.wrapping_sub(sent.boot_ns) < SENT_RESET_VALID_NS
    {
        let SentReset { tgid, comm, reason: rst_reason, .. } = *sent;
        event.set_detail(Detail::Peer { tgid, comm, rst_reason });
    }
}
