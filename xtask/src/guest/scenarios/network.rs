//! The guest's network: loopback, and a second host in a network namespace behind a veth pair.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::OnceLock,
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns};

const PEER: &str = "peer";

/// Ports are chosen by the kernel.
const ANY: u16 = 0;

/// What sets the two hosts up, as arguments to `ip`.
const SETUP: &[&str] = &[
    "netns add peer",
    "link add host0 type veth peer name peer0 netns peer",
    "address add 10.77.0.1/24 dev host0",
    "address add fd77::1/64 dev host0 nodad",
    "link set host0 up",
    "-n peer address add 10.77.0.2/24 dev peer0",
    "-n peer address add fd77::2/64 dev peer0 nodad",
    "-n peer link set peer0 up",
    "-n peer link set lo up",
];

/// The families a scenario can run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4 sockets.
    Ipv4,
    /// IPv6 sockets.
    Ipv6,
    /// IPv6 sockets with IPv4-mapped addresses.
    Mapped,
}

impl Family {
    /// Loopback, any port.
    pub(super) fn loopback(self) -> SocketAddr {
        self.address(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, ANY)
    }

    /// This host on the way to the other, any port.
    pub(super) fn host(self) -> SocketAddr {
        self.address(Ipv4Addr::new(10, 77, 0, 1), Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1), ANY)
    }

    /// The other host, any port.
    pub(super) fn peer(self) -> SocketAddr {
        self.peer_port(ANY)
    }

    /// The other host at this port.
    pub(super) fn peer_port(self, port: u16) -> SocketAddr {
        self.address(Ipv4Addr::new(10, 77, 0, 2), Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2), port)
    }

    fn address(self, v4: Ipv4Addr, v6: Ipv6Addr, port: u16) -> SocketAddr {
        let ip = match self {
            Self::Ipv4 => IpAddr::V4(v4),
            Self::Ipv6 => IpAddr::V6(v6),
            Self::Mapped => IpAddr::V6(v4.to_ipv6_mapped()),
        };
        SocketAddr::new(ip, port)
    }
}

/// How the network fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Not at all.
    None,
    /// TCP segments disappear.
    Drop,
    /// TCP segments are answered by ICMP host (IPv6: address) unreachable.
    HostUnreachable,
}

/// The way to the other host. Both are made at the first use and kept for the guest's life.
#[derive(Clone, Copy)]
pub(super) struct Network {
    /// Whose network namespace is the other host.
    peer: &'static str,
}

impl Network {
    pub(super) fn get() -> Result<Self> {
        static MADE: OnceLock<Result<(), String>> = OnceLock::new();
        MADE.get_or_init(|| {
            SETUP
                .iter()
                .try_for_each(|words| run("ip", words))
                .map_err(|error| format!("{error:#}"))
        })
        .clone()
        .map_err(|error| anyhow!(error).context("cannot set the network up"))?;
        Ok(Self { peer: PEER })
    }

    /// Runs `make` on the other host: sockets it makes belong there.
    pub(super) fn in_peer<T: Send>(self, make: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = Path::new("/run/netns").join(self.peer);
        let namespace = File::open(path).context("no peer namespace")?;
        // The namespace is a property of the thread.
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the peer")?;
                make()
            });
            thread.join().map_err(|_| anyhow!("the peer's thread panicked"))?
        })
    }

    /// Makes the network fail until the result is dropped.
    pub(super) fn cut(self, silence: Silence) -> Result<Cut> {
        // Neighbour discovery goes on: only TCP fails.
        let verdict = match silence {
            Silence::None => return Ok(Cut { peer: None }),
            Silence::Drop => "meta l4proto tcp drop",
            Silence::HostUnreachable => "meta l4proto tcp reject with icmpx type host-unreachable",
        };
        let cut = Cut { peer: Some(self.peer) };
        let rules = format!(
            "table inet cut {{ chain input {{ type filter hook input priority 0; {verdict}; }}; \
             chain output {{ type filter hook output priority 0; meta l4proto tcp drop; }}; }}"
        );
        let status = Command::new("ip")
            .args(["netns", "exec", self.peer, "nft", &rules])
            .status()
            .context("cannot run nft")?;
        ensure!(status.success(), "nft refuses: {rules}");
        Ok(cut)
    }
}

/// A failing network, whole again when dropped.
pub(super) struct Cut {
    peer: Option<&'static str>,
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(peer) = self.peer
            && let Err(error) = run("ip", &format!("netns exec {peer} nft delete table inet cut"))
        {
            eprintln!("the network stays cut: {error:#}");
        }
    }
}

fn run(program: &str, words: &str) -> Result<()> {
    let output = Command::new(program)
        .args(words.split_whitespace())
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {words}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
