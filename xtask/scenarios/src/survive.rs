//! Conditions that a daemon has to survive: slow readers, full disks, clock jumps, CPU hotplug, no
//! free descriptors, other daemons, its own death, and time.

use std::{
    fs::{self, OpenOptions},
    io,
    os::fd::OwnedFd,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    libc,
    mount::{MsFlags, mount, umount},
    sys::{signal::Signal, time::TimeSpec},
    time::{ClockId, clock_gettime, clock_settime},
};
use serde_json::Value;

use super::{
    daemon::{self, reports_a_reset, reset_one},
    network::Family,
    shared,
    socket::{self, Pair},
    tracer::{FILES, Tracer, daemon, join_ending, lines},
    verify::Metrics,
};

const STREAM: [&str; 4] = ["--output", "json", "--listen", "127.0.0.1:0"];

/// Longest time to wait for something that is due.
const PATIENCE: Duration = Duration::from_secs(30);

/// `--on-full block`, the default: a stalled reader gets what there was room for, then the number
/// of events it missed, and then current events. The counts are exact.
pub(super) fn stalled_reader() -> Result<()> {
    // More than the ring buffer, of this size in KiB, and the daemon hold for the reader.
    stalled(&["--on-full", "block", "--ring-buffer", "64"], 3_000)
}

/// `--on-full drop`: the reader gets current events, not old ones.
pub(super) fn full_pipe() -> Result<()> {
    // 3 MB as JSON: more than the daemon keeps, and more than a pipe holds.
    stalled(&["--on-full", "drop"], 4_000)
}

/// Stalls a reader in a storm of `storm` events, each of which must be shown or reported as lost.
fn stalled(options: &[&str], storm: u32) -> Result<()> {
    let (reader, writer) = io::pipe()?;
    let tracer = Tracer::start_into(OwnedFd::from(writer), &[&STREAM, options].concat())?;
    resets(storm)?;
    has_counted(&tracer, storm)?;

    let lines = lines(reader);
    let next = || json(&lines.recv_timeout(PATIENCE).context("no line comes")?);
    let (mut shown, mut missed) = (0, 0);
    while shown + missed < u64::from(storm) {
        let line = next()?;
        if line["event"] == "lost" {
            missed += line["count"].as_u64().context("no count")?;
        } else {
            shown += 1;
        }
    }
    ensure!(shown + missed == u64::from(storm), "{shown} shown and {missed} lost of {storm}");
    ensure!(missed > 0, "nothing was lost, so the reader was not stalled for long");
    let port = reset_of_port()?;
    let line = next()?;
    ensure!(line["local_port"] == port, "not what happened last: {line}");
    Ok(())
}

/// A full disk costs lines, but tears none, and costs no counts. The stream continues
/// when there is room again.
pub(super) fn disk_full() -> Result<()> {
    const PLACE: &str = "/run/full";
    const FILLING: u32 = 300;
    fs::create_dir_all(PLACE)?;
    mount(Some("none"), PLACE, Some("tmpfs"), MsFlags::empty(), Some("size=64k"))?;
    let result = fill(Path::new(PLACE), FILLING);
    umount(PLACE)?;
    result
}

fn fill(place: &Path, count: u32) -> Result<()> {
    let path = place.join("stream");
    let file = OpenOptions::new().append(true).create(true).open(&path)?;
    let mut tracer = Tracer::start_into(file.try_clone()?, &STREAM)?;
    resets(count)?;
    has_counted(&tracer, count)?;
    tracer.wait_for("cannot write the stream, so lines are lost")?.context("not a word of it")?;
    file.set_len(0)?;

    let port = reset_of_port()?;
    let text = until("the stream does not go on", || {
        let text = fs::read_to_string(&path)?;
        let lost = text.contains("\"lost\"");
        Ok((lost && text.contains(&format!("\"local_port\":{port},"))).then_some(text))
    })?;
    // The text before the first newline may have been cut off above.
    for line in text.lines().skip(1) {
        json(line)?;
    }
    let (status, said) = tracer.stop(Signal::SIGTERM)?;
    ensure!(status.success(), "ended with {status}:\n{said}");
    Ok(())
}

