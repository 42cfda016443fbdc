//! Tests of complete advice in selected cases.

use std::net::SocketAddr;

use nix::libc;
use socktrace_ebpf::Sigpipe;

use super::*;
use crate::{Errno, Errnos, Severity};

const PEER: &str = "10.0.0.9:443";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A client with a server on another host.
fn facts() -> Facts<'static> {
    Facts {
        protocol: Some(Protocol::Tcp),
        role: Some(Role::Client),
        local: Some(address("10.0.0.7:50412")),
        remote: Some(address(PEER)),
        pid: Some(81),
        ..Facts::default()
    }
}

/// Both ends are on this host.
fn loopback() -> Facts<'static> {
    Facts {
        local: Some(address("127.0.0.1:50412")),
        remote: Some(address("127.0.0.1:443")),
        ..facts()
    }
}

fn advice_on(cause: Cause, errno: i32, call: Call, facts: &Facts<'_>) -> String {
    let found = Diagnosis {
        cause,
        errno: Errno::of(errno),
        direction: cause.row().direction,
        call,
        severity: Severity::Failure,
        sigpipe: Sigpipe::NotRaised,
    };
    advice(found, facts).into_owned()
}

fn bind(errno: i32, wanted: &str) -> String {
    let facts = Facts { local: Some(address(wanted)), remote: None, ..facts() };
    advice_on(Cause::BindFailed, errno, Call::Bind, &facts)
}

fn connect(cause: Cause, errno: i32, facts: &Facts<'_>) -> String {
    advice_on(cause, errno, Call::Connect, facts)
}

#[test]
fn a_taken_port_differs_from_used_up_ports() {
    let taken = bind(libc::EADDRINUSE, "0.0.0.0:8080");
    assert!(taken.starts_with("a listener, as of an old instance: stop it"), "{taken}");
    assert!(taken.contains("(ss -tanpB 'sport = :8080', since Linux 6.8)"), "{taken}");
    assert!(taken.contains("a client: put the port into net.ipv4.ip_local_reserved_ports"));
    assert_eq!(
        bind(libc::EADDRINUSE, "10.4.0.1:0"),
        "ss -tan src 10.4.0.1 lists what holds the ports: close idle connections, or widen the range"
    );
    assert!(bind(libc::EADDRINUSE, "0.0.0.0:0").starts_with("ss -tan lists"));
}

#[test]
fn the_errno_of_a_bind_decides() {
    assert_eq!(
        bind(libc::EADDRNOTAVAIL, "10.9.0.1:80"),
        "ip -br addr lists the addresses of the host; at boot, start after network-online.target"
    );
    assert!(bind(libc::EADDRNOTAVAIL, "[2001:db8::1]:80").ends_with("for a second or two first"));
    assert!(bind(libc::EACCES, "0.0.0.0:80").contains("CAP_NET_BIND_SERVICE"));
    assert_eq!(
        bind(libc::EINVAL, "0.0.0.0:80"),
        "a bug of the program: strace -f -e trace=bind,connect -p 81 shows address, length and an \
         earlier bind"
    );
}

#[test]
fn policy_goes_by_errno_and_call() {
    let policy = Facts { flags: Flags::POLICY, ..facts() };
    let connect = advice_on(Cause::ConnectLocal, libc::EPERM, Call::Connect, &policy);
    assert!(connect.starts_with("bpftool cgroup tree") && connect.contains("for connect"));
    let bind = advice_on(Cause::BindFailed, libc::EPERM, Call::Bind, &policy);
    assert!(bind.contains("SocketBindDeny="), "{bind}");
    // cgroup BPF programs cannot forbid these calls.
    let listen = advice_on(Cause::ListenFailed, libc::EPERM, Call::Listen, &policy);
    assert!(listen.starts_with("bpftool prog list") && !listen.contains("cgroup"), "{listen}");
    let module = advice_on(Cause::ConnectLocal, libc::EACCES, Call::Connect, &policy);
    assert!(module.contains("avc:|apparmor="), "{module}");
}

