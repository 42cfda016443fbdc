//! One event on the ring buffer: a signature and the detail that a person wants with it.

use crate::{Family, Signature};

/// An IP address and port as they travel: always sixteen bytes, IPv4 in the first four.
///
/// Which of the two it is stands in the event's [`Signature::family`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// The address in network byte order; an IPv4 address fills the first four bytes.
    pub octets: [u8; 16],
}

/// Room for the name of an executable, with a NUL at its end.
pub const EXE_NAME: usize = 32;

/// How the process in an event is known.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerSource {
    /// None is known.
    Unknown = 0,
    /// It was operating on the socket.
    Caller = 1,
    /// It was waiting for the socket, in a call that blocks, poll, select or epoll.
    Waiter = 2,
    /// It opened or used the socket before, and still had a descriptor of it.
    Holder = 3,
    /// It opened or used the socket before; whether it still held it is not known.
    Opener = 4,
    /// Likewise, but the task that led the process was gone: so was the process, unless one of
    /// its other threads has called exec.
    Gone = 5,
    /// The one that opened or used the socket has no descriptor of it any more, and none is
    /// named: another has got it.
    HandedOn = 6,
}

impl OwnerSource {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::Unknown,
        Self::Caller,
        Self::Waiter,
        Self::Holder,
        Self::Opener,
        Self::Gone,
        Self::HandedOn,
    ];
}

/// What a hook saw, as sent to the daemon.
///
/// Numbers are the kernel's own: jiffies stay jiffies (the daemon knows the tick rate), and a
/// fact that this kernel cannot give is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds since boot, suspended time included (`bpf_ktime_get_boot_ns`).
    pub boot_ns: u64,
    /// Nanoseconds since the first failure of this socket, when this is a later call on it.
    pub since_first_ns: u64,
    /// Cgroup of process `tgid` in cgroup2's hierarchy when it was seen (`bpf_get_current_cgroup_id`,
    /// the inode of its directory); 0 when unknown. With cgroup v1 alone it is always the root's.
    pub cgroup_id: u64,
    /// When process `tgid` was seen to be there, in nanoseconds since boot: at the event, or when it
    /// opened the socket.
    pub owner_seen_ns: u64,
    /// What happened.
    pub signature: Signature,
    /// The end of the connection on this host.
    pub local: Address,
    /// The other end.
    pub remote: Address,
    /// Port of `local`, in host byte order.
    pub local_port: u16,
    /// Port of `remote`, in host byte order.
    pub remote_port: u16,
    /// Inode of the socket's network namespace, as `/proc/PID/ns/net` shows it.
    pub netns: u32,
    /// Process that was operating on the socket, else the one that waits for it, else the one that
    /// opened it; 0 when none is known. The task that a segment or timer interrupted is a stranger
    /// and never named.
    pub tgid: u32,
    /// Thread of that process, 0 likewise.
    pub tid: u32,
    /// Its real user, as the initial user namespace numbers them; means nothing, and not root,
    /// when `tgid` is 0.
    pub uid: u32,
    /// The thread's command name, NUL-padded, all NUL likewise.
    pub comm: [u8; 16],
    /// The process's command name, that of its first thread; all NUL where it was not read.
    pub process_comm: [u8; 16],
    /// The last part of the path of its executable, cut off where longer; all NUL likewise.
    pub exe: [u8; EXE_NAME],
    /// Time the segment at the head of the queue has waited for its acknowledgement, in
    /// milliseconds; 0 unless the retransmission timer fired.
    pub elapsed_ms: u32,
    /// Time since the last acknowledgement came from the peer, in jiffies (`rcv_tstamp`); 0 when none
    /// ever came.
    pub silent_jiffies: u32,
    /// Retransmission timeout in force, in jiffies (`icsk_rto`).
    pub rto_jiffies: u32,
    /// `TCP_USER_TIMEOUT` of the socket in milliseconds, 0 when unset.
    pub user_timeout_ms: u32,
    /// Sent and not acknowledged, in sequence numbers (bytes; SYN and FIN count one each).
    pub unacked_bytes: u32,
    /// Written by the program and not yet sent, likewise.
    pub unsent_bytes: u32,
    /// Consecutive retransmissions of the same segment (`icsk_retransmits`).
    pub retransmits: u8,
    /// Window or keepalive probes without an answer (`icsk_probes_out`).
    pub probes: u8,
    /// Type of the ICMP message behind the errno; meaningful with `router`.
    pub icmp_type: u8,
    /// Its code.
    pub icmp_code: u8,
    /// Errno of that first failure; else 0.
    pub first_errno: u16,
    /// Whether `router` is known: 1 or 0.
    pub has_router: u8,
    /// How the process is known, an [`OwnerSource`].
    pub owner_source: u8,
    /// How the socket is known to have been opened, a [`crate::Role`]; else 0.
    pub role: u8,
    /// What a filter asks of this event and the kernel has no verdict on, bits of [`unsettled`].
    pub unsettled: u8,
    /// The type that `socket` was asked for, without flags: see [`crate::SocketCall`].
    pub socket_type: u8,
    /// Zero; there is no implicit padding.
    pub reserved: u8,
    /// Who sent the ICMP message; of the event's family.
    pub router: Address,
    /// Level of a socket option, as in `setsockopt`; the family that `socket` was asked for.
    pub level: i32,
    /// The option; the protocol that `socket` was asked for.
    pub option: i32,
    /// Process of this host that sent the RST or, with [`crate::Origin::Abort`], killed the socket; 0
    /// when none did or it is not known.
    pub peer_tgid: u32,
    /// Why, a value of the kernel's `enum sk_rst_reason`, or [`crate::facts::ABSENT`].
    pub rst_reason: u32,
    /// Its command name.
    pub peer_comm: [u8; 16],
    /// The descriptor a call was made on, where the socket itself is not known; else -1.
    pub fd: i32,
}

