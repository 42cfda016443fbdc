//! The daemon's own behavior: its options, output and shutdown.

use std::{
    env,
    fs::{self, File},
    net::{Shutdown, SocketAddr},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{
    both_ends,
    network::Family,
    socket::{self, Ends, Pair},
    tracer::{Tracer, join_ending},
    verify::{Metrics, sum},
};

/// More resets than the ring buffer, of this size in KiB, and the daemon hold for the reader.
const STORM: u32 = 3_000;
const RING: [&str; 2] = ["--ring-buffer", "64"];

/// Any free port.
const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// Makes one `reset_by_peer`.
pub(super) fn reset_one() -> Result<()> {
    resets(Family::Ipv4, 1)
}

/// Makes `count` resets.
pub(super) fn resets(family: Family, count: u32) -> Result<()> {
    let listener = socket::listener(family.loopback(), 1)?;
    (0..count).try_for_each(|_| Pair::through(&listener)?.reset())
}

/// Number of resets counted.
pub(super) fn counted(metrics: &Metrics, family: Family) -> f64 {
    let family = if family == Family::Ipv6 { "ipv6" } else { "ipv4" };
    let series = format!(
        "socktrace_socket_errors_total{{cause=\"reset_by_peer\",direction=\"peer\",\
         errno=\"ECONNRESET\",family=\"{family}\",protocol=\"tcp\"}}"
    );
    metrics.get(&series).copied().unwrap_or(0.0)
}

/// Checks that exactly `count` resets are counted.
pub(super) fn has_counted(metrics: &Metrics, family: Family, count: u32) -> Result<()> {
    let counted = counted(metrics, family);
    ensure!((counted - f64::from(count)).abs() < 0.5, "{counted} of {count} resets are counted");
    Ok(())
}

/// Makes a reset and checks that it is reported, and nothing else.
pub(super) fn reports_a_reset(tracer: &Tracer) -> Result<()> {
    reset_one()?;
    let lines = tracer.collect(1);
    ensure!(
        lines.len() == 1 && lines[0].contains("\"reset_by_peer\""),
        "a failure is not reported: {lines:?}"
    );
    Ok(())
}

/// A stream that is not read loses events and reports how many. Counters stay exact,
/// and metrics stay available.
pub(super) fn storm() -> Result<()> {
    let mut stalled = stalled_reader()?;
    let result = storm_into(stalled.stdin.take().context("no pipe")?);
    stalled.kill()?;
    stalled.wait()?;
    result
}

/// A process that does not read its standard input, a pipe, until it gets SIGCONT.
pub(super) fn stalled_reader() -> Result<Child> {
    let script = "kill -STOP $$; exec cat > /dev/null";
    let mut command = Command::new("sh");
    Ok(command.args(["-c", script]).stdin(Stdio::piped()).spawn()?)
}

fn storm_into(pipe: ChildStdin) -> Result<()> {
    let tracer =
        Tracer::start_into(pipe, &["--output", "json", RING[0], RING[1], LISTEN[0], LISTEN[1]])?;
    resets(Family::Ipv4, STORM)?;
    let metrics = tracer.scrape()?;
    has_counted(&metrics, Family::Ipv4, STORM)?;
    let lost = sum(&metrics, "socktrace_events_lost_total{");
    ensure!(lost > 0.0, "no event was lost, so this was no storm");
    Ok(())
}

/// `--no-stream` only counts: it prints nothing and leaves the ring buffer empty.
pub(super) fn no_stream() -> Result<()> {
    let tracer = Tracer::must_start(&["--no-stream", LISTEN[0], LISTEN[1]])?;
    reset_one()?;
    let metrics = tracer.scrape()?;
    has_counted(&metrics, Family::Ipv4, 1)?;
    ensure!(
        !metrics.keys().any(|series| series.starts_with("socktrace_events_")),
        "a stream without a reader is reported"
    );
    let lines = tracer.collect(0);
    ensure!(lines.is_empty(), "printed {lines:?}");
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}");
    ensure!(said.contains("1 failure (reset_by_peer 1)"), "no summary in:\n{said}");
    Ok(())
}

