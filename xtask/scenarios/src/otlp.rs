//! Records sent to an OpenTelemetry Collector, which match the stream.

use std::{fs, net::TcpListener, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    collector::{Collector, Log, Received},
    daemon,
    network::Family,
    privileges, reset,
    tracer::Tracer,
    verify::{Metrics, sum},
};

/// Environment variable with headers, and a secret in one of them.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const SECRET: &str = "9f86d081884c7d65";

/// Event name of a failure.
const FAILURE: &str = "socktrace.socket.failure";

/// More resets than a queue of 1 MiB holds, and fewer than the ring buffer holds.
const MANY: u32 = 2_000;

/// Fields of a JSON line, and the matching attributes.
const SAME: [(&str, &str); 17] = [
    ("errno", "error.type"),
    ("cause", "socktrace.cause"),
    ("call", "socktrace.call"),
    ("direction", "socktrace.direction"),
    ("severity", "socktrace.severity"),
    ("delivered", "socktrace.delivered"),
    ("protocol", "network.transport"),
    ("family", "network.type"),
    ("local", "network.local.address"),
    ("local_port", "network.local.port"),
    ("remote", "network.peer.address"),
    ("remote_port", "network.peer.port"),
    ("pid", "process.pid"),
    ("uid", "process.real_user.id"),
    ("flow", "socktrace.flow"),
    ("role", "socktrace.role"),
    ("netns", "socktrace.netns"),
];

/// Each failure arrives as the stream shows it, even if the collector was overloaded first; so do
/// the counts. Headers arrive, and are not logged.
pub(super) fn says_what_the_stream_says() -> Result<()> {
    let collector = Collector::start()?;
    collector.answer_with(503);
    let url = collector.url();
    let mut command = super::tracer::daemon(&[
        "--output",
        "json",
        "--listen",
        "127.0.0.1:0",
        "--verbose",
        "--otlp",
        &url,
    ]);
    command.env(HEADERS, format!("x-api-key={SECRET}"));
    command.env("OTEL_SERVICE_NAME", "tracer-of-the-guest");
    let tracer = Tracer::run(command)?;
    for family in [Family::Ipv4, Family::Ipv6] {
        daemon::resets(family, 1)?;
    }
    let lines = tracer.collect(2);
    ensure!(lines.len() == 2, "two failures are reported as {lines:?}");
    collector.until("request", |received| received.requests > 0)?;
    collector.answer_with(200);
    let received = collector.until("failure", |received| failures(received).count() >= 2)?;
    let found: Vec<_> = failures(&received).collect();
    ensure!(found.len() == 2, "two failures were sent as {found:?}");
    for (line, log) in lines.iter().zip(found) {
        compare(&serde_json::from_str(line)?, log)?;
    }
    ensure!(received.headers["x-api-key"] == SECRET, "{:?}", received.headers.keys());
    ensure!(received.headers["content-encoding"] == "gzip", "{:?}", received.headers.keys());

    let metrics = tracer.scrape()?;
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}");
    ensure!(!said.contains(SECRET), "a secret is in the log");
    // The last request has what was sent at shutdown.
    let received = collector.received();
    let summary = format!("OpenTelemetry: {} records sent, 0 dropped", received.logs.len());
    ensure!(said.contains(&summary), "no summary in:\n{said}");
    // The report about sending the RST is ordinary operation, which the stream does not show. It
    // has the same connection ID.
    for failure in failures(&received) {
        let is_cause = |log: &&Log| {
            log.event == "socktrace.reset.sent"
                && ["socktrace.flow", "socktrace.rst.seq"]
                    .iter()
                    .all(|name| log.attributes[*name] == failure.attributes[*name])
        };
        ensure!(received.logs.iter().any(|log| is_cause(&log)), "nobody sent {failure:?}");
    }
    let errors = received.sums.get("socktrace.socket.errors").copied().unwrap_or(0);
    let scraped = sum(&metrics, "socktrace_socket_errors_total{");
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let errors = errors as f64;
    ensure!(errors >= scraped && scraped >= 2.0, "{errors} sent, {scraped} on the page");
    Ok(())
}

