//! Calls denied by a security module.
//!
//! The module is TOMOYO, which is active in Debian's kernels, but without a policy. Its policy is
//! plain text: one program may neither connect nor bind nor listen.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use nix::libc;
use socket2::Socket;
use socktrace_diagnosis::Cause;

use super::{
    child,
    expected::Expected,
    network::Family,
    process::Process,
    socket::{self, Ends},
};

/// Directory where the module accepts its policy.
const INTERFACE: &str = "/sys/kernel/security/tomoyo";

/// A copy of this program, to which the policy applies.
const RESTRICTED: &str = "/tmp/restricted";

/// Activates the policy: when the trigger is executed, the module runs the loader first.
const LOADER: &str = "/sbin/tomoyo-init";
const TRIGGER: &str = "/sbin/init";

/// Profile 0 allows everything; profile 1 denies these calls.
const PROFILES: &str = "\
PROFILE_VERSION=20150505
0-CONFIG={ mode=disabled grant_log=no reject_log=no }
1-CONFIG={ mode=disabled grant_log=no reject_log=no }
1-CONFIG::network::inet_stream_connect={ mode=enforcing grant_log=no reject_log=no }
1-CONFIG::network::inet_stream_bind={ mode=enforcing grant_log=no reject_log=no }
1-CONFIG::network::inet_stream_listen={ mode=enforcing grant_log=no reject_log=no }
";

/// Activates the policy, once per boot.
fn enforce() -> Result<()> {
    if Path::new(RESTRICTED).exists() {
        return Ok(());
    }
    let write = |name: &str, text: &str| {
        fs::write(Path::new(INTERFACE).join(name), text)
            .with_context(|| format!("TOMOYO does not take its {name}"))
    };
    write("profile", PROFILES)?;
    // The process that starts the program is still in the first domain.
    write("domain_policy", &format!("<kernel> {RESTRICTED}\nuse_profile 1\n"))?;
    symlink("/bin/true", LOADER).with_context(|| format!("cannot make {LOADER}"))?;
    // An init that is not process 1 only complains.
    Command::new(TRIGGER).stderr(Stdio::null()).status()?;
    fs::copy("/proc/self/exe", RESTRICTED).context("cannot copy this program")?;
    Ok(())
}

/// Makes the restricted program call on the socket; returns its pid and the errno.
fn forbidden(call: &str, socket: Socket, address: SocketAddr) -> Result<(u32, i32)> {
    enforce()?;
    let words = ["try", call, &address.to_string()];
    let outcome = child::finish(child::start_program(RESTRICTED, &words, socket.into())?)?;
    let [errno] = outcome.errnos[..] else { bail!("the child made no single call") };
    socket::ensure_errno(call, errno, libc::EPERM)?;
    Ok((outcome.pid, errno))
}

/// Flags of the resulting lines.
const POLICY: &[&str] = &["policy"];

fn restricted(pid: u32) -> Process {
    Process::named(pid, "restricted", Some("restricted".to_owned()))
}

/// connect is denied.
pub(super) fn connect(family: Family) -> Result<Vec<Expected>> {
    let target = family.elsewhere();
    let client = socket::bound(family.loopback())?;
    let ends = Ends::new(socket::local(&client)?, target);
    let (pid, errno) = forbidden("connect", client, target)?;
    Ok(vec![
        Expected::failure(Cause::ConnectLocal, "connect", errno, ends)
            .by(restricted(pid))
            .flags(POLICY),
    ])
}

/// bind is denied.
pub(super) fn bind(family: Family) -> Result<Vec<Expected>> {
    let address = family.elsewhere();
    let (pid, errno) = forbidden("bind", socket::stream(address)?, address)?;
    let wanted = Ends::new(address, address).local;
    Ok(vec![
        Expected::alone(Cause::BindFailed, "bind", errno, wanted).by(restricted(pid)).flags(POLICY),
    ])
}

/// listen is denied.
pub(super) fn listen(family: Family) -> Result<Vec<Expected>> {
    let bound = socket::bound(family.loopback())?;
    let address = socket::local(&bound)?;
    let (pid, errno) = forbidden("listen", bound, address)?;
    Ok(vec![
        Expected::alone(Cause::ListenFailed, "listen", errno, address)
            .by(restricted(pid))
            .flags(POLICY),
    ])
}
