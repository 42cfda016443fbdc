//! Services that fill the tables of counts with many cgroups or odd numbers: failures of others are
//! still counted by name and shown.

use std::{
    fs::File,
    io::{self, Write as _},
    process::Child,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    libc,
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, fork},
};
use socket2::{Protocol, Socket};
use xtask_common::cgroup;

use super::{
    child,
    network::Family,
    odd_calls::{self, WAYS},
    owner,
    socket::{self, Pair},
    tracer::Tracer,
    verify::{Metrics, sum},
};

/// A service with its own cgroups, and its number of processes, each in a cgroup.
const CROWD: &str = "/system.slice/crowd.service";
const PROCESSES: usize = 44;

/// Sockets per process. With [`WAYS`], these are more kinds of failures than the table has room for.
const SOCKETS: u64 = 6;

/// Time in which the daemon must have made room.
const REST: Duration = Duration::from_secs(2);

/// Another service.
const OTHER: &str = "/system.slice/other.service";
const OTHERS: &str = "socktrace_service_errors_total{cause=\"sockopt_rejected\"";

/// Options of every daemon in this module.
const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// A service fails in thousands of ways in its own cgroups: the table still has room for another
/// service's counts.
pub(super) fn full_of_cgroups() -> Result<()> {
    let tracer =
        Tracer::must_start(&[&["--max-series", "16", "--no-stream"][..], &LISTEN].concat())?;
    let crowd = (0..PROCESSES).map(start).collect::<Result<Vec<_>>>()?;
    for process in crowd {
        child::finish(process)?;
    }
    // The daemon makes room as soon as the kernel announces entries, before the metrics are scraped.
    thread::sleep(REST);
    cgroup::enter(&owner::make(OTHER)?)?;
    fail_in_every_way()?;
    owner::leave()?;
    let metrics = tracer.scrape()?;
    let made = number((PROCESSES as u64 + 1) * SOCKETS * WAYS);
    let counted = sum(&metrics, "socktrace_socket_errors_total{");
    // When processes preempt each other in the kernel, it may skip socktrace's programs for some calls.
    let missed = sum(&metrics, "socktrace_hook_missed_total{");
    ensure!(counted <= made && made <= counted + missed, "{counted} and {missed} of {made}");
    // Failures that the crowd adds to an entry while it is being removed are missing in the crowd's series.
    let by_service = sum(&metrics, "socktrace_service_errors_total{");
    ensure!(by_service <= counted, "{by_service} by service of {counted}");
    is_of(&metrics, "other.service", number(SOCKETS * WAYS))
}

/// Starts a process of the crowd.
fn start(number: usize) -> Result<Child> {
    let directory = owner::make(&format!("{CROWD}/{number}"))?;
    child::start(&["crowd-in", &directory], File::open("/dev/null")?.into())
}

/// Runs as a process of the crowd.
pub(super) fn crowd_in(directory: &str) -> Result<()> {
    cgroup::enter(directory)?;
    fail_in_every_way()?;
    writeln!(io::stdout(), "0").context("cannot write")
}

/// Makes option calls fail on sockets of both families in several states.
fn fail_in_every_way() -> Result<()> {
    for family in [Family::Ipv4, Family::Ipv6] {
        let listener = socket::listener(family.loopback(), 1)?;
        let pair = Pair::through(&listener)?;
        let sockets = [&listener, &pair.client, &socket::stream(family.loopback())?];
        sockets.into_iter().try_for_each(odd_calls::every_way)?;
    }
    Ok(())
}

/// Option levels: those of TCP sockets, and some that they do not have.
const LEVELS: [i32; 16] = [0, 1, 6, 17, 41, 58, 132, 136, 255, 263, 270, 273, 282, 283, 284, 285];
/// Number of options tried per level.
const OPTIONS: i32 = 128;

