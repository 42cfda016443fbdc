//! Hands the daemon the object files of the kernel programs, without and with messages: compiled from their
//! sources, or those that are in this package where it comes from a registry.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

mod compiled;
mod packaged;

fn main() {
    // In this form cargo prints the message and nothing around it.
    if let Err(message) = build() {
        println!("cargo::error={message}");
    }
}

fn build() -> Result<(), String> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let architecture = variable("CARGO_CFG_TARGET_ARCH")?;
    let made = match workspace(&package) {
        Some(workspace) => compiled::programs(workspace, &architecture)?,
        None => packaged::programs(&package, &architecture)?,
    };
    println!("cargo::rustc-env=SOCKTRACE_EBPF_OBJECT={}", made.plain.display());
    println!("cargo::rustc-env=SOCKTRACE_EBPF_LOG_OBJECT={}", made.with_messages.display());
    // As packagers set it who build from an archive.
    println!("cargo::rerun-if-env-changed=SOCKTRACE_COMMIT");
    let commit = env::var("SOCKTRACE_COMMIT").ok().or(made.commit);
    println!("cargo::rustc-env=SOCKTRACE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    Ok(())
}

/// What the daemon is compiled with.
struct Programs {
    plain: PathBuf,
    with_messages: PathBuf,
    /// What it is all made of, where that is known.
    commit: Option<String>,
}

/// The repository, where this package lies in it. Beside a package that is vendored there may be one with
/// the sources of the kernel programs too, but nothing that says which dependencies they are compiled with.
fn workspace(package: &Path) -> Option<&Path> {
    let workspace = package.parent()?;
    let parts = ["Cargo.lock", "socktrace-ebpf/src/main.rs"];
    parts.iter().all(|part| workspace.join(part).is_file()).then_some(workspace)
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo sets no usable {name}: {error}"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
