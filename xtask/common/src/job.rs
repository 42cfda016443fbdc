//! What a guest is booted for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a guest finds its job.
pub const PATH: &str = "/job.json";

/// Where a guest finds the paths of the kernel modules to load, one a line and in order.
pub const MODULES: &str = "/modules.list";

/// Where a guest finds the names of the modules that its kernel should have and has not, one a line.
pub const ABSENT_MODULES: &str = "/modules.absent";

/// Where a guest finds the packages to install, as `0.deb`, `1.deb` and so on, oldest first.
pub const PACKAGES: &str = "/packages";

/// Where a guest finds what the container image is made of, its recipe included.
pub const IMAGE: &str = "/image";

/// How the names of the scenarios begin that need a system with systemd.
pub const SYSTEM_SCENARIO: &str = "system_";

/// One command, run with the console as its terminal; the guest powers off when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment variables in addition to `PATH` and `HOME`.
    pub env: BTreeMap<String, String>,
}
