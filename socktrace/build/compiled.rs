//! Compiles the kernel programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

use socktrace_toolchain::{LOG_FEATURE, Toolchain};

use super::{Programs, read, variable};

/// Compiles those for daemons on this architecture.
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
    // Those with messages come first, so that those without lie in the target directory in the end.
    let with_messages = make(&["--features", LOG_FEATURE], "socktrace-ebpf-log.o")?;
    let plain = make(&[], "socktrace-ebpf.o")?;
    Ok(Programs { plain, with_messages, commit: commit(workspace) })
}

/// Compiles the kernel programs.
fn compile(cargo: &mut Command) -> Result<(), String> {
    // Cargo shows the stderr of a script that fails by its exit code: the compiler's own words.
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

/// Takes what was built, as far as the daemon needs it.
fn take(built: &Path, object: &Path) -> Result<(), String> {
    let stripped = socktrace_toolchain::strip(&read(built)?)
        .map_err(|error| format!("cannot strip {}: {error}", built.display()))?;
    fs::write(object, stripped)
        .map_err(|error| format!("cannot write {}: {error}", object.display()))
}

/// The commit that is built, as far as git knows.
fn commit(workspace: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(workspace).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // What moves when a commit is made or another is checked out.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={}", workspace.join(log).display());
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// Everything the object is made of.
fn watch(workspace: &Path) {
    for path in ["Cargo.lock", "Cargo.toml", "socktrace-ebpf/Cargo.toml", "socktrace-ebpf/src"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
}