#[test]
fn a_client_without_ports_learns_which_ports() {
    let with_port = connect(Cause::ConnectLocal, libc::EADDRNOTAVAIL, &facts());
    assert!(with_port.contains("leave the source port to the kernel"), "{with_port}");
    let without = Facts { local: Some(address("0.0.0.0:0")), ..facts() };
    let without = connect(Cause::ConnectLocal, libc::EADDRNOTAVAIL, &without);
    assert!(without.starts_with("reuse connections"), "{without}");
    let v6 = Facts {
        local: Some(address("[::]:0")),
        remote: Some(address("[2001:db8::1]:80")),
        ..facts()
    };
    let v6 = connect(Cause::ConnectLocal, libc::EADDRNOTAVAIL, &v6);
    assert!(v6.ends_with("no IPv6 address for the destination: ip -6 -br addr"), "{v6}");
}

#[test]
fn what_kept_a_segment_from_leaving_goes_by_its_errno() {
    let sent = |errno| {
        let facts = Facts { send_errno: Some(Errno::of(errno)), ..facts() };
        advice_on(Cause::SendFailedLocally, libc::ETIMEDOUT, Call::ReadOrWrite, &facts)
    };
    assert!(sent(libc::EPERM).starts_with("nft list ruleset shows the output chains"));
    assert!(sent(libc::ENETUNREACH).starts_with("ip route get 10.0.0.9 shows whether the way"));
    assert!(sent(libc::EHOSTUNREACH).contains("ip -br addr"));
    assert!(sent(libc::EINVAL).starts_with("ip route show table all type blackhole lists"));
    assert!(sent(libc::EACCES).starts_with("ip route show table all type prohibit lists"));
    assert!(sent(libc::ENOBUFS).starts_with("tc -s qdisc counts"));
    let unknown = advice_on(Cause::ConnectSendFailed, libc::ETIMEDOUT, Call::Connect, &facts());
    assert!(unknown.starts_with("ip route get 10.0.0.9 shows the way"), "{unknown}");
}

#[test]
fn kinds_of_routes_go_by_errno() {
    let route = |errno| connect(Cause::ConnectNoRoute, errno, &facts());
    assert!(route(libc::EINVAL).starts_with("ip route show table all type blackhole lists"));
    assert!(route(libc::EHOSTUNREACH).starts_with("ip route show table all type unreachable"));
    assert!(route(libc::ENETUNREACH).starts_with("ip -br addr shows whether an interface is down"));
    let prohibit = connect(Cause::ConnectLocal, libc::EACCES, &facts());
    assert!(prohibit.starts_with("ip route get 10.0.0.9 says \"Permission denied\""), "{prohibit}");

    let to = |remote| {
        let facts = Facts { remote: Some(address(remote)), ..facts() };
        connect(Cause::ConnectNoRoute, libc::ENETUNREACH, &facts)
    };
    assert!(to("239.0.0.1:80").starts_with("TCP cannot connect to a broadcast or multicast"));
    assert!(to("[2001:db8::1]:80").starts_with("harmless if the program goes on with an IPv4"));
    let scopeless = Facts { remote: Some(address("[fe80::1]:80")), ..facts() };
    let scopeless = connect(Cause::ConnectNoRoute, libc::EINVAL, &scopeless);
    assert!(scopeless.starts_with("ip -br link lists the interfaces"), "{scopeless}");
    let from_loopback = Facts { local: Some(address("127.0.0.1:0")), ..facts() };
    let from_loopback = connect(Cause::ConnectNoRoute, libc::EINVAL, &from_loopback);
    assert!(from_loopback.starts_with("from a loopback address"), "{from_loopback}");
}