/// Without lines, events are still sent, including those of ordinary operation, by a daemon with the
/// privileges of the unit. Nothing is printed. Filters narrow what is sent, and addresses can be redacted.
pub(super) fn without_lines() -> Result<()> {
    let collector = Collector::start()?;
    let url = format!("http://localhost:{}", collector.address.port());
    let args = ["--no-stream", "--listen", "127.0.0.1:0", "--no-collapse", "--otlp", &url];
    let args = [&args[..], &["--otlp-redact", "--cause", "!connect_refused"]].concat();
    let tracer = Tracer::run(as_service(&args))?;
    refuse_one()?;
    reset::while_closing_orphan(Family::Ipv4)?;
    let is = |log: &Log, cause: &str| log.attributes["socktrace.cause"] == cause;
    let received = collector
        .until("noise", |received| failures(received).any(|log| is(log, "reset_while_closing")))?;
    let noise = failures(&received).find(|log| is(log, "reset_while_closing"));
    let noise = noise.context("it was there")?;
    ensure!(
        noise.severity == 9 && noise.attributes["socktrace.severity"] == "expected",
        "{noise:?}"
    );
    ensure!(!failures(&received).any(|log| is(log, "connect_refused")), "{:?}", received.logs);
    let addresses = noise.attributes.keys().filter(|name| name.ends_with(".address"));
    ensure!(addresses.count() == 0 && !noise.body.contains("127.0.0.1"), "{noise:?}");
    ensure!(noise.attributes.contains_key("network.peer.port"), "{noise:?}");

    let metrics = tracer.scrape()?;
    let shown = metrics.keys().any(|series| series.starts_with("socktrace_events_shown"));
    ensure!(!shown, "lines without a reader are reported");
    ensure!(
        metrics.contains_key("socktrace_events_lost_total{reason=\"ring_buffer_full\"}"),
        "{metrics:?}"
    );
    let lines = tracer.collect(0);
    ensure!(lines.is_empty(), "printed {lines:?}");
    Ok(())
}

/// With neither lines nor a metrics page, failures and counts are still sent.
pub(super) fn alone() -> Result<()> {
    let collector = Collector::start()?;
    let url = collector.url();
    let tracer = Tracer::run(as_service(&["--no-stream", "--no-metrics", "--otlp", &url]))?;
    refuse_one()?;
    collector.until("failure", |received| failures(received).count() == 1)?;
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success() && !said.contains("metrics: "), "{status}: {said}");
    let sums = collector.received().sums;
    ensure!(sums.get("socktrace.socket.errors") == Some(&1), "{sums:?}");
    Ok(())
}

/// A daemon that has dropped its privileges resolves names, and reads headers again on reload.
pub(super) fn reads_headers_again() -> Result<()> {
    let collector = Collector::start()?;
    let (hosts, resolvers, headers) = ("/etc/hosts", "/etc/resolv.conf", "/run/otlp-headers");
    fs::write(hosts, "127.0.0.1 collector.example\n")?;
    fs::write(resolvers, "nameserver 127.0.0.1\n")?;
    fs::write(headers, "X-Api-Key: one\n")?;
    let url = format!("http://collector.example:{}", collector.address.port());
    let mut tracer = Tracer::run(as_service(&[
        "--output",
        "json",
        "--listen",
        "127.0.0.1:0",
        "--no-collapse",
        "--otlp",
        &url,
        "--otlp-headers-file",
        headers,
    ]))?;
    let key = |received: &Received, key: &str| {
        received.headers.get("x-api-key").is_some_and(|value| value == key)
    };
    daemon::reports_a_reset(&tracer)?;
    collector.until("request with the first key", |received| key(received, "one"))?;
    fs::write(headers, "X-Api-Key: two\n")?;
    tracer.signal(Signal::SIGHUP)?;
    tracer.wait_for("configuration reloaded")?.context("it does not read it again")?;
    daemon::reports_a_reset(&tracer)?;
    collector.until("request with the other key", |received| key(received, "two"))?;
    // An invalid file changes nothing.
    fs::write(headers, "two\n")?;
    tracer.signal(Signal::SIGHUP)?;
    tracer.wait_for("the previous headers and certificates stay in force")?.context("it ended")?;
    daemon::reports_a_reset(&tracer)?;
    let received = collector.until("third failure", |all| failures(all).count() >= 3)?;
    ensure!(key(&received, "two"), "{:?}", received.headers.keys());
    [hosts, resolvers, headers].into_iter().try_for_each(fs::remove_file)?;
    Ok(())
}

