//! Networks of three guests: one between client and router, one between router and server.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use xtask_common::fleet::{CLIENT, PORTS, ROUTER, ROUTER_AT_SERVER, Role, SERVER, TWIN};

use crate::network;

/// Address of a guest in the network that leads to the host.
const OWN: &str = "10.0.2.15";

/// Network namespace of a host behind this one.
pub(super) const TWIN_NAMESPACE: &str = "twin";

/// Sets up this guest's part of the networks. `eth0` leads to the host.
pub(super) fn set_up(role: Role) -> Result<()> {
    let mut commands = vec![format!("address add {OWN}/24 dev eth0"), "link set eth0 up".into()];
    let mut connect = |card: &str, address: &str| {
        commands.push(format!("address add {address}/24 dev {card}"));
        commands.push(format!("link set {card} up"));
    };
    match role {
        Role::Client => connect("eth1", CLIENT),
        Role::Server => connect("eth1", SERVER),
        Role::Router => {
            connect("eth1", ROUTER);
            connect("eth2", ROUTER_AT_SERVER);
        }
    }
    match role {
        Role::Client => commands.push(format!("route add 10.2.0.0/24 via {ROUTER}")),
        Role::Server => commands.push(format!("route add 10.1.0.0/24 via {ROUTER_AT_SERVER}")),
        Role::Router => {}
    }
    commands.iter().try_for_each(|words| network::ip(words))?;
    network::run("sysctl", "-q -w net.ipv4.ip_forward=1")?;
    match role {
        Role::Router => route(),
        Role::Client | Role::Server => twin(),
    }?;
    Ok(())
}

/// Forwards the server's ports from the router, and hides each end's address from the other.
fn route() -> Result<()> {
    let (first, last) = PORTS;
    nft(&format!(
        "table ip nat {{
            chain in {{
                type nat hook prerouting priority dstnat;
                ip daddr {ROUTER} tcp dport {first}-{last} dnat to {SERVER};
            }};
            {};
        }};
        table inet cut {{
            chain forward {{ type filter hook forward priority 0; }};
        }}",
        masquerade("{ eth1, eth2 }")
    ))
}

/// Chain that replaces the source address of packets leaving by these cards with this host's.
fn masquerade(cards: &str) -> String {
    format!(
        "chain out {{ type nat hook postrouting priority srcnat; oifname {cards} masquerade; }}"
    )
}

/// Sets up a host behind this one, with an address that another host has elsewhere.
fn twin() -> Result<()> {
    for words in [
        "netns add twin",
        "link add inside type veth peer name eth0 netns twin",
        "address add 192.168.7.1/24 dev inside",
        "link set inside up",
        &format!("-n twin address add {TWIN}/24 dev eth0"),
        "-n twin link set eth0 up",
        "-n twin link set lo up",
        "-n twin route add default via 192.168.7.1",
    ] {
        network::ip(words)?;
    }
    nft(&format!("table ip nat {{ {}; }}", masquerade("eth1")))
}

/// Creates these tables with nft.
fn nft(tables: &str) -> Result<()> {
    let status = Command::new("nft").arg(tables).status().context("cannot run nft")?;
    ensure!(status.success(), "nft refuses: {tables}");
    Ok(())
}
