//! Servers that accept too slowly, or never.

use std::{
    fs,
    io::Read as _,
    net::SocketAddr,
    os::unix::net::UnixStream,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    sched::{CloneFlags, unshare},
};
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use socktrace_diagnosis::Cause;

use super::{
    child,
    expected::Expected,
    network::{self, Family},
    owner,
    socket::{self, until},
    tracer::Tracer,
    verify::{Metrics, sum},
};

/// Service that this process runs in during a test.
const SERVICE: &str = "/system.slice/slow.service";

/// More than the longest tick of a kernel's clock, in seconds.
const TICK: f64 = 0.011;

/// A program is busy for a while, and accepts then. The wait is measured, for the host and for the
/// service. Connections accepted at once do not count for the service.
pub(super) fn slow_to_accept() -> Result<()> {
    owner::enter(SERVICE)?;
    let result = accepts_late();
    owner::leave()?;
    result
}

fn accepts_late() -> Result<()> {
    const WAIT: Duration = Duration::from_millis(300);
    const QUICK: u32 = 20;
    const ALL: &str = "socktrace_accept_wait_seconds";

    let tracer =
        Tracer::must_start(&["--no-stream", "--series-by-port", "--listen", "127.0.0.1:0"])?;
    for family in [Family::Ipv4, Family::Ipv6] {
        let listener = socket::listener(family.loopback(), 8)?;
        let port = socket::local(&listener)?.port();
        let of_service = |part: &str, le: &str| {
            format!(
                "socktrace_service_accept_wait_seconds_{part}{{container=\"\",namespace=\"\",pod=\"\",\
                 service=\"slow.service\",service_port=\"{port}\",unit=\"slow.service\"{le}}}"
            )
        };
        let before = tracer.scrape()?;
        let began = Instant::now();
        let clients = [socket::connect(&listener)?, socket::connect(&listener)?];
        sleep(WAIT);
        let servers = [listener.accept()?, listener.accept()?];
        // Upper bound: both waited this long at most.
        let (least, most) = (WAIT.as_secs_f64() * 2.0, began.elapsed().as_secs_f64() * 2.0);
        let after = tracer.scrape()?;
        let grown = |series: &str| sum(&after, series) - sum(&before, series);
        let lasted = |what: &str, seconds: f64| {
            ensure!(
                (least - 2.0 * TICK..=most + 3.0 * TICK).contains(&seconds),
                "{what} has {seconds} s, not {least} to {most} s"
            );
            Ok(())
        };
        // The scrape's own connection may wait for a tick.
        lasted("the host", grown(&format!("{ALL}_sum")))?;
        is(&after, &of_service("count", ""), 2.0)?;
        lasted("the service", sum(&after, &of_service("sum", "")))?;
        is(&after, &of_service("bucket", ",le=\"0.1\""), 0.0)?;
        is(&after, &of_service("bucket", ",le=\"+Inf\""), 2.0)?;
        // Two, and the scrape's own connection.
        let counted = grown(&format!("{ALL}_count"));
        ensure!((counted - 3.0).abs() < 0.5, "{counted} are counted");
        let slow = counted - grown(&format!("{ALL}_bucket{{le=\"0.25\"}}"));
        ensure!((slow - 2.0).abs() < 0.5, "{slow} waited for more than 0.25 s");
        drop((clients, servers));

        let late = accept_at_once(&listener, QUICK)?;
        let at_last = tracer.scrape()?;
        let counted = sum(&at_last, &format!("{ALL}_count")) - sum(&after, &format!("{ALL}_count"));
        let expected = f64::from(QUICK) + 1.0;
        ensure!((counted - expected).abs() < 0.5, "{counted} are counted, not {expected}");
        let counted = sum(&at_last, &of_service("count", "")) - 2.0;
        ensure!(counted <= f64::from(late), "{counted} are the service's, and {late} were late");
    }
    Ok(())
}

/// Accepts connections, each as soon as it is made. Returns how many may have waited for a tick, as
/// this guest is slow.
fn accept_at_once(listener: &Socket, count: u32) -> Result<u32> {
    const SHORTEST_TICK: Duration = Duration::from_millis(1);
    let mut late = 0;
    for _ in 0..count {
        let began = Instant::now();
        let _pair = socket::Pair::through(listener)?;
        late += u32::from(began.elapsed() >= SHORTEST_TICK);
    }
    Ok(late)
}

