//! Compilation of the kernel programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

use socktrace_toolchain::{LOG_FEATURE, Toolchain};

use super::{Programs, read, variable};

/// Compiles the kernel programs for daemons on this architecture.
pub(crate) fn programs(workspace: &Path, architecture: &str) -> Result<Programs, String> {
    watch(workspace);
    let toolchain = Toolchain::wait_for(workspace)?;
    println!("cargo::rerun-if-changed={}", toolchain.linker.display());
    if let Some(compiler) = toolchain.compiler.watched_file() {
        println!("cargo::rerun-if-changed={}", compiler.display());
    }

    let target_dir = socktrace_toolchain::target_dir(workspace, architecture);
    let directory = PathBuf::from(variable("OUT_DIR")?);
    let make = |features: &[&str], name: &str| {
        let mut cargo = toolchain.cargo("build", workspace, architecture, &target_dir);
        compile(cargo.args(features))?;
        let object = directory.join(name);
        take(&socktrace_toolchain::object(&target_dir), &object)?;
        Ok::<_, String>(object)
    };
    // The variant with messages is built first, so that the target directory is left with the plain
    // one.
    let with_messages = make(&["--features", LOG_FEATURE], "socktrace-ebpf-log.o")?;
    let plain = make(&[], "socktrace-ebpf.o")?;
    Ok(Programs { plain, with_messages, commit: commit(workspace) })
}

/// Runs the compilation.
fn compile(cargo: &mut Command) -> Result<(), String> {
    // If a build script exits with an error, cargo shows its stderr: the compiler's own messages.
    let status = cargo.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        eprintln!(
            "The kernel programs do not compile. If the messages above are about the compiler or \
             the linker and not about the code, run: cargo xtask setup"
        );
        exit(1);
    }
    Ok(())
}

/// Copies the built object without the parts that the daemon does not need.
fn take(built: &Path, object: &Path) -> Result<(), String> {
    let stripped = socktrace_toolchain::strip(&read(built)?)
        .map_err(|error| format!("cannot strip {}: {error}", built.display()))?;
    fs::write(object, stripped)
        .map_err(|error| format!("cannot write {}: {error}", object.display()))
}

/// The commit being built, if git can tell.
fn commit(workspace: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(workspace).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // Files that change with a commit or checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={}", workspace.join(log).display());
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// Rebuilds on changes to the object's sources.
fn watch(workspace: &Path) {
    for path in ["Cargo.lock", "Cargo.toml", "socktrace-ebpf/Cargo.toml", "socktrace-ebpf/src"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
}