/// The time of day is set: later events have the new time, and the daemon is not affected.
pub(super) fn clock_jump() -> Result<()> {
    const JUMP: i64 = 86_400;
    let tracer = Tracer::must_start(&["--output", "json", "--no-metrics"])?;
    let day = || -> Result<String> {
        reset_one()?;
        let lines = tracer.collect(1);
        let [line] = lines.as_slice() else { bail!("one line for one failure, not {lines:?}") };
        let line = json(line)?;
        let time = line["time"].as_str().context("no time")?;
        Ok(time.split('T').next().unwrap_or_default().to_owned())
    };
    let before = day()?;
    advance_clock(JUMP)?;
    let ahead = day();
    advance_clock(-2 * JUMP)?;
    let behind = day();
    advance_clock(JUMP)?;
    let (ahead, behind) = (ahead?, behind?);
    ensure!(behind < before && before < ahead, "{behind}, {before}, {ahead}");
    Ok(())
}

/// Sets the time of day forward by a number of seconds.
pub(super) fn advance_clock(by: i64) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let then = TimeSpec::new(now.tv_sec() + by, now.tv_nsec());
    clock_settime(ClockId::CLOCK_REALTIME, then).context("cannot set the clock")
}

/// A processor goes offline and comes back. Events in the meantime, and earlier ones on that
/// processor, stay counted.
pub(super) fn processor_goes() -> Result<()> {
    const SWITCH: &str = "/sys/devices/system/cpu/cpu1/online";
    const EACH: u32 = 50;
    shared::with(daemon(&STREAM), |tracer| {
        let before = tracer.scrape()?;
        resets(EACH)?;
        fs::write(SWITCH, "0").context("cannot take the processor away")?;
        let without = resets(EACH);
        fs::write(SWITCH, "1").context("cannot give the processor back")?;
        without?;
        resets(EACH)?;
        has_counted_more(tracer, &before, 3 * EACH)?;
        let lines = tracer.collect(150);
        ensure!(lines.len() == 150, "{} of 150 are shown", lines.len());
        Ok(())
    })
}

/// Without a free descriptor, scrapes fail, while stream and counts continue. Scrapes work again
/// once there are descriptors.
pub(super) fn no_descriptors() -> Result<()> {
    shared::with(daemon(&STREAM), |tracer| {
        let before = tracer.scrape()?;
        tracer.limit_files(0)?;
        reports_a_reset(tracer)?;
        tracer.limit_files(FILES)?;
        resets(1)?;
        has_counted_more(tracer, &before, 2)
    })
}

/// Two daemons report and count the same, and one is not affected when the other dies.
pub(super) fn two_instances() -> Result<()> {
    let first = Tracer::must_start(&STREAM)?;
    let second = Tracer::must_start(&STREAM)?;
    reset_one()?;
    for tracer in [&first, &second] {
        ensure!(tracer.collect(1).len() == 1, "one of them reports nothing");
    }
    first.stop(Signal::SIGKILL)?;
    reports_a_reset(&second)?;
    has_counted(&second, 2)
}

/// A killed daemon leaves neither programs nor pins behind, and the next one starts.
pub(super) fn killed() -> Result<()> {
    join_ending();
    let before = programs()?;
    let tracer = Tracer::must_start(&STREAM)?;
    ensure!(programs()? > before, "no program is loaded");
    tracer.stop(Signal::SIGKILL)?;
    // The kernel frees programs some time after their last use.
    until("programs stay", || Ok((programs()? == before).then_some(())))?;
    if let Ok(mut pins) = fs::read_dir("/sys/fs/bpf") {
        ensure!(pins.next().is_none(), "something is pinned");
    }
    reports_a_reset(&Tracer::must_start(&STREAM)?)
}

