//! RSTs that this host sends: the sender's report for each reason, and the other end's matching report.

use std::{
    fs,
    net::{IpAddr, Shutdown, SocketAddr},
    process,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::libc;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    address, both_ends, event_schema, names_reset_reasons,
    network::Family,
    series,
    socket::{self, Ends, Pair},
    tracer::Tracer,
    uses_kprobes,
    verify::{Metrics, sum},
};

/// Expected report of a sent RST.
struct Sent {
    because: &'static str,
    answered_by: Option<&'static str>,
    /// Sender and receiver.
    ends: Ends,
    /// Whether this process sends it; otherwise no process is known.
    is_ours: bool,
    /// Whether the connection has an ID, which the other end reports too.
    has_flow: bool,
}

impl Sent {
    /// This process closes or dissolves a connection.
    fn by_us(because: &'static str, ends: Ends) -> Self {
        Self { because, answered_by: None, ends, is_ours: true, has_flow: true }
    }

    /// A segment that matches no connection is answered.
    fn by_nobody(because: &'static str, answered_by: &'static str, ends: Ends) -> Self {
        let answered_by = Some(answered_by);
        Self { because, answered_by, ends, is_ours: false, has_flow: false }
    }
}

/// Cases, each of which makes one RST.
const CASES: [fn(Family) -> Result<Sent>; 13] = [
    cookie,
    urgent,
    unread_data,
    linger_zero,
    listener_closed,
    dissolved,
    linger2,
    killed,
    no_socket,
    time_wait,
    data_after_close,
    overflow,
    stray,
];

/// Each RST is in the stream and in the counts, with its reason.
pub(super) fn reset_sent() -> Result<()> {
    let args = ["--output", "json", "--all", "--listen", "127.0.0.1:0"];
    let tracer = Tracer::must_start(&args)?;
    let before = tracer.scrape()?;
    let mut counted: Vec<&str> = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6, Family::Mapped] {
        for case in CASES {
            let sent = case(family)?;
            let lines = tracer.until_sentinel()?;
            let stream = lines
                .iter()
                .map(|line| event_schema::read(line))
                .collect::<Result<Vec<Value>>>()?;
            check(&sent, &stream)
                .with_context(|| format!("{} of {family:?}: {}", sent.because, lines.join("\n")))?;
            counted.extend(sent.answered_by);
        }
    }
    let after = tracer.scrape()?;
    for kind in ["none", "listener", "request", "time_wait", "full"] {
        let series = format!("socktrace_resets_sent_total{{answered_by=\"{kind}\"");
        let of = |metrics: &Metrics| sum(metrics, &series);
        let wanted: f64 = counted.iter().filter(|counted| **counted == kind).map(|_| 1.0).sum();
        let more = of(&after) - of(&before) - wanted;
        // Sentinels are refused too, which adds RSTs without a socket.
        let is_right = if kind == "none" { more > -0.5 } else { more.abs() < 0.5 };
        ensure!(is_right, "{more} more were counted than {wanted} that were sent by {kind}");
    }
    Ok(())
}

fn check(sent: &Sent, stream: &[Value]) -> Result<()> {
    let problems = both_ends::check(stream);
    ensure!(problems.is_empty(), "{problems}");
    let is_end = |line: &Value, field: &str, end: SocketAddr| {
        let port = format!("{field}_port");
        line[field] == end.ip().to_string() && line[port] == end.port()
    };
    let is_from = |line: &Value, ends: Ends| {
        is_end(line, "local", ends.local) && is_end(line, "remote", ends.remote)
    };
    let lines: Vec<_> =
        stream.iter().filter(|line| both_ends::is_sent(line) && is_from(line, sent.ends)).collect();
    let [line] = lines.as_slice() else { bail!("{} RSTs were sent", lines.len()) };
    let pid = if sent.is_ours { Value::from(process::id()) } else { Value::Null };
    for (field, value) in [
        ("sent_because", sent.because.into()),
        ("answered_by", sent.answered_by.into()),
        ("pid", pid),
    ] {
        ensure!(line[field] == value, "{field} is {}, right is {value}", line[field]);
    }
    ensure!(
        line["rst_reason"].is_string() == names_reset_reasons(),
        "the kernel's reason is missing"
    );
    ensure!(line["flow"].is_string() == sent.has_flow, "flow is {}", line["flow"]);
    if sent.has_flow {
        let others = stream.iter().filter(|line| is_from(line, sent.ends.reversed()));
        let mut named = others.map(|other| &other["flow"]);
        ensure!(named.any(|flow| *flow == line["flow"]), "the other end does not know it");
    }
    Ok(())
}

fn unread_data(family: Family) -> Result<Sent> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    socket::send(&client, b"hello")?;
    drop(server);
    socket::ensure_errno("read", socket::read_errno(&client)?, libc::ECONNRESET)?;
    Ok(Sent::by_us("unread_data", ends))
}

fn linger_zero(family: Family) -> Result<Sent> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    socket::close_with_reset(client)?;
    socket::ensure_errno("read", socket::read_errno(&server)?, libc::ECONNRESET)?;
    Ok(Sent::by_us("linger_zero", ends))
}

/// A connection for which the server kept no state until the handshake was complete.
fn cookie(family: Family) -> Result<Sent> {
    const SWITCH: &str = "/proc/sys/net/ipv4/tcp_syncookies";

    let before = fs::read_to_string(SWITCH)?;
    fs::write(SWITCH, "2")?;
    let sent = linger_zero(family);
    fs::write(SWITCH, before)?;
    sent
}

