//! A real Prometheus scrapes the daemon, with the configuration and the rules that users get.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{libc, sys::signal::Signal};
use serde_json::Value;
use xtask::dashboard;

use super::{
    child, daemon,
    network::{Family, NOBODY_LISTENS, Network, Silence},
    owner, reset, sigpipe, socket,
    tracer::Tracer,
};

const CONFIGURATION: &str = include_str!("../../../../deploy/prometheus/prometheus.yml");
const RULES: &str = include_str!("../../../../deploy/prometheus/socktrace.rules.yml");

/// Where it lives; the directory is made at the start.
const DIRECTORY: &str = "/run/prometheus";

/// The daemon that the configuration names: the one that watches every scenario.
const TARGET: &str = "localhost:10054";

/// Another daemon, which goes away.
const GOING: &str = "localhost:10055";

/// Longest time until it answers, in the guest's time.
const PATIENCE: Duration = Duration::from_mins(2);

/// Longer than a scrape and an evaluation are apart.
const SCRAPES: Duration = Duration::from_secs(40);

/// Longer than any alert waits that is to fire here.
const ALERTS: Duration = Duration::from_mins(10);

/// Whose connections time out.
const WEB: &str = "/system.slice/web.service";

/// Connections that time out at a time: as many as make an alert.
const TIMEOUTS: usize = 3;

/// Panels of the dashboard for which nothing happens here, and that of what kprobes cannot tell.
const EMPTY: &[&str] = &["Socket options that were rejected"];
const EMPTY_BY_KPROBE: &[&str] = &["Accept queues", EMPTY[0]];