#[test]
fn the_place_to_look_at_is_where_an_icmp_message_came_from() {
    let icmp = |kind, code, router: &str| {
        let icmp = Some(Icmp { kind, code, router: router.parse().expect("an address") });
        connect(Cause::ConnectUnreachable, libc::EHOSTUNREACH, &Facts { icmp, ..facts() })
    };
    assert_eq!(
        icmp(3, 13, "192.0.2.1"),
        "the rule is in the firewall of 192.0.2.1: have port 443 of 10.0.0.9 allowed there; nothing \
         on this host shows it"
    );
    assert_eq!(
        icmp(3, 13, "10.0.0.7"),
        "a rule of this host's own firewall rejects it: nft list ruleset, or iptables-save"
    );
    assert!(icmp(3, 3, "10.0.0.7").contains("a service without endpoints"));
    let own = icmp(3, 1, "10.0.0.7");
    assert!(own.starts_with("ip route get 10.0.0.9") && own.contains("wg show"), "{own}");
    assert!(icmp(3, 1, "192.0.2.1").contains("192.0.2.1 is the last router"));
    assert!(icmp(3, 0, "192.0.2.1").starts_with("192.0.2.1 has no route to 10.0.0.9"));
    assert!(icmp(11, 0, "192.0.2.1").contains("traceroute -n 10.0.0.9"));
    assert!(icmp(3, 4, "192.0.2.1").contains("tcp_mtu_probing"));
    assert!(icmp(3, 2, "192.0.2.1").contains("tcpdump -nvi any 'host 192.0.2.1'"));
    let unknown = connect(Cause::ConnectUnreachable, libc::EHOSTUNREACH, &facts());
    assert!(unknown.starts_with("ip route get 10.0.0.9 shows device"), "{unknown}");
    // The same numbers have different meanings in ICMPv6.
    let router = "2001:db8::1".parse().expect("an address");
    let v6 = Facts {
        local: Some(address("[2001:db8::7]:50412")),
        remote: Some(address("[2001:db8::9]:443")),
        icmp: Some(Icmp { kind: 1, code: 1, router }),
        ..facts()
    };
    let v6 = connect(Cause::ConnectUnreachable, libc::EACCES, &v6);
    assert!(v6.starts_with("the rule is in the firewall of 2001:db8::1"), "{v6}");
}

#[test]
fn a_refusal_is_looked_at_where_the_service_is() {
    let refused = |facts: &Facts<'_>| connect(Cause::ConnectRefused, libc::ECONNREFUSED, facts);
    let elsewhere = refused(&facts());
    assert!(elsewhere.starts_with("on 10.0.0.9:") && !elsewhere.contains("ss -"), "{elsewhere}");
    assert_eq!(
        refused(&loopback()),
        "start its service, or see on which address and port it listens: ss -tlnp"
    );
    let contained = refused(&Facts { namespace: Namespace::Of(81), ..loopback() });
    assert!(contained.contains("loopback of that container"), "{contained}");
    assert!(contained.contains("(nsenter -t 81 -n ss -tlnp)"), "{contained}");
}

#[test]
fn commands_run_in_the_namespace_of_the_socket() {
    let listen = |namespace| {
        let facts =
            Facts { local: Some(address("0.0.0.0:80")), remote: None, namespace, ..facts() };
        advice_on(Cause::ListenFailed, libc::EADDRINUSE, Call::Listen, &facts)
    };
    let rest = "shows who listens there already";
    assert_eq!(listen(Namespace::Own), format!("ss -tlnp 'sport = :80' {rest}"));
    assert_eq!(
        listen(Namespace::Of(81)),
        format!("nsenter -t 81 -n ss -tlnp 'sport = :80' {rest}")
    );
    assert_eq!(
        listen(Namespace::Other(4_026_532_000)),
        format!("ss -tlnp 'sport = :80' (in network namespace 4026532000, see lsns -t net) {rest}")
    );
}