fn is(metrics: &Metrics, series: &str, expected: f64) -> Result<()> {
    let found = sum(metrics, series);
    ensure!((found - expected).abs() < 0.1, "{series} is {found}, not {expected}");
    Ok(())
}

/// Expected report of a listener that has dropped a number of handshake packets in this closed range.
pub(super) fn overflow(listener: &Socket, dropped: (u64, u64), limit: u32) -> Result<Expected> {
    let address = socket::local(listener)?;
    Ok(Expected::alone(Cause::AcceptQueueOverflow, "none", 0, address)
        .with("severity", "failure")
        .with("delivered", Value::Null)
        .with("role", "server")
        .with("service_port", address.port())
        .with("rto_ms", 0)
        .within("dropped", dropped.0, dropped.1)
        .with("accept_queue_limit", limit))
}

/// A listener with room for two connections, both taken, and a client that finds no room.
struct Full {
    listener: Socket,
    waiting: [Socket; 2],
    client: Socket,
}

/// Backlog of the listener.
const LIMIT: u32 = 1;

impl Full {
    fn new(family: Family) -> Result<Self> {
        let listener = socket::listener(family.loopback(), LIMIT.cast_signed())?;
        let waiting = [socket::connect(&listener)?, socket::connect(&listener)?];
        let address = socket::local(&listener)?;
        let client = socket::stream(address)?;
        let before = counted("ListenDrops")?;
        socket::start_connect(&client, address)?;
        until("the SYN is not dropped", || Ok(counted("ListenDrops")? > before))?;
        Ok(Self { listener, waiting, client })
    }
}

/// A counter of the network namespace, as shown by `nstat`.
fn counted(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = lines.next().zip(lines.next()).context("no TcpExt")?;
    let mut pairs = names.split(' ').zip(numbers.split(' '));
    let (_, number) = pairs.find(|(known, _)| *known == name).context("no such number")?;
    Ok(number.parse()?)
}

/// More clients connect than the queue holds, and then the program accepts: one line, about the
/// accepting process, with the number that the kernel has counted.
pub(super) fn overflows(family: Family) -> Result<Vec<Expected>> {
    let before = counted("ListenDrops")?;
    let full = Full::new(family)?;
    // The client's SYN is retransmitted.
    until("no SYN is sent again", || Ok(counted("ListenDrops")? >= before + 2))?;
    let dropped = counted("ListenDrops")? - before;
    let expected = overflow(&full.listener, (dropped, dropped + 1), LIMIT)?;
    let servers = [full.listener.accept()?, full.listener.accept()?];
    ensure!(socket::finish_connect(&full.client)? == 0, "the connect fails");
    let server = full.listener.accept()?;
    let Full { listener, waiting, client } = full;
    drop((waiting, client));
    for (server, _) in servers.iter().chain([&server]) {
        socket::read_end(server)?;
    }
    drop(listener);
    Ok(vec![expected.known_as(&["caller"]).with("accept_queue", 1).saying("before this accept")])
}

/// A service accepts nothing. Its queue is in the metrics. Its drops are counted, and reported once
/// a minute at most; the rest is reported when it has closed the listener.
pub(super) fn hung() -> Result<()> {
    owner::enter("/system.slice/hung.service")?;
    let result = accepts_nothing();
    owner::leave()?;
    result
}