/// After thousands of failures, the daemon has no more descriptors and hardly more memory.
pub(super) fn soak() -> Result<()> {
    const ROUNDS: u32 = 8;
    // If a batch is shown while the previous one is being written, memory for both is needed, once.
    const GROWING_ROUNDS: usize = 2;
    const GROWTH_KIB: u64 = 64;
    // More at once than the ring buffer, of this size in KiB, holds.
    let (ring, round) = if super::is_full() { ("256", 1_500) } else { ("64", 500) };
    let tracer = Tracer::must_start(&[&STREAM[..], &["--ring-buffer", ring]].concat())?;
    let files = format!("/proc/{}/fd", tracer.pid());
    let state = || -> Result<(u64, usize)> {
        Ok((tracer.anonymous_memory()?, fs::read_dir(&files)?.count()))
    };
    // Memory needed to show that many events is not freed.
    tracer.signal(Signal::SIGSTOP)?;
    resets(round)?;
    tracer.signal(Signal::SIGCONT)?;
    has_counted(&tracer, round)?;
    let lines = tracer.collect(1);
    ensure!(lines.iter().any(|line| line.contains("\"lost\"")), "nothing was lost");
    let (before, descriptors) = state()?;
    let mut sizes = vec![before];
    for number in 1..=ROUNDS {
        resets(round)?;
        has_counted(&tracer, round * (number + 1))?;
        sizes.push(state()?.0);
    }
    let growing = sizes.windows(2).filter(|size| size[1] > size[0] + GROWTH_KIB).count();
    ensure!(growing <= GROWING_ROUNDS, "it grows: {sizes:?} KiB");
    // The connection of the last scrape may still be there.
    let closed = || Ok((state()?.1 <= descriptors).then_some(()));
    until(&format!("there are more than {descriptors} descriptors"), closed)
}

/// Number of BPF programs in the kernel.
pub(super) fn programs() -> Result<usize> {
    const BPF_PROG_GET_NEXT_ID: libc::c_int = 11;
    /// The part of `union bpf_attr` that this command uses.
    #[repr(C)]
    #[derive(Default)]
    struct NextId {
        start: u32,
        next: u32,
        flags: u32,
    }
    let mut count = 0;
    let mut attr = NextId::default();
    loop {
        // SAFETY: the attribute has the given size, and lives until the call returns.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, BPF_PROG_GET_NEXT_ID, &raw mut attr, size_of::<NextId>())
        };
        if result != 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::ENOENT) {
                Ok(count)
            } else {
                Err(error).context("cannot count BPF programs")
            };
        }
        attr.start = attr.next;
        count += 1;
    }
}

/// Makes a `reset_by_peer`, and returns the port of the socket that fails.
fn reset_of_port() -> Result<u16> {
    let pair = Pair::new(Family::Ipv4.loopback())?;
    let port = socket::local(&pair.server)?.port();
    pair.reset()?;
    Ok(port)
}

/// Makes `count` failures of cause `reset_by_peer`.
fn resets(count: u32) -> Result<()> {
    daemon::resets(Family::Ipv4, count)
}

/// Checks that exactly `count` more are counted than in `before`.
fn has_counted_more(tracer: &Tracer, before: &Metrics, count: u32) -> Result<()> {
    let [before, after] =
        [before, &tracer.scrape()?].map(|metrics| daemon::counted(metrics, Family::Ipv4));
    let more = after - before;
    ensure!((more - f64::from(count)).abs() < 0.5, "{more} of {count} resets are counted");
    Ok(())
}

/// Checks that exactly `count` are counted.
fn has_counted(tracer: &Tracer, count: u32) -> Result<()> {
    daemon::has_counted(&tracer.scrape()?, Family::Ipv4, count)
}

fn until<T>(problem: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(started.elapsed() < PATIENCE, "{problem} after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn json(line: &str) -> Result<Value> {
    serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))
}
