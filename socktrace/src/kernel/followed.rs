//! The processes that the kernel side follows.

use anyhow::Context as _;
use aya::maps::{HashMap, MapData, MapError};
use nix::libc::EEXIST;
use socktrace_ebpf::FOLLOWED_ENTRIES;

use super::{maps::take, object::Object};

/// `BPF_NOEXIST` in `include/uapi/linux/bpf.h`.
const ADD_ONLY: u64 = 1;

/// Processes that are followed and have not ended. The kernel side adds those that they start.
pub(crate) struct Followed(HashMap<MapData, u32, u64>);

impl Followed {
    /// Takes the map out of the loaded object.
    pub(crate) fn new(object: &mut Object) -> anyhow::Result<Self> {
        Ok(Self(take(object, "FOLLOWED")?))
    }

    /// Follows a process that has begun at this time since boot, not later; whether it was not followed
    /// already.
    ///
    /// # Errors
    /// When there is no room.
    pub(crate) fn add(&mut self, pid: u32, since_ns: u64) -> anyhow::Result<bool> {
        match self.0.insert(pid, since_ns, ADD_ONLY) {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(EEXIST) => {
                Ok(false)
            }
            Err(error) => Err(error).context("cannot follow a process"),
        }
    }

    /// Follows a process no more, which has ended.
    pub(crate) fn remove(&mut self, pid: u32) {
        if let Err(error) = self.0.remove(&pid) {
            log::debug!("cannot follow a process: {error}");
        }
    }

    /// Their numbers. Of those that come and go meanwhile some may be missing.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.0.keys().map_while(Result::ok).take(FOLLOWED_ENTRIES)
    }
}
