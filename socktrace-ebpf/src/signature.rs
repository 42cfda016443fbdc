//! Signatures of moments in the kernel: the few small integers that decide the diagnosis.

/// What happened, in twelve bytes: the key of the kernel-side tallies.
///
/// All-integer on the wire; [`EventKind`], [`Origin`], [`Family`], [`TcpState`], [`Sigpipe`] and
/// [`Protocol`] are read from it by checked conversion, so that a byte from a newer or broken peer
/// never becomes an invalid enum.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature {
    /// The socket's other fields, reduced to [`Flags`].
    pub flags: u32,
    /// The errno: the one stored in the socket (`sk_err`), or the one a call returned; 0 for none.
    pub errno: u16,
    /// What was observed, an [`EventKind`].
    pub kind: u8,
    /// The kernel function that was working on the socket at that moment, an [`Origin`].
    pub origin: u8,
    /// The socket's TCP state before the event, a [`TcpState`].
    pub state: u8,
    /// The address family as people see it (an IPv4-mapped IPv6 address is IPv4), a [`Family`] or a
    /// [`Domain`].
    pub family: u8,
    /// Effect of SIGPIPE on a process whose write failed with EPIPE, a [`Sigpipe`].
    pub sigpipe: u8,
    /// The socket's protocol, a [`Protocol`]; 0 when a call's descriptor leads to no socket.
    pub protocol: u8,
}

const _: () = assert!(size_of::<Signature>() == 12 && align_of::<Signature>() == 4);

impl Signature {
    /// Encodes a tally's key.
    #[must_use]
    pub fn to_bytes(self) -> [u8; size_of::<Self>()] {
        let Self { flags, errno, kind, origin, state, family, sigpipe, protocol } = self;
        let ([f0, f1, f2, f3], [e0, e1]) = (flags.to_ne_bytes(), errno.to_ne_bytes());
        [f0, f1, f2, f3, e0, e1, kind, origin, state, family, sigpipe, protocol]
    }

    /// Decodes a signature from a tally's key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        let [f0, f1, f2, f3, e0, e1, kind, origin, state, family, sigpipe, protocol] = bytes;
        Self {
            flags: u32::from_ne_bytes([f0, f1, f2, f3]),
            errno: u16::from_ne_bytes([e0, e1]),
            kind,
            origin,
            state,
            family,
            sigpipe,
            protocol,
        }
    }

    /// The signature as numbers, as functions of the kernel programs pass it to each other.
    #[must_use]
    #[inline]
    pub const fn to_words(&self) -> [u32; 3] {
        let Self { flags, errno, kind, origin, state, family, sigpipe, protocol } = *self;
        let [low, high] = errno.to_ne_bytes();
        let where_from = u32::from_ne_bytes([kind, origin, state, family]);
        [flags, where_from, u32::from_ne_bytes([low, high, sigpipe, protocol])]
    }

    /// Inverse of [`Self::to_words`].
    #[must_use]
    #[inline]
    pub const fn from_words([flags, where_from, rest]: [u32; 3]) -> Self {
        let [kind, origin, state, family] = where_from.to_ne_bytes();
        let [low, high, sigpipe, protocol] = rest.to_ne_bytes();
        let errno = u16::from_ne_bytes([low, high]);
        Self { flags, errno, kind, origin, state, family, sigpipe, protocol }
    }
}

/// Declares an enum whose values are a byte on the wire, with its checked conversion.
macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal,)+ }) => {
        $(#[$meta])*
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$vmeta])* $variant = $value,)+
        }

        impl $name {
            /// Every value, in order of its number on the wire.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }

        impl TryFrom<u8> for $name {
            /// The byte that names no value.
            type Error = u8;

            fn try_from(byte: u8) -> Result<Self, u8> {
                match byte {
                    $($value => Ok(Self::$variant),)+
                    unknown => Err(unknown),
                }
            }
        }
    };
}