#[test]
fn a_process_of_this_host_is_asked_before_the_network() {
    let nginx =
        Program { pid: 7, comm: "nginx", reason: Some("tcp_abort_on_close"), by_listener: false };
    let here = Facts { sender: Some(nginx), ..facts() };
    let reset = |facts: &Facts<'_>| {
        advice_on(Cause::ResetByPeer, libc::ECONNRESET, Call::ReadOrWrite, facts)
    };
    assert_eq!(
        reset(&here),
        "the log of nginx[7] at this time; to end in order it would have to read to the end before \
         it closes"
    );
    assert!(reset(&facts()).starts_with("the log of the service on 10.0.0.9 at this time"));
    assert!(
        reset(&Facts { role: Some(Role::Server), ..facts() }).starts_with("clients and health")
    );
    let idle = advice_on(Cause::ResetAfterIdle, libc::ECONNRESET, Call::ReadOrWrite, &here);
    assert!(idle.starts_with("the idle limit of nginx[7]"), "{idle}");
    let ss = Some(Program { pid: 9, comm: "ss", reason: None, by_listener: false });
    let by_ss = Facts { killer: ss, ..facts() };
    let by_ss = advice_on(Cause::AbortedLocally, libc::ECONNABORTED, Call::ReadOrWrite, &by_ss);
    assert!(by_ss.starts_with("who runs ss[9]"), "{by_ss}");
}

#[test]
fn a_listener_that_closed_is_to_empty_its_queue() {
    let old = Program { pid: 7, comm: "old", reason: Some("tcp_state"), by_listener: true };
    let here = Facts { sender: Some(old), ..loopback() };
    let reset = advice_on(Cause::ResetByPeer, libc::ECONNRESET, Call::ReadOrWrite, &here);
    assert!(reset.starts_with("old[7] was stopped or restarted: have it accept"), "{reset}");
    assert!(!reset.contains("SO_LINGER"), "{reset}");
}

#[test]
fn a_full_queue_is_looked_at_where_it_is() {
    let queue = |facts: &Facts<'_>| {
        advice_on(Cause::ResetWithoutAnswer, libc::ECONNRESET, Call::ReadOrWrite, facts)
    };
    let elsewhere = queue(&facts());
    assert!(elsewhere.starts_with("on 10.0.0.9: ss -tln 'sport = :443' shows"), "{elsewhere}");
    assert!(queue(&loopback()).starts_with("ss -tln 'sport = :443' shows"));
}

#[test]
fn an_address_that_cannot_work_is_said_to_be_that() {
    let given = |family, only_v6| Some(Given { family, length: 28, only_v6 });
    let mapped = Facts { given: given(10, true), ..facts() };
    let mapped = connect(Cause::ConnectNoRoute, libc::ENETUNREACH, &mapped);
    assert!(mapped.starts_with("clear IPV6_V6ONLY"), "{mapped}");
    let malformed = Facts { flags: Flags::MALFORMED, given: given(10, false), ..facts() };
    let malformed = connect(Cause::ConnectLocal, libc::EINVAL, &malformed);
    assert!(malformed.ends_with("shows the address and its length"), "{malformed}");
    let off = Facts { flags: Flags::FAST_OPEN, given: given(2, false), ..facts() };
    let off = advice_on(Cause::ConnectLocal, libc::EOPNOTSUPP, Call::Write, &off);
    assert!(off.starts_with("sysctl net.ipv4.tcp_fastopen must have bit 1"), "{off}");
    let nowhere = Facts { flags: Flags::FAST_OPEN, given: given(0, false), ..facts() };
    let nowhere = advice_on(Cause::ConnectLocal, libc::EOPNOTSUPP, Call::Write, &nowhere);
    assert!(!nowhere.contains("sysctl"), "{nowhere}");
    let zero = Facts { remote: Some(address("0.1.2.3:80")), ..facts() };
    assert!(connect(Cause::ConnectNoRoute, libc::EINVAL, &zero).starts_with("0.0.0.0/8"));
}

