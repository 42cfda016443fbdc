//! Sockets, read at offsets from the kernel's BTF.

mod kind;
mod maker;
mod unix;

use core::marker::PhantomData;

use socktrace_ebpf::{Address, Family, Flags, Protocol, TcpState};

use crate::{
    load::{Load, Probe, number},
    offsets::{self, Fact, Optional},
    socket::Socket,
    uapi::{IPPROTO_MPTCP, IPPROTO_TCP, SOCK_STREAM},
    verifier::{FlagBit as _, is_other, is_same},
};

pub(crate) use kind::Kind;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Numbers of `enum sock_flags` in `include/net/sock.h`; the same in 5.10 to 7.2.
const SOCK_DEAD: u64 = 1 << 0;
const SOCK_DONE: u64 = 1 << 1;
const SOCK_KEEPOPEN: u64 = 1 << 3;
const SOCK_LINGER: u64 = 1 << 4;

/// A `struct sock` as passed to a hook, and the way to read it.
#[derive(Clone, Copy)]
pub(crate) struct Sock<L>(*const u8, PhantomData<L>);

/// Identifies a socket among all others, including earlier ones at its address.
#[derive(Clone, Copy)]
pub(crate) struct Identity {
    /// 0 for no socket.
    pub(crate) address: u64,
    /// 0 where programs cannot make the kernel create one.
    pub(crate) cookie: u64,
    /// Whether a record is made only with a cookie, because nothing else would show that the socket
    /// has ended. Kprobes do without, because the end of each socket is hooked there.
    pub(crate) needs_cookie: bool,
}

impl Identity {
    /// No socket.
    pub(crate) const NONE: Self = Self { address: 0, cookie: 0, needs_cookie: false };

    /// Identity of a socket that was passed as numbers, for a lookup.
    #[inline(always)]
    pub(crate) fn of_numbers(address: u64, cookie: u64) -> Self {
        Self { address, cookie, needs_cookie: false }
    }

    /// Identity of an MPTCP socket at an untyped address, for which the kernel makes no cookie.
    /// Until connect has returned, and after accept, there may be no cookie, and a record is made
    /// without one. It could be left over: whoever opens another socket at that address overwrites
    /// it.
    #[inline(always)]
    pub(crate) fn of_mptcp(address: u64) -> Self {
        Self::of_numbers(address, Sock::<Probe>::new(address as *const u8).cookie())
    }
}

impl<L: Load> Sock<L> {
    #[inline(always)]
    pub(crate) fn new(pointer: *const u8) -> Self {
        Self(pointer, PhantomData)
    }

    #[inline(always)]
    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The address, still with the type that the verifier knows.
    #[inline(always)]
    pub(crate) fn pointer(self) -> *const u8 {
        self.0
    }

    /// Identity of this socket, to find its record.
    #[inline(always)]
    pub(crate) fn identity(self) -> Identity {
        Identity::of_numbers(self.key(), self.cookie())
    }

    /// Identity of this socket, to make its record: the kernel makes a cookie if there is none yet.
    #[inline(always)]
    pub(crate) fn new_identity(self) -> Identity {
        // SAFETY: a hook's `struct sock` argument.
        let cookie = unsafe { L::make_cookie(self.0) };
        let needs_cookie = L::MAKES_COOKIES && offsets::COOKIES.get() == 1;
        Identity { address: self.key(), cookie, needs_cookie }
    }

