//! The job that a guest is booted for, and the files that it finds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Path of the job in a guest.
pub const PATH: &str = "/job.json";

/// Path of the list of kernel modules to load, one path per line, in load order.
pub const MODULES: &str = "/modules.list";

/// Path of the list of modules that the guest's kernel should have but lacks, one name per line.
pub const ABSENT_MODULES: &str = "/modules.absent";

/// Directory with the packages to install, as `0.deb`, `1.deb` and so on, oldest first.
pub const PACKAGES: &str = "/packages";

/// Directory with the files that the container image is made from, including its recipe.
pub const IMAGE: &str = "/image";

/// Prefix of the names of scenarios that need a system with systemd.
pub const SYSTEM_SCENARIO: &str = "system_";

/// A command, run with the console as its terminal. The guest powers off when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment variables in addition to `PATH` and `HOME`.
    pub env: BTreeMap<String, String>,
}