/// `--probe-log` shows the kernel programs' messages.
pub(super) fn probe_log() -> Result<()> {
    let mut tracer = Tracer::must_start(&["--probe-log", "--no-metrics"])?;
    reset_one()?;
    tracer.wait_for("tcp_reset: state 1")?.context("no message of tcp_reset")?;
    tracer.wait_for("tcp_done: errno 104")?.context("no message of tcp_done")?;
    Ok(())
}

/// Human-readable lines, without colors in a pipe.
pub(super) fn human_output() -> Result<()> {
    let tracer = Tracer::must_start(&["--no-metrics"])?;
    let heading = tracer.collect(1);
    ensure!(
        heading.len() == 1 && heading[0].starts_with("TIME "),
        "the heading comes before the first event: {heading:?}"
    );
    reset_one()?;
    let lines = tracer.collect(1);
    let [line] = lines.as_slice() else { bail!("one line for one failure, not {lines:?}") };
    ensure!(line.contains("ECONNRESET   reset_by_peer"), "{line}");
    ensure!(!line.contains('\x1b'), "colors in a pipe: {line}");
    Ok(())
}

/// The daemon finds the owner of a connection that was opened before the daemon started.
pub(super) fn opened_before() -> Result<()> {
    let quiet = Pair::new(Family::Ipv4.loopback())?;
    let used = Pair::new(Family::Ipv6.loopback())?;
    socket::exchange(&used.client, &used.server)?;
    // The FIN of one end counts too.
    let half_closed = Pair::new(Family::Mapped.loopback())?;
    socket::exchange(&half_closed.client, &half_closed.server)?;
    half_closed.server.shutdown(Shutdown::Write)?;
    socket::read_end(&half_closed.client)?;
    // With a backlog of 0, nothing distinguishes an accepted connection from a client's.
    let listener = socket::listener(Family::Ipv4.loopback(), 0)?;
    let unlimited = Pair::through(&listener)?;
    let tracer = Tracer::must_start(&["--output", "json", "--all", "--no-metrics"])?;
    for (pair, is_named) in [(quiet, true), (used, true), (half_closed, true), (unlimited, false)] {
        let ends = Ends::of_server(&pair.server)?;
        pair.reset()?;
        let lines = tracer.until_sentinel()?;
        let stream: Vec<Value> =
            lines.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
        let problems = both_ends::check(&stream);
        ensure!(problems.is_empty(), "{problems}");
        let of = |end: SocketAddr, is_sent: bool| {
            let is_it = |line: &&Value| {
                line["local_port"] == end.port() && both_ends::is_sent(line) == is_sent
            };
            stream.iter().find(is_it).with_context(|| format!("nothing of {end}: {stream:?}"))
        };
        let (line, sent) = (of(ends.local, false)?, of(ends.remote, true)?);
        ensure!(line["errno"] == "ECONNRESET" && line["pid"] == std::process::id(), "{line}");
        ensure!(line["uid"] == 0 && line["owner_unknown"].is_null(), "{line}");
        ensure!(line["owner_source"] == "holder" && line["process_comm"] == line["comm"], "{line}");
        ensure!(sent["role"] == "client" && sent["flow"].is_string(), "{sent}");
        let known = |value: &Value| if is_named { value.clone() } else { Value::Null };
        let is_right =
            line["role"] == known(&"server".into()) && line["flow"] == known(&sent["flow"]);
        ensure!(is_right, "{line}\nand {sent}");
    }
    Ok(())
}

