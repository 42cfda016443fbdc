//! Reasons why this host refused to bind or to connect, by the errno and by what was requested.

use std::{fmt, net::IpAddr};

use nix::libc;
use socktrace_diagnosis::{Cause, Errno, domain_name};
use socktrace_ebpf::{Family, Flags, Protocol};

use super::facts;
use crate::record::Record;

/// The reason, if the errno says more than the cause.
pub(super) fn reason(record: &Record, cause: Cause, errno: Errno) -> Option<String> {
    match cause {
        Cause::BindFailed => bind(record, errno),
        Cause::ConnectLocal => connect(record, errno),
        Cause::ConnectNoRoute => route(record, errno),
        _ => None,
    }
}

/// A network command, to be run where it shows the record's socket.
fn command(record: &Record, command: fmt::Arguments<'_>) -> String {
    let pid = record.process.as_ref().map(|process| process.pid);
    facts::namespace(record.event.netns, pid).command(command)
}

/// Fault of the address itself, if it is none that the socket can take.
fn malformed(record: &Record) -> Option<String> {
    let signature = record.event.signature;
    let given = record.given().filter(|_| Flags(signature.flags).has(Flags::MALFORMED))?;
    let (family, least) = match record.family? {
        Family::Ipv4 => (libc::AF_INET, 16),
        Family::Ipv6 => (libc::AF_INET6, 28),
    };
    let (wanted, got) = (domain_name(family), domain_name(given.family.into()));
    // An address without a family is too short.
    Some(if given.length >= 2 && i32::from(given.family) != family {
        format!("the address given is of family {got}, the socket of family {wanted}")
    } else {
        format!("the address given has {} bytes, and one of {wanted} has {least}", given.length)
    })
}

/// Reason why this socket cannot use an IPv4-mapped address, if it cannot.
fn only_v6(record: &Record, address: IpAddr) -> Option<String> {
    let is_only_v6 = record.given().is_some_and(|given| given.only_v6);
    (is_only_v6 && address.is_ipv4()).then(|| {
        format!("the socket is for IPv6 alone (IPV6_V6ONLY), and ::ffff:{address} is IPv4")
    })
}

fn bind(record: &Record, errno: Errno) -> Option<String> {
    let port = record.local.port();
    let address = record.local.ip();
    if let Some(reason) = malformed(record).or_else(|| only_v6(record, address)) {
        return Some(reason);
    }
    Some(match i32::from(errno.0) {
        libc::EADDRINUSE if port != 0 && record.is_of(Protocol::Udp) => format!(
            "port {port} is taken by another UDP socket: {}",
            command(record, format_args!("ss -uanp 'sport = :{port}'"))
        ),
        libc::EADDRINUSE if port == 0 => format!(
            "all ephemeral ports of {address} are taken (net.ipv4.ip_local_port_range); with \
             IP_BIND_ADDRESS_NO_PORT connect chooses the port, for each destination separately"
        ),
        libc::EADDRINUSE => format!(
            "port {port} is taken, by a listener, a client or a connection in TIME_WAIT: {}",
            command(record, format_args!("ss -tanp 'sport = :{port}'"))
        ),
        libc::EADDRNOTAVAIL => format!(
            "{address} is not an address of this host, or not yet (net.ipv4.ip_nonlocal_bind, \
             IP_FREEBIND)"
        ),
        libc::EACCES if port != 0 => format!(
            "port {port} needs CAP_NET_BIND_SERVICE (net.ipv4.ip_unprivileged_port_start), or policy \
             forbids it"
        ),
        libc::EINVAL => "the socket is bound already".to_owned(),
        _ => return None,
    })
}

