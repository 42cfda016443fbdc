//! Leaves root.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::Context as _;
use caps::{Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, User, geteuid, setgroups, setresgid, setresuid};

use super::capabilities;
use crate::service::log::NOTICE;

/// The user that packages make for the daemon, and its group.
pub(crate) const NAME: &str = "socktrace";

/// The kernel's overflow user and group (`DEFAULT_OVERFLOWUID`), who own nothing.
const NOBODY: u32 = 65_534;

/// What it takes to become another user.
const CHANGES: [Capability; 2] = [Capability::CAP_SETUID, Capability::CAP_SETGID];

/// Becomes the daemon's user if this is root; keeps the capabilities that are permitted. Stays, and says
/// so, where it may not change, or where only root can write the history.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn leave_root(history: Option<&Path>) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    if !capabilities::are_held(&CHANGES) {
        log::info!(target: NOTICE, "stays root: CAP_SETUID and CAP_SETGID are missing to leave it");
        return Ok(());
    }
    let (user, group) = daemon_user();
    if let Some(directory) = history
        && fs::metadata(directory).is_ok_and(|directory| directory.uid() != user.as_raw())
    {
        log::info!(
            target: NOTICE,
            "stays root: {}, where the history is, is not owned by user {user}",
            directory.display()
        );
        return Ok(());
    }
    caps::securebits::set_keepcaps(true).context("cannot keep capabilities")?;
    capabilities::raise(&CapsHashSet::from(CHANGES))?;
    setgroups(&[]).context("cannot leave root's groups")?;
    setresgid(group, group, group).context("cannot leave root's group")?;
    setresuid(user, user, user).context("cannot leave root")?;
    log::debug!("user {user}, group {group}");
    Ok(())
}

/// User and group of the daemon: those of packages, or else nobody's.
pub(crate) fn daemon_user() -> (Uid, Gid) {
    let user = User::from_name(NAME).ok().flatten().filter(|user| !user.uid.is_root());
    user.map_or((Uid::from_raw(NOBODY), Gid::from_raw(NOBODY)), |user| (user.uid, user.gid))
}
