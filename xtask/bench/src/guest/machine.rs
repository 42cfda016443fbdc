//! Work of the guest's only processor, in instructions, which its clock counts. On a host, work of
//! this process and of the tool, in nanoseconds.

use std::{
    fs, io,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

use super::native;

/// The tool's process if it is measured on a host; 0 for none.
static TOOL: AtomicU32 = AtomicU32::new(0);

/// How long the processor must be nearly idle for all work to count as done: longer than the
/// intervals at which tools poll.
const QUIET: Duration = Duration::from_millis(120);

/// Upper limit for a nearly idle processor in that time, in instructions.
const LITTLE: u64 = 1_500_000;

/// Longest time for tools to finish what they have started.
const PATIENCE: Duration = Duration::from_mins(10);

/// On a host, counts the work of this process, from its start, in place of the last one watched.
pub(super) fn watch(process: Option<u32>) {
    TOOL.store(process.unwrap_or_default(), Ordering::Relaxed);
}

/// Instructions of all tasks since the guest was started. On a host, the CPU time of this process
/// and of the [watched](watch) one.
pub(super) fn busy() -> Result<u64> {
    if native::is_host() {
        let tool = match TOOL.load(Ordering::Relaxed) {
            0 => 0,
            id => of_process(id)?,
        };
        return Ok(read(ClockId::CLOCK_PROCESS_CPUTIME_ID)? + tool);
    }
    // The instructions of a task are added when it is switched out.
    thread::sleep(Duration::from_millis(1));
    let text = fs::read_to_string("/proc/schedstat").context("the kernel has no statistics")?;
    let processors = text.lines().filter(|line| line.starts_with("cpu"));
    processors
        .map(|line| {
            let field = line.split_whitespace().nth(7).context("no rq_cpu_time in schedstat")?;
            Ok(field.parse::<u64>()?)
        })
        .sum()
}

/// Waits until no work is left.
pub(super) fn settle() -> Result<()> {
    let started = now()?;
    let mut before = busy()?;
    while now()? - started < nanoseconds(PATIENCE) {
        thread::sleep(QUIET);
        let after = busy()?;
        if after - before < LITTLE {
            return Ok(());
        }
        before = after;
    }
    anyhow::bail!("the processor is still busy after {PATIENCE:?}");
}

/// Time since the guest was started.
pub(super) fn now() -> Result<u64> {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Instructions of this thread, with what the kernel did on its behalf.
pub(super) fn own() -> Result<u64> {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Instructions of a process.
pub(super) fn of_process(id: u32) -> Result<u64> {
    read(clock_getcpuclockid(Pid::from_raw(id.cast_signed()))?)
}

fn read(clock: ClockId) -> Result<u64> {
    let time = clock_gettime(clock)?;
    Ok(u64::try_from(time.tv_sec())? * 1_000_000_000 + u64::try_from(time.tv_nsec())?)
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Number of times that the threads of a process have gone to sleep.
pub(super) fn sleeps(id: u32) -> Result<u64> {
    let tasks = fs::read_dir(format!("/proc/{id}/task"))?.collect::<io::Result<Vec<_>>>()?;
    tasks
        .iter()
        .map(|task| {
            let status = fs::read_to_string(task.path().join("status"))?;
            number(&status, "voluntary_ctxt_switches:")
        })
        .sum()
}

/// Memory of a process: resident now and at its peak, in bytes.
pub(super) fn memory(id: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    Ok((number(&status, "VmRSS:")? * 1024, number(&status, "VmHWM:")? * 1024))
}

/// Resets the peak of resident memory.
pub(super) fn forget_most(id: u32) -> Result<()> {
    Ok(fs::write(format!("/proc/{id}/clear_refs"), "5")?)
}

/// Kernel memory of the BPF maps that a process has open, in bytes.
pub(super) fn maps(id: u32) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(format!("/proc/{id}/fd"))? {
        let entry = entry?;
        let is_map = fs::read_link(entry.path()).is_ok_and(|to| to.ends_with("anon_inode:bpf-map"));
        if is_map {
            let name = entry.file_name().to_string_lossy().into_owned();
            let info = fs::read_to_string(format!("/proc/{id}/fdinfo/{name}"))?;
            total += number(&info, "memlock:")?;
        }
    }
    Ok(total)
}

/// The number after this name at the start of a line.
fn number(text: &str, name: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name} in {text}"))?;
    let word = line.split_whitespace().next().unwrap_or_default();
    ensure!(!word.is_empty(), "{name} has no value");
    Ok(word.parse()?)
}
