//! Check that the daemon can be installed on a system with only Rust and a C compiler.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::{Context as _, Result, ensure};
use socktrace_lab::{
    compile::{self, BuildOptions},
    debian_system,
    mirror::MirrorArgs,
    packages::registry,
    process, progress,
    setup::{Need, Setup, as_root},
    workspace,
};
use xtask_common::arch::Arch;

/// Packages for crates that contain C code.
const PACKAGES: [&str; 2] = ["gcc", "libc6-dev"];

/// Configuration of cargo that replaces the registry by a directory.
const CONFIGURATION: &str = "\
[source.crates-io]
replace-with = 'directory'
[source.directory]
directory = '/crates'
";

/// Script that runs a command in the root, without network and with a clean environment.
const ENTER: &str = r#"
set -eu
root=$1 rust=$2 crates=$3 home=$4
shift 4
mkdir -p "$root/rust" "$root/crates" "$root/root/.cargo"
mount --bind "$rust" "$root/rust"
mount --bind "$crates" "$root/crates"
mount --bind "$home" "$root/root/.cargo"
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
exec chroot "$root" /usr/bin/env -i HOME=/root CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_TARGET_DIR=/tmp/target \
    PATH=/rust/bin:/root/.cargo/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
"#;

/// Directory in which the daemon without cargo's features is installed.
const SMALLEST: &str = "/root/.cargo/smallest";

/// Arguments that this daemon refuses, and the missing feature that it names.
const FEATURES: [(&[&str], &str); 3] = [
    (&["--resolve"], "feature `resolve`"),
    (&["--otlp", "http://localhost:4318"], "feature `otlp`"),
    (&["top"], "feature `top`"),
];

/// Exit code for a wrong command line.
const WRONG_USAGE: i32 = 2;

/// Name of the daemon that was built here, next to the installed one.
const BUILT: &str = "built-here";

/// Installs the daemon from the packages in a bare Debian, and compares it with the one built here.
///
/// # Errors
///
/// When it cannot be installed, or behaves differently.
pub(super) fn check(
    names: &[String],
    programs: &BTreeMap<String, Vec<u8>>,
    setup: &Setup,
    mirrors: &MirrorArgs,
) -> Result<()> {
    let Some(rust) = toolchain()? else {
        eprintln!("This machine's Rust is the system's, and not rustup's: nothing is installed");
        return Ok(());
    };
    setup.ensure(&[Need::DebianSystem])?;
    let root = Root::make(rust, names, setup, mirrors)?;
    let step = progress::step("Installing socktrace by cargo in a bare Debian");
    root.install(&[])?;
    // Crates that both builds share are compiled once.
    root.install(&["--no-default-features", "--root", SMALLEST])?;
    step.done("Installed socktrace by cargo in a bare Debian");
    let installed = fs::read(root.home.join("bin/socktrace")).context("nothing is installed")?;
    let program = programs.get(&format!("{}.o", env::consts::ARCH)).context("no programs")?;
    ensure!(
        installed.windows(program.len()).any(|part| part == program),
        "the installed program has other kernel programs in it"
    );
    fs::copy(compile::daemon(BuildOptions::tried(Arch::OWN))?, root.home.join("bin").join(BUILT))?;
    let smallest = format!("{SMALLEST}/bin/socktrace");
    for (program, what) in [("socktrace", "installed by cargo"), (&*smallest, "its smallest build")]
    {
        root.compare(program)?;
        println!("ok   {what} does as the one that is built here");
    }
    for (words, feature) in FEATURES {
        let output = root.run(&[&[&*smallest], words].concat())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(WRONG_USAGE) && said.contains(feature),
            "with {words:?} the smallest build does not name the feature {feature}: {output:?}"
        );
    }
    println!("ok   the smallest build names the features that it is without");
    root.remove()
}

/// Directory that contains only the Rust toolchain in use; none if that is in `/usr`.
fn toolchain() -> Result<Option<PathBuf>> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot"]).current_dir(workspace::root());
    let directory = PathBuf::from(process::output(&mut rustc)?.trim());
    Ok((directory != Path::new("/usr") && directory.join("bin/cargo").is_file())
        .then_some(directory))
}

/// A bare system, and the directories mounted into it.
struct Root {
    directory: PathBuf,
    rust: PathBuf,
    crates: PathBuf,
    home: PathBuf,
}

impl Root {
    fn make(rust: PathBuf, names: &[String], setup: &Setup, mirrors: &MirrorArgs) -> Result<Self> {
        let place = registry::directory();
        let root = Self {
            directory: place.join("root"),
            rust,
            crates: place.join("vendor"),
            home: place.join("home"),
        };
        root.remove()?;
        fs::create_dir_all(&root.directory)?;
        fs::create_dir_all(&root.home)?;
        fs::write(root.home.join("config.toml"), CONFIGURATION)?;
        registry::vendor(names, &root.crates)?;
        let debian = debian_system::bare(&PACKAGES, || setup.mirrors(mirrors))?;
        let mut tar = as_root("tar");
        tar.arg("-xf").arg(debian.path()).arg("-C").arg(&root.directory);
        process::output(&mut tar)?;
        Ok(root)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = as_root("unshare");
        command.args(["--mount", "--net", "--", "sh", "-c", ENTER, "enter"]);
        command.args([&self.directory, &self.rust, &self.crates, &self.home]).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Result<Output> {
        self.command(words).output().context("cannot run unshare")
    }

    fn install(&self, options: &[&str]) -> Result<()> {
        let words = ["cargo", "install", "--quiet", "--offline", "--locked", "socktrace"];
        process::output(&mut self.command(&[&words, options].concat())).map(drop)
    }

    /// Checks that a program behaves like the one built here.
    fn compare(&self, program: &str) -> Result<()> {
        // The last one traces, or is refused with a reason and an exit code.
        for words in [&["--version"][..], &["explain", "ECONNRESET"], &["--duration", "1s"]] {
            let ours = self.run(&[&[program], words].concat())?;
            let theirs = self.run(&[&[BUILT], words].concat())?;
            let traces = words[0] == "--duration" && theirs.status.success();
            ensure!(
                ours.status == theirs.status
                    && ours.stdout == theirs.stdout
                    // Each run has seen different events.
                    && (traces || ours.stderr == theirs.stderr),
                "with {words:?} {program} does otherwise than the one that is built here:\n\
                 {ours:?}\n{theirs:?}"
            );
        }
        Ok(())
    }

    /// Removes the directories. Their mounts ended with each command.
    fn remove(&self) -> Result<()> {
        let mut remove = as_root("rm");
        remove.args(["-rf", "--one-file-system"]).args([&self.directory, &self.crates, &self.home]);
        process::output(&mut remove).map(drop)
    }
}
