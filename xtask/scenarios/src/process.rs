//! Which process a line must name.

use std::{env, fs, os::unix::fs::MetadataExt as _};

use nix::{
    libc,
    unistd::{gettid, getuid},
};
use serde_json::Value;

use super::claim::Claim;

/// A process, with the thread that a line must name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) tid: u32,
    /// Its real user.
    pub(super) uid: libc::uid_t,
    /// The thread's name.
    pub(super) comm: String,
    /// The name of its first thread.
    pub(super) leader_comm: String,
    /// The last part of its executable's path; `None` for one that is about to end. The daemon may
    /// not ask for the whole of it: it has let go of `CAP_SYS_PTRACE`.
    pub(super) executable: Option<String>,
    /// How socktrace may know it; of more than one by chance. Empty for the usual ways.
    pub(super) sources: &'static [&'static str],
}

impl Process {
    /// The thread that asks.
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
        // A process is called after the last part of the path it was started by.
        Self::named(pid, "exe", executable())
    }

    /// A process of one thread with this name that runs this executable, as root.
    pub(super) fn named(pid: u32, name: &str, executable: Option<String>) -> Self {
        let (comm, leader_comm) = (name.to_owned(), name.to_owned());
        Self { pid, tid: pid, uid: 0, comm, leader_comm, executable, sources: &[] }
    }

    /// What the fields about it must be.
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

    /// What they must be when no process is known.
    pub(super) fn no_claims() -> Vec<(&'static str, Claim)> {
        let fields = ["pid", "tid", "uid", "comm", "process_comm", "exe", "owner_source"];
        fields.map(|field| (field, Claim::Is(Value::Null))).into()
    }
}

/// The last part of the path of this program's executable.
fn executable() -> Option<String> {
    Some(env::current_exe().ok()?.file_name()?.to_string_lossy().into_owned())
}

fn name(path: &str) -> String {
    fs::read_to_string(path).map(|name| name.trim_end().to_owned()).unwrap_or_default()
}

/// The network namespace of the thread that asks, by its inode.
pub(super) fn network_namespace() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.ino())
}
