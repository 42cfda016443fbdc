//! Existing processes and their descendants, as listed in `/proc`.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _};

use anyhow::Context as _;
use nix::{
    errno::Errno,
    sys::signal::kill,
    unistd::{Pid, SysconfVar, sysconf},
};

use crate::kernel::followed::Followed;

/// Inode of the initial pid namespace, `PROC_PID_INIT_INO`.
const INITIAL_NAMESPACE: u64 = 0xEFFF_FFFC;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Maximum number of passes over all processes. Each pass looks for children that were started
/// before their parent was followed.
const MOST_LOOKS: usize = 64;

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its process id.
    pub(crate) pid: u32,
    parent: u32,
    /// Start time in nanoseconds since boot, rounded down.
    pub(crate) since_ns: u64,
    is_alive: bool,
}

impl Process {
    /// Finds a process by its id or that of one of its threads; `None` if no such process is alive.
    pub(crate) fn find(id: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let pid =
            status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()?;
        Self::look(pid).filter(|process| process.is_alive)
    }

    fn look(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Self::read(pid, &stat, tick_ns())
    }

    /// Parses `/proc/PID/stat`. Field 2, the name, may contain spaces and parentheses.
    fn read(pid: u32, stat: &str, tick_ns: u64) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let threads: u32 = fields.nth(15)?.parse().ok()?;
        let ticks: u64 = fields.nth(1)?.parse().ok()?;
        // The first thread may exit before the others.
        let is_alive = threads > 1 || !matches!(state, "Z" | "X" | "x");
        Some(Self { pid, parent, since_ns: ticks.saturating_mul(tick_ns), is_alive })
    }
}

/// Length of a clock tick in nanoseconds.
fn tick_ns() -> u64 {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    // 100 on every architecture still supported.
    let ticks = ticks.and_then(|ticks| u64::try_from(ticks).ok()).unwrap_or(100).max(1);
    NANOS_PER_SECOND / ticks
}

/// Whether this process is in another pid namespace than the initial one, whose ids the kernel
/// programs use; true in most containers.
pub(crate) fn has_own_numbers() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|namespace| namespace.ino() != INITIAL_NAMESPACE)
}

/// Whether a process exists. Asks the kernel, because `/proc` may hide other users' processes.
pub(crate) fn is_there(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return false };
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Follows processes and all their descendants; returns the number of processes. The kernel side
/// adds the children they start from now on. Only descendants reparented before are missed.
///
/// # Errors
/// When there are too many processes, or `/proc` cannot be read.
pub(crate) fn follow_tree(followed: &mut Followed, roots: &[Process]) -> anyhow::Result<usize> {
    let mut known = HashSet::new();
    let mut due = roots.to_vec();
    for _ in 0..MOST_LOOKS {
        for process in due {
            known.insert(process.pid);
            let is_new = followed.add(process.pid, process.since_ns)?;
            // If the process exited before it was added, the kernel side never removes it.
            if is_new && !Process::look(process.pid).is_some_and(|process| process.is_alive) {
                followed.remove(process.pid);
            }
        }
        due = children(&known)?;
        if due.is_empty() {
            break;
        }
    }
    Ok(known.len())
}

/// Children of these processes that are not in the set.
fn children(of: &HashSet<u32>) -> anyhow::Result<Vec<Process>> {
    let entries = fs::read_dir("/proc").context("cannot read /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let processes = pids.filter_map(Process::look);
    let is_child = |it: &Process| it.is_alive && of.contains(&it.parent) && !of.contains(&it.pid);
    Ok(processes.filter(is_child).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pass_for_fields() {
        let rest = "5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 1 21 250 23 24";
        let stat = format!("7 (a) Z 1 (b) S 4 {rest}");
        let process = Process::read(7, &stat, 10).expect("a process");
        assert_eq!(process, Process { pid: 7, parent: 4, since_ns: 2_500, is_alive: true });
        let zombie = Process::read(7, &format!("7 (a) Z 4 {rest}"), 10).expect("a process");
        assert!(!zombie.is_alive);
        let rest = rest.replace(" 1 ", " 3 ");
        let ended = Process::read(7, &format!("7 (a) Z 4 {rest}"), 10).expect("a process");
        assert!(ended.is_alive, "its other threads live on");
        assert_eq!(Process::read(7, "7 (a) S 4", 10), None);
    }

    #[test]
    fn this_process_is_there() {
        let this = Process::find(std::process::id()).expect("it");
        assert_eq!(
            (this.pid, this.parent),
            (std::process::id(), std::os::unix::process::parent_id())
        );
        assert!(is_there(this.pid) && this.since_ns > 0);
        assert_eq!(Process::find(u32::MAX), None);
        assert!(!is_there(i32::MAX.unsigned_abs()));
    }
}