/// Bits of [`Event::unsettled`].
pub mod unsettled {
    /// The signature.
    pub const SIGNATURE: u8 = 1 << 0;
    /// The service. Where filters narrow the counts too, this event is in none yet.
    pub const SERVICE: u8 = 1 << 1;
}

const _: () = assert!(size_of::<Event>() == 248 && align_of::<Event>() == 8);

impl Event {
    /// Reads an event from ring buffer bytes.
    ///
    /// Returns `None` when the length is not that of an event, as it is when kernel programs and
    /// daemon come from different builds.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: the slice is as long as an `Event`, whose fields are integers and arrays of
        // integers, so that any bit pattern is valid; `read_unaligned` asks for no alignment.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

impl Address {
    /// An IPv4 address.
    #[must_use]
    #[inline]
    pub const fn ipv4([a, b, c, d]: [u8; 4]) -> Self {
        Self { octets: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// An address of four words, each in network byte order in memory, as the kernel keeps it.
    #[must_use]
    #[inline]
    pub fn from_words(words: [u32; 4]) -> Self {
        let mut octets = [0; 16];
        for (chunk, word) in octets.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_ne_bytes());
        }
        Self { octets }
    }

    /// The IPv4 address that an IPv6 one of such words maps, `::ffff:192.0.2.1`.
    #[must_use]
    #[inline]
    pub fn mapped([a, b, c, d]: [u32; 4]) -> Option<Self> {
        (a == 0 && b == 0 && c == 0xffff_u32.to_be()).then(|| Self::ipv4(d.to_ne_bytes()))
    }

    /// The four octets of an IPv4 address, or the sixteen of an IPv6 one.
    #[must_use]
    pub fn as_octets(&self, family: Family) -> &[u8] {
        match family {
            Family::Ipv4 => &self.octets[..4],
            Family::Ipv6 => &self.octets,
        }
    }
}
