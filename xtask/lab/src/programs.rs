//! Programs of the indexes of Rust and Python that check and fuzz this repository, each in a place of its
//! own below `target/tools`.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{process, progress, setup::Setup, workspace};

/// The version of cargo-bolero: its minor one is that of the library in `Cargo.toml`.
pub(crate) const FUZZER_VERSION: &str = "0.13.5";

const MANIFEST_CHECKER: &str = "kubernetes-validate";
const MANIFEST_CHECKER_VERSION: &str = "1.37.0";

pub(crate) const ZIZMOR: &str = "zizmor";
pub(crate) const ZIZMOR_VERSION: &str = "1.32.0";

const BILL_CHECKER: &str = "cyclonedx-python-lib[json-validation]";
const BILL_CHECKER_VERSION: &str = "11.12.0";

/// What else checks packages and what deploys.
pub(crate) const PACKAGE_CHECKERS: [(&str, &str); 2] =
    [(MANIFEST_CHECKER, MANIFEST_CHECKER_VERSION), (BILL_CHECKER, BILL_CHECKER_VERSION)];

/// The version of cargo-deny.
pub(crate) const DENY_VERSION: &str = "0.20.2";

/// Where cargo-bolero is.
#[must_use]
pub fn fuzzer() -> PathBuf {
    cargo_program("bolero", FUZZER_VERSION)
}

/// Where cargo-deny is.
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

/// Where Python finds what checks manifests of Kubernetes.
#[must_use]
pub fn manifest_checker() -> PathBuf {
    python_program(MANIFEST_CHECKER, MANIFEST_CHECKER_VERSION)
}

/// Where Python finds what checks bills of materials.
#[must_use]
pub fn bill_checker() -> PathBuf {
    python_program(BILL_CHECKER, BILL_CHECKER_VERSION)
}

/// Where zizmor is, which looks for what is unsafe in workflows of GitHub.
#[must_use]
pub fn zizmor() -> PathBuf {
    python_program(ZIZMOR, ZIZMOR_VERSION).join("bin/zizmor")
}

fn python_program(name: &str, version: &str) -> PathBuf {
    // Without the extras that are asked for in brackets.
    let name = name.split('[').next().unwrap_or(name);
    workspace::cache("tools").join(format!("{name}-{version}"))
}

/// A subcommand of cargo, compiled into a place of its own.
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
            // It takes longer to optimize than it runs.
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .args(["install", &format!("cargo-{name}@{version}"), "--locked", "--quiet"])
            .args(features)
            .arg("--root")
            .arg(cargo_program_root(name, version))
            // Outside the repository, whose settings are not for this program.
            .current_dir("/")
            .env_remove("CARGO_TARGET_DIR"),
    );
    output.with_context(|| format!("cannot build cargo-{name}"))?;
    step.done(format_args!("Compiled {what}"));
    Ok(())
}

/// A program of Python's index, in a place of its own.
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
