//! Advice on segments that never left this host.

use std::borrow::Cow;

use nix::libc;

use super::Facts;

/// Advice by the errno of the failed transmission.
pub(super) fn advice(facts: &Facts<'_>) -> Option<Cow<'static, str>> {
    let to = facts.peer()?;
    let errno = facts.send_errno.map_or(0, |errno| i32::from(errno.number()));
    let text = match errno {
        libc::EPERM => format!(
            "{} shows the output chains of this host's own firewall; bpftool cgroup tree has the \
             egress programs of cgroups (IPAddressDeny= of systemd); the kernel's log says \"table \
             full\" if it is conntrack",
            facts.command("nft list ruleset")
        ),
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EADDRNOTAVAIL => format!(
            "{} shows whether the way has come back, {} whether interface and address are there; who \
             takes them away is in the log of the network manager, the VPN or the container runtime",
            facts.command(format_args!("ip route get {to}")),
            facts.command("ip -br addr")
        ),
        libc::EINVAL | libc::EACCES => format!(
            "{} lists such routes; container networks and routing daemons install them",
            facts.command(format_args!(
                "ip {}route show table all type {}",
                if to.is_ipv6() { "-6 " } else { "" },
                if errno == libc::EACCES { "prohibit" } else { "blackhole" }
            ))
        ),
        libc::ENOBUFS => format!(
            "{} counts what each queue has dropped: its limit is too small, or the link too slow for \
             what is sent",
            facts.command("tc -s qdisc")
        ),
        libc::ENOMEM => "the host is short of memory (dmesg, free)".to_owned(),
        _ => format!(
            "{} shows the way and {} this host's own firewall",
            facts.command(format_args!("ip route get {to}")),
            facts.command("nft list ruleset")
        ),
    };
    Some(text.into())
}
