//! Connections by their addresses and ports, and what is remembered about them.

use aya_ebpf::{
    btf_maps::{Array, LruHashMap},
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::btf_map,
};
use socktrace_ebpf::{Address, Event, Family, TUPLE_ENTRIES, facts::ABSENT};

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

    /// Whether it is the same connection. Without branches, each of which would double the paths to verify.
    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        let differ = |a: &Address, b: &Address| {
            let (a, b) = (u128::from_ne_bytes(a.octets), u128::from_ne_bytes(b.octets));
            ((a ^ b) >> 64) as u64 | (a ^ b) as u64
        };
        let ports = u64::from(self.local_port ^ other.local_port)
            | u64::from(self.remote_port ^ other.remote_port);
        let difference = differ(&self.local, &other.local)
            | differ(&self.remote, &other.remote)
            | ports
            | u64::from(self.family ^ other.family);
        difference == 0
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
        event.router = icmp.router;
        event.icmp_type = icmp.kind;
        event.icmp_code = icmp.code;
        event.has_router = 1;
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
struct SentReset {
    tuple: Tuple,
    tgid: u32,
    reason: u32,
    boot_ns: u64,
    comm: [u8; 16],
}

/// Longest time between sending and receiving on one host: ports are used again.
const SENT_RESET_VALID_NS: u64 = 1_000_000_000;

/// By the connection's place: of two that have the same, the later stays. That takes a tenth of what a map
/// of the kernel's takes that makes room by itself, and each of these is wanted at once or never.
#[btf_map]
static SENT_RESETS: Array<SentReset, TUPLE_ENTRIES> = Array::new();

/// Where a connection has its place in [`SENT_RESETS`].
#[inline(always)]
fn place(tuple: &Tuple) -> u32 {
    const _: () = assert!(TUPLE_ENTRIES.is_power_of_two());
    // Ports tell most connections apart. The bits above are mixed by a product, as in `record`.
    let ports = u64::from(tuple.local_port) << 16 | u64::from(tuple.remote_port);
    (ports.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32 & (TUPLE_ENTRIES as u32 - 1)
}

/// Remembers a reset for the end that will receive it, if that is on this host.
#[inline(always)]
pub(crate) fn record_sent_reset(tuple: &Tuple, tgid: u32, comm: [u8; 16], reason: u32) {
    if let Some(slot) = SENT_RESETS.get_ptr_mut(place(tuple)) {
        // SAFETY: an entry of an array, which is never freed. Another program may write to it or read it
        // at the same time: whoever reads it compares the connection, and a reason or a name that is mixed
        // would have to be of the same connection.
        let sent = unsafe { &mut *slot };
        // SAFETY: the helper takes nothing and cannot fail.
        sent.boot_ns = unsafe { bpf_ktime_get_boot_ns() };
        (sent.tuple, sent.tgid, sent.reason, sent.comm) = (*tuple, tgid, reason, comm);
    }
}

/// Adds who sent the reset to the event of the end that received it.
#[inline(always)]
pub(crate) fn describe_sender(tuple: Tuple, event: &mut Event) {
    event.rst_reason = ABSENT;
    let tuple = tuple.reversed();
    if let Some(sent) = SENT_RESETS.get(place(&tuple))
        && event.boot_ns.wrapping_sub(sent.boot_ns) < SENT_RESET_VALID_NS
        && sent.tuple.is(&tuple)
    {
        event.peer_tgid = sent.tgid;
        event.peer_comm = sent.comm;
        event.rst_reason = sent.reason;
    }
}
