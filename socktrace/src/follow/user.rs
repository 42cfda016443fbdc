//! User that a command runs as. Under sudo, this is the user who called sudo.

use std::{
    env,
    ffi::{CString, OsStr, OsString},
};

use anyhow::{Context as _, bail};
use nix::unistd::{self, Gid, Uid, getgrouplist, setgid, setgroups, setuid};

/// A user to whom root drops privileges for a command.
#[derive(Debug)]
pub(crate) struct User {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    /// Environment variables set for this user.
    environment: Vec<(&'static str, OsString)>,
}

impl User {
    /// Returns the user with this name, or by default the user who called sudo; `None` to keep the
    /// user of this process.
    ///
    /// Call this before following anything: the lookup may open sockets.
    ///
    /// # Errors
    /// When the user does not exist, or this process may not switch users.
    pub(crate) fn chosen(name: Option<&str>) -> anyhow::Result<Option<Self>> {
        let is_root = Uid::effective().is_root();
        if let Some(name) = name {
            if !is_root {
                bail!("--user needs root");
            }
            let found = unistd::User::from_name(name).context("cannot look up the user")?;
            let user = found.with_context(|| format!("there is no user {name}"))?;
            let gid = user.gid;
            return Self::known(user, gid).map(Some);
        }
        if !is_root {
            return Ok(None);
        }
        let [uid, gid] = ["SUDO_UID", "SUDO_GID"].map(env::var_os);
        let Some((uid, gid)) = caller_of_sudo(uid.as_deref(), gid.as_deref())? else {
            return Ok(None);
        };
        match unistd::User::from_uid(uid).context("cannot look up the user of SUDO_UID")? {
            Some(user) => Self::known(user, gid).map(Some),
            // The user is unknown here, such as one of a container.
            None => Ok(Some(Self { uid, gid, groups: vec![gid], environment: Vec::new() })),
        }
    }

    fn known(user: unistd::User, gid: Gid) -> anyhow::Result<Self> {
        let name = CString::new(user.name.as_str()).context("the user's name has a NUL")?;
        let groups = getgrouplist(&name, gid).context("cannot look up the user's groups")?;
        let environment = vec![
            ("HOME", user.dir.into_os_string()),
            ("SHELL", user.shell.into_os_string()),
            ("USER", user.name.clone().into()),
            ("LOGNAME", user.name.into()),
        ];
        Ok(Self { uid: user.uid, gid, groups, environment })
    }

    /// Environment variables for commands run as this user.
    pub(super) fn environment(&self) -> &[(&'static str, OsString)] {
        &self.environment
    }

    /// Switches this process to the user, irrevocably.
    pub(super) fn assume(&self) -> nix::Result<()> {
        setgroups(&self.groups)?;
        setgid(self.gid)?;
        setuid(self.uid)
    }
}

/// The user named by these variables; `None` for root.
fn caller_of_sudo(uid: Option<&OsStr>, gid: Option<&OsStr>) -> anyhow::Result<Option<(Uid, Gid)>> {
    // The highest number means "no user".
    let number = |text: &OsStr| text.to_str()?.parse().ok().filter(|number| *number != u32::MAX);
    match (uid, gid) {
        (None, None) => Ok(None),
        (Some(uid), Some(gid)) if let (Some(uid), Some(gid)) = (number(uid), number(gid)) => {
            Ok((uid != 0).then(|| (Uid::from_raw(uid), Gid::from_raw(gid))))
        }
        _ => bail!(
            "SUDO_UID and SUDO_GID are set but not valid, so the user to run the command as is \
             unknown: name one with --user NAME (--user root)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: Option<&str>, gid: Option<&str>) -> anyhow::Result<Option<(u32, u32)>> {
        let found = caller_of_sudo(uid.map(OsStr::new), gid.map(OsStr::new))?;
        Ok(found.map(|(uid, gid)| (uid.as_raw(), gid.as_raw())))
    }

    #[test]
    fn the_caller_of_sudo_is_known_or_refused() {
        assert_eq!(caller(None, None).expect("no sudo"), None);
        assert_eq!(caller(Some("1000"), Some("100")).expect("sudo"), Some((1_000, 100)));
        assert_eq!(caller(Some("0"), Some("0")).expect("root"), None);
        for (uid, gid) in [
            (Some("1000"), None),
            (None, Some("1000")),
            (Some("me"), Some("1000")),
            (Some("1000"), Some("")),
            (Some("-1"), Some("1000")),
            (Some("4294967295"), Some("1000")),
            (Some("1000"), Some("4294967296")),
        ] {
            assert!(caller(uid, gid).is_err(), "{uid:?}, {gid:?}");
        }
    }
}
