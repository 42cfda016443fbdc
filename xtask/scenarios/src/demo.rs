//! Failures for demonstrations, in programs and services as on a real host.

use std::{
    env,
    ffi::CString,
    process::{Command, Stdio},
};

use anyhow::{Result, ensure};
use nix::sys::prctl;

use super::owner;

/// Environment variable with the name that a child takes.
const NAME: &str = "GUEST_PROGRAM";

/// One failure of the demonstration.
#[derive(Debug)]
pub struct Scene {
    /// What happens, in one line.
    pub title: &'static str,
    program: &'static str,
    cgroup: &'static str,
    scenario: &'static str,
}

const NGINX: &str = "/system.slice/nginx.service";

/// All scenes, in order.
pub const SCENES: [Scene; 9] = [
    scene(
        "checkout calls a service that is down",
        ("checkout", "/system.slice/checkout.service"),
        "connect_refused/ipv4",
    ),
    scene(
        "mailer is turned away by a firewall",
        ("mailer", "/system.slice/mailer.service"),
        "connect_refused_icmp/ipv4",
    ),
    scene(
        "curl loses its server",
        ("curl", "/user.slice/user-1000.slice/session-2.scope"),
        "reset_by_peer/ipv6",
    ),
    scene(
        "billing-worker's server closes without reading the request",
        ("billing-worker", "/system.slice/billing-worker.service"),
        "reset_by_peer_unread_data/ipv4",
    ),
    scene("nginx accepts a client that has given up", ("nginx", NGINX), "reset_before_accept/ipv4"),
    scene(
        "report-api answers a client that has left",
        ("report-api", "/system.slice/report-api.service"),
        "reset_after_peer_close/ipv4",
    ),
    scene("nginx has closed, and its client resets", ("nginx", NGINX), "reset_while_closing/ipv6"),
    scene(
        "replicator sends, and nobody acknowledges",
        ("replicator", "/system.slice/replicator.service"),
        "user_timeout/ipv4",
    ),
    scene(
        "log-shipper goes on writing after a reset",
        ("log-shipper", "/system.slice/log-shipper.service"),
        "sigpipe_kills/ipv4",
    ),
];

const fn scene(
    title: &'static str,
    (program, cgroup): (&'static str, &'static str),
    scenario: &'static str,
) -> Scene {
    Scene { title, program, cgroup, scenario }
}

impl Scene {
    /// Creates the service's cgroup, if it does not exist yet.
    ///
    /// # Errors
    ///
    /// When the cgroup cannot be created.
    pub fn prepare(&self) -> Result<()> {
        owner::make(self.cgroup).map(drop)
    }

    /// Makes the failure, in a process of the scene's program name and service.
    ///
    /// # Errors
    ///
    /// When the failure does not happen as it should.
    pub fn play(&self) -> Result<()> {
        let directory = owner::make(self.cgroup)?;
        let mut child = Command::new("/proc/self/exe");
        child.args(["child", "fail-in", &directory, self.scenario, "1"]).env(NAME, self.program);
        let status = child.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        ensure!(status.success(), "{} ended with {status}", self.program);
        Ok(())
    }
}

/// Sets the name of this process to the one that it was started with, if any.
pub(super) fn take_name() -> Result<()> {
    if let Ok(name) = env::var(NAME) {
        prctl::set_name(&CString::new(name)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_is_in_the_catalogue_and_fits_a_screen() {
        for scene in &SCENES {
            crate::catalogue::named(scene.scenario).expect("a scenario");
            assert!(scene.title.len() < 78, "{}", scene.title);
            // The kernel truncates longer names.
            assert!(scene.program.len() < 16, "{}", scene.program);
        }
    }
}
