//! ICMP messages in words.

use std::net::IpAddr;

use socktrace_diagnosis::advice::Icmp;

/// Meaning of a message, its numbers, and its sender, which is shown as this host if it is the
/// local end.
pub(super) fn describe(message: Icmp, local: IpAddr) -> String {
    let Icmp { kind, code, router } = message;
    let version = if router.is_ipv4() { "ICMP" } else { "ICMPv6" };
    let words = words(message);
    let sender = if router.to_canonical() == local.to_canonical() {
        format!("this host, {router}")
    } else {
        router.to_string()
    };
    format!("{version} {words}, {kind}/{code}, from {sender}")
}

/// Wording of RFC 792, 1122 and 1812, or of RFC 4443, and what it hints at.
const fn words(message: Icmp) -> &'static str {
    match (message.router.is_ipv4(), message.kind, message.code) {
        (true, 3, 0) | (false, 1, 0) => "no route to the network",
        (true, 3, 1) | (false, 1, 3) => "host unreachable",
        (true, 3, 2) => "protocol unreachable",
        (true, 3, 3) | (false, 1, 4) => "port unreachable",
        (true, 3, 4) | (false, 2, _) => "packet too big",
        (true, 3, 5) => "source route failed",
        (true, 3, 6) => "network unknown",
        (true, 3, 7) => "host unknown",
        (true, 3, 8) => "source host isolated",
        (true, 3, 9) => "network administratively prohibited: a firewall",
        (true, 3, 10) => "host administratively prohibited: a firewall",
        (true, 3, 11) => "network unreachable for this type of service",
        (true, 3, 12) => "host unreachable for this type of service",
        (true, 3, 13) | (false, 1, 1) => "administratively prohibited: a firewall",
        (true, 3, 14) => "precedence violated",
        (true, 3, 15) => "precedence too low",
        (false, 1, 2) => "beyond the scope of the source address",
        (false, 1, 5) => "source address refused by policy: a firewall or a filter",
        (false, 1, 6) => "route rejected",
        (true, 4, _) => "source quench",
        (true, 11, 0) | (false, 3, 0) => "hop limit exceeded: a routing loop, or too low a TTL",
        (true, 11, 1) | (false, 3, 1) => "fragments missing",
        (true, 12, _) | (false, 4, _) => "problem with a header",
        _ => "of another kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(kind: u8, code: u8, router: &str) -> String {
        let router = router.parse().expect("an address");
        describe(Icmp { kind, code, router }, "10.0.0.7".parse().expect("an address"))
    }

    #[test]
    fn messages_have_names() {
        for (kind, code, router, expected) in [
            (3, 3, "10.0.0.9", "ICMP port unreachable, 3/3, from 10.0.0.9"),
            (
                3,
                13,
                "192.0.2.1",
                "ICMP administratively prohibited: a firewall, 3/13, from 192.0.2.1",
            ),
            (3, 1, "10.0.0.7", "ICMP host unreachable, 3/1, from this host, 10.0.0.7"),
            (1, 4, "2001:db8::1", "ICMPv6 port unreachable, 1/4, from 2001:db8::1"),
            (42, 7, "10.0.0.9", "ICMP of another kind, 42/7, from 10.0.0.9"),
        ] {
            assert_eq!(reported(kind, code, router), expected);
        }
    }
}
