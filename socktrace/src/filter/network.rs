//! Addresses and networks.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net};
use socktrace_ebpf::{Family, criteria};

/// Number of bits before the IPv4 address in an IPv4-mapped address.
const MAPPED_BITS: u8 = 96;

/// Addresses of one family. IPv4-mapped IPv6 addresses are IPv4, as everywhere in socktrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        match parsed {
            Ok(net) => Ok(Self(unmapped(net).trunc())),
            Err(_) if text.parse::<SocketAddr>().is_ok() => {
                Err("--local and --remote take an address without a port; use --port for the port"
                    .to_owned())
            }
            Err(_) => Err("expected an address or a network, such as 10.0.0.7, 10.0.0.0/8, \
                           2001:db8::1 or 2001:db8::/32, or !NETWORK for all others"
                .to_owned()),
        }
    }
}

impl Network {
    /// Whether the network contains the address; never for an address of the other family.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether the network contains all of another network.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Key in the kernel side's map: the prefix length and the bits.
    pub(super) fn key(&self, end: criteria::End) -> (u32, criteria::Network) {
        let (family, octets) = match self.0 {
            IpNet::V4(net) => {
                (Family::Ipv4, socktrace_ebpf::Address::ipv4(net.network().octets()).octets)
            }
            IpNet::V6(net) => (Family::Ipv6, net.network().octets()),
        };
        let bits = criteria::Network::SCOPE_BITS + u32::from(self.0.prefix_len());
        (bits, criteria::Network::new(end, family as u8, octets))
    }
}

fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let v4 = v6.addr().to_ipv4_mapped();
    let bits = v6.prefix_len().checked_sub(MAPPED_BITS);
    match (v4, bits.map(|bits| v4.map(|v4| Ipv4Net::new(v4, bits)))) {
        (Some(_), Some(Some(Ok(net)))) => IpNet::V4(net),
        _ => net,
    }
}
