//! A real Prometheus that scrapes the daemon, with the configuration and rules shipped to users.

use std::{
    collections::BTreeSet,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{libc, sys::signal::Signal};
use xtask_common::dashboard;

use super::{
    child, daemon,
    network::{Family, NOBODY_LISTENS, Network, Silence},
    owner, reset,
    scraper::{Prometheus, Sample, TARGET},
    sigpipe, socket,
    tracer::Tracer,
    udp, unix,
};

/// Another daemon, which goes down.
const GOING: &str = "localhost:10055";

/// Longer than the intervals of scrapes and evaluations.
const SCRAPES: Duration = Duration::from_secs(40);

/// Longer than the delay of any alert that should fire here.
const ALERTS: Duration = Duration::from_mins(10);

/// Service whose connections time out.
const WEB: &str = "/system.slice/web.service";

/// Number of connections that time out together: enough for an alert.
const TIMEOUTS: usize = 3;

/// Dashboard panels that stay empty here, without kprobes and with them.
const EMPTY: &[&str] = &["Handshakes dropped", "Socket options that were rejected"];
const EMPTY_BY_KPROBE: &[&str] = &["Accept queues", EMPTY[0], EMPTY[1]];

/// Prometheus reads exactly what was made, and alerts fire over time, which this guest skips.
pub(super) fn counts_and_alerts() -> Result<()> {
    let serving = Tracer::must_start(&["--output", "json"])?;
    let prometheus = Prometheus::start(Some(GOING))?;
    prometheus.until_scraped(TARGET)?;

    daemon::resets(Family::Ipv6, 3)?;
    (0..4).try_for_each(|_| reset::before_accept(Family::Ipv4).map(drop))?;
    sigpipe::after_reset(Family::Ipv4, sigpipe::DEFAULT)?;
    udp::port_unreachable_to_recv(Family::Ipv4)?;
    unix::no_such_socket()?;
    time_out()?;
    thread::sleep(SCRAPES);
    let timeout = r#"{cause="connect_timeout",service="web.service",unit="web.service"}"#;
    for (query, count) in [
        (r#"socktrace_socket_errors_total{cause="reset_by_peer",family="ipv6"}"#, 3.0),
        // Extrapolation to the whole five minutes adds a fraction of a failure.
        (r#"round(socktrace:socket_errors:increase5m{cause="reset_by_peer",family="ipv6"})"#, 3.0),
        (r#"round(socktrace:timeouts:increase5m{family="ipv4",state="SYN_SENT"})"#, 3.0),
        (r#"round(socktrace:sigpipe:increase5m{verdict="kills"})"#, 1.0),
        (r#"socktrace_socket_errors_total{cause="reset_before_accept",family="ipv4"}"#, 4.0),
        (r#"socktrace_accepted_resets_total{family="ipv4"}"#, 4.0),
        (r#"socktrace_sigpipe_total{verdict="kills"}"#, 1.0),
        (r#"socktrace_timeouts_total{timer="retransmission",state="SYN_SENT"}"#, 3.0),
        (&format!("socktrace_service_errors_total{timeout}"), 3.0),
        (&format!("socktrace:service_errors:increase5m{timeout}"), 3.0),
        ("socktrace:services_timing_out:count5m", 1.0),
    ] {
        ensure_sum(&prometheus, query, count)?;
    }
    ensure_dashboard(&prometheus)?;

    // Started early, since timeouts count for five minutes, within which more have to follow.
    let going = Tracer::must_start(&["--no-stream", "--listen", "127.0.0.1:10055"])?;
    until_firing(&prometheus, &["SocktraceSigpipeKills localhost:10054"])?;
    prometheus.until_scraped(GOING)?;
    let (status, said) = going.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}:\n{said}");
    time_out()?;
    until_firing(
        &prometheus,
        &["SocktraceDown localhost:10055", "SocktraceServiceTimeouts localhost:10054"],
    )?;
    drop(serving);
    Ok(())
}

/// Makes connections of a service time out, with the default number of retries.
fn time_out() -> Result<()> {
    let cut = Network::get()?.cut(Silence::Drop)?;
    for child in start_connecting(WEB, TIMEOUTS)? {
        finish_timing_out(child)?;
    }
    drop(cut);
    Ok(())
}

/// Makes processes of a service connect to an unused port while the network is cut.
pub(super) fn start_connecting(cgroup: &str, count: usize) -> Result<Vec<Child>> {
    let nobody = Family::Ipv4.peer_port(NOBODY_LISTENS).to_string();
    let words = ["connect-in", &owner::make(cgroup)?, &nobody];
    let start = |_| child::start(&words, socket::bound(Family::Ipv4.host())?.into());
    (0..count).map(start).collect()
}

/// Waits until such a process has timed out.
pub(super) fn finish_timing_out(child: Child) -> Result<()> {
    socket::ensure_errno("connect", child::finish(child)?.errno()?, libc::ETIMEDOUT)
}

/// Checks the sum of all series returned by a query.
fn ensure_sum(prometheus: &Prometheus, query: &str, wanted: f64) -> Result<()> {
    let found: f64 = prometheus.query(query)?.iter().map(|sample| sample.value).sum();
    ensure!((found - wanted).abs() < 0.01, "{query} is {found}, not {wanted}");
    Ok(())
}

/// Name and instance of each firing alert, in order.
fn firing(prometheus: &Prometheus) -> Result<Vec<String>> {
    let alerts = prometheus.query(r#"ALERTS{alertstate="firing"}"#)?;
    let label = |sample: &Sample, name: &str| sample.labels[name].as_str().map(str::to_owned);
    let names = alerts
        .iter()
        .map(|alert| Some(format!("{} {}", label(alert, "alertname")?, label(alert, "instance")?)));
    let mut names: Vec<_> = names.collect::<Option<_>>().context("an alert without a name")?;
    names.sort();
    Ok(names)
}

/// Waits until exactly these alerts fire. In the meantime, no other may start to fire.
fn until_firing(prometheus: &Prometheus, wanted: &[&str]) -> Result<()> {
    let before = firing(prometheus)?;
    let started = Instant::now();
    loop {
        let firing = firing(prometheus)?;
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

/// Runs all queries of the dashboard. Each panel must have data, or be known to be empty.
fn ensure_dashboard(prometheus: &Prometheus) -> Result<()> {
    let queries = dashboard::queries(dashboard::HOUR).map_err(anyhow::Error::msg)?;
    let (mut shown, mut empty) = (BTreeSet::new(), BTreeSet::new());
    for query in &queries {
        let samples = prometheus.query(&query.expr)?;
        let has_value = samples.iter().any(|sample| !sample.value.is_nan());
        if has_value { &mut shown } else { &mut empty }.insert(query.panel.as_str());
    }
    let empty: Vec<_> = empty.difference(&shown).copied().collect();
    let known = if super::uses_kprobes() { EMPTY_BY_KPROBE } else { EMPTY };
    ensure!(empty == known, "these panels are empty: {empty:?}");
    Ok(())
}
