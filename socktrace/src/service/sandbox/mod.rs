//! The sandbox: gives up capabilities, root, files and system calls that are not needed once
//! everything is attached. Child programs get none of them back.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use nix::sys::prctl;

mod arguments;
mod capabilities;
mod landlock;
mod system_calls;
mod user;

/// Directory in which a process sees its own descriptors.
const DESCRIPTORS: &str = "/proc/self/fdinfo";

/// Privileges needed after everything is attached, derived from the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Files and directories to read, in addition to those of the system.
    pub(crate) reads: Vec<PathBuf>,
    /// Directory of the history, which is written.
    pub(crate) history: Option<PathBuf>,
    /// Directories of Unix sockets, which are removed at exit.
    pub(crate) sockets: Vec<PathBuf>,
    /// Ports to connect to; `None` if no Internet sockets are opened.
    pub(crate) ports: Option<Vec<u16>>,
    /// A child to wait for and to signal.
    pub(crate) child: Option<u32>,
    /// Whether other processes are probed for existence.
    pub(crate) follows: bool,
    /// Whether the terminal is used for a screen.
    pub(crate) terminal: bool,
}

/// Gives up everything not needed.
///
/// `read_maps` reads the kernel programs' maps: whether this needs a capability is found out by
/// trying.
///
/// # Errors
/// When the kernel refuses, or other threads are running, which would keep their privileges.
pub(crate) fn enter(
    needs: &Needs,
    read_maps: impl Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let threads = fs::read_dir("/proc/self/task").context("cannot count threads")?.count();
    if threads != 1 {
        bail!("cannot drop privileges while {threads} threads run");
    }
    prctl::set_no_new_privs().context("cannot set no_new_privs")?;
    capabilities::empty_bounding_set()?;
    user::leave_root(needs.history.as_deref())?;
    let kept = capabilities::drop_others(needs, read_maps)?;
    hide()?;
    landlock::confine(needs)?;
    system_calls::confine(needs)?;
    log::debug!("capabilities kept: {kept}");
    Ok(())
}

/// Keeps other processes of the same user from tracing this one and reading its memory, and the
/// kernel from dumping core.
///
/// Before 5.14, a process hidden this way cannot see its own descriptors, from which it exports the
/// programs' memory (`proc_fdinfo_inode_operations` in `fs/proc/fd.c`). On those kernels it stays
/// visible to its own user.
fn hide() -> anyhow::Result<()> {
    let set = |is_visible| prctl::set_dumpable(is_visible).context("cannot set PR_SET_DUMPABLE");
    set(false)?;
    if fs::read_dir(DESCRIPTORS).is_err() {
        set(true)?;
        log::debug!("the process stays dumpable: otherwise this kernel would hide its descriptors");
    }
    Ok(())
}