/// The default metrics port may be in use in an interactive session; a port that was requested may not.
pub(super) fn metrics_port_taken() -> Result<()> {
    join_ending();
    let serving = Tracer::must_start(&["--no-stream"])?;
    let watching = Tracer::must_start(&[])?;
    let (status, said) = watching.stop(Signal::SIGINT)?;
    ensure!(status.success(), "ended with {status}");
    ensure!(said.contains("no metrics: cannot listen on 127.0.0.1:10054"), "{said}");

    for args in [&["--listen", "127.0.0.1:10054"][..], &["--no-stream"]] {
        let Err(refused) = Tracer::start(args)? else { bail!("{args:?} got a taken port") };
        ensure!(refused.exit == 1, "{args:?}: exit code {}", refused.exit);
        ensure!(
            refused.stderr.contains("cannot serve metrics on 127.0.0.1:10054")
                && refused.stderr.contains("--listen"),
            "{args:?}: {}",
            refused.stderr
        );
    }
    drop(serving);
    Ok(())
}

/// When stopped in a storm, the daemon still accounts for every failure that it has counted,
/// whether its lines are read or not.
pub(super) fn stops_in_a_storm() -> Result<()> {
    let args = ["--no-metrics", "--output", "json", RING[0], RING[1]];
    let path = env::temp_dir().join("storm.json");
    let tracer = Tracer::start_into(File::create(&path)?, &args)?;
    let [counted, shown, _, lost] = storm_until_stopped(tracer)?;
    let lines = fs::read_to_string(&path)?;
    fs::remove_file(&path)?;
    let lines = lines.lines().filter(|line| line.contains("\"cause\"")).count();
    ensure!(lines as u64 == shown, "{lines} lines, and {shown} are said to be shown");
    ensure!(counted == shown + lost, "{counted} counted, {shown} shown, {lost} lost");

    let mut stalled = stalled_reader()?;
    let tracer = Tracer::start_into(stalled.stdin.take().context("no pipe")?, &args);
    let numbers = tracer.and_then(storm_until_stopped);
    stalled.kill()?;
    stalled.wait()?;
    let [counted, shown, _, lost] = numbers?;
    ensure!(counted == shown + lost, "unread: {counted} counted, {shown} shown, {lost} lost");
    ensure!(lost > 0, "a pipe that nobody reads has taken {shown} lines");
    Ok(())
}

/// Makes resets until the daemon has ended, and returns the numbers from its last message: failures
/// counted, events shown, events in floods, events lost.
pub(super) fn storm_until_stopped(tracer: Tracer) -> Result<[u64; 4]> {
    let is_over = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        let storm = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                resets(Family::Ipv4, 10)?;
            }
            Ok(())
        });
        thread::sleep(Duration::from_secs(2));
        let ended = tracer.stop(Signal::SIGINT);
        is_over.store(true, Ordering::Relaxed);
        let made = storm.join().map_err(|_| anyhow!("the storm panicked"))?;
        made.and(ended)
    });
    let (status, said) = ended?;
    ensure!(status.success(), "ended with {status}");
    let number = |before: &str, after: &str| -> Option<u64> {
        let (_, rest) = said.rsplit_once(before)?;
        rest.split_once(after)?.0.parse().ok()
    };
    let numbers = [
        number("socktrace: ", " failures (reset_by_peer "),
        number("); ", " events shown"),
        number("events shown, ", " in floods").or(Some(0)),
        number(" in floods, ", " lost").or_else(|| number("events shown, ", " lost")),
    ];
    let [Some(counted), Some(shown), Some(repeated), Some(lost)] = numbers else {
        bail!("no summary in:\n{said}")
    };
    Ok([counted, shown, repeated, lost])
}

/// SIGINT and SIGTERM end the daemon cleanly, with a summary.
pub(super) fn stops_on_signals() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let tracer = Tracer::must_start(&["--no-metrics", "--output", "json"])?;
        reset_one()?;
        ensure!(tracer.collect(1).len() == 1, "the failure is not shown");
        let (status, said) = tracer.stop(signal)?;
        ensure!(status.success(), "{signal}: ended with {status}");
        ensure!(
            said.contains("1 failure (reset_by_peer 1); 1 events shown, 0 lost"),
            "{signal}: no summary in:\n{said}"
        );
    }
    Ok(())
}
