//! Members of Unix sockets (`struct unix_sock` in `include/net/af_unix.h`, which begins with
//! `struct sock`; the same members in 5.10 to 7.3).

use socktrace_ebpf::Flags;

use super::Sock;
use crate::{
    load::{Load, Probe},
    offsets,
    uapi::SOCK_STREAM,
    unix::Name,
};

const AF_UNIX: u16 = 1;
/// `SOCK_DGRAM` and `SOCK_SEQPACKET` in `include/linux/net.h`.
const SOCK_DGRAM: u16 = 2;
const SOCK_SEQPACKET: u16 = 5;
/// `sun_path` follows the family in `struct sockaddr_un`.
const FAMILY_BYTES: u64 = 2;

impl<L: Load> Sock<L> {
    #[inline(always)]
    pub(crate) fn is_unix(self) -> bool {
        self.load::<u16>(&offsets::SOCK_FAMILY) == AF_UNIX
    }

    /// Number of messages that wait unread; for a listener, of connections.
    #[inline(always)]
    pub(crate) fn queue_length(self) -> u32 {
        self.load(offsets::SOCK_QUEUE_LENGTH.present())
    }

    /// Number of connections beyond which a listener's queue takes no more.
    #[inline(always)]
    pub(crate) fn backlog(self) -> u32 {
        self.load(&offsets::SOCK_MAX_ACK_BACKLOG)
    }
}

impl Sock<Probe> {
    /// Whether a Unix socket is connection-oriented: `SOCK_STREAM` or `SOCK_SEQPACKET`.
    #[inline(always)]
    pub(crate) fn has_connections(self) -> bool {
        matches!(self.load::<u16>(&offsets::SOCK_TYPE), SOCK_STREAM | SOCK_SEQPACKET)
    }

    /// Whether it is a Unix datagram socket.
    #[inline(always)]
    pub(crate) fn is_unix_datagram(self) -> bool {
        self.is_unix() && self.load::<u16>(&offsets::SOCK_TYPE) == SOCK_DGRAM
    }

    /// The other end, NULL for none. It stays until this end is closed.
    #[inline(always)]
    pub(crate) fn unix_peer(self) -> Self {
        Self::new(Probe::read_member(self.pointer(), offsets::UNIX_PEER.present()))
    }

    /// Reason why a write to this end fails with EPIPE: [`Flags::PEER_CLOSED`], or
    /// [`Flags::SEND_SHUTDOWN`] by either end. This end is NULL once the kernel has found it
    /// closed.
    #[inline(always)]
    pub(crate) fn end_flags(self) -> Flags {
        if self.is_null() || self.is_dead() { Flags::PEER_CLOSED } else { Flags::SEND_SHUTDOWN }
    }

    /// Name that it is bound to. Accepted connections have their listener's name.
    #[inline(always)]
    pub(crate) fn unix_name(self) -> Name {
        let address: *const u8 =
            Probe::read_member(self.pointer(), offsets::UNIX_ADDRESS.present());
        if address.is_null() {
            return Name::NONE;
        }
        let length: u32 = Probe::read_member(address, offsets::UNIX_ADDRESS_LENGTH.present());
        let begin = u64::from(offsets::UNIX_ADDRESS_NAME.present().get());
        let path = address as u64 + begin + FAMILY_BYTES;
        Name::of_kernel(path, u64::from(length).saturating_sub(FAMILY_BYTES))
    }

    /// The kernel's `struct pid` of the process that made the other end, or listened for it; for a
    /// listener, of the process that listened (`sk_peer_pid`).
    #[inline(always)]
    pub(crate) fn peer_pid(self) -> *const u8 {
        self.load(offsets::SOCK_PEER_PID.present())
    }

    /// The first message that waits unread, and the end of the list.
    #[inline(always)]
    pub(crate) fn queue(self) -> (u64, u64) {
        let head = self.pointer().wrapping_add(offsets::SOCK_QUEUE.present().get() as usize);
        (Probe::read(head, 0), head as u64)
    }
}
