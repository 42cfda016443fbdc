//! Table of hooks: the programs for each kernel function, by its prototype.
//!
//! All differences between kernel versions are in this table. If a function's prototype is not in
//! the table, its hook is skipped and reported, never guessed.

use crate::variant::{ANY, Attach, Variant, entry, exit, kprobe, kretprobe, tracepoint};

/// Type of `tcp_reset`'s segment parameter.
pub(crate) const SKB: &str = "struct sk_buff *";

const RST_REASON: &str = "enum sk_rst_reason";
const SOCK: &str = "struct sock *";
const SOCKET: &str = "struct socket *";
const FILE: &str = "struct file *";

macro_rules! variant {
    ($function:literal($($parameter:expr),*) => [$($program:expr),+]) => {
        Variant {
            function: $function,
            parameters: &[$($parameter),*],
            programs: &[$($program),+],
        }
    };
}

macro_rules! hooks {
    ($(
        $(#[$doc:meta])*
        $hook:ident = $id:literal, hides $hides:literal {
            $($function:literal($($parameter:expr),*) => [$($program:expr),+];)+
        }
        $(, by kprobe $(hides $lost:literal)? {
            $($kfunction:literal($($kparameter:expr),*) => [$($kprogram:expr),+];)+
        })?
        $(, not by kprobe: $unserved:literal;)?
    )+) => {
        /// A kernel event that socktrace observes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Hook {
            $($(#[$doc])* $hook,)+
        }

        impl Hook {
            /// Every hook, in attachment order.
            pub const ALL: &'static [Self] = &[$(Self::$hook),+];

            /// Stable name of the hook: usually that of the kernel function.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$hook => $id,)+ }
            }

            /// Failures or details that stay hidden without the hook.
            pub const fn hides(self) -> &'static str {
                match self { $(Self::$hook => $hides,)+ }
            }

            /// Variants of the hook by kernel function and prototype, best first. Of those that
            /// match, the first one accepted by the kernel is used.
            pub const fn variants(self) -> &'static [Variant] {
                match self {
                    $(Self::$hook => {
                        const VARIANTS: &[Variant] = &[
                            $(variant!($function($($parameter),*) => [$($program),+]),)+
                        ];
                        VARIANTS
                    })+
                }
            }

            /// Variants of the hook with kprobes; none if kprobes cannot serve it.
            pub const fn kprobe_variants(self) -> &'static [Variant] {
                match self {
                    $(Self::$hook => {
                        const VARIANTS: &[Variant] = &[
                            $($(variant!($kfunction($($kparameter),*) => [$($kprogram),+]),)+)?
                        ];
                        VARIANTS
                    })+
                }
            }

            /// Both kinds of variants.
            pub fn all_variants(self) -> impl Iterator<Item = &'static Variant> {
                self.variants().iter().chain(self.kprobe_variants())
            }

            /// Whether the hook is a tracepoint instead of a function.
            pub const fn is_tracepoint(self) -> bool {
                matches!(self.variants()[0].attach(), Attach::Tracepoint)
            }

            /// Failures or details that stay hidden when kprobes serve the hook.
            pub const fn hides_by_kprobe(self) -> Option<&'static str> {
                match self {
                    $(Self::$hook => {
                        const HIDDEN: &[&str] = &[$($($lost)?)?];
                        HIDDEN.first().copied()
                    })+
                }
            }

            /// Why kprobes cannot serve the hook.
            pub const fn not_by_kprobe(self) -> Option<&'static str> {
                match self {
                    $(Self::$hook => {
                        const REASON: &[&str] = &[$($unserved)?];
                        REASON.first().copied()
                    })+
                }
            }
        }
    };
}

impl Hook {
    /// Whether the hook reports nothing, and is needed only if programs cannot recognize that a
    /// tracked socket has been destroyed.
    #[must_use]
    pub const fn only_forgets(self) -> bool {
        matches!(self, Self::TcpDestroySock | Self::UdpDestroySock)
    }
}

