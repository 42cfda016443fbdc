//! Processes that lines must name.

use std::{env, fs, os::unix::fs::MetadataExt as _};

use nix::{
    libc,
    unistd::{gettid, getuid},
};
use serde_json::Value;

use super::claim::Claim;

/// A process, and the thread that a line must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) tid: u32,
    /// Real uid.
    pub(super) uid: libc::uid_t,
    /// Name of the thread.
    pub(super) comm: String,
    /// Name of the process's first thread.
    pub(super) leader_comm: String,
    /// Last component of the executable's path; `None` for a process that is exiting. The daemon
    /// may not read the whole path, as it has dropped `CAP_SYS_PTRACE`.
    pub(super) executable: Option<String>,
    /// Ways in which socktrace may know the process, depending on timing. Empty for the usual ways.
    pub(super) sources: &'static [&'static str],
}

impl Process {
    /// The calling thread.
    pub(super) fn this() -> Self {
        Self {
            pid: std::process::id(),
            tid: gettid().as_raw().unsigned_abs(),
            uid: getuid().as_raw(),
            comm: name("/proc/thread-self/comm"),
            leader_comm: name("/proc/self/comm"),
            executable: executable(),
            sources: &[],
        }
    }

    /// A child with one thread, which runs this program.
    pub(super) fn child(pid: u32) -> Self {
        // A process is named after the last component of the path it was started by.
        Self::named(pid, "exe", executable())
    }

    /// A single-threaded process of root with this name and executable.
    pub(super) fn named(pid: u32, name: &str, executable: Option<String>) -> Self {
        let (comm, leader_comm) = (name.to_owned(), name.to_owned());
        Self { pid, tid: pid, uid: 0, comm, leader_comm, executable, sources: &[] }
    }

    /// Claims about the fields that describe the process.
    pub(super) fn claims(&self, usual_sources: &[&'static str]) -> Vec<(&'static str, Claim)> {
        let sources = if self.sources.is_empty() { usual_sources } else { self.sources };
        vec![
            ("pid", Claim::is(self.pid)),
            ("tid", Claim::is(self.tid)),
            ("uid", Claim::is(self.uid)),
            ("comm", Claim::is(self.comm.as_str())),
            ("process_comm", Claim::is(self.leader_comm.as_str())),
            ("exe", Claim::is(self.executable.as_deref())),
            ("owner_source", Claim::OneOf(sources.iter().map(|&source| source.into()).collect())),
        ]
    }

    /// Claims about those fields when no process is known.
    pub(super) fn no_claims() -> Vec<(&'static str, Claim)> {
        let fields = ["pid", "tid", "uid", "comm", "process_comm", "exe", "owner_source"];
        fields.map(|field| (field, Claim::Is(Value::Null))).into()
    }
}

/// Last component of the path of this program's executable.
fn executable() -> Option<String> {
    Some(env::current_exe().ok()?.file_name()?.to_string_lossy().into_owned())
}

fn name(path: &str) -> String {
    fs::read_to_string(path).map(|name| name.trim_end().to_owned()).unwrap_or_default()
}

/// Inode of the calling thread's network namespace.
pub(super) fn network_namespace() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.ino())
}
