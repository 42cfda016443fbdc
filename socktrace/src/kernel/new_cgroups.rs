//! Cgroups with their first failure, as announced by the kernel programs: a short-lived container
//! can be named only while its cgroup exists.

use std::os::fd::AsFd as _;

use anyhow::Context as _;
use aya::maps::{MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socktrace_exporter::vital;

use super::{maps::take, object::Object};

/// Consumer's end of the announcements.
pub(crate) struct NewCgroups(RingBuf<MapData>);

impl NewCgroups {
    /// Takes the ring buffer out of the loaded object.
    ///
    /// # Errors
    /// When the kernel programs are from another build.
    pub(crate) fn new(object: &mut Object) -> anyhow::Result<Self> {
        Ok(Self(take(object, "NEWCOMERS")?))
    }

    /// Calls `meet` with the id of each announced cgroup, on a thread of its own: looking up names
    /// reads files, which the stream must not wait for. The thread sleeps while nothing is
    /// announced, and ends with the process.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn watch(mut self, meet: impl Fn(u64) + Send + 'static) -> anyhow::Result<()> {
        let watch = move || {
            loop {
                let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
                match poll(&mut ready, PollTimeout::NONE) {
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(error) => {
                        // Names are then looked up when metrics are scraped.
                        log::warn!("cannot wait for new owners: {error}");
                        return;
                    }
                }
                while let Some(record) = self.0.next() {
                    if let Ok(id) = <[u8; 8]>::try_from(&*record) {
                        meet(u64::from_ne_bytes(id));
                    }
                }
            }
        };
        vital::spawn("new_cgroups", watch).context("cannot start a thread")
    }
}