/// Command of a daemon with the privileges of the unit, except for kprobes, for which they do not suffice.
fn as_service(args: &[&str]) -> Command {
    if super::uses_kprobes() { super::tracer::daemon(args) } else { privileges::service(args) }
}

/// While the collector is away, the stream shows everything, and records that do not fit in the
/// queue are counted. The daemon's own failures to connect are counted, but not sent. When the
/// collector is back, it gets the rest.
pub(super) fn collector_away() -> Result<()> {
    // A port that is free, and stays free.
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let url = format!("http://{address}");
    let tracer = Tracer::must_start(&[
        "--output",
        "json",
        "--listen",
        "127.0.0.1:0",
        "--cause",
        "reset_by_peer",
        "--cause",
        "connect_refused",
        "--otlp",
        &url,
        "--otlp-queue",
        "1",
        "--ring-buffer",
        "4096",
    ])?;
    let own = format!("\"pid\":{}", tracer.pid());
    let mut resets = 0;
    // Alternating, so that neither the ring buffer nor the harness falls behind.
    while resets < MANY {
        daemon::resets(Family::Ipv4, 100)?;
        resets += 100;
        let mut lines = 0;
        while lines < 100 {
            let line = tracer.next_line(Duration::from_secs(15)).context("the stream stalls")?;
            lines += usize::from(!line.contains(&own));
        }
    }
    let metrics = until(&tracer, |metrics| get(metrics, "own_total") > 0.0)?;
    daemon::has_counted(&metrics, Family::Ipv4, MANY)?;
    let dropped = get(&metrics, "dropped_total{reason=\"queue_full\"}");
    let queued = get(&metrics, "queue_records");
    ensure!(dropped > 0.0 && queued > 0.0, "{dropped} dropped, {queued} queued");
    ensure!(get(&metrics, "queue_bytes") <= f64::from(1 << 20), "{metrics:?}");
    // Some records may report the number of missing ones.
    let all = dropped + queued - f64::from(MANY);
    ensure!((0.0..=4.0).contains(&all), "{dropped} dropped and {queued} queued of {MANY}");
    ensure!(get(&metrics, "sent_total") == 0.0 && get(&metrics, "request_errors_total") > 0.0);

    let collector = Collector::at(address)?;
    let lost = |log: &&Log| log.event == "socktrace.events.lost";
    let received = collector
        .until("word of what is missing", |received| received.logs.iter().any(|log| lost(&log)))?;
    let missing = received.logs.iter().find(lost).context("it was there")?;
    ensure!(missing.attributes["socktrace.lost.reason"] == "queue_full", "{missing:?}");
    let metrics = until(&tracer, |metrics| get(metrics, "queue_records") == 0.0)?;
    ensure!(get(&metrics, "sent_total") >= queued, "{metrics:?}");
    let received = collector.received();
    let pid = Value::from(tracer.pid());
    let own = failures(&received).find(|log| log.attributes.get("process.pid") == Some(&pid));
    ensure!(own.is_none(), "its own failure was sent: {own:?}");
    Ok(())
}