/// What Prometheus reads is what was made, and alerts fire as time goes by: this guest skips it.
pub(super) fn counts_and_alerts() -> Result<()> {
    let prometheus = Prometheus::start()?;
    prometheus.until_scraped(TARGET)?;

    daemon::resets(Family::Ipv6, 3)?;
    (0..4).try_for_each(|_| reset::before_accept(Family::Ipv4).map(drop))?;
    sigpipe::after_reset(Family::Ipv4, sigpipe::DEFAULT)?;
    time_out()?;
    thread::sleep(SCRAPES);
    let timeout = r#"{cause="connect_timeout",service="web.service",unit="web.service"}"#;
    for (query, count) in [
        (r#"socktrace_socket_errors_total{cause="reset_by_peer",family="ipv6"}"#, 3.0),
        (r#"socktrace:socket_errors:increase5m{cause="reset_by_peer",family="ipv6"}"#, 3.0),
        (r#"socktrace_socket_errors_total{cause="reset_before_accept",family="ipv4"}"#, 4.0),
        (r#"socktrace_accepted_resets_total{family="ipv4"}"#, 4.0),
        (r#"socktrace_sigpipe_total{verdict="kills"}"#, 1.0),
        (r#"socktrace_timeouts_total{timer="retransmission",state="SYN_SENT"}"#, 3.0),
        (&format!("socktrace_service_errors_total{timeout}"), 3.0),
        (&format!("socktrace:service_errors:increase5m{timeout}"), 3.0),
        ("socktrace:services_timing_out:count5m", 1.0),
    ] {
        prometheus.ensure(query, count)?;
    }
    prometheus.ensure_dashboard()?;

    // Early, as what timed out counts for five minutes, and more has to follow within these.
    let going = Tracer::must_start(&["--no-stream", "--listen", "127.0.0.1:10055"])?;
    prometheus.until_firing(&["SocktraceSigpipeKills localhost:10054"])?;
    prometheus.until_scraped(GOING)?;
    let (status, said) = going.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}:\n{said}");
    time_out()?;
    prometheus.until_firing(&[
        "SocktraceDown localhost:10055",
        "SocktraceServiceTimeouts localhost:10054",
    ])
}

/// Lets connections of a service time out, at the default number of retries.
fn time_out() -> Result<()> {
    let network = Network::get()?;
    let nobody = Family::Ipv4.peer_port(NOBODY_LISTENS);
    let cut = network.cut(Silence::Drop)?;
    let words = ["connect-in", &owner::make(WEB)?, &nobody.to_string()];
    let start = |_| child::start(&words, socket::bound(Family::Ipv4.host())?.into());
    let children = (0..TIMEOUTS).map(start).collect::<Result<Vec<_>>>()?;
    for child in children {
        socket::ensure_errno("connect", child::finish(child)?.errno()?, libc::ETIMEDOUT)?;
    }
    drop(cut);
    Ok(())
}

/// A running Prometheus. Killed when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts it and waits until it is ready.
    fn start() -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], 9090));
        fs::create_dir_all(DIRECTORY)?;
        let both = format!(r#""{TARGET}", "{GOING}""#);
        let configuration = CONFIGURATION.replace(&format!("\"{TARGET}\""), &both);
        ensure!(configuration.contains(GOING), "the example names no {TARGET}");
        fs::write(format!("{DIRECTORY}/prometheus.yml"), configuration)?;
        fs::write(format!("{DIRECTORY}/socktrace.rules.yml"), RULES)?;
        let log = fs::File::create(format!("{DIRECTORY}/log"))?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={DIRECTORY}/prometheus.yml"))
            .arg(format!("--storage.tsdb.path={DIRECTORY}/data"))
            .arg(format!("--web.listen-address={address}"))
            .current_dir(DIRECTORY)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start prometheus")?;
        let prometheus = Self { child, address };
        until("is not ready", || Ok(prometheus.get("/-/ready").is_ok()))?;
        Ok(prometheus)
    }

    fn until_scraped(&self, target: &str) -> Result<()> {
        let up = format!(r#"up{{job="socktrace",instance="{target}"}} == 1"#);
        until("does not scrape", || Ok(!self.query(&up)?.is_empty()))
    }

    /// Checks the sum of all series that a query gives.
    fn ensure(&self, query: &str, wanted: f64) -> Result<()> {
        let found: f64 = self.query(query)?.iter().map(|sample| sample.value).sum();
        ensure!((found - wanted).abs() < 0.01, "{query} is {found}, not {wanted}");
        Ok(())
    }

    /// Name and instance of each alert that fires, in order.
    fn firing(&self) -> Result<Vec<String>> {
        let alerts = self.query(r#"ALERTS{alertstate="firing"}"#)?;
        let label = |sample: &Sample, name: &str| sample.labels[name].as_str().map(str::to_owned);
        let names = alerts.iter().map(|alert| {
            Some(format!("{} {}", label(alert, "alertname")?, label(alert, "instance")?))
        });
        let mut names: Vec<_> = names.collect::<Option<_>>().context("an alert without a name")?;
        names.sort();
        Ok(names)
    }

    /// Waits until just these alerts fire; meanwhile no others may, but those that end.
    fn until_firing(&self, wanted: &[&str]) -> Result<()> {
        let before = self.firing()?;
        let started = Instant::now();
        loop {
            let firing = self.firing()?;
            if firing == wanted {
                return Ok(());
            }
            let strange = firing
                .iter()
                .find(|alert| !wanted.contains(&alert.as_str()) && !before.contains(alert));
            ensure!(strange.is_none(), "fires without reason: {strange:?}");
            ensure!(started.elapsed() < ALERTS, "these alerts fire: {firing:?}, not {wanted:?}");
            thread::sleep(SCRAPES);
        }
    }

    /// Asks all that the dashboard asks; each panel must have something to show, or be known not to.
    fn ensure_dashboard(&self) -> Result<()> {
        let queries = dashboard::queries().map_err(anyhow::Error::msg)?;
        let (mut shown, mut empty) = (BTreeSet::new(), BTreeSet::new());
        for query in &queries {
            let samples = self.query(&query.expr)?;
            let has_value = samples.iter().any(|sample| !sample.value.is_nan());
            if has_value { &mut shown } else { &mut empty }.insert(query.panel.as_str());
        }
        let empty: Vec<_> = empty.difference(&shown).copied().collect();
        let known = if super::uses_kprobes() { EMPTY_BY_KPROBE } else { EMPTY };
        ensure!(empty == known, "these panels are empty: {empty:?}");
        Ok(())
    }

    /// The samples that a query gives now.
    fn query(&self, query: &str) -> Result<Vec<Sample>> {
        let answer = self.get(&format!("/api/v1/query?query={}", escaped(query)))?;
        let answer: Value = serde_json::from_str(&answer)?;
        let result = answer["data"]["result"].as_array().with_context(|| format!("{answer}"))?;
        let samples = result.iter().map(|series| {
            let value = series["value"][1].as_str()?.parse().ok()?;
            Some(Sample { labels: series["metric"].clone(), value })
        });
        samples.collect::<Option<_>>().with_context(|| format!("{query}: {answer}"))
    }

    /// A page, by HTTP 1.0, whose answers come in one piece.
    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        let (head, body) = response.split_once("\r\n\r\n").context("no HTTP response")?;
        ensure!(head.starts_with("HTTP/1.0 200 "), "{path}: {head}\n{body}");
        Ok(body.to_owned())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Waits until something is so of Prometheus; the problem is what to say if it never is.
fn until(problem: &str, is_done: impl Fn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !is_done()? {
        if started.elapsed() > PATIENCE {
            let said = fs::read_to_string(format!("{DIRECTORY}/log"))?;
            bail!("prometheus {problem}; it said:\n{said}");
        }
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// A series at one time.
#[derive(Debug)]
struct Sample {
    labels: Value,
    value: f64,
}

/// A query as a part of an address.
fn escaped(query: &str) -> String {
    query.bytes().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        _ = write!(text, "%{byte:02x}");
        text
    })
}
