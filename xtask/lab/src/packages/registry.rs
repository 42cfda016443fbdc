//! Packages for cargo's registry: the daemon's, which contains the kernel programs compiled for
//! every architecture, and the packages of this repository that it depends on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use socktrace_toolchain::{LOG_FEATURE, Toolchain};
use xtask_common::arch::Arch;

use super::stage::VERSION;
use crate::{process, progress, workspace};

/// Directory of the kernel programs in the daemon's package.
pub const PROGRAMS: &str = "programs";

/// Path of a package's file.
#[must_use]
pub fn file(name: &str) -> PathBuf {
    directory().join("package").join(format!("{name}-{VERSION}.crate"))
}

/// Directory for packages and for tests with them.
#[must_use]
pub fn directory() -> PathBuf {
    workspace::cache("crates")
}

/// Makes all packages, and returns their names.
///
/// # Errors
///
/// When the kernel programs do not compile, or cargo cannot pack.
pub fn make() -> Result<Vec<String>> {
    let names = names()?;
    let carried = Carried::compiled()?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(workspace::root()).args(["package", "--locked", "--quiet"]);
    // Compilation is tested where a package is installed. Packages with uncommitted changes are
    // marked.
    cargo.args(["--no-verify", "--allow-dirty", "--target-dir"]).arg(directory());
    for name in &names {
        cargo.args(["--package", name]);
    }
    process::output(&mut cargo)?;
    drop(carried);
    Ok(names)
}

/// Compiles the kernel programs for each architecture, without and with messages, and returns the
/// names and contents of their files. `target_dir` chooses the directory in which to compile for an
/// architecture.
///
/// # Errors
///
/// When they do not compile.
pub fn programs(target_dir: impl Fn(&str) -> PathBuf) -> Result<Vec<(String, Vec<u8>)>> {
    let root = workspace::root();
    let toolchain = Toolchain::find(root).map_err(anyhow::Error::msg)?;
    let step = progress::step("Compiling the kernel programs for each machine");
    let mut programs = Vec::new();
    for arch in Arch::ALL {
        let (architecture, _) = arch.rust_target.split_once('-').context("no target")?;
        let target_dir = target_dir(architecture);
        for (end, features) in [("-log.o", &["--features", LOG_FEATURE][..]), (".o", &[])] {
            let mut cargo = toolchain.cargo("build", root, architecture, &target_dir);
            process::output(cargo.args(features))?;
            let built = fs::read(socktrace_toolchain::object(&target_dir))?;
            let stripped = socktrace_toolchain::strip(&built).map_err(anyhow::Error::msg)?;
            programs.push((format!("{architecture}{end}"), stripped));
        }
    }
    step.done("Compiled the kernel programs for each machine");
    Ok(programs)
}

/// The kernel programs in the daemon's source directory, where cargo packs them. Removed when
/// dropped.
struct Carried(PathBuf);

impl Carried {
    fn compiled() -> Result<Self> {
        let root = workspace::root();
        let target_dir = |architecture: &str| socktrace_toolchain::target_dir(root, architecture);
        let programs = programs(target_dir)?;
        let carried = Self(root.join("socktrace").join(PROGRAMS));
        fs::create_dir_all(&carried.0)?;
        for (name, bytes) in programs {
            fs::write(carried.0.join(name), bytes)?;
        }
        Ok(carried)
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

/// Names of the packages to make: all crates that may be published.
fn names() -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }

    #[derive(Deserialize)]
    struct Package {
        name: String,
        /// Registries that accept it; `None` for any.
        publish: Option<Vec<String>>,
    }

    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--locked", "--no-deps", "--format-version=1"]);
    let metadata = process::output(cargo.current_dir(workspace::root()))?;
    let Metadata { packages } =
        serde_json::from_str(&metadata).context("cannot read what cargo reports about packages")?;
    let packed = packages.into_iter().filter(|package| package.publish.is_none());
    Ok(packed.map(|package| package.name).collect())
}

/// Fills a directory that cargo can use in place of its registry: it contains everything that the
/// workspace depends on, and these packages.
///
/// # Errors
///
/// When something cannot be downloaded or unpacked.
pub fn vendor(names: &[String], directory: &Path) -> Result<()> {
    let step = progress::step("Gathering all crates");
    let mut cargo = Command::new("cargo");
    cargo.args(["vendor", "--locked", "--quiet", "--versioned-dirs"]).arg(directory);
    process::output(cargo.current_dir(workspace::root()))?;
    for name in names {
        let file = file(name);
        let mut tar = Command::new("tar");
        process::output(tar.arg("-xzf").arg(&file).arg("-C").arg(directory))?;
        let sum = process::output(Command::new("sha256sum").arg(&file))?;
        let (sum, _) = sum.split_once(' ').context("no checksum")?;
        let sums = serde_json::json!({ "files": {}, "package": sum });
        let unpacked = directory.join(format!("{name}-{VERSION}"));
        fs::write(unpacked.join(".cargo-checksum.json"), sums.to_string())?;
    }
    step.done("Gathered all crates");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_daemon_depends_on_is_packed_and_nothing_else() {
        let names = names().expect("names");
        for name in ["socktrace", "socktrace-ebpf", "socktrace-plan", "socktrace-toolchain"] {
            assert!(names.iter().any(|it| it == name), "{name}");
        }
        let is_ours = |name: &&String| {
            name.starts_with("xtask") || name.ends_with("-lab") || name.ends_with("-scenarios")
        };
        assert_eq!(names.iter().find(is_ours), None);
    }

    #[test]
    fn binstall_looks_for_the_files_of_a_release() {
        let read = |path: &str| fs::read_to_string(workspace::root().join(path)).expect(path);
        let manifest = read("socktrace/Cargo.toml");
        let workflow = read(".github/workflows/release.yml");
        assert!(workflow.contains("/socktrace-${GITHUB_REF_NAME#v}-linux-$ARCH.tar.gz"));
        assert!(workflow.contains("tags: [\"v*\"]"));
        for arch in Arch::ALL {
            assert!(workflow.contains(&format!("- arch: {}\n", arch.name)), "{}", arch.name);
            let part = format!(
                "[package.metadata.binstall.overrides.{}]\n\
                 pkg-url = \"{{ repo }}/releases/download/v{{ version }}/\
                 socktrace-{{ version }}-linux-{}.tar.gz\"\n",
                arch.rust_target, arch.name
            );
            assert!(manifest.contains(&part), "{part}");
        }
    }
}