/// Invalid settings exit with 2 and a message about the fix. OpenTelemetry's variables alone send nothing.
pub(super) fn wrong_settings() -> Result<()> {
    let wrong = |args: &[&str], variables: &[(&str, &str)], words: &[&str]| -> Result<()> {
        let mut command = super::tracer::daemon(args);
        command.envs(variables.iter().copied());
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2), "{args:?}: {}: {said}", output.status);
        ensure!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
        ensure!(!said.contains(SECRET), "a secret is shown: {said}");
        Ok(())
    };
    let url = "http://127.0.0.1:4318";
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    wrong(&["--otlp", url], &[protocol], &["grpc", "4318", "http/protobuf"])?;
    wrong(&["--otlp", "http://127.0.0.1:4317"], &[], &["4318"])?;
    let secret = format!("http://user:{SECRET}@a:4318");
    wrong(&["--otlp", "env"], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &secret)], &["otlp-headers-file"])?;
    let path = "/run/otlp-headers";
    fs::write(path, format!("{SECRET}\n"))?;
    wrong(&["--otlp", url, "--otlp-headers-file", path], &[], &[path, "line 1"])?;
    fs::remove_file(path)?;
    wrong(&["--otlp", url, "--otlp-headers-file", path], &[], &["cannot read", path])?;

    let mut printing = Command::new(super::tracer::PROGRAM);
    printing.args(["--print-config", "--otlp", url]).env(HEADERS, format!("x={SECRET}"));
    let printed = String::from_utf8(printing.output()?.stdout)?;
    ensure!(printed.contains(url) && !printed.contains(SECRET), "{printed}");

    let collector = Collector::start()?;
    let mut command = super::tracer::daemon(&["--no-metrics", "--output", "json"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).env(protocol.0, protocol.1);
    let tracer = Tracer::run(command)?;
    daemon::reports_a_reset(&tracer)?;
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success() && !said.contains("OpenTelemetry"), "{said}");
    ensure!(collector.received().requests == 0, "it was sent unasked");
    Ok(())
}

/// Failures received.
fn failures(received: &Received) -> impl Iterator<Item = &Log> {
    received.logs.iter().filter(|log| log.event == FAILURE)
}

/// Makes a refused connect.
fn refuse_one() -> Result<()> {
    let address = super::socket::closed_port(Family::Ipv4)?;
    let client = super::socket::stream(address)?;
    let refused = super::socket::errno("connect", client.connect(&address.into()))?;
    super::socket::ensure_errno("connect", refused, nix::libc::ECONNREFUSED)
}

/// Checks that a log record matches a line.
fn compare(line: &Value, log: &Log) -> Result<()> {
    for (field, attribute) in SAME {
        let sent = log.attributes.get(attribute).unwrap_or(&Value::Null);
        ensure!(line[field] == *sent, "{field}: {} and {sent}\n{line}\n{log:?}", line[field]);
    }
    ensure!(line["reason"] == *log.body, "{} and {:?}", line["reason"], log.body);
    let time = line["time"].as_str().context("no time")?;
    let nanos = time.trim_end_matches('Z').rsplit_once('.').context("no nanoseconds")?.1;
    ensure!(log.time % 1_000_000_000 == nanos.parse::<u64>()?, "{time} and {}", log.time);
    ensure!(log.severity == 17, "{log:?}");
    let name = &log.resource["service.name"];
    match &line["service"] {
        Value::String(service) => ensure!(name == service, "{name} and {service}"),
        Value::Null => {
            let name = name.as_str().unwrap_or_default();
            ensure!(name.starts_with("unknown_service:"), "{name}");
        }
        other => bail!("a service {other}"),
    }
    let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
    ensure!(log.resource["host.name"] == host.trim(), "{:?}", log.resource);
    Ok(())
}

/// A metric of the exporter.
fn get(metrics: &Metrics, name: &str) -> f64 {
    metrics.get(&format!("socktrace_otlp_{name}")).copied().unwrap_or(0.0)
}

/// Scrapes until `is_so` holds.
fn until(tracer: &Tracer, is_so: impl Fn(&Metrics) -> bool) -> Result<Metrics> {
    for _ in 0..300 {
        let metrics = tracer.scrape()?;
        if is_so(&metrics) {
            return Ok(metrics);
        }
        thread::sleep(Duration::from_millis(200));
    }
    bail!("the metrics stay as they are: {:?}", tracer.scrape()?)
}
