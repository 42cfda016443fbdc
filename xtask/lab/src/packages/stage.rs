//! Files for packages, laid out in one directory for the tools that make packages. The destination
//! of each file is defined in `deploy/debian` and `deploy/rpm`.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{compile, process, workspace};
use anyhow::{Context as _, Result};
use xtask_common::arch::Arch;

use super::{bill, crates::Crates, licenses};

/// Recipe of the container image.
const RECIPE: &str = "deploy/container/Containerfile";

/// Version of everything in this repository.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Files and directories that are copied unchanged, and their destinations.
const COPIED: [(&str, &str); 8] = [
    ("deploy/debian", "debian"),
    ("deploy/socktrace.service", "debian/socktrace.service"),
    ("deploy/socktrace.socket", "debian/socktrace.socket"),
    ("CHANGELOG.md", "docs/CHANGELOG.md"),
    ("README.md", "README.md"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("socktrace-ebpf/LICENSE-GPL-2.0", "LICENSE-GPL-2.0"),
];

/// Documentation for users; the rest of `docs` is for developers.
const DOCUMENTS: [&str; 8] = [
    "command.md",
    "exporter.md",
    "fleet.md",
    "history.md",
    "install.md",
    "metrics.md",
    "otlp.md",
    "security.md",
];

/// Directories for Prometheus, Grafana and the OpenTelemetry Collector.
const SHARED: [&str; 3] = ["grafana", "otel", "prometheus"];

/// Directory with all files for packages.
#[derive(Debug)]
pub struct Stage {
    /// Architecture of the daemon in it.
    pub arch: &'static Arch,
    /// The directory. Packages are put into its parent.
    pub root: PathBuf,
}

impl Stage {
    /// Compiles the daemon, and lays out all files.
    ///
    /// # Errors
    ///
    /// When something does not compile, is missing or cannot be copied.
    pub fn lay(arch: &'static Arch) -> Result<Self> {
        let daemon = compile::daemon(compile::BuildOptions::released(arch))?;
        // The manual's generator runs here, whatever the architecture of the daemon.
        let manual = compile::manual()?;
        let stage = Self { arch, root: workspace::cache("package").join(arch.name).join("stage") };
        let root = &stage.root;
        if root.exists() {
            fs::remove_dir_all(root)
                .with_context(|| format!("cannot remove {}", root.display()))?;
        }
        fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
        let crates = Crates::linked(arch)?;
        bill::add_to(&daemon, &root.join("socktrace"), &stage, &crates)?;
        bill::write(&stage, &crates)?;
        process::run(stage.command(manual).arg(root.join("manual")))?;
        for (from, to) in COPIED {
            copy(&workspace::root().join(from), &root.join(to))?;
        }
        for document in DOCUMENTS {
            copy(
                &workspace::root().join("docs").join(document),
                &root.join("docs").join(document),
            )?;
        }
        for shared in SHARED {
            let from = workspace::root().join("deploy").join(shared);
            let to = root.join("share/socktrace").join(shared);
            fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
            if from.is_dir() {
                copy(&from, &to)?;
            }
        }
        fs::write(root.join("THIRD-PARTY"), licenses::of(&crates)?)
            .context("cannot write licenses")?;
        Ok(stage)
    }

    /// Directory for the finished packages.
    #[must_use]
    pub fn output(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    /// Command for a program that makes packages. It gets the time of the newest commit instead of
    /// the present, so that the same source makes the same package. Without git, the program
    /// chooses: Debian's uses the time of the changelog.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env("LC_ALL", "C.UTF-8");
        if env::var_os("SOURCE_DATE_EPOCH").is_none()
            && let Some(time) = time_of_commit()
        {
            command.env("SOURCE_DATE_EPOCH", time);
        }
        command
    }
}

/// Files that the container image is made from, for a daemon of this machine, with the names that
/// the recipe uses. Apart from the daemon, they are the same as in a stage.
///
/// # Errors
///
/// When licenses cannot be read or written.
pub fn image(daemon: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    let directory = workspace::cache("image");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let others = directory.join("THIRD-PARTY");
    fs::write(&others, licenses::of(&Crates::linked(Arch::OWN)?)?)
        .context("cannot write licenses")?;
    let own = COPIED.iter().filter(|(_, to)| to.starts_with("LICENSE-"));
    let mut files: Vec<_> = own.map(|(from, to)| (*to, workspace::root().join(from))).collect();
    files.extend([
        ("Containerfile", workspace::root().join(RECIPE)),
        ("THIRD-PARTY", others),
        ("socktrace", daemon.to_owned()),
    ]);
    Ok(files)
}

fn time_of_commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(workspace::root());
    process::output(&mut git).ok().map(|time| time.trim().to_owned())
}

/// Copies a file, or a directory with everything in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copy = || -> std::io::Result<()> {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::copy(from, to).map(drop)
    };
    if from.is_dir() {
        for entry in
            fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?
        {
            let entry = entry?;
            self::copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    copy().with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
