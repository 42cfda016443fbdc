//! Metrics, compared with what really happened: each number is exact.

use std::{
    fs,
    process::Child,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use xtask_common::http;

use super::{
    accept,
    daemon::{has_counted, resets, stalled_reader},
    network::Family,
    owner, reset, shared, sigpipe,
    socket::{self, until},
    sockopt, timeout,
    tracer::{Tracer, daemon},
    verify::{Metrics, sum},
};

/// Any free port.
const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// Longest time for a daemon to act on its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// Growth, a whole number, of the series that begin with `series`.
fn grown(before: &Metrics, after: &Metrics, series: &str) -> Result<u64> {
    let grown = sum(after, series) - sum(before, series);
    ensure!(grown >= 0.0 && grown.fract() == 0.0, "{series} grew by {grown}");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "just checked")]
    let grown = grown as u64;
    Ok(grown)
}

fn grew(before: &Metrics, after: &Metrics, expected: &[(&str, u64)]) -> Result<()> {
    for (series, by) in expected {
        let found = grown(before, after, series)?;
        let similar: Vec<_> = after
            .iter()
            .filter(|(name, _)| name.split('{').next() == series.split('{').next())
            .collect();
        ensure!(found == *by, "{series} grew by {found}, not {by}; there are {similar:?}");
    }
    Ok(())
}

/// Metrics of accepts, the accept queue when they fail, RSTs by reason, SIGPIPE and options.
pub(super) fn of_sockets() -> Result<()> {
    let tracer = Tracer::must_start(&["--no-stream", LISTEN[0], LISTEN[1]])?;
    let before = tracer.scrape()?;
    let family = Family::Ipv6;
    // Each of these makes one accepted connection.
    resets(family, 3)?;
    reset::before_accept(family)?;
    sigpipe::after_reset(family, sigpipe::DEFAULT)?;
    sigpipe::after_reset(family, sigpipe::NO_SIGNAL)?;
    let failed = accept::too_many_files(family)?.len();
    let refused = sockopt::bad_values(family)?.len() as u64;
    let after = tracer.scrape()?;
    ensure!(failed == 1, "accept failed {failed} times");
    let mut expected = vec![
        ("socktrace_connections_accepted_total{family=\"ipv6\"}", 7),
        // The scrape itself.
        ("socktrace_connections_accepted_total{family=\"ipv4\"}", 1),
        ("socktrace_accepted_resets_total{family=\"ipv6\"}", 1),
        ("socktrace_sigpipe_total{verdict=\"kills\"}", 1),
        ("socktrace_sigpipe_total{verdict=\"none\"}", 1),
        ("socktrace_sigpipe_total{verdict=\"handled\"}", 0),
        ("socktrace_sockopt_errors_total{", refused),
        (
            "socktrace_sockopt_errors_total{call=\"setsockopt\",errno=\"EINVAL\",level=\"IPPROTO_TCP\"",
            2,
        ),
        // All of these close with `SO_LINGER` 0.
        ("socktrace_resets_sent_total{", 6),
        (
            "socktrace_accept_queue_fill_ratio_count{cause=\"reset_before_accept\",protocol=\"tcp\"}",
            1,
        ),
        ("socktrace_accept_queue_fill_ratio_count{cause=\"accept_resources\",protocol=\"tcp\"}", 1),
    ];
    if super::uses_kprobes() {
        expected.retain(|(series, _)| !series.contains("queue"));
    }
    grew(&before, &after, &expected)?;
    has_counted(&after, family, 5)
}

/// Metrics of timers: the length of each retransmission timeout, and which timers gave connections
/// up. All with the kernel's defaults: a SYN is retransmitted six times, and since 6.5 four more
/// times at the initial interval.
pub(super) fn of_timers() -> Result<()> {
    const LINEAR: &str = "/proc/sys/net/ipv4/tcp_syn_linear_timeouts";
    const RTO: &str = "socktrace_retransmission_timeout_seconds";
    /// Longer than connections left by other scenarios keep retransmitting: they would be measured
    /// too. This guest skips the time.
    const OTHERS: Duration = Duration::from_mins(20);
    std::thread::sleep(OTHERS);
    let linear: u64 = match fs::read_to_string(LINEAR) {
        Ok(text) => text.trim().parse()?,
        Err(_) => 0,
    };
    let tracer = Tracer::must_start(&["--no-stream", LISTEN[0], LISTEN[1]])?;
    let before = tracer.scrape()?;
    let family = Family::Ipv4;
    timeout::connect(family)?;
    let between = tracer.scrape()?;
    // 1 + 2 + 4 + 8 + 16 + 32 + 64 seconds, each measured in jiffies.
    let bounds = ["0.8", "1.6", "3.2", "6.4", "12.8", "25.6", "60", "120", "+Inf"];
    for (bound, count) in bounds.into_iter().zip([0, 1, 2, 3, 4, 5, 6, 7, 7]) {
        let count = if count == 0 { 0 } else { count + linear };
        grew(&before, &between, &[(&format!("{RTO}_bucket{{le=\"{bound}\"}}"), count)])?;
    }
    let survived = "socktrace_retransmission_timeouts_total{family=\"ipv4\",state=\"SYN_SENT\"}";
    let gave_up =
        "socktrace_timeouts_total{family=\"ipv4\",state=\"SYN_SENT\",timer=\"retransmission\"}";
    let count = format!("{RTO}_count");
    grew(&before, &between, &[(survived, 6 + linear), (gave_up, 1), (&count, 7 + linear)])?;
    let seconds = sum(&between, &format!("{RTO}_sum")) - sum(&before, &format!("{RTO}_sum"));
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let expected = 127.0 + linear as f64;
    ensure!((seconds - expected).abs() < 1.0, "the timeouts add up to {seconds} s, not {expected}");

    timeout::keepalive(family)?;
    timeout::zero_window(family)?;
    timeout::user(family)?;
    let after = tracer.scrape()?;
    grew(
        &between,
        &after,
        &[
            (
                "socktrace_timeouts_total{family=\"ipv4\",state=\"ESTABLISHED\",timer=\"keepalive\"}",
                1,
            ),
            (
                "socktrace_timeouts_total{family=\"ipv4\",state=\"ESTABLISHED\",timer=\"persist\"}",
                1,
            ),
            (
                "socktrace_timeouts_total{family=\"ipv4\",state=\"ESTABLISHED\",timer=\"retransmission\"}",
                1,
            ),
            ("socktrace_timeouts_total{", 3),
        ],
    )
}