fn accepts_nothing() -> Result<()> {
    /// Longer than the polling interval, and within one episode.
    const SOON: Duration = Duration::from_secs(35);
    let tracer = Tracer::must_start(&["--output", "json", "--listen", "127.0.0.1:0"])?;
    let series = |name: &str, before: &str| {
        format!(
            "socktrace_service_{name}{{{before}container=\"\",namespace=\"\",pod=\"\",\
             service=\"hung.service\",unit=\"hung.service\"}}"
        )
    };
    let drops = series("listener_drops_total", "accept_queue=\"full\",");
    let before = counted("ListenDrops")?;
    let full = Full::new(Family::Ipv4)?;
    let metrics = tracer.scrape()?;
    is(&metrics, &series("accept_queue_length", ""), 2.0)?;
    is(&metrics, &series("accept_queue_limit", ""), f64::from(LIMIT))?;
    ensure!(sum(&metrics, &drops) >= 1.0, "no {drops} in {metrics:?}");
    sleep(SOON);
    let first = tracer.collect(1);
    let [line] = first.as_slice() else { anyhow::bail!("{first:?} instead of one line") };
    let line: Value = serde_json::from_str(line)?;
    let port = socket::local(&full.listener)?.port();
    for (field, value) in [
        ("cause", Value::from("accept_queue_overflow")),
        ("errno", "none".into()),
        ("unit", "hung.service".into()),
        ("local_port", port.into()),
        ("pid", std::process::id().into()),
        ("owner_source", "holder".into()),
        ("accept_queue", 2.into()),
        ("accept_queue_limit", LIMIT.into()),
    ] {
        ensure!(line[field] == value, "{field} is not {value} in {line}");
    }
    let first_dropped = line["dropped"].as_u64().unwrap_or_default();
    let reason = line["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains("nobody accepts"), "{reason}");
    // A quiet listener has queue metrics, too.
    let quiet = socket::listener(Family::Ipv4.loopback(), 7)?;
    let dropped = counted("ListenDrops")? - before;
    let metrics = tracer.scrape()?;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let kernel = dropped as f64;
    is(&metrics, &drops, kernel)?;
    let host = sum(&metrics, "socktrace_host_netstat_total{name=\"ListenOverflows\"}");
    ensure!(host >= kernel, "{host} of the host, {kernel} of the service");
    is(&metrics, &series("accept_queue_length", ""), 2.0)?;
    let client = full.client;
    drop(client);
    drop((quiet, full.waiting, full.listener));
    // Drops after the first line, if any.
    sleep(SOON);
    let rest = tracer.collect(usize::from(dropped > first_dropped));
    let reported =
        [line].into_iter().map(Ok).chain(rest.iter().map(|line| serde_json::from_str(line)));
    let reported: Vec<Value> = reported.collect::<Result<_, _>>()?;
    let reported: u64 = reported.iter().filter_map(|line| line["dropped"].as_u64()).sum();
    ensure!(reported == dropped, "{reported} of {dropped} are reported");
    Ok(())
}

/// A client of this host gives up on a full queue: its line names the process that listens.
pub(super) fn met_full() -> Result<()> {
    /// Longer than any connect is retried.
    const GIVEN_UP: Duration = Duration::from_mins(4);
    let tracer =
        Tracer::must_start(&["--output", "json", "--no-metrics", "--cause", "connect_timeout"])?;
    for family in [Family::Ipv4, Family::Ipv6] {
        let full = Full::new(family)?;
        sleep(GIVEN_UP);
        let errno = socket::finish_connect(&full.client)?;
        socket::ensure_errno("connect", errno, libc::ETIMEDOUT)?;
        let lines = tracer.collect(1);
        let [line] = lines.as_slice() else { anyhow::bail!("{lines:?} instead of one line") };
        let line: Value = serde_json::from_str(line)?;
        for (field, value) in [
            ("peer_pid", Value::from(std::process::id())),
            ("accept_queue", 2.into()),
            ("accept_queue_limit", LIMIT.into()),
        ] {
            ensure!(line[field] == value, "{field} is not {value} in {line}");
        }
        let reason = line["reason"].as_str().unwrap_or_default();
        let name = line["peer_comm"].as_str().unwrap_or_default();
        let words = format!("the listener there, {name}[{}], has a full", std::process::id());
        ensure!(!name.is_empty() && reason.contains(&words), "{reason}");
    }
    Ok(())
}

/// SYNs are answered with cookies: the host's counters show it, and the accept wait is still measured.
pub(super) fn syn_cookies() -> Result<()> {
    let tracer = Tracer::must_start(&["--no-stream", "--listen", "127.0.0.1:0"])?;
    let usual = fs::read_to_string(SYN_COOKIES)?;
    let before = tracer.scrape()?;
    let made = answer_by_cookies().map(drop);
    fs::write(SYN_COOKIES, usual)?;
    made?;
    let after = tracer.scrape()?;
    let grown = |series: &str| sum(&after, series) - sum(&before, series);
    for name in ["SyncookiesSent", "SyncookiesRecv"] {
        let found = grown(&format!("socktrace_host_netstat_total{{name=\"{name}\"}}"));
        ensure!((found - f64::from(COUNT)).abs() < 0.5, "{name} grew by {found}");
    }
    let seconds = grown("socktrace_accept_wait_seconds_sum");
    let least = (LATE.as_secs_f64() - TICK) * f64::from(COUNT);
    ensure!((least..least + 10.0).contains(&seconds), "{seconds} s, and {least} s at least");
    Ok(())
}

/// SYNs are answered with cookies in a container: the sum over other namespaces shows it, even
/// after the container has ended.
pub(super) fn syn_cookies_elsewhere() -> Result<()> {
    let tracer = Tracer::must_start(&["--no-stream", "--listen", "127.0.0.1:0"])?;
    let sent = |whose: &str| -> Result<f64> {
        let series = format!("socktrace_{whose}_netstat_total{{name=\"SyncookiesSent\"}}");
        Ok(sum(&tracer.scrape()?, &series))
    };
    let (host, others) = (sent("host")?, sent("other")?);
    let (stay, held) = UnixStream::pair()?;
    let container = child::start(&["answer-by-cookies"], held.into())?;
    let grown = || Ok((sent("other")? - others - f64::from(COUNT)).abs() < 0.5);
    until("the cookies of a container are not in the sum", grown)?;
    ensure!((sent("host")? - host).abs() < 0.5, "they are among the host's");
    drop(stay);
    child::finish(container)?;
    ensure!(grown()?, "the sum has fallen with the namespace");
    Ok(())
}

/// Runs as that container until its standard input ends.
pub(super) fn answer_by_cookies_elsewhere(mut stdin: UnixStream) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    network::ip("link set lo up")?;
    let _listener = answer_by_cookies()?;
    stdin.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Whether this network namespace answers SYNs with cookies: always, if 2.
const SYN_COOKIES: &str = "/proc/sys/net/ipv4/tcp_syncookies";

/// Number of connections made with cookies.
const COUNT: u32 = 3;

/// Delay of each accept.
const LATE: Duration = Duration::from_millis(50);

/// Makes connections with cookies to a listener, and returns it.
fn answer_by_cookies() -> Result<Socket> {
    fs::write(SYN_COOKIES, "2")?;
    let listener = socket::listener(Family::Ipv4.loopback(), 8)?;
    for _ in 0..COUNT {
        let client = socket::connect(&listener)?;
        sleep(LATE);
        let server = listener.accept()?;
        drop((client, server));
    }
    Ok(listener)
}

/// Segments that fit no connection arrive at a listener, as from a port scan. They are counted
/// separately, and nothing is reported.
pub(super) fn stray_segments(family: Family) -> Result<Vec<Expected>> {
    const COUNT: u32 = 3;
    let listener = socket::listener(family.loopback(), 8)?;
    let raw = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::TCP))?;
    let to = socket::local(&listener)?;
    for _ in 0..COUNT {
        raw.send_to(&reset_to(to), &SocketAddr::new(to.ip(), 0).into())?;
    }
    let (client, server) = (socket::connect(&listener)?, listener.accept()?);
    drop(client);
    socket::read_end(&server.0)?;
    Ok(Vec::new())
}

/// An RST from 127.0.0.1 to this address.
fn reset_to(to: SocketAddr) -> [u8; 20] {
    const FROM: u16 = 9;
    const RST: u16 = 0x5004;
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&FROM.to_be_bytes());
    segment[2..4].copy_from_slice(&to.port().to_be_bytes());
    segment[12..14].copy_from_slice(&RST.to_be_bytes());
    // Pseudo-header: addresses, protocol and length.
    let before = [0x7f00, 0x0001, 0x7f00, 0x0001, 6, 20];
    let words = segment.as_chunks::<2>().0.iter().map(|word| u16::from_be_bytes(*word));
    let sum: u32 = before.into_iter().chain(words).map(u32::from).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let checksum = !(folded as u16);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    segment
}