fn connect(record: &Record, errno: Errno) -> Option<String> {
    // `sk_wait_pending`, in 6.4 to 6.6, and in older series since.
    if i32::from(errno.0) == libc::EBUSY {
        return Some("a thread waits on this socket, which nobody may disconnect meanwhile".into());
    }
    if let Some(reason) = malformed(record) {
        return Some(reason);
    }
    let port = record.local.port();
    let to = record.remote.ip();
    Some(match i32::from(errno.0) {
        libc::EOPNOTSUPP if record.given().is_some_and(|given| given.family == 0) => {
            "MSG_FASTOPEN was given an address of AF_UNSPEC, which connects to nothing".to_owned()
        }
        libc::EOPNOTSUPP => {
            "net.ipv4.tcp_fastopen of this host lets no program send with the SYN (MSG_FASTOPEN): bit \
             1 is not set"
                .to_owned()
        }
        // For lack of ports, `inet_autobind` returns EAGAIN instead.
        libc::EADDRNOTAVAIL if record.is_of(Protocol::Udp) => {
            format!("this host has no address to reach {to} from")
        }
        libc::EACCES if record.is_of(Protocol::Udp) => format!(
            "{to} is a broadcast address, which needs SO_BROADCAST, or a prohibit route takes packets \
             there, or policy forbids it"
        ),
        libc::EINVAL if record.is_of(Protocol::Udp) => return route(record, errno),
        libc::EADDRNOTAVAIL if port != 0 => format!(
            "port {port} and this destination are a pair that is still in use, as by a connection in \
             TIME_WAIT: {}",
            command(record, format_args!("ss -tan 'sport = :{port}'"))
        ),
        libc::EADDRNOTAVAIL => format!(
            "no ephemeral port is left for this destination (net.ipv4.ip_local_port_range): {}",
            command(record, format_args!("ss -tan dst {to}"))
        ),
        libc::EACCES => format!("a prohibit route takes packets to {to}, or policy forbids it"),
        libc::EAGAIN => "no ephemeral port, or no route entry, is free".to_owned(),
        libc::ENOBUFS | libc::ENOMEM => "the kernel is out of memory".to_owned(),
        _ => return None,
    })
}