/// A flood that overruns the smallest ring buffer while nobody reads the stream. Most events are lost
/// and reported as such; the counts are exact, the page stays up, and memory stays within bounds.
pub(super) fn flood() -> Result<()> {
    let mut reader = stalled_reader()?;
    let result = flood_into(&mut reader);
    reader.kill()?;
    reader.wait()?;
    result
}

fn flood_into(reader: &mut Child) -> Result<()> {
    const PARTS: u32 = 10;
    /// Memory limit, in kB.
    const MOST: u64 = 12 * 1024;
    // A hundred or a thousand times what the ring buffer holds.
    let flood: u32 = if super::is_full() { 30_000 } else { 3_000 };
    let pipe = reader.stdin.take().context("no pipe")?;
    let args = ["--output", "json", "--ring-buffer", "4", LISTEN[0], LISTEN[1]];
    let tracer = Tracer::start_into(pipe, &args)?;
    for part in 1..=PARTS {
        resets(Family::Ipv4, flood / PARTS)?;
        let metrics = tracer.scrape().context("the page is down")?;
        has_counted(&metrics, Family::Ipv4, flood / PARTS * part)?;
        let services = sum(&metrics, "socktrace_service_errors_total{");
        ensure!(
            (services - f64::from(flood / PARTS * part)).abs() < 0.5,
            "{services} are counted by service"
        );
        http::get(tracer.metrics_address()?, "/healthz").context("not healthy")?;
        let memory = tracer.anonymous_memory()?;
        ensure!(memory < MOST, "it takes {memory} kB");
    }
    kill(Pid::from_raw(i32::try_from(reader.id())?), Signal::SIGCONT)?;
    let reported = || -> Result<(f64, f64)> {
        let metrics = tracer.scrape()?;
        let lost = sum(&metrics, "socktrace_events_lost_total{");
        Ok((lost, sum(&metrics, "socktrace_events_shown_total")))
    };
    until("not every event is either shown or lost", || {
        let (lost, shown) = reported()?;
        Ok((lost + shown - f64::from(flood)).abs() < 0.5)
    })?;
    let (lost, shown) = reported()?;
    ensure!(lost > 0.0 && shown > 0.0, "{lost} lost, {shown} shown: this was no flood");
    Ok(())
}

/// Thousands of services fail: their series stay within the limit, and nothing is lost. Series of
/// services that are gone are removed.
pub(super) fn many_services() -> Result<()> {
    const SERVICES: usize = 3_000;
    const SERIES: usize = 100;
    /// A little longer than series of services that are gone stay.
    const GONE: Duration = Duration::from_secs(301);
    let series = SERIES.to_string();
    let tracer =
        Tracer::must_start(&["--no-stream", "--max-series", &series, LISTEN[0], LISTEN[1]])?;
    let failures = |metrics: &Metrics| sum(metrics, "socktrace_service_errors_total{");
    let cgroup = |number: usize| format!("/many.slice/service-{number}.service");
    for number in 0..SERVICES {
        owner::refused_in(&cgroup(number))?;
    }
    owner::leave()?;
    let metrics = tracer.scrape()?;
    let names = |metrics: &Metrics| {
        metrics
            .keys()
            .filter(|series| series.starts_with("socktrace_service_errors_total{"))
            .cloned()
            .collect::<Vec<_>>()
    };
    let found = names(&metrics).len();
    ensure!(found == SERIES + 1, "{found} series, not {SERIES} and that of others");
    let other = sum(
        &metrics,
        "socktrace_service_errors_total{cause=\"connect_refused\",container=\"\",errno=\"ECONNREFUSED\",namespace=\"\",pod=\"\",protocol=\"tcp\",service=\"other\"",
    );
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let (all, shown) = (SERVICES as f64, SERIES as f64);
    ensure!((other - (all - shown)).abs() < 0.5, "{other} are reported as others'");
    ensure!((failures(&metrics) - all).abs() < 0.5, "{} counted of {SERVICES}", failures(&metrics));

    for number in 0..SERVICES {
        fs::remove_dir(owner::directory(&cgroup(number)))?;
    }
    std::thread::sleep(GONE);
    // The first scrape detects it.
    tracer.scrape()?;
    let metrics = tracer.scrape()?;
    let left = names(&metrics);
    ensure!(left.len() == 1 && left[0].contains("service=\"other\""), "there are still {left:?}");
    let entries = sum(&metrics, "socktrace_map_entries{map=\"services\"}");
    ensure!(entries < 0.5, "{entries} entries are left in the kernel's map");
    // There is room for others, which start at one.
    owner::refused_in("/many.slice/late.service")?;
    owner::leave()?;
    let metrics = tracer.scrape()?;
    let late = metrics.iter().find(|(series, _)| series.contains("service=\"late.service\""));
    ensure!(late.is_some_and(|(_, count)| (*count - 1.0).abs() < 0.1), "{late:?}");
    Ok(())
}