wire_enum! {
    /// The call or event that was observed, whatever kernel function shows it.
    EventKind {
        /// A connection, or a connect in progress, ended with an error (`tcp_done`).
        ConnectionEnded = 1,
        /// The protocol's accept failed, or returned a connection that has already failed
        /// (`inet_csk_accept`).
        Accept = 2,
        /// A retransmission timeout fired and the connection lives on (`tcp_retransmit_timer`).
        Retransmission = 3,
        /// A write failed (`sk_stream_error`; for Unix sockets `send_sig`, `unix_stream_sendmsg`
        /// and `unix_dgram_sendmsg`).
        Write = 4,
        /// A connect failed (`__inet_stream_connect`).
        Connect = 5,
        /// A socket was closed while it was connecting (`__tcp_close`).
        CloseWhileConnecting = 6,
        /// A bind failed (`__sys_bind`, `__sys_bind_socket`).
        Bind = 7,
        /// A listen failed (`__sys_listen`, `io_listen`).
        Listen = 8,
        /// A setsockopt failed (`do_sock_setsockopt`, `__sys_setsockopt`).
        Setsockopt = 9,
        /// A getsockopt failed (`do_sock_getsockopt`, `__sys_getsockopt`).
        Getsockopt = 10,
        /// The peer closed while it owed an answer (`tcp_fin`).
        PeerClosed = 11,
        /// An error was stored in a socket that stays open (`inet_sk_error_report`, `sk_error_report`).
        ErrorReported = 12,
        /// An accept call failed outside the protocol: for lack of a descriptor or memory, by policy,
        /// or on an argument (`__sys_accept4`).
        AcceptCall = 13,
        /// No socket could be made (`__sys_socket`).
        Socket = 14,
        /// A socket was closed while the errno of its failure was pending: no call had taken it
        /// (`__tcp_close`). State, origin, flags and errno are the failure's.
        ClosedUnread = 15,
        /// A listener has dropped handshake packets because its accept queue was full
        /// (`inet_csk_accept`, or no function: the daemon looks from time to time).
        HandshakesDropped = 20,
        /// A datagram was dropped because its socket had no room for it (`udp_fail_queue_rcv_skb`).
        ReceiveQueueFull = 25,
        /// A datagram could not be sent (`udp_sendmsg`, `udpv6_sendmsg`, `unix_dgram_sendmsg`).
        DatagramSend = 26,
        /// This host sends an RST (`tcp_send_active_reset`, `tcp_v4_send_reset`, `tcp_v6_send_reset`). The
        /// origin is a [`SentReset`].
        ResetSent = 27,
    }
}

wire_enum! {
    /// The kernel function that was working on the socket when `tcp_done` closed it.
    Origin {
        /// None of the functions below, or it was not seen.
        Other = 0,
        /// `tcp_reset`: a segment arrived that ends the connection.
        Reset = 1,
        /// `tcp_retransmit_timer`: the retransmission timer fired.
        RetransmitTimer = 2,
        /// `tcp_abort`: somebody asked the kernel to kill the socket.
        Abort = 3,
        /// No `tcp_done`: an error was reported for a socket that stays open
        /// (`inet_sk_error_report`, `sk_error_report`).
        Report = 4,
        /// `tcp_disconnect`: the program dissolved its own connection, by connect with `AF_UNSPEC`.
        Dissolved = 5,
        /// No `tcp_done`: a connect of a Unix socket, or a datagram, waited for as long as
        /// `SO_SNDTIMEO` allows.
        SendTimeout = 15,
        /// No `tcp_done`: a program looked for a service that most hosts do without.
        SpareService = 16,
        /// No `tcp_done`: the connecting end of a Unix connection was closed, with unread data.
        ClientClose = 17,
    }
}

