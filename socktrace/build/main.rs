//! Compiles the kernel programs, without and with messages, and hands the daemon their object files.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

use socktrace_toolchain::{LOG_FEATURE, Toolchain};

mod strip;

fn main() {
    // In this form cargo prints the message and nothing around it.
    if let Err(message) = build() {
        println!("cargo::error={message}");
    }
}

fn build() -> Result<(), String> {
    let manifest = variable("CARGO_MANIFEST_DIR")?;
    let workspace = Path::new(&manifest).parent().ok_or("the package lies in no workspace")?;
    watch(workspace);

    let toolchain = Toolchain::wait_for(workspace)?;
    println!("cargo::rerun-if-changed={}", toolchain.linker.display());
    if let Some(compiler) = toolchain.compiler.watched_file() {
        println!("cargo::rerun-if-changed={}", compiler.display());
    }

    let architecture = variable("CARGO_CFG_TARGET_ARCH")?;
    let target_dir = socktrace_toolchain::target_dir(workspace, &architecture);
    let directory = PathBuf::from(variable("OUT_DIR")?);
    // Those with messages come first, so that those without lie in the target directory in the end.
    for (features, name, holder) in [
        (&["--features", LOG_FEATURE][..], "socktrace-ebpf-log.o", "SOCKTRACE_EBPF_LOG_OBJECT"),
        (&[][..], "socktrace-ebpf.o", "SOCKTRACE_EBPF_OBJECT"),
    ] {
        let mut cargo = toolchain.cargo("build", workspace, &architecture, &target_dir);
        compile(cargo.args(features))?;
        let object = directory.join(name);
        take(&socktrace_toolchain::object(&target_dir), &object)?;
        println!("cargo::rustc-env={holder}={}", object.display());
    }
    println!("cargo::rustc-env=SOCKTRACE_COMMIT={}", commit(workspace));
    Ok(())
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
    let data =
        fs::read(built).map_err(|error| format!("cannot read {}: {error}", built.display()))?;
    let stripped = strip::strip(&data)
        .map_err(|error| format!("cannot strip {}: {error}", built.display()))?;
    fs::write(object, stripped)
        .map_err(|error| format!("cannot write {}: {error}", object.display()))
}

/// The commit that is built: `SOCKTRACE_COMMIT` where it is set, as packagers build from an archive;
/// else what git says; else `unknown`.
fn commit(workspace: &Path) -> String {
    const VARIABLE: &str = "SOCKTRACE_COMMIT";
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    if let Ok(commit) = env::var(VARIABLE) {
        return commit;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(workspace).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // What moves when a commit is made or another is checked out.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={}", workspace.join(log).display());
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

/// Everything the object is made of.
fn watch(workspace: &Path) {
    for path in ["Cargo.lock", "Cargo.toml", "socktrace-ebpf/Cargo.toml", "socktrace-ebpf/src"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("cargo sets no usable {name}: {error}"))
}
