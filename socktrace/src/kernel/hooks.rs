//! The table of hooks: which program serves which kernel function, by its prototype.
//!
//! Differences between kernel versions live here and nowhere else. A prototype that is not in the
//! table is unknown: its hook is left out and reported, never tried.

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attach {
    /// At a function's entry, through a BPF trampoline.
    Fentry,
    /// At its return, likewise.
    Fexit,
    /// At a tracepoint, with typed arguments.
    Tracepoint,
}

/// A program of the object and how it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its name in the object.
    pub(crate) name: &'static str,
    pub(crate) attach: Attach,
    /// The kernel function, where it is not the variant's.
    pub(crate) function: Option<&'static str>,
}

/// Programs for a kernel function with these parameters.
#[derive(Debug)]
pub(crate) struct Variant {
    /// The function's, or tracepoint's, name.
    pub(crate) function: &'static str,
    /// The types of its parameters as C writes them without qualifiers; [`ANY`] for those that no
    /// program reads.
    pub(crate) parameters: &'static [&'static str],
    /// Attached in this order. What takes away comes before what leaves, so that nothing is left
    /// behind while only one of them is attached.
    pub(crate) programs: &'static [Program],
}

/// A parameter of whatever type.
pub(crate) const ANY: &str = "*";

/// The segment parameter of `tcp_reset`.
pub(crate) const SKB: &str = "struct sk_buff *";

const RST_REASON: &str = "enum sk_rst_reason";
const SOCK: &str = "struct sock *";
const SOCKET: &str = "struct socket *";

const fn entry(name: &'static str) -> Program {
    Program { name, attach: Attach::Fentry, function: None }
}

const fn exit(name: &'static str) -> Program {
    Program { name, attach: Attach::Fexit, function: None }
}

const fn exit_of(function: &'static str, name: &'static str) -> Program {
    Program { name, attach: Attach::Fexit, function: Some(function) }
}

const fn tracepoint(name: &'static str) -> Program {
    Program { name, attach: Attach::Tracepoint, function: None }
}

macro_rules! hooks {
    ($(
        $(#[$doc:meta])*
        $hook:ident = $id:literal, hides $hides:literal {
            $($function:literal($($parameter:expr),*) => [$($program:expr),+];)+
        }
    )+) => {
        /// A kernel moment that socktrace wants to see.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Hook {
            $($(#[$doc])* $hook,)+
        }

        impl Hook {
            /// Every hook, in the order in which they are attached.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$hook),+];

            /// Its stable name: the kernel function's, where there is one.
            pub(crate) const fn id(self) -> &'static str {
                match self { $(Self::$hook => $id,)+ }
            }

            /// What stays hidden without it.
            pub(crate) const fn hides(self) -> &'static str {
                match self { $(Self::$hook => $hides,)+ }
            }

            /// What serves it, by kernel function and prototype, the best first. Of several that fit a
            /// prototype the first is taken that the kernel accepts.
            pub(crate) const fn variants(self) -> &'static [Variant] {
                match self {
                    $(Self::$hook => {
                        const VARIANTS: &[Variant] = &[
                            $(Variant {
                                function: $function,
                                parameters: &[$($parameter),*],
                                programs: &[$($program),+],
                            },)+
                        ];
                        VARIANTS
                    })+
                }
            }
        }
    };
}