#[test]
fn an_accept_without_listen_is_a_bug() {
    let never = Facts { flags: Flags::NEVER_LISTENED, ..facts() };
    let text = advice_on(Cause::AcceptFailed, libc::EINVAL, Call::Accept, &never);
    assert!(text.contains("whether listen was called"), "{text}");
}

#[test]
fn a_queue_is_looked_at_by_its_listener() {
    let server = Facts { role: Some(Role::Server), local: Some(address("10.0.0.7:80")), ..facts() };
    let text = advice_on(Cause::ResetBeforeAccept, libc::ECONNRESET, Call::ReadOrWrite, &server);
    assert!(text.contains("ss -tlnp 'sport = :80': Recv-Q is its queue"), "{text}");
}

#[test]
fn silence_is_looked_for_between_the_ends() {
    let timed_out =
        |cause, facts: &Facts<'_>| advice_on(cause, libc::ETIMEDOUT, Call::ReadOrWrite, facts);
    let sent = timed_out(Cause::RetransmitTimeout, &facts());
    // The socket is gone, so ss no longer shows it.
    assert!(sent.starts_with("ping 10.0.0.9") && !sent.contains("ss -"), "{sent}");
    assert!(timed_out(Cause::RetransmitTimeout, &loopback()).contains("nft list ruleset"));
    assert!(timed_out(Cause::KeepaliveTimeout, &facts()).contains("TCP_KEEPIDLE"));
    assert!(timed_out(Cause::UserTimeout, &facts()).starts_with("the limit is the program's own"));
    assert_eq!(
        timed_out(Cause::ZeroWindowTimeout, &loopback()),
        "ss -tnp 'src 127.0.0.1:443 and dst 127.0.0.1:50412' shows the program at the other end, and \
         what it has not read as Recv-Q"
    );
    assert!(timed_out(Cause::ZeroWindowTimeout, &facts()).starts_with("on 10.0.0.9: ss -tnp"));
    let syn = connect(Cause::ConnectTimeout, libc::ETIMEDOUT, &facts());
    assert!(syn.starts_with("tcpdump -ni any 'host 10.0.0.9 and tcp port 443'"), "{syn}");
    let own = connect(Cause::ConnectTimeout, libc::ETIMEDOUT, &loopback());
    assert!(own.starts_with("ss -tlnp 'sport = :443' shows a full accept queue"), "{own}");
}

#[test]
fn options_go_by_errno_and_name() {
    let option = |errno, option| {
        let facts = Facts { option: Some(option), ..facts() };
        advice_on(Cause::SockoptRejected, errno, Call::Setsockopt, &facts)
    };
    let congestion = (libc::IPPROTO_TCP, libc::TCP_CONGESTION);
    assert!(option(libc::ENOENT, congestion).contains("tcp_available_congestion_control"));
    let ulp = (libc::IPPROTO_TCP, libc::TCP_ULP);
    assert!(option(libc::ENOENT, ulp).contains("modprobe tls"));
    assert!(option(libc::EEXIST, ulp).ends_with("go on"));
    let mark = (libc::SOL_SOCKET, libc::SO_MARK);
    assert!(option(libc::EPERM, mark).contains("grep CapEff /proc/81/status"));
    assert!(option(libc::EBADF, mark).contains("strace -f -e trace=desc,network -p 81"));
    let mptcp = Facts { protocol: Some(Protocol::Mptcp), ..facts() };
    let mptcp = advice_on(Cause::SockoptRejected, libc::EOPNOTSUPP, Call::Setsockopt, &mptcp);
    assert!(mptcp.starts_with("MPTCP does not have every TCP option"), "{mptcp}");
}