fn route(record: &Record, errno: Errno) -> Option<String> {
    let to = record.remote.ip();
    // Unknown, as for an attempt that the kernel has forgotten.
    if to.is_unspecified() {
        return None;
    }
    if let Some(reason) = only_v6(record, to) {
        return Some(reason);
    }
    let from = record.local.ip();
    let get = || command(record, format_args!("ip route get {to}"));
    Some(match (i32::from(errno.0), to) {
        (libc::EINVAL, IpAddr::V6(v6)) if v6.is_unicast_link_local() => {
            format!("the link-local address {to} was given without a scope, as in {to}%eth0")
        }
        // `__mkroute_output`.
        (libc::EINVAL, IpAddr::V4(v4)) if v4.octets()[0] == 0 => {
            format!("{to} is in 0.0.0.0/8, to which nothing can be sent")
        }
        (libc::EINVAL, _) if from.is_loopback() && !to.is_loopback() => format!(
            "the socket is bound to {from}, from which nothing leaves this host, and {to} is not on it"
        ),
        // `ip_route_output_key_hash_rcu`: an address that has gone, or was never there.
        (libc::EINVAL, IpAddr::V4(_)) if !from.is_unspecified() => format!(
            "a blackhole route takes packets to {to}, or {from}, which the socket is bound to, is no \
             longer an address of this host: {}",
            get()
        ),
        (libc::EINVAL, _) => format!("a blackhole route takes packets to {to}: {}", get()),
        (libc::ENETUNREACH, _) if to.is_multicast() && !record.is_of(Protocol::Udp) => {
            format!("{to} is a multicast address, and TCP connects to one host")
        }
        (libc::ENETUNREACH, IpAddr::V4(v4))
            if v4.is_broadcast() && !record.is_of(Protocol::Udp) =>
        {
            format!("{to} is a broadcast address, and TCP connects to one host")
        }
        (libc::ENETUNREACH, _) => format!("this host has no route to {to}: {}", get()),
        (libc::EHOSTUNREACH, _) => {
            format!("a route of this host says that {to} is unreachable: {}", get())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use socktrace_ebpf::{Detail, Given};

    use super::*;
    use crate::record::tests::{record, reset_event};

    fn reason_for(cause: Cause, errno: i32, local: &str, remote: &str) -> Option<String> {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let mut record = record(reset_event());
        (record.local, record.remote) = (address(local), address(remote));
        reason(&record, cause, Errno::of(errno))
    }

    #[test]
    fn an_address_that_is_none_is_said_to_be_that() {
        let malformed = |given| {
            let mut record = record(reset_event());
            record.event.signature.flags = Flags::MALFORMED.0;
            record.event.set_detail(Detail::Given(given));
            reason(&record, Cause::ConnectLocal, Errno::of(libc::EINVAL)).expect("a reason")
        };
        assert_eq!(
            malformed(Given { family: 2, length: 3, only_v6: false }),
            "the address given has 3 bytes, and one of AF_INET has 16"
        );
        assert_eq!(
            malformed(Given { family: 1, length: 110, only_v6: false }),
            "the address given is of family AF_UNIX, the socket of family AF_INET"
        );
    }

    #[test]
    fn a_port_that_was_asked_for_is_named() {
        let bind = |errno, local| reason_for(Cause::BindFailed, errno, local, "0.0.0.0:0");
        let taken = bind(libc::EADDRINUSE, "0.0.0.0:8080").expect("a reason");
        assert!(taken.contains("port 8080 is taken") && taken.contains(":8080"), "{taken}");
        let none_left = bind(libc::EADDRINUSE, "10.4.0.1:0").expect("a reason");
        assert!(none_left.contains("IP_BIND_ADDRESS_NO_PORT"), "{none_left}");
        let low = bind(libc::EACCES, "0.0.0.0:80").expect("a reason");
        assert!(low.contains("CAP_NET_BIND_SERVICE"), "{low}");
        assert_eq!(bind(libc::ENODEV, "0.0.0.0:80"), None);
    }

    #[test]
    fn a_client_learns_whether_ports_or_this_pair_are_used_up() {
        let connect =
            |local| reason_for(Cause::ConnectLocal, libc::EADDRNOTAVAIL, local, "10.1.0.3:5060");
        assert!(connect("10.1.0.2:15060").expect("a reason").contains("port 15060 and this"));
        assert!(connect("0.0.0.0:0").expect("a reason").contains("no ephemeral port"));
    }

    #[test]
    fn kinds_of_routes_are_distinguished() {
        let route = |errno, to| {
            reason_for(Cause::ConnectNoRoute, errno, "0.0.0.0:0", to).expect("a reason")
        };
        assert_eq!(reason_for(Cause::ConnectNoRoute, libc::EINVAL, "[::]:0", "[::]:80"), None);
        assert!(route(libc::EINVAL, "[fe80::1]:80").contains("fe80::1 was given without a scope"));
        assert!(route(libc::EINVAL, "10.9.0.1:80").starts_with("a blackhole route takes"));
        assert!(route(libc::EINVAL, "0.1.2.3:80").contains("0.0.0.0/8"));
        assert!(route(libc::ENETUNREACH, "[ff02::1]:80").contains("multicast"));
        assert!(route(libc::ENETUNREACH, "224.0.0.1:80").contains("multicast"));
        assert!(route(libc::ENETUNREACH, "255.255.255.255:80").contains("broadcast"));
        let bound = |from| reason_for(Cause::ConnectNoRoute, libc::EINVAL, from, "10.9.0.1:80");
        assert!(bound("127.0.0.1:0").expect("a reason").contains("nothing leaves this host"));
        assert!(bound("10.1.0.2:0").expect("a reason").contains("or 10.1.0.2, which the socket"));
        assert!(route(libc::EHOSTUNREACH, "10.9.0.1:80").contains("unreachable"));
        let none = route(libc::ENETUNREACH, "10.9.0.1:80");
        assert!(none.contains("ip route get 10.9.0.1"), "{none}");
    }
}
