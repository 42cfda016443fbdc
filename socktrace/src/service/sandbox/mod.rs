//! Gives up, once everything is attached, what is not needed any more: capabilities, root, files, system
//! calls. No program that this one might start gets anything back.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail};
use nix::sys::prctl;

mod arguments;
mod capabilities;
mod landlock;
mod system_calls;
mod user;

/// Where a process sees what its descriptors are.
const DESCRIPTORS: &str = "/proc/self/fdinfo";

/// What is needed after everything is attached, as the configuration asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    /// Files and directories that are read, besides those of the system itself.
    pub(crate) reads: Vec<PathBuf>,
    /// The directory of a history, which is written.
    pub(crate) history: Option<PathBuf>,
    /// Directories of Unix sockets, which are removed in the end.
    pub(crate) sockets: Vec<PathBuf>,
    /// Ports that are connected to; `None` if no socket of the Internet is opened.
    pub(crate) ports: Option<Vec<u16>>,
    /// This child is waited for, and gets signals.
    pub(crate) child: Option<u32>,
    /// Other processes are asked whether they are there.
    pub(crate) follows: bool,
    /// The terminal is set up for a screen.
    pub(crate) terminal: bool,
}

/// Gives up what is not needed.
///
/// `read_maps` reads from the kernel programs' maps: whether that takes a capability is found out by
/// trying.
///
/// # Errors
/// When the kernel refuses, or other threads run, which would keep what they have.
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

/// Keeps others of the same user from tracing this process and from reading its memory, and the kernel from
/// dumping it.
///
/// Before 5.14 a process that is hidden so does not see its own descriptors, of which it exports the
/// programs' memory (`proc_fdinfo_inode_operations` in `fs/proc/fd.c`): then it stays visible to its own user.
fn hide() -> anyhow::Result<()> {
    let set = |is_visible| prctl::set_dumpable(is_visible).context("cannot set PR_SET_DUMPABLE");
    set(false)?;
    if fs::read_dir(DESCRIPTORS).is_err() {
        set(true)?;
        log::debug!("the process stays dumpable: otherwise this kernel would hide its descriptors");
    }
    Ok(())
}