hooks! {
    /// Every abnormal close.
    TcpDone = "tcp_done",
    hides "failures of connecting and established sockets" {
        "tcp_done"(SOCK) => [entry("tcp_done")];
    }
    /// Why it closes: a segment.
    TcpReset = "tcp_reset",
    hides "resets cannot be told from other reasons" {
        "tcp_reset"(SOCK, SKB) => [entry("tcp_reset")];
        // 5.10. A reset by data after shutdown cannot be told from one by RST there.
        "tcp_reset"(SOCK) => [entry("tcp_reset")];
    }
    /// Why it closes: the retransmission timer.
    TcpRetransmitTimer = "tcp_retransmit_timer",
    hides "retransmission timeouts are not counted; give-ups are told by the socket's fields alone" {
        "tcp_retransmit_timer"(SOCK) =>
            [exit("tcp_retransmit_timer_return"), entry("tcp_retransmit_timer")];
    }
    /// Why it closes: somebody killed it.
    TcpAbort = "tcp_abort",
    hides "sockets killed by ss -K or BPF are told by their errno alone" {
        "tcp_abort"(SOCK, "int") => [exit("tcp_abort_return"), entry("tcp_abort")];
    }
    /// Accept returns.
    InetCskAccept = "inet_csk_accept",
    hides "which process accepts a connection, also one that was already reset; failing accepts" {
        "inet_csk_accept"(SOCK, "struct proto_accept_arg *") => [exit("inet_csk_accept_two_args")];
        // Up to 6.9.
        "inet_csk_accept"(SOCK, ANY, ANY, ANY) => [exit("inet_csk_accept_four_args")];
        // Up to 5.16, whose verifier refuses the one above.
        "inet_csk_accept"(SOCK, ANY, ANY, ANY) => [
            exit("inet_csk_accept_connections"),
            exit_of("__sys_accept4", "sys_accept4_errors_return")
        ];
    }
    /// Accept fails for lack of a descriptor.
    SysAccept4 = "__sys_accept4",
    hides "accepts that fail for lack of descriptors or memory" {
        "__sys_accept4"("int", ANY, ANY, ANY) => [exit("sys_accept4_return")];
    }
    /// Connect begins and returns.
    InetStreamConnect = "__inet_stream_connect",
    hides "which process connects; connects that fail for local reasons" {
        "__inet_stream_connect"(SOCKET, ANY, ANY, ANY, ANY) =>
            [exit("inet_stream_connect_return"), entry("inet_stream_connect")];
    }
    /// A socket is closed while connecting.
    TcpClose = "tcp_close",
    hides "connects that the program gave up itself" {
        "tcp_close"(SOCK, ANY) => [entry("tcp_close")];
    }
    /// A write fails.
    SkStreamError = "sk_stream_error",
    hides "which call delivers an errno to a writer, EPIPE after a reset, SIGPIPE" {
        "sk_stream_error"(SOCK, "int", "int") => [exit("sk_stream_error_return")];
    }
    /// An error is stored in a socket that stays open.
    InetSkErrorReport = "inet_sk_error_report",
    hides "errors of sockets that stay open (unreachable_reported)" {
        "inet_sk_error_report"() => [tracepoint("inet_sk_error_report")];
    }
    /// An ICMP error for IPv4.
    TcpV4Err = "tcp_v4_err",
    hides "type, code and sender of ICMP errors" {
        "tcp_v4_err"(SKB, ANY) => [entry("tcp_v4_err")];
    }
    /// An ICMP error for IPv6.
    TcpV6Err = "tcp_v6_err",
    hides "type, code and sender of ICMPv6 errors" {
        "tcp_v6_err"(SKB, ANY, "u8", "u8", "int", ANY) => [entry("tcp_v6_err")];
    }
    /// The peer closes.
    TcpFin = "tcp_fin",
    hides "peers that close while they owe an answer (premature_eof)" {
        "tcp_fin"(SOCK) => [entry("tcp_fin")];
    }
    /// This host sends RST.
    TcpSendActiveReset = "tcp_send_active_reset",
    hides "which process of this host sent an RST, and why" {
        "tcp_send_active_reset"(SOCK, RST_REASON) => [entry("tcp_send_active_reset_second")];
        "tcp_send_active_reset"(SOCK, ANY, RST_REASON) => [entry("tcp_send_active_reset_third")];
        // Up to 6.9, without a reason.
        "tcp_send_active_reset"(SOCK, ANY) => [entry("tcp_send_active_reset")];
    }
    /// bind fails, IPv4.
    InetBind = "inet_bind",
    hides "failing binds of IPv4 sockets" {
        "inet_bind"(SOCKET, ANY, ANY) => [exit("inet_bind_return")];
    }
    /// bind fails, IPv6.
    Inet6Bind = "inet6_bind",
    hides "failing binds of IPv6 sockets" {
        "inet6_bind"(SOCKET, ANY, ANY) => [exit("inet6_bind_return")];
    }
    /// listen fails.
    InetListen = "inet_listen",
    hides "failing listens" {
        "inet_listen"(SOCKET, ANY) => [exit("inet_listen_return")];
    }
    /// A security module forbids connect.
    SecuritySocketConnect = "security_socket_connect",
    hides "connects that a security module forbids" {
        "security_socket_connect"(SOCKET, ANY, "int") =>
            [exit("security_socket_connect_return")];
    }
    /// A security module forbids bind.
    SecuritySocketBind = "security_socket_bind",
    hides "binds that a security module forbids" {
        "security_socket_bind"(SOCKET, ANY, "int") => [exit("security_socket_bind_return")];
    }
    /// A security module forbids listen.
    SecuritySocketListen = "security_socket_listen",
    hides "listens that a security module forbids" {
        "security_socket_listen"(SOCKET, "int") => [exit("security_socket_listen_return")];
    }
    /// setsockopt fails.
    Setsockopt = "setsockopt",
    hides "rejected setsockopt calls" {
        "do_sock_setsockopt"(SOCKET, ANY, "int", "int", "sockptr_t", ANY) =>
            [
                exit("do_sock_setsockopt_return"),
                exit_of("__sys_setsockopt", "sys_setsockopt_no_socket_return")
            ];
        // Up to 6.6.
        "__sys_setsockopt"("int", "int", "int", ANY, ANY) => [exit("sys_setsockopt_return")];
    }
    /// getsockopt fails.
    Getsockopt = "getsockopt",
    hides "rejected getsockopt calls" {
        "do_sock_getsockopt"(SOCKET, ANY, "int", "int", "sockptr_t", "sockptr_t") =>
            [
                exit("do_sock_getsockopt_return"),
                exit_of("__sys_getsockopt", "sys_getsockopt_no_socket_return")
            ];
        // Up to 6.6.
        "__sys_getsockopt"("int", "int", "int", ANY, ANY) => [exit("sys_getsockopt_return")];
    }
}