wire_enum! {
    /// Why this host sends an RST. Used instead of the origin in an [`EventKind::ResetSent`].
    SentReset {
        /// None of the reasons below.
        Other = 0,
        /// A program closed the connection without having read everything that had arrived.
        UnreadData = 1,
        /// A program closed the connection, with `SO_LINGER` and no time to linger.
        LingerZero = 2,
        /// The connection waited to be accepted, and its listener was closed.
        ListenerClosed = 3,
        /// A program dissolved the connection, by connect with `AF_UNSPEC`.
        Dissolved = 4,
        /// The peer has not answered keepalive probes.
        Keepalive = 5,
        /// Somebody asked the kernel to kill the socket.
        Aborted = 6,
        /// A program had closed the connection, and the peer did not in time, or `TCP_LINGER2` left
        /// it no time.
        OrphanTimeout = 7,
        /// A program had closed the connection, and the kernel gave it up for lack of memory, or of
        /// room for orphans.
        OutOfMemory = 8,
        /// The connection carried an MPTCP connection, or was to.
        Mptcp = 9,
        /// A segment arrived for which there is no socket.
        NoSocket = 16,
        /// A segment that belongs to no connection arrived at a listener.
        Listener = 17,
        /// A segment arrived that a handshake in progress has no use for.
        Request = 18,
        /// A segment arrived for a connection that is over.
        TimeWait = 19,
        /// Data arrived at a socket that was closed, or shut down for reading.
        DataAfterClose = 20,
        /// A segment arrived that acknowledges what the socket has not sent.
        UnacceptableAck = 21,
    }
}

wire_enum! {
    /// Effect of SIGPIPE on a process whose write failed with EPIPE.
    Sigpipe {
        /// Not applicable: no write, or another errno.
        NotRaised = 0,
        /// No signal: `MSG_NOSIGNAL`, which `io_uring`'s send always sets, or a Unix socket that is
        /// not a stream.
        None = 1,
        /// The process ignores it (`SIG_IGN`).
        Ignored = 2,
        /// A handler runs.
        Handled = 3,
        /// The signal is blocked and stays pending.
        Blocked = 4,
        /// The default action: the process dies.
        Kills = 5,
        /// The default action, but the process is the init of a pid namespace: nothing happens.
        Discarded = 6,
    }
}

wire_enum! {
    /// Address family, as people read the addresses.
    Family {
        /// IPv4, also when carried by an IPv6 socket as an IPv4-mapped address.
        Ipv4 = 4,
        /// IPv6.
        Ipv6 = 6,
    }
}

wire_enum! {
    /// Address family of sockets without IP addresses: the kernel's number (`AF_*` in
    /// `include/linux/socket.h`) plus 128. Only families that hosts commonly use have a value, so
    /// that programs that try random numbers make few signatures.
    Domain {
        /// Sockets with a path in the file system, or an abstract name.
        Unix = 129,
        /// The kernel's own configuration and notifications.
        Netlink = 144,
        /// Frames of network devices.
        Packet = 145,
        /// Controller area networks.
        Can = 157,
        /// Bluetooth.
        Bluetooth = 159,
        /// The kernel's cryptography.
        Alg = 166,
        /// Virtual machines and their hosts.
        Vsock = 168,
        /// TCP over shared memory.
        Smc = 171,
        /// Frames of network devices, without a copy.
        Xdp = 172,
        /// Any other.
        Other = 255,
    }
}

wire_enum! {
    /// The protocol that a socket was opened with, as `SO_PROTOCOL` returns it. The numbers are our
    /// own: the kernel's `IPPROTO_*` do not fit in a byte, and families other than IP have none.
    Protocol {
        /// TCP, also as a subflow of an MPTCP socket.
        Tcp = 1,
        /// MPTCP.
        Mptcp = 2,
        /// UDP.
        Udp = 3,
        /// A Unix socket.
        Unix = 4,
        /// A socket between virtual machines and their hosts.
        Vsock = 5,
        /// Netlink.
        Netlink = 6,
        /// A packet socket.
        Packet = 7,
        /// Unprivileged ICMP (`net.ipv4.ping_group_range`).
        Icmp = 8,
        /// IP packets of any protocol.
        Raw = 9,
        /// SCTP.
        Sctp = 10,
        /// Any other.
        Other = 11,
    }
}