    /// Cookie that the kernel has made for it, 0 for none.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        self.load(&offsets::SOCK_COOKIE)
    }

    /// Whether it has ended: closed, and by its program too.
    #[inline(always)]
    pub(crate) fn is_closed_for_good(self) -> bool {
        self.state() == TcpState::Close as u8
            && self.load::<u64>(&offsets::SOCK_FLAGS) & SOCK_DEAD != 0
    }

    /// The address as a number: it identifies the socket while a hook runs on it.
    #[inline(always)]
    pub(crate) fn key(self) -> u64 {
        number(self.0)
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: &impl offsets::Offset) -> T {
        // SAFETY: `self.0` is a hook's `struct sock` argument, and every fact passed in this
        // file to this method is named `SOCK_*`, an offset in `struct sock`.
        unsafe { L::member(self.0, offset) }
    }

    /// `sk_err`: the errno that the next call will take, positive; 0 for none.
    #[inline(always)]
    pub(crate) fn err(self) -> u16 {
        self.load::<i32>(&offsets::SOCK_ERR) as u16
    }

    #[inline(always)]
    pub(crate) fn state(self) -> u8 {
        self.load(&offsets::SOCK_STATE)
    }

    /// Whether `tcp_disconnect` would reset the peer, or end an attempt to connect (`tcp_need_reset`).
    #[inline(always)]
    pub(crate) fn is_live(self) -> bool {
        const CLOSE: u8 = TcpState::Close as u8;
        const LISTEN: u8 = TcpState::Listen as u8;
        const CLOSING: u8 = TcpState::Closing as u8;
        const LAST_ACK: u8 = TcpState::LastAck as u8;
        !matches!(self.state(), CLOSE | LISTEN | CLOSING | LAST_ACK)
    }

    /// Whether a task holds the socket lock, so that the current task is the one operating on the
    /// socket. Softirq and timers work only on unowned sockets, and leave owned ones to their
    /// owner.
    #[inline(always)]
    pub(crate) fn is_owned(self) -> bool {
        self.load::<i32>(&offsets::SOCK_OWNED) != 0
    }

    /// Whether this is the protocol side of a `struct socket`.
    #[inline(always)]
    pub(crate) fn is_of(self, socket: *const u8) -> bool {
        !self.is_null() && self.load::<u64>(&offsets::SOCK_SOCKET) == socket as u64
    }

    /// Whether no program holds it any more.
    #[inline(always)]
    pub(crate) fn is_dead(self) -> bool {
        self.load::<u64>(&offsets::SOCK_FLAGS) & SOCK_DEAD != 0
    }

    /// [`Flags::ORPHAN`] if no program holds the socket any more, and [`Flags::UNACCEPTED`] if none
    /// ever did.
    #[inline(always)]
    pub(crate) fn holder_flags(self) -> Flags {
        let dead = is_other(self.load::<u64>(&offsets::SOCK_FLAGS) & SOCK_DEAD, 0);
        let socket = number(self.load(&offsets::SOCK_SOCKET));
        Flags::empty()
            .with_flag(Flags::ORPHAN, dead)
            .with_flag(Flags::UNACCEPTED, (1 ^ dead) & is_same(socket, 0))
    }

    /// Whether its program's connect is incomplete, and has met the peer's own: 1 or 0. Connections
    /// accepted by Fast Open are in that state too.
    #[inline(always)]
    pub(crate) fn is_connecting_both_ways(self) -> u64 {
        if self.state() != TcpState::SynRecv as u8 {
            return 0;
        }
        self.is_in_connect()
    }

    /// Whether its program's connect is incomplete, or has failed and no call has queried it yet: 1 or 0.
    #[inline(always)]
    pub(crate) fn is_in_connect(self) -> u64 {
        // Checked before it is followed: the kernel has to fix up a load through NULL, and the
        // exception table that it searches for this is missing in programs with functions of their
        // own, before "bpf: ensure main program has an extable". 5.10 panics.
        let socket: *const u8 = self.load(&offsets::SOCK_SOCKET);
        if socket.is_null() { 0 } else { Socket::<L>::new(socket).is_connecting() }
    }

    /// Address family that people would name: `::ffff:192.0.2.1` is IPv4.
    #[inline(always)]
    pub(crate) fn family(self) -> Option<Family> {
        match self.load::<u16>(&offsets::SOCK_FAMILY) {
            AF_INET => Some(Family::Ipv4),
            AF_INET6 if self.is_v4_mapped() => Some(Family::Ipv4),
            AF_INET6 => Some(Family::Ipv6),
            _ => None,
        }
    }

    /// Family that the socket was made with, whatever it was connected to.
    #[inline(always)]
    pub(crate) fn own_family(self) -> Family {
        if self.load::<u16>(&offsets::SOCK_FAMILY) == AF_INET { Family::Ipv4 } else { Family::Ipv6 }
    }

    /// Whether it is IPv6-only (`IPV6_V6ONLY`); `false` if that cannot be read.
    #[inline(always)]
    pub(crate) fn is_only_v6(self) -> bool {
        if offsets::SOCK_IPV6ONLY_BIT.is_absent() {
            return false;
        }
        let bit = offsets::SOCK_IPV6ONLY_BIT.present().get() as usize;
        // SAFETY: the byte of this `struct sock` that holds the flag.
        let byte: u8 = unsafe { L::load(self.0, bit / 8) };
        byte >> (bit % 8) & 1 != 0
    }

    #[inline(always)]
    fn is_v4_mapped(self) -> bool {
        Address::mapped(self.load(&offsets::SOCK_DADDR6)).is_some()
    }

    /// The IPv6 address that the socket is or was to be connected to, if it begins with these
    /// words; else zeroes.
    #[inline(always)]
    pub(crate) fn remote_beginning_with(self, [a, b]: [u32; 2]) -> [u32; 4] {
        let words: [u32; 4] = self.load(&offsets::SOCK_DADDR6);
        if words[0] == a && words[1] == b { words } else { [0; 4] }
    }

    #[inline(always)]
    fn address(self, family: Family, v4: &Fact, v6: &Optional) -> Address {
        Address::from_words(match family {
            Family::Ipv4 => [self.load(v4), 0, 0, 0],
            Family::Ipv6 => self.load(v6),
        })
    }

    /// Address of this host's end of the connection.
    #[inline(always)]
    pub(crate) fn local(self, family: Family) -> Address {
        self.address(family, &offsets::SOCK_SADDR, &offsets::SOCK_SADDR6)
    }

    /// Address of the other end; it stays when a connect fails at once on IPv6, but not on IPv4.
    #[inline(always)]
    pub(crate) fn remote(self, family: Family) -> Address {
        self.address(family, &offsets::SOCK_DADDR, &offsets::SOCK_DADDR6)
    }

    /// Port of the other end in host byte order; 0 if not connected.
    #[inline(always)]
    pub(crate) fn remote_port(self) -> u16 {
        u16::from_be(self.load(&offsets::SOCK_DPORT))
    }

    /// Port that the socket is bound to, in host byte order. Cleared when an unbound socket is
    /// closed: for connections use [`Self::local_port`].
    #[inline(always)]
    pub(crate) fn bound_port(self) -> u16 {
        self.load(&offsets::SOCK_NUM)
    }

    /// Whether the socket is operated by a protocol other than the one it was made with, which
    /// transforms calls and passes them on to the original one. An IPv6 socket can also be switched
    /// to TCP over IPv4 (`IPV6_ADDRFORM`).
    #[inline(always)]
    pub(crate) fn has_other_protocol(self) -> bool {
        let now: *const u8 = self.load(&offsets::SOCK_PROT);
        let first: *const u8 = self.load(&offsets::SOCK_PROT_CREATOR);
        number(now) != number(first)
    }

    /// Whether sending was shut down, by the program or the kernel.
    #[inline(always)]
    pub(crate) fn has_send_shutdown(self) -> bool {
        const SEND_SHUTDOWN: u8 = 2;
        self.load::<u8>(&offsets::SOCK_SHUTDOWN) & SEND_SHUTDOWN != 0
    }

    /// Whether both directions were shut down.
    #[inline(always)]
    pub(crate) fn is_shut_down(self) -> bool {
        const SHUTDOWN_MASK: u8 = 3;
        self.load::<u8>(&offsets::SOCK_SHUTDOWN) & SHUTDOWN_MASK == SHUTDOWN_MASK
    }

    /// Whether `SO_LINGER` is on.
    #[inline(always)]
    pub(crate) fn has_linger(self) -> bool {
        self.load::<u64>(&offsets::SOCK_FLAGS) & SOCK_LINGER != 0
    }

    /// Whether a program holds the socket and can still receive an answer after it has shut down
    /// sending: 1 or 0.
    #[inline(always)]
    pub(crate) fn is_receiving(self) -> u64 {
        const RCV_SHUTDOWN: u8 = 1;
        let shutdown = u64::from(self.load::<u8>(&offsets::SOCK_SHUTDOWN) & RCV_SHUTDOWN);
        let dead = self.load::<u64>(&offsets::SOCK_FLAGS) & SOCK_DEAD;
        let state = u64::from(self.state());
        let is_half_closed =
            is_same(state, TcpState::FinWait1 as u64) | is_same(state, TcpState::FinWait2 as u64);
        is_half_closed & is_same(shutdown | dead, 0)
    }

    /// `SO_SNDTIMEO` in jiffies; `None` without a limit, as on nearly all sockets
    /// (`MAX_SCHEDULE_TIMEOUT`).
    #[inline(always)]
    pub(crate) fn send_timeout(self) -> Option<u64> {
        const NO_LIMIT: u64 = i64::MAX as u64;
        let jiffies: u64 = self.load(&offsets::SOCK_SEND_TIMEOUT);
        (jiffies != NO_LIMIT).then_some(jiffies)
    }

    /// Whether the kernel itself holds the socket, and no program, as for a network file system.
    #[inline(always)]
    pub(crate) fn is_the_kernels(self) -> bool {
        // Checked before it is followed, see `is_in_connect`.
        let socket: *const u8 = self.load(&offsets::SOCK_SOCKET);
        socket.is_null() || !Socket::<L>::new(socket).may_have_file()
    }

    /// Whether the peer's FIN has arrived (`SOCK_DONE`): 1 or 0.
    #[inline(always)]
    pub(crate) fn is_done(self) -> u64 {
        is_other(self.load::<u64>(&offsets::SOCK_FLAGS) & SOCK_DONE, 0)
    }

    /// Whether the peer's FIN has arrived, or no program holds the socket any more.
    #[inline(always)]
    pub(crate) fn is_done_or_dead(self) -> bool {
        self.load::<u64>(&offsets::SOCK_FLAGS) & (SOCK_DONE | SOCK_DEAD) != 0
    }

    /// `sk_err_soft`: the errno that an ICMP message or a routing failure has left; 0 for none.
    #[inline(always)]
    pub(crate) fn soft_err(self) -> u16 {
        self.load::<i32>(&offsets::SOCK_ERR_SOFT) as u16
    }

    /// Inode of the socket's network namespace; 0 in a kernel without namespaces.
    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        self.net_member(offsets::NET_INUM.present())
    }

    /// Whether `SO_KEEPALIVE` is set: 1 or 0.
    #[inline(always)]
    pub(crate) fn has_keepalive(self) -> u64 {
        is_other(self.load::<u64>(&offsets::SOCK_FLAGS) & SOCK_KEEPOPEN, 0)
    }

    /// Whether a port requires `CAP_NET_BIND_SERVICE` in the socket's network namespace
    /// (`inet_port_requires_bind_service`); `true` if that cannot be read.
    #[inline(always)]
    pub(crate) fn is_privileged(self, port: u16) -> bool {
        if offsets::NET_UNPRIVILEGED_PORT.is_absent() || offsets::SOCK_NET.is_absent() {
            return true;
        }
        let first: u32 = self.net_member(offsets::NET_UNPRIVILEGED_PORT.present());
        port != 0 && u32::from(port) < first
    }

    /// Address of the user namespace that owns the socket's network namespace, if this kernel has them.
    #[inline(always)]
    pub(crate) fn user_namespace(self) -> u64 {
        self.net_member(offsets::NET_USER_NS.present())
    }

    /// A member of the socket's network namespace that this kernel has; zero if it lacks the namespace.
    #[inline(always)]
    fn net_member<T: Copy + Default>(self, offset: &Fact) -> T {
        if offsets::SOCK_NET.is_absent() {
            return T::default();
        }
        let net: *const u8 = self.load(offsets::SOCK_NET.present());
        // SAFETY: a `struct net` reached from the socket, and an offset in it.
        unsafe { L::member(net, offset) }
    }

    /// Whether `net.ipv4.tcp_fastopen` of the socket's network namespace lets programs send with
    /// their SYN (`TFO_CLIENT_ENABLE`); `true` if that cannot be read.
    #[inline(always)]
    pub(crate) fn may_fast_open(self) -> bool {
        // An int or a byte, whose lowest bit comes first.
        offsets::NET_FASTOPEN.is_absent()
            || self.net_member::<u8>(offsets::NET_FASTOPEN.present()) & 1 != 0
    }

    /// `net.ipv4.tcp_retries2` of the socket's network namespace, if this kernel has it.
    #[inline(always)]
    pub(crate) fn retries2(self) -> u32 {
        // The sysctl is a byte in current kernels and was an int in early 5.10.
        if offsets::NET_RETRIES2_SIZE.present().get() == 1 {
            u32::from(self.net_member::<u8>(offsets::NET_RETRIES2.present()))
        } else {
            self.net_member(offsets::NET_RETRIES2.present())
        }
    }

    /// Family of a TCP or MPTCP socket, `None` for others. Only for full sockets, such as those of
    /// system calls.
    #[inline(always)]
    pub(crate) fn stream_family(self) -> Option<Family> {
        let protocol: u16 = self.load(&offsets::SOCK_PROTOCOL);
        if protocol == IPPROTO_TCP || self.is_mptcp() {
            // A raw socket can have this protocol, too.
            if self.load::<u16>(&offsets::SOCK_TYPE) == SOCK_STREAM {
                return self.family();
            }
        }
        None
    }

    /// Whether it is an MPTCP socket, which a program holds, and not one of its subflows.
    #[inline(always)]
    pub(crate) fn is_mptcp(self) -> bool {
        offsets::MPTCP.get() == 1 && self.load::<u16>(&offsets::SOCK_PROTOCOL) == IPPROTO_MPTCP
    }

    /// [`Protocol`] of a socket that is known to be TCP or MPTCP. They differ in the upper byte,
    /// which avoids a branch that would double the paths to verify.
    #[inline(always)]
    pub(crate) fn stream_protocol(self) -> u8 {
        const _: () = assert!(IPPROTO_TCP >> 8 == 0 && IPPROTO_MPTCP >> 8 == 1);
        const _: () = assert!(Protocol::Mptcp as u8 == Protocol::Tcp as u8 + 1);
        Protocol::Tcp as u8 + (self.load::<u16>(&offsets::SOCK_PROTOCOL) >> 8) as u8
    }

    /// Whether a socket that does not listen has done so before it was shut down.
    ///
    /// `tcp_disconnect` leaves the limit of its queue. The limit is 0 after `listen(fd, 0)`, and
    /// only the sequence number remains as a sign: it moves on; otherwise only a connect would have
    /// set it, and that would have left the address.
    #[inline(always)]
    pub(crate) fn has_listened(self, family: Family) -> bool {
        if self.state() != TcpState::Close as u8 {
            return false;
        }
        let limit: u32 = self.load(&offsets::SOCK_MAX_ACK_BACKLOG);
        if limit != 0 || offsets::SOCK_MAX_ACK_BACKLOG.is_absent() {
            return true;
        }
        let is_new = self.tcp().is_none_or(|tcp| !tcp.has_sequence_number());
        !is_new && self.remote(family) == Address::default()
    }

    /// Whether it comes from a listener: a connection has the limit of its listener's queue
    /// (`sk_clone_lock`), and one that was made by connect has none. `false` after `listen(fd, 0)`,
    /// and if this kernel lacks the member.
    #[inline(always)]
    pub(crate) fn is_of_listener(self) -> bool {
        self.load::<u32>(&offsets::SOCK_MAX_ACK_BACKLOG) != 0
    }

    /// Number of segments that a listener has dropped; 0 if this kernel lacks the member.
    #[inline(always)]
    pub(crate) fn drops(self) -> u32 {
        self.load(&offsets::SOCK_DROPS)
    }

    /// Number of connections in a listener's accept queue, and its limit; 0 if this kernel lacks
    /// the members.
    #[inline(always)]
    pub(crate) fn accept_queue(self) -> (u32, u32) {
        (self.load(&offsets::SOCK_ACK_BACKLOG), self.load(&offsets::SOCK_MAX_ACK_BACKLOG))
    }

    /// Whether it has an accept queue limit: it has listened, or its listener had a limit. 1 or 0;
    /// 0 also if this kernel lacks the member.
    #[inline(always)]
    pub(crate) fn has_queue_limit(self) -> u64 {
        is_other(self.load::<u32>(&offsets::SOCK_MAX_ACK_BACKLOG).into(), 0)
    }

    /// Memory that is used by data waiting to be read, in bytes (`sk_rmem_alloc`); 0 if this kernel
    /// lacks the member.
    #[inline(always)]
    pub(crate) fn queued_bytes(self) -> u32 {
        self.load(&offsets::SOCK_QUEUED)
    }

    /// Number of connections in a listener's accept queue, in percent of the limit; `None` if this
    /// kernel lacks the members.
    #[inline(always)]
    pub(crate) fn accept_queue_percent(self) -> Option<u32> {
        if offsets::SOCK_ACK_BACKLOG.is_absent() {
            return None;
        }
        let waiting: u32 = self.load(offsets::SOCK_ACK_BACKLOG.present());
        let limit: u32 = self.load(offsets::SOCK_MAX_ACK_BACKLOG.present());
        // `listen(fd, 0)` leaves room for one anyway.
        Some((u64::from(waiting) * 100 / u64::from(limit.max(1))) as u32)
    }
}