#[test]
fn what_is_used_up_is_counted_where_it_is() {
    let accept = |errno| advice_on(Cause::AcceptResources, errno, Call::Accept, &facts());
    assert!(accept(libc::EMFILE).starts_with("ls -l /proc/81/fd"));
    assert!(accept(libc::ENFILE).starts_with("cat /proc/sys/fs/file-nr"));
    assert!(accept(libc::ENOMEM).contains("cat /proc/net/sockstat"));
    let call = SocketCall { family: libc::AF_INET6, socket_type: libc::SOCK_STREAM, protocol: 0 };
    let socket = Facts { socket: Some(call), local: None, remote: None, ..facts() };
    let advice_on = |errno| advice_on(Cause::SocketFailed, errno, Call::Socket, &socket);
    assert!(advice_on(libc::EMFILE).starts_with("ls -l /proc/81/fd"));
    assert!(advice_on(libc::EAFNOSUPPORT).starts_with("go on with IPv4"));
}

#[test]
fn without_facts_the_cause_speaks() {
    for cause in Cause::ALL {
        let errnos = match cause.row().errnos {
            Errnos::Of(errnos) => errnos,
            Errnos::Any | Errnos::None => &[Errno::NONE],
        };
        for errno in errnos {
            let text =
                advice_on(*cause, errno.number().into(), Call::ReadOrWrite, &Facts::default());
            assert!(!text.is_empty(), "{cause} {errno}");
            // Unknown values do not appear.
            for unknown in ["0.0.0.0", "sport = :0", "/proc/0", "-p 0", "-t 0"] {
                assert!(!text.contains(unknown), "{cause} {errno}: {text}");
            }
        }
    }
}

#[test]
fn what_is_known_takes_the_place_of_names() {
    let call = SocketCall { family: libc::AF_INET, socket_type: libc::SOCK_STREAM, protocol: 0 };
    let known = Facts { socket: Some(call), ..facts() };
    for cause in Cause::ALL {
        let errnos = match cause.row().errnos {
            Errnos::Of(errnos) => errnos,
            Errnos::Any | Errnos::None => &[Errno::NONE],
        };
        for errno in errnos {
            let text = advice_on(*cause, errno.number().into(), Call::ReadOrWrite, &known);
            for name in ["ADDRESS", "/proc/PID", "-p PID", "-t PID"] {
                assert!(!text.contains(name), "{cause} {errno}: {text}");
            }
            assert!(text.len() <= 320, "{cause} {errno}: {} bytes: {text}", text.len());
            assert!(!text.ends_with('.') && !text.contains("  "), "{cause} {errno}: {text}");
        }
    }
}

#[test]
fn what_waits_unread_comes_first() {
    let facts = Facts { has_unread: true, ..facts() };
    let text = advice_on(Cause::ResetByPeer, libc::ECONNRESET, Call::ReadOrWrite, &facts);
    assert!(text.starts_with("read to the end before giving up"), "{text}");
    assert!(text.contains("the log of the service on 10.0.0.9"), "{text}");
    let text = advice_on(Cause::ResetAfterPeerClose, libc::EPIPE, Call::Write, &facts);
    assert!(text.ends_with(Cause::ResetAfterPeerClose.advice()), "{text}");
}

#[test]
fn segments_too_large_and_keys_have_their_own() {
    let large = Facts { full_sized_lost: true, has_md5_key: true, ..facts() };
    let text = advice_on(Cause::RetransmitTimeout, libc::ETIMEDOUT, Call::ReadOrWrite, &large);
    assert!(text.starts_with("ping -M do -s 1472 10.0.0.9 "), "{text}");
    let ipv6 = Facts { remote: Some(address("[2001:db8::9]:443")), ..large };
    let text = advice_on(Cause::UserTimeout, libc::ETIMEDOUT, Call::ReadOrWrite, &ipv6);
    assert!(text.starts_with("ping -M do -s 1452 2001:db8::9 "), "{text}");
    let key = Facts { has_md5_key: true, ..facts() };
    let text = connect(Cause::ConnectTimeout, libc::ETIMEDOUT, &key);
    assert!(text.starts_with("compare the keys of both ends"), "{text}");
}
