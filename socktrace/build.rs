//! Compiles the kernel programs and hands the daemon their object file.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, exit},
};

use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};
use socktrace_toolchain::Toolchain;

fn main() {
    // Told this way, cargo prints the message and nothing around it.
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
    let mut cargo = toolchain.cargo("build", workspace, &architecture, &target_dir);
    // Cargo shows the stderr of a script that fails by its exit code: the compiler's own words.
    let status = cargo.status().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !status.success() {
        eprintln!(
            "The kernel programs do not compile. If the messages above are about the compiler or \
             the linker and not about the code, run: cargo xtask setup"
        );
        exit(1);
    }

    let object = PathBuf::from(variable("OUT_DIR")?).join("socktrace-ebpf.o");
    let built = socktrace_toolchain::object(&target_dir);
    let data =
        fs::read(&built).map_err(|error| format!("cannot read {}: {error}", built.display()))?;
    let stripped = without_debug_information(&data)
        .map_err(|error| format!("cannot strip {}: {error}", built.display()))?;
    fs::write(&object, stripped)
        .map_err(|error| format!("cannot write {}: {error}", object.display()))?;
    println!("cargo::rustc-env=SOCKTRACE_EBPF_OBJECT={}", object.display());
    println!("cargo::rustc-env=SOCKTRACE_COMMIT={}", commit(workspace));
    Ok(())
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

/// The object without the information for debuggers that the linker has made BTF of, and without
/// what other linkers would need: both are most of the file, and the loader would read all of it at
/// each start.
fn without_debug_information(data: &[u8]) -> Result<Vec<u8>, object::build::Error> {
    let mut builder = Builder::read(data)?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        section.delete =
            [".debug_", ".rel.debug_", ".rel.BTF"].iter().any(|start| name.starts_with(start));
    }
    builder.delete_orphans();
    // The linker keeps the names of sections among those of symbols, which the writer does not.
    let names = builder.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
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
