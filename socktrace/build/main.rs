//! Build script that provides the daemon with the kernel programs' object files, without and with
//! messages. They are compiled from source, or taken from this package if it comes from a registry.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

mod compiled;
mod packaged;

fn main() {
    // With this directive, cargo prints just the message.
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
    // Set by packagers who build from an archive.
    println!("cargo::rerun-if-env-changed=SOCKTRACE_COMMIT");
    let commit = env::var("SOCKTRACE_COMMIT").ok().or(made.commit);
    println!("cargo::rustc-env=SOCKTRACE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    Ok(())
}

/// The object files to embed.
struct Programs {
    plain: PathBuf,
    with_messages: PathBuf,
    /// Commit of the sources, if known.
    commit: Option<String>,
}

/// The repository, if this package is part of it. A vendored package may also have the programs'
/// sources next to it, but not the lock file with their dependencies.
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