wire_enum! {
    /// How a socket was opened.
    Role {
        /// By connect.
        Client = 1,
        /// By accept.
        Server = 2,
    }
}

wire_enum! {
    /// TCP state of a socket; numbers from `include/net/tcp_states.h`, the same in every kernel.
    TcpState {
        /// `TCP_ESTABLISHED`
        Established = 1,
        /// `TCP_SYN_SENT`
        SynSent = 2,
        /// `TCP_SYN_RECV`
        SynRecv = 3,
        /// `TCP_FIN_WAIT1`
        FinWait1 = 4,
        /// `TCP_FIN_WAIT2`
        FinWait2 = 5,
        /// `TCP_TIME_WAIT`
        TimeWait = 6,
        /// `TCP_CLOSE`
        Close = 7,
        /// `TCP_CLOSE_WAIT`
        CloseWait = 8,
        /// `TCP_LAST_ACK`
        LastAck = 9,
        /// `TCP_LISTEN`
        Listen = 10,
        /// `TCP_CLOSING`
        Closing = 11,
        /// `TCP_NEW_SYN_RECV`
        NewSynRecv = 12,
    }
}

/// Facts about the socket that a diagnosis needs, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flags(pub u32);

impl Flags {
    /// No program holds the socket any more: it was closed (`SOCK_DEAD`).
    pub const ORPHAN: Self = Self(1 << 0);
    /// The connection still waits in its listener's accept queue: no `sk_socket`, not `SOCK_DEAD`.
    pub const UNACCEPTED: Self = Self(1 << 1);
    /// `tcp_reset` ran for a segment without the RST bit: data that arrived after reading was shut down.
    pub const NO_RST: Self = Self(1 << 2);
    /// `TCP_USER_TIMEOUT` is set on the socket (`icsk_user_timeout`).
    pub const USER_TIMEOUT: Self = Self(1 << 3);
    /// At least one segment was retransmitted and not acknowledged (`icsk_retransmits`).
    pub const RETRANSMITTED: Self = Self(1 << 4);
    /// The peer's advertised window is closed (`snd_wnd` is 0).
    pub const ZERO_WINDOW: Self = Self(1 << 5);
    /// Data waits that was never sent (`write_seq` is past `snd_nxt`).
    pub const UNSENT: Self = Self(1 << 6);
    /// Window or keepalive probes went unanswered (`icsk_probes_out`).
    pub const PROBED: Self = Self(1 << 7);
    /// As many probes went unanswered as `tcp_retries2` allows.
    pub const PROBES_EXHAUSTED: Self = Self(1 << 8);
    /// `SO_KEEPALIVE` is set (`SOCK_KEEPOPEN`).
    pub const KEEPALIVE: Self = Self(1 << 9);
    /// The errno is the one an earlier ICMP message or routing failure left (`sk_err_soft`).
    pub const SOFT_ERROR: Self = Self(1 << 10);