/// A process has every possible option refused, on sockets in all states. Hundreds of processes
/// have binds of MPTCP sockets refused. The options of others still have their names, no signature
/// is wasted, and a program that retries with TCP counts as one failure.
pub(super) fn full_of_odd_numbers() -> Result<()> {
    let tracer = Tracer::must_start(&[&["--no-stream"][..], &LISTEN].concat())?;
    let mut refused = 0;
    let mut sockets = vec![socket::stream(Family::Ipv4.loopback())?];
    sockets.extend(mptcp()?);
    for socket in &sockets {
        for level in LEVELS {
            refused +=
                (0..OPTIONS).map(|option| odd_calls::refuse(socket, level, option)).sum::<u64>();
        }
    }
    let full = tracer.scrape()?;
    is(&full, "socktrace_sockopt_errors_total{", number(refused))?;
    let before = sum(&full, "socktrace_map_entries{map=\"signatures\"}");
    fail_in_every_way()?;
    let after = tracer.scrape()?;
    let named =
        "socktrace_sockopt_errors_total{call=\"setsockopt\",errno=\"EDOM\",level=\"SOL_SOCKET\"";
    is(&after, named, number(SOCKETS))?;
    // Signatures differ only by family, call and errno, and some existed before.
    let added = sum(&after, "socktrace_map_entries{map=\"signatures\"}") - before;
    ensure!(added <= number(2 * WAYS), "the states of sockets make {added} more signatures");
    retries_are_known(&tracer)
}

/// Number of processes with refused binds of MPTCP sockets: more than are tracked.
const REFUSED: u64 = 300;

/// After others have had binds of MPTCP sockets refused, a process's retry with TCP is still recognized.
fn retries_are_known(tracer: &Tracer) -> Result<()> {
    let failed =
        |metrics: &Metrics| sum(metrics, "socktrace_socket_errors_total{cause=\"bind_failed\"");
    let listener = socket::listener(Family::Ipv4.loopback(), 1)?;
    let taken = socket::local(&listener)?;
    let refused =
        |socket: Option<Socket>| socket.is_none_or(|socket| socket.bind(&taken.into()).is_err());
    let before = failed(&tracer.scrape()?);
    for _ in 0..REFUSED {
        let socket = mptcp()?;
        // SAFETY: the child only calls bind and exits.
        match unsafe { fork() }.context("cannot fork")? {
            // SAFETY: none of the parent's exit handlers may run.
            ForkResult::Child => unsafe { libc::_exit(i32::from(!refused(socket))) },
            ForkResult::Parent { child } => {
                let status = waitpid(child, None)?;
                ensure!(matches!(status, WaitStatus::Exited(_, 0)), "a bind: {status:?}");
            }
        }
    }
    ensure!(refused(mptcp()?) && refused(Some(socket::stream(taken)?)), "bound to {taken}");
    let found = failed(&tracer.scrape()?) - before;
    let has_mptcp = super::has_mptcp();
    let expected = if has_mptcp { number(REFUSED + 1) } else { 1.0 };
    ensure!((found - expected).abs() < 0.5, "{found} binds failed, not {expected}");
    Ok(())
}

/// Creates an MPTCP socket, if the kernel supports it.
fn mptcp() -> Result<Option<Socket>> {
    if !super::has_mptcp() {
        return Ok(None);
    }
    Ok(Some(socket::open(Family::Ipv4.loopback(), Protocol::MPTCP).context("no MPTCP")?))
}

/// Checks the sum of the series with this prefix.
fn is(metrics: &Metrics, series: &str, count: f64) -> Result<()> {
    let found = sum(metrics, series);
    ensure!((found - count).abs() < 0.5, "{series} {found}, not {count}");
    Ok(())
}

/// Checks the number of a service's failures.
fn is_of(metrics: &Metrics, service: &str, count: f64) -> Result<()> {
    let label = format!("service=\"{service}\"");
    let found: f64 = metrics
        .iter()
        .filter(|(series, _)| series.starts_with(OTHERS) && series.contains(&label))
        .map(|(_, count)| count)
        .sum();
    ensure!((found - count).abs() < 0.5, "{found} failures of {service}, not {count}");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
const fn number(count: u64) -> f64 {
    count as f64
}
