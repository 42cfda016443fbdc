//! A real Prometheus scrapes the daemon, with the configuration and the rules that users get.

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

/// Another daemon, which goes away.
const GOING: &str = "localhost:10055";

/// Longer than a scrape and an evaluation are apart.
const SCRAPES: Duration = Duration::from_secs(40);

/// Longer than any alert waits that is to fire here.
const ALERTS: Duration = Duration::from_mins(10);

/// Whose connections time out.
const WEB: &str = "/system.slice/web.service";

/// Connections that time out at a time: as many as make an alert.
const TIMEOUTS: usize = 3;

/// Panels of the dashboard for which nothing happens here, and that of what kprobes cannot report.
const EMPTY: &[&str] = &["Handshakes dropped", "Socket options that were rejected"];
const EMPTY_BY_KPROBE: &[&str] = &["Accept queues", EMPTY[0], EMPTY[1]];

/// What Prometheus reads is what was made, and alerts fire as time goes by: this guest skips it.
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
        // Extrapolated to the whole five minutes, by a part of a failure.
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

    // Early, as what timed out counts for five minutes, and more has to follow within these.
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

/// Lets connections of a service time out, at the default number of retries.
fn time_out() -> Result<()> {
    let cut = Network::get()?.cut(Silence::Drop)?;
    for child in start_connecting(WEB, TIMEOUTS)? {
        finish_timing_out(child)?;
    }
    drop(cut);
    Ok(())
}

/// Lets processes of a service connect to where nobody answers while the network is cut.
pub(super) fn start_connecting(cgroup: &str, count: usize) -> Result<Vec<Child>> {
    let nobody = Family::Ipv4.peer_port(NOBODY_LISTENS).to_string();
    let words = ["connect-in", &owner::make(cgroup)?, &nobody];
    let start = |_| child::start(&words, socket::bound(Family::Ipv4.host())?.into());
    (0..count).map(start).collect()
}

/// Waits until such a process has given up.
pub(super) fn finish_timing_out(child: Child) -> Result<()> {
    socket::ensure_errno("connect", child::finish(child)?.errno()?, libc::ETIMEDOUT)
}

/// Checks the sum of all series that a query gives.
fn ensure_sum(prometheus: &Prometheus, query: &str, wanted: f64) -> Result<()> {
    let found: f64 = prometheus.query(query)?.iter().map(|sample| sample.value).sum();
    ensure!((found - wanted).abs() < 0.01, "{query} is {found}, not {wanted}");
    Ok(())
}

/// Name and instance of each alert that fires, in order.
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

/// Waits until just these alerts fire; meanwhile no others may, but those that end.
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

/// Asks all that the dashboard asks; each panel must have something to show, or be known not to.
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
