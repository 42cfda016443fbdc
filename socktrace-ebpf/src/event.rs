//! Events on the ring buffer: a signature and the details that a reader wants with it.

mod detail;
mod path;

pub use self::{
    detail::{AcceptQueue, BY_LISTENER, Detail, Given, Packed},
    path::{FarEnd, PATH_BYTES, Path},
};
use crate::{Family, Signature};

/// IP address on the wire: always sixteen bytes, IPv4 in the first four.
///
/// The event's [`Signature::family`] determines which of the two it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The address in network byte order; an IPv4 address fills the first four bytes.
    pub octets: [u8; 16],
}

/// Size of the name of an executable, including a terminating NUL.
pub const EXE_NAME: usize = 32;

/// How the process of an event is known.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerSource {
    /// No process is known.
    Unknown = 0,
    /// The process was operating on the socket.
    Caller = 1,
    /// The process was waiting for the socket, in a blocking call, poll, select or epoll.
    Waiter = 2,
    /// The process opened or used the socket earlier, and still had a descriptor for it.
    Holder = 3,
    /// The process opened or used the socket earlier; whether it still held the socket is unknown.
    Opener = 4,
    /// The process opened or used the socket earlier, but its leading task was gone: so was the
    /// process, unless one of its other threads has called exec.
    Gone = 5,
    /// The process that opened or used the socket no longer has a descriptor for it. None is named:
    /// another process has the socket now.
    HandedOn = 6,
    /// No process: user and cgroup are the socket's, which records for whom it was made.
    Socket = 7,
}

impl OwnerSource {
    /// Every source.
    pub const ALL: &'static [Self] = &[
        Self::Unknown,
        Self::Caller,
        Self::Waiter,
        Self::Holder,
        Self::Opener,
        Self::Gone,
        Self::HandedOn,
        Self::Socket,
    ];
}

/// An event, as sent to the daemon.
///
/// Numbers are in the kernel's own units: jiffies stay jiffies (the daemon knows the tick rate). A
/// fact that this kernel cannot provide is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Time of the event in nanoseconds since boot, including time suspended (`bpf_ktime_get_boot_ns`).
    pub boot_ns: u64,
    /// Nanoseconds since the first failure of this socket, if this is a later call on it.
    pub since_first_ns: u64,
    /// Cgroup of process `tgid` in the cgroup2 hierarchy when it was seen
    /// (`bpf_get_current_cgroup_id`, the inode of its directory); 0 if unknown. With cgroup v1
    /// alone it is always the root's.
    pub cgroup_id: u64,
    /// When process `tgid` was seen, in nanoseconds since boot: at the event, or when it opened the
    /// socket.
    pub owner_seen_ns: u64,
    /// What happened.
    pub signature: Signature,
    /// This host's end of the connection.
    pub local: Address,
    /// The peer's end.
    pub remote: Address,
    /// Port of `local`, in host byte order.
    pub local_port: u16,
    /// Port of `remote`, in host byte order.
    pub remote_port: u16,
    /// Inode of the socket's network namespace, as `/proc/PID/ns/net` shows it.
    pub netns: u32,
    /// Process that was operating on the socket, else the one waiting for it, else the one that
    /// opened it; 0 if none is known. The task that a segment or timer interrupted is unrelated and
    /// never named.
    pub tgid: u32,
    /// Thread of that process; 0 if none is known.
    pub tid: u32,
    /// Real user of that process, as numbered in the initial user namespace. When `tgid` is 0, it
    /// means nothing (not root), unless it is the socket's user ([`OwnerSource::Socket`]).
    pub uid: u32,
    /// The thread's command name, NUL-padded; all NUL when no process is known.
    pub comm: [u8; 16],
    /// Time in milliseconds that the segment at the head of the queue has waited for its
    /// acknowledgement. If nothing is in flight, time since the persist timer first fired for the
    /// data waiting to be sent. 0 unless one of the two timers has fired.
    pub elapsed_ms: u32,
    /// Jiffies since the last segment from the peer (`rcv_tstamp` for acknowledgements, `lrcvtime`
    /// for data); 0 if none ever came.
    pub silent_jiffies: u32,
    /// Retransmission timeout in force, in jiffies (`icsk_rto`).
    pub rto_jiffies: u32,
    /// `TCP_USER_TIMEOUT` of the socket in milliseconds; 0 if unset.
    pub user_timeout_ms: u32,
    /// Sequence numbers sent but not acknowledged (bytes; SYN and FIN count one each).
    pub unacked_bytes: u32,
    /// Sequence numbers written by the program but not yet sent.
    pub unsent_bytes: u32,
    /// Bytes received but not read by the program (`rcv_nxt` less `copied_seq`, without a FIN).
    pub unread_bytes: u32,
    /// Consecutive retransmissions of the same segment (`icsk_retransmits`).
    pub retransmits: u8,
    /// Unanswered window or keepalive probes (`icsk_probes_out`).
    pub probes: u8,
    /// Errno of the socket's first failure, if this is a later call on it; else 0.
    pub first_errno: u16,
    /// How the process is known, an [`OwnerSource`].
    pub owner_source: u8,
    /// How the socket is known to have been opened, a [`crate::Role`]; else 0.
    pub role: u8,
    /// Filters on this event for which the kernel has no verdict, bits of [`unsettled`].
    pub unsettled: u8,
    /// Further facts, bits of [`parts`].
    pub parts: u8,
    /// An additional detail, see [`Event::detail`].
    pub packed: Packed,
    /// Errno of the last transmission if it failed on this host; else 0.
    pub send_errno: u16,
    /// Number of transmissions by timers that have failed on this host since one left it.
    pub send_tries: u16,
    /// Sequence numbers of the connection's first bytes, this host's and the peer's: the same pair
    /// at both ends. Both 0 if unknown.
    pub first_bytes: [u32; 2],
    /// Sequence and acknowledgement numbers of the RST that ended it; both 0 if unknown.
    pub rst: [u32; 2],
    /// Remaining TTL, or hop limit, of this RST; 0 if unknown.
    pub rst_ttl: u8,
    /// Remaining TTL, or hop limit, of the segment that completed the handshake; 0 if unknown.
    pub handshake_ttl: u8,
    /// Reserved for further fields.
    pub reserved: [u8; 6],
}

