//! The guest's network: loopback, and a second host in a network namespace behind a veth pair.

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::OnceLock,
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use super::{
    modules,
    socket::{self, Ends, Pair},
};

const PEER: &str = "peer";

/// Directory of network namespaces made by `ip`.
const NAMESPACES: &str = "/run/netns";

/// Ports are chosen by the kernel.
const ANY: u16 = 0;

/// A port without a listener on any host.
pub(super) const NOBODY_LISTENS: u16 = 9;

/// Arguments to `ip` that set up the two hosts.
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
    // By default, a host sends a few ICMP messages a second, and scenarios need more.
    "netns exec peer sysctl -q -w net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0",
];

/// Address families that a scenario can run in.
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

    /// This host's address on the network with the other host, any port.
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

    /// An address of the same network that belongs to no host.
    pub(super) fn nobody(self) -> SocketAddr {
        self.address(
            Ipv4Addr::new(10, 77, 0, 99),
            Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x99),
            NOBODY_LISTENS,
        )
    }

    /// An address in a network to which there is no route.
    pub(super) fn elsewhere(self) -> SocketAddr {
        self.address(
            Ipv4Addr::new(10, 78, 0, 9),
            Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 9),
            NOBODY_LISTENS,
        )
    }

    pub(super) fn address(self, v4: Ipv4Addr, v6: Ipv6Addr, port: u16) -> SocketAddr {
        let ip = match self {
            Self::Ipv4 => IpAddr::V4(v4),
            Self::Ipv6 => IpAddr::V6(v6),
            Self::Mapped => IpAddr::V6(v4.to_ipv6_mapped()),
        };
        SocketAddr::new(ip, port)
    }
}

/// Faults of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// No fault.
    None,
    /// All TCP segments are dropped.
    Drop,
    /// TCP segments larger than [`SMALL_PATH`] are dropped on their way to the other host.
    DropLarge,
    /// Pure acknowledgments, such as the last segment of a handshake, are dropped on
    /// their way to the other host.
    LastOfHandshake,
    /// TCP segments that this host sends to the other are dropped.
    DropSent,
    /// TCP segments are rejected, with this argument to nft's `reject`.
    Reject(&'static str),
}

/// Size of the largest packet that passes, in bytes.
const SMALL_PATH: u32 = 1_000;

/// Rejection by ICMP host unreachable; for IPv6, address unreachable.
pub(super) const HOST_UNREACHABLE: Silence = Silence::Reject("icmpx type host-unreachable");

/// Type and code of the ICMP message of that rejection.
pub(super) fn host_unreachable(family: Family) -> (u8, u8) {
    match family {
        Family::Ipv4 | Family::Mapped => (3, 1),
        Family::Ipv6 => (1, 3),
    }
}

/// The network with the other host. Both are created on first use and kept until the guest ends.
#[derive(Clone, Copy)]
pub(super) struct Network {
    /// Name of the network namespace that is the other host.
    peer: &'static str,
}

impl Network {
    pub(super) fn get() -> Result<Self> {
        static MADE: OnceLock<Result<(), String>> = OnceLock::new();
        modules::require("veth")?;
        MADE.get_or_init(|| {
            // Another process of the guest may have created it.
            if Path::new(NAMESPACES).join(PEER).exists() {
                return Ok(());
            }
            SETUP
                .iter()
                .try_for_each(|words| run("ip", words))
                .map_err(|error| format!("{error:#}"))
        })
        .clone()
        .map_err(|error| anyhow!(error).context("cannot set the network up"))?;
        Ok(Self { peer: PEER })
    }

