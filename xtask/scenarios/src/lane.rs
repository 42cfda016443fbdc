//! A separate host with a path to the other host, and local faults of that path.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use nix::libc;

use super::{
    bpf::Link,
    forbid,
    network::{self, Family, Line, Network},
    socket::Pair,
};

/// Commands that create the path from a lonely host to the other host.
const SETUP: &[&str] = &[
    "link add lane0 type veth peer name lane1 netns peer",
    "address add 10.79.0.1/24 dev lane0",
    "address add fd79::1/64 dev lane0 nodad",
    "link set lane0 up",
    "-n peer address add 10.79.0.2/24 dev lane1",
    "-n peer address add fd79::2/64 dev lane1 nodad",
    "-n peer link set lane1 up",
];

/// A separate host with a breakable path to the other host.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    pub(super) family: Family,
}

impl Lane {
    /// Runs `act` on that host.
    pub(super) fn on<T: Send>(
        family: Family,
        act: impl FnOnce(Self) -> Result<T> + Send,
    ) -> Result<T> {
        Network::get()?;
        network::on_lonely_host(|| {
            SETUP.iter().try_for_each(|words| network::ip(words))?;
            let result = act(Self { family });
            // The host goes away some time later, and the next one uses the same names.
            let _gone_already = network::ip("-n peer link del lane1");
            result
        })
    }

    pub(super) fn address(self, host: u8, port: u16) -> SocketAddr {
        let v6 = Ipv6Addr::new(0xfd79, 0, 0, 0, 0, 0, 0, host.into());
        self.family.address(Ipv4Addr::new(10, 79, 0, host), v6, port)
    }

    /// Opens a connection to the other host.
    pub(super) fn line(self) -> Result<Line> {
        Line::to(self.address(2, 0))
    }

    /// Runs `ip` for this family.
    fn ip(self, words: &str) -> Result<()> {
        let option = if self.family == Family::Ipv6 { "-6 " } else { "" };
        network::ip(&format!("{option}{words}"))
    }

    /// Network of both hosts.
    const fn network(self) -> &'static str {
        match self.family {
            Family::Ipv6 => "fd79::/64",
            Family::Ipv4 | Family::Mapped => "10.79.0.0/24",
        }
    }
}

/// Reason why this host cannot send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A local firewall rule drops.
    Firewall,
    /// A local firewall rule answers by ICMP.
    Reject,
    /// A BPF program of the cgroup drops.
    Cgroup,
    /// Conntrack's table is full.
    Conntrack,
    /// The device is down.
    LinkDown,
    /// The peer of the veth device has been deleted, and the device with it.
    DeviceGone,
    AddressGone,
    RouteGone,
    Blackhole,
    /// The device's queue is full.
    QueueFull,
}

/// Guard of a fault.
pub(super) enum Kept {
    Nothing,
    #[expect(dead_code, reason = "dropping it detaches the program")]
    Program(Link),
    #[expect(dead_code, reason = "dropping it empties the table")]
    Table(Pair),
}

impl Fault {
    /// Breaks the path for a socket with this port.
    pub(super) fn strike(self, lane: Lane, local_port: u16) -> Result<Kept> {
        let firewall = |verdict: &str| {
            network::run(
                "nft",
                &format!(
                    "table inet own {{ chain output {{ type filter hook output priority 0; \
                     tcp sport {local_port} {verdict}; }}; }}"
                ),
            )
        };
        match self {
            Self::Firewall => firewall("drop")?,
            Self::Reject => firewall("reject with icmpx type host-unreachable")?,
            Self::Cgroup => return Ok(Kept::Program(forbid::packets(local_port)?)),
            Self::Conntrack => {
                network::run(
                    "nft",
                    "table inet own { chain output { type filter hook output priority 0; \
                     ct state new accept; }; }",
                )?;
                // Conntrack does not evict established connections for new ones.
                return Ok(Kept::Table(Pair::new(lane.family.loopback())?));
            }
            Self::LinkDown => network::ip("link set lane0 down")?,
            Self::DeviceGone => network::ip("-n peer link del lane1")?,
            Self::AddressGone => {
                let address = lane.address(1, 0).ip().to_canonical();
                let length = if address.is_ipv6() { 64 } else { 24 };
                network::ip(&format!("address del {address}/{length} dev lane0"))?;
            }
            Self::RouteGone => lane.ip(&format!("route del {} dev lane0", lane.network()))?,
            Self::Blackhole => {
                let to = lane.address(2, 0).ip().to_canonical();
                network::ip(&format!("route add blackhole {to}"))?;
            }
            Self::QueueFull => {
                network::run("tc", "qdisc add dev lane0 root pfifo limit 0")?;
            }
        }
        Ok(Kept::Nothing)
    }

    /// The errno of a transmission, or of a retransmission.
    pub(super) fn send_errno(self, family: Family, was_sent: bool) -> &'static str {
        let is_ipv4 = family != Family::Ipv6;
        match self {
            Self::Firewall | Self::Reject | Self::Cgroup | Self::Conntrack => "EPERM",
            Self::QueueFull => "ENOBUFS",
            // `ip_queue_xmit` has one errno for all of these.
            _ if is_ipv4 && !was_sent => "EHOSTUNREACH",
            Self::Blackhole => "EINVAL",
            _ => "ENETUNREACH",
        }
    }

    /// The errno that the program gets: the one that the route lookup has left (`inet6_csk_xmit`,
    /// `inet_sk_rebuild_header`), or else the timer's.
    pub(super) fn errno(self, family: Family, was_sent: bool) -> i32 {
        if self == Self::Reject {
            return libc::EHOSTUNREACH;
        }
        match self.send_errno(family, was_sent) {
            "ENETUNREACH" => libc::ENETUNREACH,
            "EINVAL" => libc::EINVAL,
            _ => libc::ETIMEDOUT,
        }
    }
}