/// An event with the names of its process and its socket.
///
/// On the ring buffer the names follow only if one of them differs from the thread's,
/// [`Event::comm`]. Path and far end follow only if [`parts::UNIX`] is set, and then always after
/// the names.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamedEvent {
    /// The event.
    pub event: Event,
    /// The names.
    pub names: Names,
    /// The path of a Unix socket.
    pub path: Path,
    /// The end of that socket that another program holds.
    pub far_end: FarEnd,
}

/// Length of an event with names alone.
pub const NAMED_BYTES: usize = size_of::<Event>() + size_of::<Names>();

/// Names of a process. Aligned so that the kernel side copies words.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Command name of its first thread; all NUL if not read.
    pub comm: [u8; 16],
    /// Last component of the path of its executable, truncated if longer; all NUL if not read.
    pub exe: [u8; EXE_NAME],
}

impl Names {
    /// No names.
    pub const NONE: Self = Self { comm: [0; 16], exe: [0; EXE_NAME] };

    /// Names of a process whose thread, first thread and executable have the same name.
    #[must_use]
    #[inline]
    pub fn of_thread(comm: [u8; 16]) -> Self {
        let mut exe = [0; EXE_NAME];
        exe[..comm.len()].copy_from_slice(&comm);
        Self { comm, exe }
    }
}

/// Bits of [`Event::parts`].
pub mod parts {
    /// The names of the process were read. If they do not follow, both equal the thread's.
    pub const NAMES: u8 = 1 << 0;
    /// The socket has a TCP MD5 signature key (`TCP_MD5SIG`).
    pub const MD5_KEY: u8 = 1 << 1;
    /// A single segment of those sent has arrived; the ones before it, full-sized, have not.
    pub const FULL_SIZED_LOST: u8 = 1 << 2;
    /// Path and far end follow.
    pub const UNIX: u8 = 1 << 3;
    /// The daemon should read [`crate::Repeats`] for a while from now on.
    pub const WATCH_REPEATS: u8 = 1 << 4;
    /// Mask of the detail's kind, a number in the upper bits.
    pub const DETAILS: u8 = 7 << 5;
    /// The detail is [`super::Detail::Icmp`].
    pub const ICMP: u8 = 1 << 5;
    /// The detail is [`super::Detail::Peer`].
    pub const PEER: u8 = 2 << 5;
    /// The detail is [`super::Detail::Call`].
    pub const CALL: u8 = 3 << 5;
    /// The detail is [`super::Detail::Socket`].
    pub const SOCKET: u8 = 4 << 5;
    /// The detail is [`super::Detail::Given`].
    pub const GIVEN: u8 = 5 << 5;
    /// The detail is [`super::Detail::AcceptQueue`].
    pub const ACCEPT_QUEUE: u8 = 6 << 5;
    /// The detail is [`super::Detail::SendTimeout`].
    pub const SEND_TIMEOUT: u8 = 7 << 5;
}

/// Bits of [`Event::unsettled`].
pub mod unsettled {
    /// The filter on the signature.
    pub const SIGNATURE: u8 = 1 << 0;
    /// The filter on the service. If filters narrow the counts too, no count includes this event yet.
    pub const SERVICE: u8 = 1 << 1;
}

const _: () = assert!(size_of::<Event>() == 200 && align_of::<Event>() == 8);
const _: () = assert!(size_of::<NamedEvent>() == 376 && align_of::<NamedEvent>() == 8);

impl Event {
    /// Whether [`Event::uid`] means something.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.tgid != 0 || self.owner_source == OwnerSource::Socket as u8
    }
}