/// A short-lived service is named although its cgroup is gone when metrics are read, and
/// distinguished by port on request.
pub(super) fn short_lived_service() -> Result<()> {
    const SERVICE: &str = "/system.slice/moment.service";
    let tracer = Tracer::must_start(&["--no-stream", "--series-by-port", LISTEN[0], LISTEN[1]])?;
    let reported = owner::connect_refused(Family::Ipv4, SERVICE)?;
    // The event reaches the daemon promptly, but not instantly.
    let begin = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    fs::remove_dir(owner::directory(SERVICE))?;
    ensure!(begin.elapsed() < PATIENCE, "the guest is too slow for this");
    let metrics = tracer.scrape()?;
    let port = reported.remote_port().context("no port")?;
    let series = format!(
        "socktrace_service_errors_total{{cause=\"connect_refused\",container=\"\",\
         errno=\"ECONNREFUSED\",namespace=\"\",pod=\"\",protocol=\"tcp\",service=\"moment.service\",\
         service_port=\"{port}\",unit=\"moment.service\"}}"
    );
    ensure!(metrics.get(&series) == Some(&1.0), "no {series} in {metrics:?}");
    Ok(())
}

/// Metrics of the tracer itself: runs of its programs, its memory, its build.
pub(super) fn of_the_tracer() -> Result<()> {
    shared::with(daemon(&["--output", "json", LISTEN[0], LISTEN[1]]), reports_itself)
}

fn reports_itself(tracer: &Tracer) -> Result<()> {
    const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
    let runs = "socktrace_bpf_runs_total{program=\"tcp_done";
    let before = tracer.scrape()?;
    ensure!(!before.keys().any(|series| series.starts_with(runs)), "not measured is not zero");
    fs::write(STATS, "1")?;
    let measured = resets(Family::Ipv4, 3).and_then(|()| tracer.scrape());
    fs::write(STATS, "0")?;
    let after = measured?;
    // Each reset closes both ends.
    let counted = grown(&Metrics::new(), &after, runs)?;
    ensure!(counted >= 3, "tcp_done ran {counted} times");
    ensure!(sum(&after, "socktrace_bpf_run_seconds_total{program=\"tcp_done") > 0.0, "in no time");
    for series in [
        "socktrace_bpf_memory_bytes",
        "socktrace_map_entries{map=\"signatures\"}",
        "socktrace_map_max_entries{map=\"owners\"}",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_start_time_seconds",
        "process_threads",
    ] {
        ensure!(sum(&after, series) > 0.0, "no {series} in {after:?}");
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = format!("kernel=\"{}\"", release.trim());
    let build = after.keys().find(|series| series.starts_with("socktrace_build_info{"));
    ensure!(build.is_some_and(|series| series.contains(&kernel)), "{build:?}");
    // All sockets of this process are tracked. Closed sockets keep their entries until others need
    // the room, and the kernel gives their addresses to new sockets.
    let owners = |metrics: &Metrics| sum(metrics, "socktrace_map_entries{map=\"owners\"}");
    let start = owners(&tracer.scrape()?);
    let listener = socket::listener(Family::Ipv4.loopback(), 8)?;
    let open = || (0..8).map(|_| socket::Pair::through(&listener)).collect::<Result<Vec<_>>>();
    let pairs = open()?;
    let first = owners(&tracer.scrape()?);
    ensure!(first <= start + 18.5, "{start} owners became {first} by 16");
    pairs.into_iter().try_for_each(socket::Pair::reset)?;
    for _ in 0..20 {
        open()?.into_iter().try_for_each(socket::Pair::reset)?;
    }
    let last = owners(&tracer.scrape()?);
    ensure!(last < start + 120.0, "{start} owners became {last} by 16 at a time");
    Ok(())
}
