//! Programs from the package indexes of Rust and Python that check and fuzz this repository, each
//! in a directory of its own below `target/tools`.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{process, progress, setup::Setup, workspace};

/// Version of cargo-bolero. Its minor version matches the library in `Cargo.toml`.
pub(crate) const FUZZER_VERSION: &str = "0.13.5";

const MANIFEST_CHECKER: &str = "kubernetes-validate";
const MANIFEST_CHECKER_VERSION: &str = "1.37.0";

pub(crate) const ZIZMOR: &str = "zizmor";
pub(crate) const ZIZMOR_VERSION: &str = "1.32.0";

const BILL_CHECKER: &str = "cyclonedx-python-lib[json-validation]";
const BILL_CHECKER_VERSION: &str = "11.12.0";

/// Other programs that check packages and deployment files.
pub(crate) const PACKAGE_CHECKERS: [(&str, &str); 2] =
    [(MANIFEST_CHECKER, MANIFEST_CHECKER_VERSION), (BILL_CHECKER, BILL_CHECKER_VERSION)];

/// Version of cargo-deny.
pub(crate) const DENY_VERSION: &str = "0.20.2";

/// Path of cargo-bolero.
#[must_use]
pub fn fuzzer() -> PathBuf {
    cargo_program("bolero", FUZZER_VERSION)
}

/// Path of cargo-deny.
#[must_use]
pub fn deny() -> PathBuf {
    cargo_program("deny", DENY_VERSION)
}

fn cargo_program(name: &str, version: &str) -> PathBuf {
    cargo_program_root(name, version).join("bin").join(format!("cargo-{name}"))
}

fn cargo_program_root(name: &str, version: &str) -> PathBuf {
    workspace::cache("tools").join(format!("cargo-{name}-{version}"))
}

/// Directory from which Python imports the checker for Kubernetes manifests.
#[must_use]
pub fn manifest_checker() -> PathBuf {
    python_program(MANIFEST_CHECKER, MANIFEST_CHECKER_VERSION)
}

/// Directory from which Python imports the checker for bills of materials.
#[must_use]
pub fn bill_checker() -> PathBuf {
    python_program(BILL_CHECKER, BILL_CHECKER_VERSION)
}

/// Path of zizmor, which finds security problems in GitHub workflows.
#[must_use]
pub fn zizmor() -> PathBuf {
    python_program(ZIZMOR, ZIZMOR_VERSION).join("bin/zizmor")
}

fn python_program(name: &str, version: &str) -> PathBuf {
    // Without the extras in brackets.
    let name = name.split('[').next().unwrap_or(name);
    workspace::cache("tools").join(format!("{name}-{version}"))
}

/// Installs a subcommand of cargo into a directory of its own.
pub(crate) fn from_cargo(
    setup: &Setup,
    name: &str,
    version: &str,
    features: &[&str],
) -> Result<()> {
    let what = format!("cargo-{name} {version}");
    if cargo_program(name, version).is_file() {
        setup.present(&what);
        return Ok(());
    }
    setup.allow(&what)?;
    let step = progress::step(format_args!("Compiling {what}"));
    let output = process::output(
        Command::new("cargo")
            // Optimizing takes longer than the program runs.
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .args(["install", &format!("cargo-{name}@{version}"), "--locked", "--quiet"])
            .args(features)
            .arg("--root")
            .arg(cargo_program_root(name, version))
            // Outside the repository, whose settings do not apply to this program.
            .current_dir("/")
            .env_remove("CARGO_TARGET_DIR"),
    );
    output.with_context(|| format!("cannot build cargo-{name}"))?;
    step.done(format_args!("Compiled {what}"));
    Ok(())
}

/// Installs a Python program into a directory of its own.
pub(crate) fn from_python(setup: &Setup, name: &str, version: &str) -> Result<()> {
    let root = python_program(name, version);
    let what = format!("{name} {version}");
    if root.is_dir() {
        setup.present(&what);
        return Ok(());
    }
    setup.tools([("pip3", "python3-pip")], "pip")?;
    setup.allow(&what)?;
    let step = progress::step(format_args!("Installing {what}"));
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--no-compile", "--target"]).arg(&root);
    process::output(pip.arg(format!("{name}=={version}")))
        .with_context(|| format!("cannot install {what}"))?;
    step.done(format_args!("Installed {what}"));
    Ok(())
}
