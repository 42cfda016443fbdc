//! Processes that the kernel programs follow.

use anyhow::Context as _;
use aya::maps::{HashMap, MapData, MapError};
use nix::libc::EEXIST;
use socktrace_ebpf::FOLLOWED_ENTRIES;

use super::{maps::take, object::Object};

/// `BPF_NOEXIST` in `include/uapi/linux/bpf.h`.
const ADD_ONLY: u64 = 1;

/// Followed processes that have not ended. The kernel programs add the processes that they start.
pub(crate) struct Followed(HashMap<MapData, u32, u64>);

impl Followed {
    /// Takes the map out of the loaded object.
    pub(crate) fn new(object: &mut Object) -> anyhow::Result<Self> {
        Ok(Self(take(object, "FOLLOWED")?))
    }

    /// Follows a process that started at this time since boot, or earlier. Returns whether it was
    /// not followed before.
    ///
    /// # Errors
    /// When the map is full.
    pub(crate) fn add(&mut self, pid: u32, since_ns: u64) -> anyhow::Result<bool> {
        match self.0.insert(pid, since_ns, ADD_ONLY) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(EEXIST) => {
                Ok(false)
            }
            Err(error) => Err(error).context("cannot follow a process"),
        }
    }

    /// Stops following a process that has ended.
    pub(crate) fn remove(&mut self, pid: u32) {
        if let Err(error) = self.0.remove(&pid) {
            log::debug!("cannot follow a process: {error}");
        }
    }

    /// Their process ids. Some that come and go meanwhile may be missing.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.0.keys().map_while(Result::ok).take(FOLLOWED_ENTRIES)
    }
}