    /// The RST answered the first data after a silence longer than the threshold.
    pub const IDLE: Self = Self(1 << 11);
    /// The socket had failed before, and its program could know: this is a later call.
    pub const REPORTED: Self = Self(1 << 12);
    /// The call returned the errno of a failure that was counted when it happened.
    pub const DELIVERY: Self = Self(1 << 13);
    /// The program itself had shut down sending (`SHUT_WR`).
    pub const SEND_SHUTDOWN: Self = Self(1 << 14);
    /// A security module, or a BPF program of the cgroup, forbade the call before the protocol saw it.
    pub const POLICY: Self = Self(1 << 15);
    /// A send call was to connect: with `MSG_FASTOPEN`, or after `TCP_FASTOPEN_CONNECT`.
    pub const FAST_OPEN: Self = Self(1 << 16);
    /// An MPTCP socket: it has failed because its last subflow has, or because the peer ended it.
    pub const MPTCP: Self = Self(1 << 17);
    /// A subflow of an MPTCP socket, which no program holds.
    pub const SUBFLOW: Self = Self(1 << 18);
    /// The timer's last attempts to send failed on this host, and nothing reached the network.
    /// While connecting, all attempts failed.
    pub const SEND_FAILED: Self = Self(1 << 19);
    /// The peer has acknowledged this side's SYN, but none of the data that followed, and has sent
    /// no data.
    pub const UNANSWERED: Self = Self(1 << 20);
    /// The failure whose outcome this event reports left its socket open ([`EventKind::ErrorReported`]).
    pub const STAYED_OPEN: Self = Self(1 << 21);
    /// The connection was reset while its program, which had shut down sending, could still receive
    /// an answer.
    pub const RECEIVING: Self = Self(1 << 22);
    /// A write on a closed connection: the peer's FIN had arrived.
    pub const PEER_CLOSED: Self = Self(1 << 23);
    /// The peer had acknowledged everything that was sent: when it reset a connection after its
    /// FIN, unless a probe prompted that, or when it closed without an answer.
    pub const ACKED: Self = Self(1 << 24);
    /// The socket that accept was called on has never listened.
    pub const NEVER_LISTENED: Self = Self(1 << 25);
    /// The peer closed right after data that it may have taken for a farewell.
    pub const FAREWELL: Self = Self(1 << 26);
    /// The program's own connect was not complete in `SYN_RECV`, because both ends had sent a SYN.
    /// Connections that were accepted by Fast Open are in that state too.
    pub const CONNECTING: Self = Self(1 << 27);
    /// The address argument of connect or bind is not a complete address of the socket's family.
    pub const MALFORMED: Self = Self(1 << 28);
    /// A call after a socket's failure, where the failure's errno stands for an ICMP error.
    pub const UNREACHABLE: Self = Self(1 << 29);
    /// The peer closed before either end had sent anything.
    pub const NO_DATA: Self = Self(1 << 30);

    /// Every flag with its name, in bit order.
    pub const NAMES: &'static [(Self, &'static str)] = &[
        (Self::ORPHAN, "orphan"),
        (Self::UNACCEPTED, "unaccepted"),
        (Self::NO_RST, "no_rst"),
        (Self::USER_TIMEOUT, "user_timeout"),
        (Self::RETRANSMITTED, "retransmitted"),
        (Self::ZERO_WINDOW, "zero_window"),
        (Self::UNSENT, "unsent"),
        (Self::PROBED, "probed"),
        (Self::PROBES_EXHAUSTED, "probes_exhausted"),
        (Self::KEEPALIVE, "keepalive"),
        (Self::SOFT_ERROR, "soft_error"),
        (Self::IDLE, "idle"),
        (Self::REPORTED, "reported"),
        (Self::DELIVERY, "delivery"),
        (Self::SEND_SHUTDOWN, "send_shutdown"),
        (Self::POLICY, "policy"),
        (Self::FAST_OPEN, "fast_open"),
        (Self::MPTCP, "mptcp"),
        (Self::SUBFLOW, "subflow"),
        (Self::SEND_FAILED, "send_failed"),
        (Self::UNANSWERED, "unanswered"),
        (Self::STAYED_OPEN, "stayed_open"),
        (Self::RECEIVING, "receiving"),
        (Self::PEER_CLOSED, "peer_closed"),
        (Self::ACKED, "acked"),
        (Self::NEVER_LISTENED, "never_listened"),
        (Self::FAREWELL, "farewell"),
        (Self::CONNECTING, "connecting"),
        (Self::MALFORMED, "malformed"),
        (Self::UNREACHABLE, "unreachable"),
        (Self::NO_DATA, "no_data"),
    ];

    /// No flags.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether every flag of `other` is set.
    #[must_use]
    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags, and `other` if `condition` holds.
    #[must_use]
    #[inline]
    pub const fn with_if(self, other: Self, condition: bool) -> Self {
        if condition { Self(self.0 | other.0) } else { self }
    }

    /// These flags and `other`.
    #[must_use]
    #[inline]
    pub const fn with(self, other: Self) -> Self {
        self.with_if(other, true)
    }
}