    /// Runs `make` on the other host, which then owns the sockets that it makes.
    pub(super) fn in_peer<T: Send>(self, make: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = Path::new(NAMESPACES).join(self.peer);
        let namespace = File::open(path).context("no peer namespace")?;
        // A network namespace belongs to the thread.
        thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the peer")?;
                make()
            });
            thread.join().map_err(|_| anyhow!("the peer's thread panicked"))?
        })
    }

    /// Writes a sysctl of IPv4, or of TCP over both families, on the other host.
    pub(super) fn set_in_peer(self, name: &str, value: u32) -> Result<()> {
        self.in_peer(|| Ok(fs::write(Path::new(SETTINGS).join(name), value.to_string())?))
    }

    /// Number of times a SYN is retransmitted.
    pub(super) fn syn_retries() -> Result<u32> {
        Ok(setting("tcp_syn_retries")? + setting(LINEAR_TIMEOUTS)?)
    }

    /// Retransmission timeout in milliseconds after this many retransmissions of a SYN. From 6.5
    /// on, the first timeouts are not doubled.
    pub(super) fn syn_timeout(retransmits: u32) -> Result<u64> {
        Ok(1_000 << retransmits.saturating_sub(setting(LINEAR_TIMEOUTS)?))
    }

    /// Makes the network fail until the result is dropped.
    pub(super) fn cut(self, silence: Silence) -> Result<Cut> {
        // Only TCP fails: neighbor discovery continues.
        const ALL: &str = "meta l4proto tcp";
        const LAST: &str = "tcp flags & (fin | syn | rst | ack) == ack";
        let (which, verdict, answers) = match silence {
            Silence::None => return Ok(Cut { peer: None }),
            Silence::Drop => (ALL, "drop".to_owned(), "drop"),
            Silence::DropSent => (ALL, "drop".to_owned(), "accept"),
            Silence::DropLarge => (ALL, format!("meta length > {SMALL_PATH} drop"), "accept"),
            Silence::LastOfHandshake => (LAST, "drop".to_owned(), "accept"),
            Silence::Reject(with) => (ALL, format!("reject with {with}"), "drop"),
        };
        self.filter(&[
            ("input", &format!("{which} {verdict}")),
            ("output", &format!("{ALL} {answers}")),
        ])
    }

    /// Applies nft rules, each at a hook, on the other host until the result is dropped.
    pub(super) fn filter(self, rules: &[(&str, &str)]) -> Result<Cut> {
        self.load(&table(rules))
    }

    /// Makes the other host translate both addresses of connections to one of its ports, until the
    /// result is dropped: they go to `to`, and appear to come from `client`.
    pub(super) fn translate(self, port: u16, to: SocketAddr, client: IpAddr) -> Result<Cut> {
        ["nft_chain_nat", "nft_nat"].into_iter().try_for_each(modules::require)?;
        let ip = if to.is_ipv4() { "ip" } else { "ip6" };
        let to_port = to.port();
        self.load(&format!(
            "table inet cut {{ \
             chain prerouting {{ type nat hook prerouting priority -100; \
             tcp dport {port} dnat {ip} to {to}; }}; \
             chain input {{ type nat hook input priority 100; \
             tcp dport {to_port} snat {ip} to {client}; }}; }}"
        ))
    }

    /// Adds this table to the other host's firewall.
    fn load(self, table: &str) -> Result<Cut> {
        let cut = Cut { peer: Some(self.peer) };
        let status = Command::new("ip")
            .args(["netns", "exec", self.peer, "nft", table])
            .status()
            .context("cannot run nft")?;
        ensure!(status.success(), "nft refuses: {table}");
        Ok(cut)
    }
}

/// nft table with these rules.
fn table(rules: &[(&str, &str)]) -> String {
    let chain = |(hook, rule): &(&str, &str)| {
        format!("chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}; ")
    };
    format!("table inet cut {{ {}}}", rules.iter().map(chain).collect::<String>())
}

/// Drops all incoming TCP segments, in the network namespace of this thread, for as long as it exists.
pub(super) fn drop_all() -> Result<()> {
    let table = table(&[("input", "meta l4proto tcp drop")]);
    let status = Command::new("nft").arg(&table).status().context("cannot run nft")?;
    ensure!(status.success(), "nft refuses: {table}");
    Ok(())
}

/// Directory of IPv4 sysctls, for the network namespace of the calling thread.
const SETTINGS: &str = "/proc/sys/net/ipv4";

/// Number of SYN timeouts that are not doubled.
const LINEAR_TIMEOUTS: &str = "tcp_syn_linear_timeouts";

/// A sysctl of IPv4, or of TCP over both families; 0 if this kernel does not have it.
fn setting(name: &str) -> Result<u32> {
    let path = Path::new(SETTINGS).join(name);
    if !path.exists() {
        return Ok(0);
    }
    Ok(fs::read_to_string(path)?.trim().parse()?)
}

/// A fault of the network, which ends when dropped.
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

/// A connection over the network to the other host.
pub(super) struct Line {
    pub(super) network: Network,
    pub(super) pair: Pair,
    /// Ends as seen by the client, which is on this host.
    pub(super) ends: Ends,
    /// Time before the connection was made.
    pub(super) since: Instant,
}

impl Line {
    pub(super) fn new(family: Family) -> Result<Self> {
        Self::to(family.peer())
    }

    /// Connects to this address of the other host.
    pub(super) fn to(address: SocketAddr) -> Result<Self> {
        let network = Network::get()?;
        let listener = network.in_peer(|| socket::listener(address, 1))?;
        let since = Instant::now();
        let pair = Pair::through(&listener)?;
        let ends = Ends::of_client(&pair.client)?;
        Ok(Self { network, pair, ends, since })
    }

    /// Closes the connection in order.
    pub(super) fn close(self) -> Result<Network> {
        drop(self.pair.client);
        socket::read_end(&self.pair.server)?;
        Ok(self.network)
    }
}

/// Runs `make` on a separate host that has only loopback, and exists while `make` runs.
pub(super) fn on_lonely_host<T: Send>(make: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            ip("link set lo up")?;
            make()
        });
        thread.join().map_err(|_| anyhow!("the lonely host's thread panicked"))?
    })
}

/// Runs `ip` with these arguments in the network namespace of this thread.
pub(super) fn ip(words: &str) -> Result<()> {
    run("ip", words)
}

/// Runs a program with these arguments in the network namespace of this thread.
pub(super) fn run(program: &str, words: &str) -> Result<()> {
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
