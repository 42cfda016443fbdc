//! Origin of an RST by its hop count (`--hops`): the peer behind a router, or the router.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::{
    sched::{CloneFlags, setns},
    sys::signal::Signal,
};
use serde_json::Value;
use socket2::Socket;

use super::{
    modules,
    network::{Family, ip},
    socket::{self, Pair},
    tracer::Tracer,
};

const ROUTER: &str = "hops-router";
const SERVER: &str = "hops-server";

/// Arguments to `ip` for this host, a router, and a server behind it.
const SETUP: &[&str] = &[
    "netns add hops-router",
    "netns add hops-server",
    "link add hops0 type veth peer name near0 netns hops-router",
    "-n hops-router link add far0 type veth peer name hops1 netns hops-server",
    "address add 10.81.0.1/24 dev hops0",
    "address add fd81::1/64 dev hops0 nodad",
    "link set hops0 up",
    "-n hops-router address add 10.81.0.254/24 dev near0",
    "-n hops-router address add fd81::fe/64 dev near0 nodad",
    "-n hops-router link set near0 up",
    "-n hops-router address add 10.81.1.254/24 dev far0",
    "-n hops-router address add fd81:1::fe/64 dev far0 nodad",
    "-n hops-router link set far0 up",
    "netns exec hops-router sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1",
    "-n hops-server address add 10.81.1.1/24 dev hops1",
    "-n hops-server address add fd81:1::1/64 dev hops1 nodad",
    "-n hops-server link set hops1 up",
    "-n hops-server route add default via 10.81.1.254",
    "-n hops-server -6 route add default via fd81:1::fe",
    "route add 10.81.1.0/24 via 10.81.0.254",
    "-6 route add fd81:1::/64 via fd81::fe",
];

/// Default TTL of sockets, and what remains of it behind one router.
const USUAL: u8 = 64;
const BEHIND_ROUTER: u8 = USUAL - 1;

/// TTL set by a program, and what remains of it behind one router.
const SET: u8 = 100;
const SET_BEHIND_ROUTER: u8 = SET - 1;

/// Sender of the RST.
#[derive(Clone, Copy, Debug)]
enum Sender {
    /// The router, in answer to data.
    Router,
    /// The peer.
    Peer,
    /// The peer's kernel, in answer to data after close. It uses the default, although the socket's
    /// program had set another TTL or hop limit.
    PeerWithoutSocket,
}

/// Each reset is reported with both TTLs, and with a remark if they differ.
pub(super) fn of_resets() -> Result<()> {
    modules::require("veth")?;
    SETUP.iter().try_for_each(|words| ip(words)).context("cannot set the router up")?;
    let tracer = Tracer::must_start(&["--output", "json", "--no-metrics", "--hops"])?;
    for family in [Family::Ipv4, Family::Ipv6] {
        for (sender, cause, rst, handshake) in [
            (Sender::Router, "reset_by_peer", USUAL, BEHIND_ROUTER),
            (Sender::Peer, "reset_by_peer", BEHIND_ROUTER, BEHIND_ROUTER),
            // A false alarm, which cannot be distinguished from a real one.
            (Sender::PeerWithoutSocket, "reset_after_peer_close", BEHIND_ROUTER, SET_BEHIND_ROUTER),
        ] {
            reset(family, sender)?;
            let line = next_reset(&tracer)?;
            let context = || anyhow!("{sender:?}, {family:?}: {line}");
            ensure!(line["cause"] == cause, context());
            ensure!(line["rst_ttl"] == rst && line["handshake_ttl"] == handshake, context());
            let reason = line["reason"].as_str().unwrap_or_default();
            let remark = format!(
                "; its TTL differs by {} from the handshake's: probably sent on the way",
                rst.abs_diff(handshake)
            );
            ensure!(reason.contains(&remark) == (rst != handshake), context());
            ensure!(reason.contains("TTL") == (rst != handshake), context());
        }
    }
    on_loopback(&tracer)?;
    Tracer::stop_all(vec![tracer], Signal::SIGINT)?;
    Ok(())
}

/// Next line about a connection that was reset.
fn next_reset(tracer: &Tracer) -> Result<Value> {
    loop {
        let line = tracer.next_line(Duration::from_secs(10)).context("no line")?;
        let line: Value = serde_json::from_str(&line)?;
        if line["event"] == "failure" && line["cause"] != "premature_eof" {
            return Ok(line);
        }
    }
}

/// Resets a client of this host.
fn reset(family: Family, sender: Sender) -> Result<()> {
    let address =
        family.address(Ipv4Addr::new(10, 81, 1, 1), Ipv6Addr::new(0xfd81, 1, 0, 0, 0, 0, 0, 1), 0);
    let listener = on(SERVER, || socket::bound(address))?;
    if let Sender::PeerWithoutSocket = sender {
        set_ttl(&listener, address)?;
    }
    listener.listen(1)?;
    let Pair { client, server } = Pair::through(&listener)?;
    match sender {
        Sender::Router => {
            let port = socket::local(&server)?.port();
            let rule = format!("tcp dport {port} reject with tcp reset");
            let table = format!(
                "table inet hops {{ chain forward {{ type filter hook forward priority 0; {rule}; }}; }}"
            );
            nft(&table)?;
            client.send(b"question")?;
            socket::until_reset(&client)?;
            nft("delete table inet hops")?;
        }
        Sender::Peer => socket::close_with_reset(server)?,
        Sender::PeerWithoutSocket => {
            drop(server);
            socket::read_end(&client)?;
            client.send(b"question")?;
        }
    }
    socket::until_reset(&client)?;
    Ok(())
}

/// A segment that never left the host has not lost a hop, and its sender is named whatever its TTL.
fn on_loopback(tracer: &Tracer) -> Result<()> {
    let address = Family::Ipv4.loopback();
    let Pair { client, server } = Pair::new(address)?;
    set_ttl(&server, address)?;
    socket::close_with_reset(server)?;
    socket::until_reset(&client)?;
    let line = next_reset(tracer)?;
    ensure!(line["rst_ttl"] == SET && line["handshake_ttl"] == USUAL, "{line}");
    let reason = line["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("; sent by ") && !reason.contains("TTL"), "{line}");
    Ok(())
}

fn set_ttl(socket: &Socket, address: SocketAddr) -> Result<()> {
    match address {
        SocketAddr::V4(_) => socket.set_ttl_v4(SET.into())?,
        SocketAddr::V6(_) => socket.set_unicast_hops_v6(SET.into())?,
    }
    Ok(())
}

fn nft(words: &str) -> Result<()> {
    on(ROUTER, || {
        let status = std::process::Command::new("nft").arg(words).status().context("no nft")?;
        ensure!(status.success(), "nft refuses: {words}");
        Ok(())
    })
}

/// Runs `make` on one of these hosts.
fn on<T: Send>(host: &str, make: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let namespace = fs::File::open(Path::new("/run/netns").join(host)).context("no such host")?;
    // A network namespace belongs to the thread.
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the host")?;
            make()
        });
        thread.join().map_err(|_| anyhow!("the host's thread panicked"))?
    })
}
