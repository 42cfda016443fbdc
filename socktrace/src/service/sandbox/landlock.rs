//! Landlock: restricts file and port access to what is still needed. Kernels before 5.13, or with
//! Landlock disabled, rely on the seccomp filter and the unprivileged user alone.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus, Scope, path_beneath_rules,
};

use super::Needs;

/// Landlock ABI of Linux 6.12. Older kernels enforce what they support.
const KNOWN: ABI = ABI::V6;

/// System files to read: processes, cgroups, the time zone, user names, and random devices, which
/// libraries fall back on without the system call.
const READ: [&str; 7] = [
    "/dev/random",
    "/dev/urandom",
    "/etc/localtime",
    "/etc/passwd",
    "/proc",
    "/sys",
    "/usr/share/zoneinfo",
];

/// Files to read if connections are made: the resolver's configuration, which is replaced on
/// changes, and certificates of authorities.
const NETWORK: [&str; 6] = [
    "/etc",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
];

/// DNS over TCP.
const DOMAIN: u16 = 53;

/// Shared directories. They are never opened up in place of a missing entry.
const SHARED: [&str; 8] =
    ["/", "/etc", "/home", "/run", "/var", "/var/lib", "/var/log", "/var/snap"];

/// Makes access to all other files and TCP ports fail with EACCES. Open descriptors are unaffected.
///
/// # Errors
/// When the kernel refuses the rules.
pub(super) fn confine(needs: &Needs) -> anyhow::Result<()> {
    let status = restrict(needs).context("cannot restrict file access with Landlock")?;
    match status {
        RulesetStatus::NotEnforced => {
            log::debug!("file access is not restricted: this kernel has no Landlock");
        }
        RulesetStatus::PartiallyEnforced | RulesetStatus::FullyEnforced => {}
    }
    Ok(())
}

fn restrict(needs: &Needs) -> anyhow::Result<RulesetStatus> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_all(KNOWN) & !AccessFs::Execute;
    let reads = needs.reads.iter().filter_map(|path| nearest(path));
    let network = needs.ports.iter().flat_map(|_| NETWORK);
    let ports = needs.ports.iter().flatten().copied();
    let dns = needs.ports.iter().map(|_| DOMAIN);
    let restricted = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?;
    // The command was started before, so it is outside this scope.
    let restricted = match needs.child {
        Some(_) => restricted,
        None => restricted.scope(Scope::Signal)?,
    };
    let restricted = restricted
        .create()?
        .add_rules(path_beneath_rules(READ, read))?
        .add_rules(path_beneath_rules(reads, read))?
        .add_rules(path_beneath_rules(network, read))?
        .add_rules(path_beneath_rules(&needs.history, write))?
        .add_rules(path_beneath_rules(&needs.sockets, AccessFs::RemoveFile))?
        .add_rules(ports.chain(dns).map(|port| {
            Ok::<_, landlock::RulesetError>(NetPort::new(port, AccessNet::ConnectTcp))
        }))?
        .restrict_self()?;
    Ok(restricted.ruleset)
}

/// The path itself, or the nearest existing directory above it.
fn nearest(path: &Path) -> Option<PathBuf> {
    let there = path.ancestors().find(|path| path.exists())?;
    let is_shared = SHARED.iter().any(|shared| there == Path::new(shared));
    (there == path || !is_shared).then(|| there.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_opens_no_more_than_a_runtime_has() {
        let root = tempfile::tempdir().expect("a directory");
        let below = root.path().join("state/of/containers");
        assert_eq!(nearest(&below).as_deref(), Some(root.path()));
        std::fs::create_dir_all(&below).expect("created");
        assert_eq!(nearest(&below), Some(below));
        assert_eq!(nearest(Path::new("/no-such-runtime/state")), None);
        assert_eq!(nearest(Path::new("/var/lib/no-such-runtime/state")), None);
        assert_eq!(nearest(Path::new("/proc")).as_deref(), Some(Path::new("/proc")));
    }
}