/// A byte of urgent data has a sequence number like any other.
fn urgent(family: Family) -> Result<Sent> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    socket::send(&client, b"before")?;
    client.send_out_of_band(b"u")?;
    socket::receive(&server, b"before")?;
    socket::close_with_reset(client)?;
    socket::until_closed(&server)?;
    Ok(Sent::by_us("linger_zero", ends))
}

fn listener_closed(family: Family) -> Result<Sent> {
    let listener = socket::listener(family.loopback(), 1)?;
    let client = socket::connect(&listener)?;
    let ends = Ends::of_client(&client)?.reversed();
    socket::until_acceptable(&listener)?;
    drop(listener);
    socket::ensure_errno("read", socket::read_errno(&client)?, libc::ECONNRESET)?;
    Ok(Sent::by_us("listener_closed", ends))
}

fn dissolved(family: Family) -> Result<Sent> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_client(&client)?;
    address::dissolve(&client)?;
    socket::ensure_errno("read", socket::read_errno(&server)?, libc::ECONNRESET)?;
    Ok(Sent::by_us("dissolved", ends))
}

/// The server closes, and leaves the peer no time to close too.
fn linger2(family: Family) -> Result<Sent> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    socket::set_option(&server, libc::IPPROTO_TCP, libc::TCP_LINGER2, -1)?;
    drop(server);
    socket::until_closed(&client)?;
    let sent = Sent::by_us("orphan_timeout", ends);
    // The socket ends just before, and where sockets have no cookies, its record with it.
    let is_known = series() != "5.10" && !uses_kprobes();
    Ok(Sent { is_ours: is_known, has_flow: is_known, ..sent })
}

/// Killed by another process; the owner of the socket is still named.
fn killed(family: Family) -> Result<Sent> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    socket::kill(ends.local)?;
    socket::ensure_errno("read", socket::read_errno(&client)?, libc::ECONNRESET)?;
    drop(server);
    Ok(Sent::by_us("aborted", ends))
}

fn no_socket(family: Family) -> Result<Sent> {
    let address = socket::closed_port(family)?;
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(address, socket::local(&client)?);
    let errno = socket::errno("connect", client.connect(&address.into()))?;
    socket::ensure_errno("connect", errno, libc::ECONNREFUSED)?;
    Ok(Sent::by_nobody("no_socket", "none", ends))
}

fn time_wait(family: Family) -> Result<Sent> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    drop(server);
    socket::read_end(&client)?;
    socket::until_end_known(ends)?;
    socket::write(&client)?;
    socket::until_closed(&client)?;
    Ok(Sent::by_nobody("time_wait", "time_wait", ends))
}

fn data_after_close(family: Family) -> Result<Sent> {
    let Pair { client, server } = Pair::new(family.loopback())?;
    let ends = Ends::of_server(&server)?;
    server.shutdown(Shutdown::Both)?;
    socket::read_end(&client)?;
    socket::write(&client)?;
    socket::until_closed(&client)?;
    let sent = Sent::by_us("data_after_close", ends);
    Ok(Sent { answered_by: Some("full"), ..sent })
}

/// The queue is full when a handshake completes that was deferred until data. The connection that fills
/// the queue had no room as a request, was answered with a cookie, and has therefore completed first.
fn overflow(family: Family) -> Result<Sent> {
    const SWITCH: &str = "/proc/sys/net/ipv4/tcp_abort_on_overflow";

    let listener = socket::listener(family.loopback(), 0)?;
    socket::set_option(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 30)?;
    let first = socket::connect(&listener)?;
    let ends = Ends::of_client(&first)?.reversed();
    let second = socket::connect(&listener)?;
    socket::until_acceptable(&listener)?;
    fs::write(SWITCH, "1")?;
    socket::send(&first, b"first")?;
    let is_reset = socket::until_closed(&first);
    fs::write(SWITCH, "0")?;
    is_reset?;
    // An orderly close.
    let (accepted, _) = listener.accept()?;
    drop(second);
    socket::read_end(&accepted)?;
    // Only the kernel's reset reason distinguishes the two.
    let kind = if names_reset_reasons() { "request" } else { "listener" };
    let sent = Sent::by_nobody(kind, kind, ends);
    Ok(Sent { is_ours: true, ..sent })
}

/// A crafted acknowledgment arrives at a listener that has sent nothing.
fn stray(family: Family) -> Result<Sent> {
    let listener = socket::listener(family.loopback(), 1)?;
    let address = socket::local(&listener)?;
    let from = SocketAddr::new(address.ip(), 9);
    let ends = Ends::new(address, from);
    let ip = ends.local.ip();
    let domain = if ip.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let raw = Socket::new(domain, Type::RAW, Some(Protocol::TCP))?;
    let mut header = [0; 20];
    header[..2].copy_from_slice(&ends.remote.port().to_be_bytes());
    header[2..4].copy_from_slice(&ends.local.port().to_be_bytes());
    // Numbers of no connection, five words of header, ACK, a window.
    header[4..16].copy_from_slice(&[0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x10, 1, 0]);
    let sum = checksum(ip, &header);
    header[16..18].copy_from_slice(&sum.to_be_bytes());
    raw.send_to(&header, &SocketAddr::new(ip, 0).into())?;
    let sent = Sent::by_nobody("listener", "listener", ends);
    drop(listener);
    Ok(Sent { is_ours: true, ..sent })
}

/// Checksum of a segment that an address sends to itself (RFC 9293, section 3.1).
fn checksum(ip: IpAddr, segment: &[u8]) -> u16 {
    let octets = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let length = u16::try_from(segment.len()).unwrap_or_default();
    let tail = [[0, 6], length.to_be_bytes()].concat();
    let bytes = [&octets, &octets, tail.as_slice(), segment].concat();
    let words = bytes.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default()
}
