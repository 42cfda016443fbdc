//! Why this host refused to bind or to connect, in words: by the errno, and by what was asked for.

use std::fmt;

use nix::libc;
use socktrace_diagnosis::{Cause, Errno};

use super::facts;
use crate::record::Record;

/// The reason, where the errno says more than the cause.
pub(super) fn reason(record: &Record, cause: Cause, errno: Errno) -> Option<String> {
    match cause {
        Cause::BindFailed => bind(record, errno),
        Cause::ConnectLocal => connect(record, errno),
        Cause::ConnectNoRoute => route(record, errno),
        _ => None,
    }
}

/// A command about the network, to be run where it shows the record's socket.
fn command(record: &Record, command: fmt::Arguments<'_>) -> String {
    let pid = record.process.as_ref().map(|process| process.pid);
    facts::namespace(record.event.netns, pid).command(command)
}

fn bind(record: &Record, errno: Errno) -> Option<String> {
    let port = record.local.port();
    let address = record.local.ip();
    Some(match i32::from(errno.0) {
        libc::EADDRINUSE if port == 0 => format!(
            "all ephemeral ports of {address} are taken (net.ipv4.ip_local_port_range); with \
             IP_BIND_ADDRESS_NO_PORT connect chooses the port, for each destination separately"
        ),
        libc::EADDRINUSE => format!(
            "port {port} is taken, by a listener, a client or a connection in TIME_WAIT: {}",
            command(record, format_args!("ss -tanp 'sport = :{port}'"))
        ),
        libc::EADDRNOTAVAIL => format!(
            "{address} is no address of this host, or not yet (net.ipv4.ip_nonlocal_bind, \
             IP_FREEBIND)"
        ),
        libc::EACCES if port != 0 => format!(
            "port {port} takes CAP_NET_BIND_SERVICE (net.ipv4.ip_unprivileged_port_start), or policy \
             forbids it"
        ),
        libc::EINVAL => "the socket is bound already, or the address is malformed".to_owned(),
        _ => return None,
    })
}

fn connect(record: &Record, errno: Errno) -> Option<String> {
    let port = record.local.port();
    let to = record.remote.ip();
    Some(match i32::from(errno.0) {
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
    // Not known, as of an attempt that the kernel has forgotten.
    if to.is_unspecified() {
        return None;
    }
    let get = || command(record, format_args!("ip route get {to}"));
    let is_link_local = matches!(to, std::net::IpAddr::V6(to) if to.is_unicast_link_local());
    Some(match i32::from(errno.0) {
        libc::EINVAL if is_link_local => {
            "a link-local address needs a scope, as in fe80::1%eth0".to_owned()
        }
        libc::EINVAL => format!(
            "a blackhole route takes packets to {to}, or the address cannot be used from the one that \
             the socket is bound to: {}",
            get()
        ),
        libc::ENETUNREACH => format!("this host has no route to {to}: {}", get()),
        libc::EHOSTUNREACH => {
            format!("a route of this host says that {to} is unreachable: {}", get())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::record::tests::{record, reset_event};

    fn told(cause: Cause, errno: i32, local: &str, remote: &str) -> Option<String> {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let mut record = record(reset_event());
        (record.local, record.remote) = (address(local), address(remote));
        reason(&record, cause, Errno::of(errno))
    }

    #[test]
    fn a_port_that_was_asked_for_is_named() {
        let bind = |errno, local| told(Cause::BindFailed, errno, local, "0.0.0.0:0");
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
            |local| told(Cause::ConnectLocal, libc::EADDRNOTAVAIL, local, "10.1.0.3:5060");
        assert!(connect("10.1.0.2:15060").expect("a reason").contains("port 15060 and this"));
        assert!(connect("0.0.0.0:0").expect("a reason").contains("no ephemeral port"));
    }

    #[test]
    fn kinds_of_routes_are_told_apart() {
        let route =
            |errno, to| told(Cause::ConnectNoRoute, errno, "0.0.0.0:0", to).expect("a reason");
        assert_eq!(told(Cause::ConnectNoRoute, libc::EINVAL, "[::]:0", "[::]:80"), None);
        assert!(route(libc::EINVAL, "[fe80::1]:80").contains("scope"));
        assert!(route(libc::EINVAL, "10.9.0.1:80").contains("blackhole"));
        assert!(route(libc::EHOSTUNREACH, "10.9.0.1:80").contains("unreachable"));
        let none = route(libc::ENETUNREACH, "10.9.0.1:80");
        assert!(none.contains("ip route get 10.9.0.1"), "{none}");
    }
}
