//! Connections by network namespace, addresses and ports, and what is recorded about them.

use aya_ebpf::{
    btf_maps::{Array, LruHashMap},
    helpers::generated::bpf_ktime_get_boot_ns,
    macros::btf_map,
};
use socktrace_ebpf::{Address, Detail, Event, Family, TUPLE_ENTRIES};

use crate::{load::Load, sock::Sock, tcp_sock::TcpSock, verifier::is_same};

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
    /// Inode of the network namespace that this end is in: other namespaces may have the same addresses.
    pub(crate) netns: u32,
}

impl Tuple {
    /// Connection of a socket.
    #[inline(always)]
    pub(crate) fn of<L: Load>(sock: Sock<L>, family: Family) -> Self {
        Self {
            local: sock.local(family),
            remote: sock.remote(family),
            local_port: sock.local_port(),
            remote_port: sock.remote_port(),
            family: family as u32,
            netns: sock.netns(),
        }
    }

    /// Connection of an event.
    #[inline(always)]
    fn of_event(event: &Event) -> Self {
        Self {
            local: event.local,
            remote: event.remote,
            local_port: event.local_port,
            remote_port: event.remote_port,
            family: event.signature.family.into(),
            netns: event.netns,
        }
    }

    /// Whether it has the same addresses and ports, in any network namespace: 1 or 0. Without
    /// branches, each of which would double the paths to verify.
    #[inline(always)]
    fn has_ends_of(&self, other: &Self) -> u64 {
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
        is_same(difference, 0)
    }

    /// The same connection seen from its other end, if that end is in the same network namespace.
    #[inline(always)]
    fn reversed(self) -> Self {
        Self {
            local: self.remote,
            remote: self.local,
            local_port: self.remote_port,
            remote_port: self.local_port,
            ..self
        }
    }
}

/// An ICMP error that arrived for a connection. The kernel had not validated it yet.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Icmp {
    pub(crate) router: Address,
    /// Sequence number of the segment that it is about.
    pub(crate) sequence: u32,
    /// Errno that the kernel derives from it.
    pub(crate) errno: u16,
    pub(crate) kind: u8,
    pub(crate) code: u8,
}

impl Icmp {
    /// Whether the socket has failed with this errno because of it: 1 or 0. Anybody can send such a
    /// message, but has to guess the sequence number, which only the peer and routers on the path
    /// know.
    #[inline(always)]
    fn explains<L: Load>(&self, errno: u16, tcp: TcpSock<L>) -> u64 {
        let its = u64::from(self.errno);
        let is_its_errno = is_same(its, errno.into()) | is_same(its, tcp.sock().soft_err().into());
        is_its_errno & tcp.has_sent(self.sequence)
    }
}

#[btf_map]
static ICMP_ERRORS: LruHashMap<Tuple, Icmp, TUPLE_ENTRIES> = LruHashMap::new();

/// Stores an ICMP error for the socket that it may come to concern.
#[inline(always)]
pub(crate) fn record_icmp(tuple: &Tuple, icmp: &Icmp) {
    let _forgotten = ICMP_ERRORS.insert(tuple, icmp, 0);
}

/// Adds the ICMP error behind an event's errno to the event. A separate function, like those below:
/// a connection takes much of the stack, which would otherwise be part of each program's frame.
#[inline(never)]
pub(crate) fn describe_icmp<L: Load>(tcp: TcpSock<L>, event: &mut Event) {
    // SAFETY: copied field by field at once; a slot reused meanwhile would be of the same type.
    if let Some(icmp) = unsafe { ICMP_ERRORS.get(Tuple::of_event(event)) }
        && icmp.explains(event.signature.errno, tcp) == 1
    {
        let Icmp { router, kind, code, .. } = *icmp;
        event.set_detail(Detail::Icmp { router, kind, code });
    }
}

/// Errno of the last ICMP error about a segment of this connection that is in flight, if one arrived.
#[inline(always)]
pub(crate) fn icmp_errno<L: Load>(tcp: TcpSock<L>, tuple: &Tuple) -> Option<u16> {
    // SAFETY: as above.
    let icmp = unsafe { ICMP_ERRORS.get(tuple) }?;
    (tcp.has_sent(icmp.sequence) == 1).then_some(icmp.errno)
}

/// An RST that a process on this host has sent.
#[repr(C)]
#[derive(Clone, Copy)]
struct SentReset {
    tuple: Tuple,
    /// Sequence number of the RST.
    sequence: u32,
    tgid: u32,
    reason: u32,
    boot_ns: u64,
    comm: [u8; 16],
}

/// Maximum time between sending and receiving on one host: ports are reused.
const SENT_RESET_VALID_NS: u64 = 1_000_000_000;

/// RSTs by the connection's place: of two with the same place, the later one stays. This costs a
/// tenth of what an LRU map costs, and each entry is needed at once or never.
#[btf_map]
static SENT_RESETS: Array<SentReset, TUPLE_ENTRIES> = Array::new();

/// Place of a connection in [`SENT_RESETS`].
#[inline(always)]
fn place(tuple: &Tuple) -> u32 {
    const _: () = assert!(TUPLE_ENTRIES.is_power_of_two());
    // Ports distinguish most connections. A product mixes the upper bits, as in `record`.
    let ports = u64::from(tuple.local_port) << 16 | u64::from(tuple.remote_port);
    (ports.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as u32 & (TUPLE_ENTRIES as u32 - 1)
}

/// Records an RST of this process for the end that will receive it, if that is on this host.
#[inline(never)]
pub(crate) fn record_sent_reset<L: Load>(
    tcp: TcpSock<L>,
    family: Family,
    sender: &(u32, [u8; 16]),
    reason: u32,
) {
    let (tgid, comm) = *sender;
    let tuple = Tuple::of(tcp.sock(), family);
    if let Some(slot) = SENT_RESETS.get_ptr_mut(place(&tuple)) {
        // SAFETY: an entry of an array, which is never freed. Another program may write to it or read it
        // at the same time: whoever reads it compares the connection, and a reason or a name that is mixed
        // would have to be of the same connection.
        let sent = unsafe { &mut *slot };
        // SAFETY: the helper takes nothing and cannot fail.
        sent.boot_ns = unsafe { bpf_ktime_get_boot_ns() };
        (sent.tuple, sent.tgid, sent.reason, sent.comm) = (tuple, tgid, reason, comm);
        sent.sequence = tcp.sent_sequence();
    }
}

/// Adds the sender of the RST to the event of the end that received it.
///
/// The sender's end is in the same network namespace, or in another one where somebody else may
/// have the same addresses. In that case the RST must have the sequence number that this end
/// awaits, without which the kernel would not have obeyed it (`tcp_validate_incoming`).
#[inline(never)]
pub(crate) fn describe_sender<L: Load>(tcp: TcpSock<L>, event: &mut Event) {
    let tuple = Tuple::of_event(event).reversed();
    if let Some(sent) = SENT_RESETS.get(place(&tuple))
        && event.boot_ns.wrapping_sub(sent.boot_ns) < SENT_RESET_VALID_NS
    {
        let is_here = is_same(sent.tuple.netns.into(), tuple.netns.into());
        if sent.tuple.has_ends_of(&tuple) & (is_here | tcp.awaits(sent.sequence)) == 1 {
            let SentReset { tgid, comm, reason: rst_reason, .. } = *sent;
            event.set_detail(Detail::Peer { tgid, comm, rst_reason });
        }
    }
}
