//! The unprivileged user that replaces root.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::Context as _;
use caps::{Capability, CapsHashSet};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

use super::capabilities;
use crate::service::log::NOTICE;

/// Name of the daemon's user and group, which the packages create.
const NAME: &str = "socktrace";

const USERS: &str = "/etc/passwd";

/// The kernel's overflow user and group (`DEFAULT_OVERFLOWUID`), which own nothing.
const NOBODY: u32 = 65_534;

/// Capabilities needed to switch users.
const CHANGES: [Capability; 2] = [Capability::CAP_SETUID, Capability::CAP_SETGID];

/// Switches from root to the daemon's user, keeping the permitted capabilities. Stays root, with a
/// log message, if switching is not allowed or the history's directory belongs to another user.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn leave_root(history: Option<&Path>) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    if !capabilities::are_held(&CHANGES) {
        log::info!(target: NOTICE, "still running as root: changing user needs CAP_SETUID and CAP_SETGID");
        return Ok(());
    }
    let (user, group) = daemon_user();
    if let Some(directory) = history
        && fs::metadata(directory).is_ok_and(|directory| directory.uid() != user.as_raw())
    {
        log::info!(
            target: NOTICE,
            "still running as root: {}, where the history is, is not owned by user {user}",
            directory.display()
        );
        return Ok(());
    }
    caps::securebits::set_keepcaps(true).context("cannot keep capabilities")?;
    capabilities::raise(&CapsHashSet::from(CHANGES))?;
    setgroups(&[]).context("cannot drop root's groups")?;
    setresgid(group, group, group).context("cannot drop root's group")?;
    setresuid(user, user, user).context("cannot drop root")?;
    log::debug!("user {user}, group {group}");
    Ok(())
}

/// User and group of the daemon: those created by packages, else `nobody`. Only `/etc/passwd` is
/// read: the C library would contact nscd, and if that socket failed, it would be reported like any
/// other.
fn daemon_user() -> (Uid, Gid) {
    let users = fs::read_to_string(USERS).unwrap_or_default();
    let (user, group) = find(&users).unwrap_or((NOBODY, NOBODY));
    (Uid::from_raw(user), Gid::from_raw(group))
}

fn find(users: &str) -> Option<(u32, u32)> {
    let mut fields =
        users.lines().find_map(|line| line.strip_prefix(NAME)?.strip_prefix(':'))?.split(':');
    let (user, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    (user != 0).then_some((user, group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_user_is_found() {
        let others = "root:x:0:0:root:/root:/bin/sh\nsocktracer:x:7:7::/:/bin/sh\n";
        assert_eq!(find(others), None);
        let users = format!("{others}socktrace:x:998:997::/:/usr/sbin/nologin\n");
        assert_eq!(find(&users), Some((998, 997)));
        assert_eq!(find("socktrace:x:0:0::/:/bin/sh\n"), None);
        assert_eq!(find("socktrace:x:many:1::/:/bin/sh\n"), None);
    }
}