hooks! {
    /// Every abnormal close.
    TcpDone = "tcp_done",
    hides "failures of connecting and established sockets" {
        // 6.11, and some long-term series.
        "tcp_done_with_error"(SOCK, "int") => [entry("tcp_done_with_error")];
        "tcp_done"(SOCK) => [entry("tcp_done")];
    }, by kprobe hides "failures that interrupt another kprobe on their CPU (rare, and not counted)" {
        "tcp_done"(SOCK) => [kprobe("tcp_done_kprobe")];
    }
    /// Cause of a close: a segment.
    TcpReset = "tcp_reset",
    hides "whether a reset ended a connection" {
        "tcp_reset"(SOCK, SKB) => [entry("tcp_reset")];
        // 5.10, where a reset by data after shutdown cannot be distinguished from one by RST.
        "tcp_reset"(SOCK) => [entry("tcp_reset")];
    }, by kprobe {
        "tcp_reset"(SOCK, SKB) => [kprobe("tcp_reset_kprobe")];
        "tcp_reset"(SOCK) => [kprobe("tcp_reset_kprobe")];
    }
    /// A handshake completes, and an RST arrives.
    TcpInitTransfer = "tcp_init_transfer",
    hides "the TTL of an RST beside that of the handshake (rst_ttl, handshake_ttl)" {
        "tcp_init_transfer"(SOCK, "int", SKB) => [
            entry("tcp_init_transfer").reading_memory(),
            entry("tcp_reset_hops").at("tcp_reset", &[SOCK, SKB])
        ];
        // 5.10, whose tcp_reset does not receive the segment.
        "tcp_init_transfer"(SOCK, "int", SKB) => [
            entry("tcp_init_transfer").reading_memory(),
            entry("tcp_validate_incoming").at("tcp_validate_incoming", &[SOCK, SKB, ANY, "int"])
        ];
    }, by kprobe {
        "tcp_init_transfer"(SOCK, "int", SKB) => [
            kprobe("tcp_init_transfer_kprobe"),
            kprobe("tcp_reset_hops_kprobe").at("tcp_reset", &[SOCK, SKB])
        ];
        "tcp_init_transfer"(SOCK, "int", SKB) => [
            kprobe("tcp_init_transfer_kprobe"),
            kprobe("tcp_validate_incoming_kprobe")
                .at("tcp_validate_incoming", &[SOCK, SKB, ANY, "int"])
        ];
    }
    /// Cause of a close: the retransmission timer.
    TcpRetransmitTimer = "tcp_retransmit_timer",
    hides "counts of retransmission timeouts; which timer gave up is inferred from the socket's fields" {
        "tcp_retransmit_timer"(SOCK) =>
            [exit("tcp_retransmit_timer_return"), entry("tcp_retransmit_timer")];
    }, by kprobe {
        "tcp_retransmit_timer"(SOCK) => [
            kretprobe("tcp_retransmit_timer_kretprobe"),
            kprobe("tcp_retransmit_timer_kprobe")
        ];
    }
    /// Data is retransmitted.
    TcpRetransmitSkb = "tcp_retransmit_skb",
    hides "retransmissions, including SYNs, that never left this host: they look lost on the way" {
        "tcp_retransmit_skb"(SOCK, SKB, "int") => [exit("tcp_retransmit_skb_return")];
    }, by kprobe {
        "tcp_retransmit_skb"(SOCK, SKB, "int") => [
            kretprobe("tcp_retransmit_skb_kretprobe"),
            kprobe("tcp_retransmit_skb_kprobe")
        ];
    }
    /// A probe is sent, or a timer sends new data.
    TcpWriteWakeup = "tcp_write_wakeup",
    hides "probes and new data that never left this host, and why" {
        "tcp_write_wakeup"(SOCK, "int") => [exit("tcp_write_wakeup_return")];
    }, by kprobe {
        "tcp_write_wakeup"(SOCK, "int") => [
            kretprobe("tcp_write_wakeup_kretprobe"),
            kprobe("tcp_write_wakeup_kprobe")
        ];
    }
    /// Cause of a close: the socket was killed.
    TcpAbort = "tcp_abort",
    hides "that a socket was killed by ss -K or BPF; only its errno shows it" {
        "tcp_abort"(SOCK, "int") => [exit("tcp_abort_return"), entry("tcp_abort")];
    }, by kprobe {
        "tcp_abort"(SOCK, "int") => [kretprobe("tcp_abort_kretprobe"), kprobe("tcp_abort_kprobe")];
    }
    /// Accept returns.
    InetCskAccept = "inet_csk_accept",
    hides "which process accepts a connection, even one already reset; failing accepts" {
        "inet_csk_accept"(SOCK, "struct proto_accept_arg *") => [
            exit("inet_csk_accept_two_args"),
            entry("security_sock_graft_spare").of("security_sock_graft").spare()
        ];
        // Up to 6.9.
        "inet_csk_accept"(SOCK, ANY, ANY, ANY) => [
            exit("inet_csk_accept_four_args"),
            entry("security_sock_graft_spare").of("security_sock_graft").spare()
        ];
        // Up to 5.16, whose verifier rejects the variant above.
        "inet_csk_accept"(SOCK, ANY, ANY, ANY) => [
            exit("inet_csk_accept_connections"),
            exit("sys_accept4_errors_return").of("__sys_accept4"),
            entry("security_sock_graft_spare").of("security_sock_graft").spare()
        ];
    }, by kprobe hides "accepts that fail or are interrupted" {
        "security_sock_graft"(SOCK, SOCKET) => [kprobe("security_sock_graft_kprobe")];
    }
    /// Accept fails outside the protocol.
    SysAccept4 = "__sys_accept4",
    hides "accepts that fail for lack of descriptors or memory, by policy or for a wrong argument" {
        "__sys_accept4"("int", ANY, ANY, ANY) => [exit("sys_accept4_return")];
    }, not by kprobe: "return probes lose what a waiting function returns";
    /// Connect returns.
    Connect = "connect",
    hides "which process connects; connects that fail for local reasons" {
        "__sys_connect_file"(FILE, ANY, "int", "int") => [
            exit("sys_connect_file_return").reading_memory(),
            exit("tcp_sendmsg_fastopen_return")
                .at("tcp_sendmsg_fastopen", &[SOCK, ANY, ANY, ANY, ANY])
        ];
        // Kernels without `tcp_sendmsg_fastopen` as a separate function: before 6.1. Also under
        // lockdown=confidentiality, where the programs cannot find out who is waiting in connect.
        "__inet_stream_connect"(SOCKET, ANY, ANY, ANY, ANY) => [
            exit("inet_stream_connect_return"),
            exit("security_socket_connect_return")
                .at("security_socket_connect", &[SOCKET, ANY, "int"]),
            exit("unix_stream_connect_return")
                .at("unix_stream_connect", &[SOCKET, ANY, "int", "int"])
                .if_built(),
            exit("unix_dgram_connect_return")
                .at("unix_dgram_connect", &[SOCKET, ANY, "int", "int"])
                .if_built(),
            entry("inet_stream_connect")
        ];
        // Built without security modules for the network.
        "__inet_stream_connect"(SOCKET, ANY, ANY, ANY, ANY) =>
            [
            exit("inet_stream_connect_return"),
            exit("unix_stream_connect_return")
                .at("unix_stream_connect", &[SOCKET, ANY, "int", "int"])
                .if_built(),
            exit("unix_dgram_connect_return")
                .at("unix_dgram_connect", &[SOCKET, ANY, "int", "int"])
                .if_built(),
            entry("inet_stream_connect")
        ];
    }, by kprobe hides "connects that are interrupted, shut down, out of time or refused by a BPF program" {
        "__inet_stream_connect"(SOCKET, ANY, ANY, ANY, ANY) => [
            kretprobe("security_socket_connect_kretprobe").of("security_socket_connect"),
            kretprobe("tcp_v6_connect_kretprobe").of("tcp_v6_connect"),
            kretprobe("tcp_v4_connect_kretprobe").of("tcp_v4_connect"),
            kretprobe("unix_stream_connect_kretprobe").of("unix_stream_connect").if_built(),
            kretprobe("unix_dgram_connect_kretprobe").of("unix_dgram_connect").if_built(),
            kprobe("security_socket_connect_kprobe").of("security_socket_connect"),
            kprobe("unix_stream_connect_kprobe").of("unix_stream_connect").if_built(),
            kprobe("unix_dgram_connect_kprobe").of("unix_dgram_connect").if_built(),
            kprobe("inet_stream_connect_kprobe")
        ];
        // Built without IPv6.
        "__inet_stream_connect"(SOCKET, ANY, ANY, ANY, ANY) => [
            kretprobe("security_socket_connect_kretprobe").of("security_socket_connect"),
            kretprobe("tcp_v4_connect_kretprobe").of("tcp_v4_connect"),
            kretprobe("unix_stream_connect_kretprobe").of("unix_stream_connect").if_built(),
            kretprobe("unix_dgram_connect_kretprobe").of("unix_dgram_connect").if_built(),
            kprobe("security_socket_connect_kprobe").of("security_socket_connect"),
            kprobe("unix_stream_connect_kprobe").of("unix_stream_connect").if_built(),
            kprobe("unix_dgram_connect_kprobe").of("unix_dgram_connect").if_built(),
            kprobe("inet_stream_connect_kprobe")
        ];
        // Built without security modules for the network.
        "__inet_stream_connect"(SOCKET, ANY, ANY, ANY, ANY) => [
            kretprobe("tcp_v4_connect_kretprobe").of("tcp_v4_connect"),
            kretprobe("unix_stream_connect_kretprobe").of("unix_stream_connect").if_built(),
            kretprobe("unix_dgram_connect_kretprobe").of("unix_dgram_connect").if_built(),
            kprobe("unix_stream_connect_kprobe").of("unix_stream_connect").if_built(),
            kprobe("unix_dgram_connect_kprobe").of("unix_dgram_connect").if_built(),
            kprobe("inet_stream_connect_kprobe")
        ];
    }
    /// A socket is closed while connecting, or with a pending error.
    TcpClose = "tcp_close",
    hides "connects that the program gave up itself; errnos that no call has returned (undelivered)" {
        "__tcp_close"(SOCK, ANY) => [
            entry("tcp_close"),
            // 6.0 and later.
            entry("mptcp_close").at("__mptcp_close", &[SOCK, ANY]).if_built()
        ];
        // Early 5.10.
        "tcp_close"(SOCK, ANY) => [entry("tcp_close")];
    }, by kprobe {
        "__tcp_close"(SOCK, ANY) => [
            kprobe("tcp_close_kprobe"),
            kprobe("mptcp_close_kprobe").of("__mptcp_close").if_built()
        ];
        "tcp_close"(SOCK, ANY) => [kprobe("tcp_close_kprobe")];
    }
    /// A write fails.
    SkStreamError = "sk_stream_error",
    hides "which call delivers an errno to a writer, EPIPE after a reset, SIGPIPE, SO_SNDTIMEO of writes" {
        "sk_stream_error"(SOCK, "int", "int") => [exit("sk_stream_error_return")];
    }, by kprobe {
        "sk_stream_error"(SOCK, "int", "int") => [kprobe("sk_stream_error_kprobe")];
    }
    /// An error is stored in a socket that stays open.
    InetSkErrorReport = "inet_sk_error_report",
    hides "errors of sockets that stay open (unreachable_reported)" {
        "inet_sk_error_report"() => [tracepoint("inet_sk_error_report")];
    }
    /// A TCP socket is destroyed.
    TcpDestroySock = "tcp_destroy_sock",
    hides "the end of sockets without cookies: the table of sockets fills up" {
        "tcp_destroy_sock"() => [tracepoint("tcp_destroy_sock")];
    }
    /// Connect returns on a datagram socket.
    InetDgramConnect = "inet_dgram_connect",
    hides "which process connects a UDP socket; failing UDP connects" {
        "inet_dgram_connect"(SOCKET, ANY, "int", "int") => [exit("inet_dgram_connect_return")];
    }, by kprobe {
        "inet_dgram_connect"(SOCKET, ANY, "int", "int") => [
            kretprobe("inet_dgram_connect_kretprobe"),
            kprobe("inet_dgram_connect_kprobe")
        ];
    }
    /// A UDP socket is destroyed.
    UdpDestroySock = "udp_destroy_sock",
    hides "the end of UDP sockets without cookies: the table of sockets fills up" {
        "udp_destroy_sock"(SOCK) => [
            entry("udp_destroy_sock"),
            entry("udpv6_destroy_sock").at("udpv6_destroy_sock", &[SOCK]).if_built()
        ];
    }, by kprobe {
        "udp_destroy_sock"(SOCK) => [
            kprobe("udp_destroy_sock_kprobe"),
            kprobe("udpv6_destroy_sock_kprobe").of("udpv6_destroy_sock").if_built()
        ];
    }
    /// An error is stored in a socket other than a TCP one.
    SkErrorReport = "sk_error_report",
    hides "errors of sockets other than TCP's: ICMP errors of datagrams, resets of vsock, netlink overruns" {
        "sk_error_report"(SOCK) => [
            entry("sk_error_report"),
            entry("udp_err").at("udp_err", &[SKB, ANY]),
            entry("icmpv6_notify").at("icmpv6_notify", &[SKB, "u8", "u8", ANY]).if_built()
        ];
        // Up to 5.13.
        "sock_def_error_report"(SOCK) => [
            entry("sk_error_report"),
            entry("udp_err").at("udp_err", &[SKB, ANY]),
            entry("icmpv6_notify").at("icmpv6_notify", &[SKB, "u8", "u8", ANY]).if_built()
        ];
    }, by kprobe {
        "sk_error_report"(SOCK) => [
            kprobe("sk_error_report_kprobe"),
            kprobe("udp_err_kprobe").of("udp_err"),
            kprobe("icmpv6_notify_kprobe").of("icmpv6_notify").if_built()
        ];
        "sock_def_error_report"(SOCK) => [
            kprobe("sk_error_report_kprobe"),
            kprobe("udp_err_kprobe").of("udp_err"),
            kprobe("icmpv6_notify_kprobe").of("icmpv6_notify").if_built()
        ];
    }
    /// A datagram does not fit into the receive queue.
    UdpFailQueueRcvSkb = "udp_fail_queue_rcv_skb",
    hides "datagrams that are dropped because their program reads too slowly (receive_queue_full)" {
        "udp_fail_queue_rcv_skb"() => [tracepoint("udp_fail_queue_rcv_skb")];
    }
    /// A datagram is sent.
    UdpSendmsg = "udp_sendmsg",
    hides "datagrams that this host refuses to send (send_refused)" {
        "udp_sendmsg"(SOCK, ANY, ANY) => [
            exit("udp_sendmsg_return"),
            exit("udpv6_sendmsg_return").at("udpv6_sendmsg", &[SOCK, ANY, ANY]).if_built()
        ];
    }, not by kprobe: "return probes lose what a waiting function returns";
    /// An ICMP error arrives for IPv4.
    TcpV4Err = "tcp_v4_err",
    hides "type, code and sender of ICMP errors" {
        "tcp_v4_err"(SKB, ANY) => [entry("tcp_v4_err")];
    }, by kprobe {
        "tcp_v4_err"(SKB, ANY) => [kprobe("tcp_v4_err_kprobe")];
    }
    /// An ICMP error arrives for IPv6.
    TcpV6Err = "tcp_v6_err",
    hides "type, code and sender of ICMPv6 errors" {
        "tcp_v6_err"(SKB, ANY, "u8", "u8", "int", ANY) => [entry("tcp_v6_err")];
    }, by kprobe {
        "tcp_v6_err"(SKB, ANY, "u8", "u8", "int", ANY) => [kprobe("tcp_v6_err_kprobe")];
    }
    /// The peer closes.
    TcpFin = "tcp_fin",
    hides "peers that close while they owe an answer (premature_eof)" {
        "tcp_fin"(SOCK) => [entry("tcp_fin")];
    }, by kprobe {
        "tcp_fin"(SOCK) => [kprobe("tcp_fin_kprobe")];
    }
    /// This host sends an RST.
    TcpSendActiveReset = "tcp_send_active_reset",
    hides "which process of this host sent an RST, and why" {
        "tcp_send_active_reset"(SOCK, RST_REASON) => [entry("tcp_send_active_reset_second")];
        "tcp_send_active_reset"(SOCK, ANY, RST_REASON) => [entry("tcp_send_active_reset_third")];
        // Up to 6.9, without a reason.
        "tcp_send_active_reset"(SOCK, ANY) => [entry("tcp_send_active_reset")];
    }, by kprobe {
        "tcp_send_active_reset"(SOCK, RST_REASON) =>
            [kprobe("tcp_send_active_reset_second_kprobe")];
        "tcp_send_active_reset"(SOCK, ANY, RST_REASON) =>
            [kprobe("tcp_send_active_reset_third_kprobe")];
        "tcp_send_active_reset"(SOCK, ANY) => [kprobe("tcp_send_active_reset_kprobe")];
    }
    /// This host answers a segment with an RST.
    TcpSendReset = "tcp_send_reset",
    hides "RSTs that this host sends in answer to segments" {
        "tcp_v4_send_reset"(SOCK, SKB, RST_REASON) => [
            entry("tcp_v4_send_reset_third"),
            entry("tcp_v6_send_reset_third")
                .at("tcp_v6_send_reset", &[SOCK, SKB, RST_REASON])
                .if_built()
        ];
        // Up to 6.9, without a reason.
        "tcp_v4_send_reset"(SOCK, SKB) => [
            entry("tcp_v4_send_reset"),
            entry("tcp_v6_send_reset").at("tcp_v6_send_reset", &[SOCK, SKB]).if_built()
        ];
    }, by kprobe {
        "tcp_v4_send_reset"(SOCK, SKB, RST_REASON) => [
            kprobe("tcp_v4_send_reset_third_kprobe"),
            kprobe("tcp_v6_send_reset_third_kprobe").of("tcp_v6_send_reset").if_built()
        ];
        "tcp_v4_send_reset"(SOCK, SKB) => [
            kprobe("tcp_v4_send_reset_kprobe"),
            kprobe("tcp_v6_send_reset_kprobe").of("tcp_v6_send_reset").if_built()
        ];
    }
    /// bind fails.
    Bind = "bind",
    hides "failing binds" {
        "__sys_bind"("int", ANY, "int") => [
            exit("sys_bind_return").reading_memory(),
            // By `io_uring`, since 6.11.
            exit("sys_bind_socket_return")
                .at("__sys_bind_socket", &[SOCKET, ANY, "int"])
                .if_built()
                .reading_memory()
        ];
        // Under lockdown=confidentiality.
        "inet_bind"(SOCKET, ANY, "int") => [
            exit("inet_bind_return"),
            exit("inet6_bind_return").at("inet6_bind", &[SOCKET, ANY, "int"]).if_built(),
            exit("security_socket_bind_return")
                .at("security_socket_bind", &[SOCKET, ANY, "int"])
                .if_built(),
            exit("unix_bind_return").at("unix_bind", &[SOCKET, ANY, "int"]).if_built()
        ];
    }, by kprobe {
        "inet_bind"(SOCKET, ANY, "int") => [
            kretprobe("inet_bind_kretprobe"),
            kretprobe("inet6_bind_kretprobe").of("inet6_bind").if_built(),
            kretprobe("security_socket_bind_kretprobe").of("security_socket_bind").if_built(),
            kretprobe("unix_bind_kretprobe").of("unix_bind").if_built(),
            kprobe("inet_bind_kprobe"),
            kprobe("inet6_bind_kprobe").of("inet6_bind").if_built(),
            kprobe("security_socket_bind_kprobe").of("security_socket_bind").if_built(),
            kprobe("unix_bind_kprobe").of("unix_bind").if_built()
        ];
    }
    /// listen fails.
    Listen = "listen",
    hides "failing listens" {
        "__sys_listen"("int", "int") => [
            exit("sys_listen_return").reading_memory(),
            // By `io_uring`, since 6.11.
            exit("io_listen_return")
                .at("io_listen", &["struct io_kiocb *", ANY])
                .if_built()
                .reading_memory()
        ];
        // Under lockdown=confidentiality.
        "inet_listen"(SOCKET, "int") => [
            exit("inet_listen_return"),
            exit("security_socket_listen_return")
                .at("security_socket_listen", &[SOCKET, "int"])
                .if_built(),
            exit("unix_listen_return").at("unix_listen", &[SOCKET, "int"]).if_built()
        ];
    }, by kprobe {
        "inet_listen"(SOCKET, "int") => [
            kretprobe("inet_listen_kretprobe"),
            kretprobe("security_socket_listen_kretprobe").of("security_socket_listen").if_built(),
            kretprobe("unix_listen_kretprobe").of("unix_listen").if_built(),
            kprobe("inet_listen_kprobe"),
            kprobe("security_socket_listen_kprobe").of("security_socket_listen").if_built(),
            kprobe("unix_listen_kprobe").of("unix_listen").if_built()
        ];
    }
    /// A Unix socket is closed.
    UnixRelease = "unix_release",
    hides "Unix connections that are reset, as their peer closes with unread data" {
        "unix_release"(SOCKET) => [entry("unix_release").reading_memory()];
    }, by kprobe {
        "unix_release"(SOCKET) => [kprobe("unix_release_kprobe")];
    }
    /// A write raises SIGPIPE.
    SendSig = "send_sig",
    hides "writes to Unix sockets whose peer has closed, and what SIGPIPE does (write_after_peer_close)" {
        "send_sig"("int", "struct task_struct *", "int") => [entry("send_sig").reading_memory()];
    }, by kprobe {
        "send_sig"("int", "struct task_struct *", "int") => [kprobe("send_sig_kprobe")];
    }
    /// A message is sent by a Unix socket.
    UnixSendmsg = "unix_sendmsg",
    hides "what Unix sockets cannot send: datagrams, and writes that raise no signal (peer_queue_full)" {
        "unix_stream_sendmsg"(SOCKET, ANY, ANY) => [
            exit("unix_stream_sendmsg_return").reading_memory(),
            exit("unix_dgram_sendmsg_return")
                .at("unix_dgram_sendmsg", &[SOCKET, ANY, ANY])
                .reading_memory()
        ];
    }, not by kprobe: "return probes lose what a waiting function returns";
    /// Processes start and exit.
    SchedProcess = "sched_process",
    hides "failures of the processes that a followed one starts" {
        "sched_process_fork"() => [
            tracepoint("sched_process_exit").of("sched_process_exit"),
            tracepoint("sched_process_fork")
        ];
    }
    /// socket fails.
    SysSocket = "__sys_socket",
    hides "sockets that cannot be made (socket_failed)" {
        "__sys_socket"("int", "int", "int") => [exit("sys_socket_return")];
    }, by kprobe {
        "__sys_socket"("int", "int", "int") =>
            [kretprobe("sys_socket_kretprobe"), kprobe("sys_socket_kprobe")];
    }
    /// setsockopt fails.
    Setsockopt = "setsockopt",
    hides "rejected setsockopt calls" {
        "do_sock_setsockopt"(SOCKET, ANY, "int", "int", "sockptr_t", ANY) =>
            [
                exit("do_sock_setsockopt_return"),
                exit("sys_setsockopt_no_socket_return").of("__sys_setsockopt")
            ];
        // Up to 6.6.
        "__sys_setsockopt"("int", "int", "int", ANY, ANY) => [exit("sys_setsockopt_return")];
    }, by kprobe {
        "do_sock_setsockopt"(SOCKET, ANY, "int", "int", "sockptr_t", ANY) =>
            [
                kretprobe("do_sock_setsockopt_kretprobe"),
                kretprobe("sys_setsockopt_no_socket_kretprobe").of("__sys_setsockopt"),
                kprobe("do_sock_setsockopt_kprobe"),
                kprobe("sys_setsockopt_kprobe").of("__sys_setsockopt")
            ];
        "__sys_setsockopt"("int", "int", "int", ANY, ANY) =>
            [kretprobe("sys_setsockopt_kretprobe"), kprobe("sys_setsockopt_kprobe")];
    }
    /// getsockopt fails.
    Getsockopt = "getsockopt",
    hides "rejected getsockopt calls" {
        "do_sock_getsockopt"(SOCKET, ANY, "int", "int", "sockptr_t", "sockptr_t") =>
            [
                exit("do_sock_getsockopt_return"),
                exit("sys_getsockopt_no_socket_return").of("__sys_getsockopt")
            ];
        // Up to 6.6.
        "__sys_getsockopt"("int", "int", "int", ANY, ANY) => [exit("sys_getsockopt_return")];
    }, by kprobe {
        "do_sock_getsockopt"(SOCKET, ANY, "int", "int", "sockptr_t", "sockptr_t") =>
            [
                kretprobe("do_sock_getsockopt_kretprobe"),
                kretprobe("sys_getsockopt_no_socket_kretprobe").of("__sys_getsockopt"),
                kprobe("do_sock_getsockopt_kprobe"),
                kprobe("sys_getsockopt_kprobe").of("__sys_getsockopt")
            ];
        "__sys_getsockopt"("int", "int", "int", ANY, ANY) =>
            [kretprobe("sys_getsockopt_kretprobe"), kprobe("sys_getsockopt_kprobe")];
    }
}