impl NamedEvent {
    /// Reads an event from ring buffer bytes.
    ///
    /// Returns `None` if no event has that length, which happens when kernel programs and daemon
    /// come from different builds.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() == size_of::<Self>() {
            // SAFETY: the slice is as long as this type, whose fields are integers and arrays of
            // integers, so that any bit pattern is valid; `read_unaligned` requires no alignment.
            let mut whole = unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() };
            if whole.event.parts & parts::NAMES == 0 {
                whole.names = Names::NONE;
            }
            return Some(whole);
        }
        let has_names = bytes.len() == NAMED_BYTES;
        if !has_names && bytes.len() != size_of::<Event>() {
            return None;
        }
        // SAFETY: the slice is at least as long as an `Event`, for which the same holds.
        let event = unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() };
        let names = if has_names {
            let rest = &bytes[size_of::<Event>()..];
            // SAFETY: this slice is as long as `Names`, for which the same holds.
            unsafe { rest.as_ptr().cast::<Names>().read_unaligned() }
        } else if event.parts & parts::NAMES != 0 {
            Names::of_thread(event.comm)
        } else {
            Names::NONE
        };
        Some(Self { event, names, ..Self::default() })
    }
}

impl Address {
    /// An IPv4 address.
    #[must_use]
    #[inline]
    pub const fn ipv4([a, b, c, d]: [u8; 4]) -> Self {
        Self { octets: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// An address of four words, each in network byte order in memory, as the kernel stores it.
    #[must_use]
    #[inline]
    pub fn from_words(words: [u32; 4]) -> Self {
        let mut octets = [0; 16];
        for (chunk, word) in octets.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        Self { octets }
    }

    /// The IPv4 address mapped into an IPv6 address of such words, `::ffff:192.0.2.1`.
    #[must_use]
    #[inline]
    pub fn mapped([a, b, c, d]: [u32; 4]) -> Option<Self> {
        (a == 0 && b == 0 && c == 0xffff_u32.to_be()).then(|| Self::ipv4(d.to_ne_bytes()))
    }

    /// The four octets of an IPv4 address, or the sixteen of an IPv6 address.
    #[must_use]
    pub fn as_octets(&self, family: Family) -> &[u8] {
        match family {
            Family::Ipv4 => &self.octets[..4],
            Family::Ipv6 => &self.octets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMM: [u8; 16] = *b"worker\0\0\0\0\0\0\0\0\0\0";

    fn event() -> Event {
        Event { boot_ns: 7, unsent_bytes: 9, comm: COMM, ..Event::default() }
    }

    /// First bytes of a type without padding, as they go to the ring buffer.
    fn bytes(whole: &NamedEvent, length: usize) -> &[u8] {
        // SAFETY: no type of the wire format has padding, and `length` is within this one.
        unsafe { core::slice::from_raw_parts(core::ptr::from_ref(whole).cast(), length) }
    }

    #[test]
    fn names_follow_or_are_the_threads_or_are_unknown() {
        let mut exe = [0; EXE_NAME];
        exe[..6].copy_from_slice(b"python");
        let names = Names { comm: [b'p'; 16], exe };
        let with_names = Event { parts: parts::NAMES, ..event() };
        let whole = NamedEvent { event: with_names, names, ..NamedEvent::default() };
        assert_eq!(NamedEvent::from_bytes(bytes(&whole, NAMED_BYTES)), Some(whole));
        let same = NamedEvent::from_bytes(bytes(&whole, size_of::<Event>())).expect("an event");
        assert_eq!(same.event, whole.event);
        assert_eq!(same.names.comm, COMM);
        assert_eq!(same.names.exe[..16], COMM);
        assert_eq!(same.names.exe[16..], [0; 16]);
        let unnamed = NamedEvent { event: event(), ..whole };
        let unknown =
            NamedEvent::from_bytes(bytes(&unnamed, size_of::<Event>())).expect("an event");
        assert_eq!(unknown, NamedEvent { event: event(), ..NamedEvent::default() });
    }

    #[test]
    fn a_path_follows_the_names_known_or_not() {
        let mut path = Path { length: 4, ..Path::default() };
        path.bytes[..4].copy_from_slice(b"/run");
        let far_end = FarEnd { cgroup_id: 7, waiting: 2, limit: 1 };
        let names = Names { comm: [b'p'; 16], exe: [b'e'; EXE_NAME] };
        let of = |known| Event { parts: parts::UNIX | known, ..event() };
        let whole = NamedEvent { event: of(parts::NAMES), names, path, far_end };
        let size = size_of::<NamedEvent>();
        assert_eq!(NamedEvent::from_bytes(bytes(&whole, size)), Some(whole));
        let unnamed = NamedEvent { event: of(0), ..whole };
        let read = NamedEvent::from_bytes(bytes(&unnamed, size));
        assert_eq!(read, Some(NamedEvent { names: Names::NONE, ..unnamed }));
    }

    #[test]
    fn other_lengths_are_no_events() {
        let long = [0; 512];
        for length in 0..=long.len() {
            let lengths = [size_of::<Event>(), NAMED_BYTES, size_of::<NamedEvent>()];
            let is_event = lengths.contains(&length);
            assert_eq!(NamedEvent::from_bytes(&long[..length]).is_some(), is_event, "{length}");
        }
    }
}
