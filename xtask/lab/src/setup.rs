//! Installs what building, linting and virtual machines need, and nothing that is there already.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;
use socktrace_toolchain::{BPF_LINKER_VERSION, Compiler, Toolchain, linker_root};
use xtask_common::arch::Arch;

use crate::{
    install,
    mirror::{MirrorArgs, Mirrors},
    process, programs, progress, workspace,
};

/// Purpose of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Compile the daemon.
    Build,
    /// Check the kernel programs with their compiler's own linter.
    Lint,
    /// Run what reads bytes under a fuzzer.
    Fuzz,
    /// Compile for machines of this architecture.
    Target(&'static Arch),
    /// Boot guests of this architecture.
    Machines(&'static Arch),
    /// Make packages.
    Packages,
    /// Check packages, those for Red Hat's kin too, and what else deploys.
    PackageChecks,
    /// Make a whole Debian system for guests.
    DebianSystem,
    /// Draw the dashboard.
    Dashboard,
}

/// A program or file, and the Debian package that has it.
const MACHINE_TOOLS: [(&str, &str); 6] = [
    ("depmod", "kmod"),
    ("dpkg-deb", "dpkg"),
    ("gpgv", "gpgv"),
    ("lz4", "lz4"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
];

/// As [`MACHINE_TOOLS`].
const PACKAGE_TOOLS: [(&str, &str); 2] = [("dh", "debhelper"), ("dpkg-buildpackage", "dpkg-dev")];

/// As [`MACHINE_TOOLS`].
const PACKAGE_CHECKERS: [(&str, &str); 2] = [("lintian", "lintian"), ("rpmbuild", "rpm")];

/// As [`MACHINE_TOOLS`].
const SYSTEM_TOOLS: [(&str, &str); 2] =
    [("bsdtar", "libarchive-tools"), ("mmdebstrap", "mmdebstrap")];

/// As [`MACHINE_TOOLS`].
const BROWSER_TOOLS: [(&str, &str); 3] =
    [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];

/// There since the package has the keys of the newest release that kernels come from.
const KEYRING: (&str, &str) =
    ("/usr/share/keyrings/debian-archive-trixie-automatic.gpg", "debian-archive-keyring");

fn machine_tools(arch: &Arch) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    MACHINE_TOOLS.into_iter().chain([arch.qemu, KEYRING])
}

const COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
const CLIPPY: &str = "rust-web-clippy";

/// Where Debian's linter for the kernel programs is.
pub const CLIPPY_DRIVER: &str = "/usr/bin/clippy-driver";

/// Sets the machine up, or with `allowed` false only says what is missing.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Whether anything may be installed.
    pub allowed: bool,
    /// Whether to report what is there already.
    pub verbose: bool,
}

impl Setup {
    /// Makes sure that everything for `needs` is there.
    ///
    /// # Errors
    ///
    /// When something is missing and cannot, or must not, be installed.
    pub fn ensure(&self, needs: &[Need]) -> Result<()> {
        for need in needs {
            match need {
                Need::Build => self.build()?,
                Need::Lint => self.lint()?,
                Need::Fuzz => self.fuzz()?,
                Need::Target(arch) => self.target(arch)?,
                Need::Machines(arch) => self.machines(arch)?,
                Need::Packages => self.tools(PACKAGE_TOOLS, "programs that make packages")?,
                Need::PackageChecks => {
                    self.tools(PACKAGE_CHECKERS, "programs that check packages")?;
                    for (name, version) in programs::PACKAGE_CHECKERS {
                        programs::from_python(self, name, version)?;
                    }
                }
                Need::DebianSystem => self.tools(SYSTEM_TOOLS, "programs for Debian systems")?,
                Need::Dashboard => self.tools(BROWSER_TOOLS, "programs that draw the dashboard")?,
            }
        }
        Ok(())
    }

    /// The mirrors of Debian's archives. The system's package lists name them, so they are fetched
    /// if there are none.
    ///
    /// # Errors
    ///
    /// When no mirror is known even then.
    pub fn mirrors(&self, args: &MirrorArgs) -> Result<Mirrors> {
        Mirrors::find(args).or_else(|error| {
            if !self.allowed || process::find("apt-get").is_none() {
                return Err(error);
            }
            install::update_lists()?;
            Mirrors::find(args)
        })
    }

    /// Installs in one go what Debian has of these needs, which is quicker than one by one.
    ///
    /// # Errors
    ///
    /// When something is missing and cannot, or must not, be installed.
    pub fn install_packages(&self, needs: &[Need]) -> Result<()> {
        let packages: Vec<_> = needs
            .iter()
            .flat_map(|need| match need {
                Need::Build if Compiler::find().is_none() => COMPILER.to_vec(),
                Need::Machines(arch) => missing(machine_tools(arch)),
                _ => Vec::new(),
            })
            .collect();
        if packages.is_empty() { Ok(()) } else { self.install(&packages) }
    }

    fn build(&self) -> Result<()> {
        if Toolchain::find(workspace::root()).is_ok() {
            self.present("compiler and linker for the kernel programs");
            return Ok(());
        }
        let compiler = if let Some(compiler) = Compiler::find() {
            compiler
        } else {
            self.install(&COMPILER)?;
            Compiler::find().with_context(|| {
                format!("{} are installed but have no compiler for BPF", COMPILER.join(" and "))
            })?
        };
        if Toolchain::find(workspace::root()).is_err() {
            self.linker(compiler.llvm())?;
        }
        Toolchain::find(workspace::root()).map(drop).map_err(anyhow::Error::msg)
    }

    fn linker(&self, llvm: u32) -> Result<()> {
        let prefix = format!("/usr/lib/llvm-{llvm}");
        if !Path::new(&prefix).join("include/llvm-c").is_dir() {
            self.install(&[&format!("llvm-{llvm}-dev")])?;
        }
        self.allow(&format!("bpf-linker {BPF_LINKER_VERSION} for LLVM {llvm}"))?;
        let root = linker_root(workspace::root(), llvm);
        let what = format!("bpf-linker {BPF_LINKER_VERSION} for LLVM {llvm}");
        let step = progress::step(format_args!("Compiling {what}"));
        let output = process::output(
            Command::new("cargo")
                // Its work is done by LLVM's library, which is optimized.
                .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
                .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
                .env("CARGO_PROFILE_RELEASE_LTO", "off")
                .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
                .args([
                    "install",
                    &format!("bpf-linker@{BPF_LINKER_VERSION}"),
                    "--locked",
                    "--quiet",
                ])
                .args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"])
                .arg(&root)
                // Outside the repository, whose settings are not for this program.
                .current_dir("/")
                .env("LLVM_PREFIX", prefix)
                .env_remove("CARGO_TARGET_DIR"),
        );
        output.context("cannot build bpf-linker")?;
        step.done(format_args!("Compiled {what}"));
        Ok(())
    }

    fn lint(&self) -> Result<()> {
        programs::from_cargo(self, "deny", programs::DENY_VERSION, &[])?;
        programs::from_python(self, programs::ZIZMOR, programs::ZIZMOR_VERSION)?;
        // Elsewhere the compiler is rustup's, whose linter is a component of it.
        if !matches!(Compiler::find(), Some(Compiler::Debian { .. })) {
            return Ok(());
        }
        if Path::new(CLIPPY_DRIVER).exists() {
            self.present(CLIPPY);
            return Ok(());
        }
        self.install(&[CLIPPY])
    }

    fn fuzz(&self) -> Result<()> {
        if process::find("c++").is_none() {
            self.install(&["g++"])?;
        }
        programs::from_cargo(
            self,
            "bolero",
            programs::FUZZER_VERSION,
            &["--no-default-features", "--features", "libfuzzer"],
        )
    }

    /// What it takes to compile for another machine than this.
    fn target(&self, arch: &Arch) -> Result<()> {
        if arch.is_own() {
            return Ok(());
        }
        let name = arch.rust_target;
        if has_standard_library(name) {
            self.present(&format!("Rust's standard library for {name}"));
        } else if process::find("rustup").is_some() {
            self.allow(&format!("Rust's standard library for {name}"))?;
            let what = format!("Rust's standard library for {name}");
            let step = progress::step(format_args!("Installing {what}"));
            process::output(
                Command::new("rustup").args(["target", "add", name]).current_dir(workspace::root()),
            )?;
            step.done(format_args!("Installed {what}"));
        } else {
            bail!(
                "missing: Rust's standard library for {name}. This machine's Rust does not come \
                 from rustup, so install it by hand, in the version of `rustc`"
            );
        }
        if can_link(&arch.cross_linker()) {
            self.present(&arch.cross_linker());
            return Ok(());
        }
        self.install(&arch.cross_packages().each_ref().map(String::as_str))
    }

    fn machines(&self, arch: &Arch) -> Result<()> {
        let what = format!("programs for virtual machines ({})", arch.name);
        self.tools(machine_tools(arch), &what)
    }

    /// Installs the packages of those programs that are not there.
    pub(crate) fn tools(
        &self,
        tools: impl IntoIterator<Item = (&'static str, &'static str)>,
        what: &str,
    ) -> Result<()> {
        let missing = missing(tools);
        if missing.is_empty() {
            self.present(what);
            return Ok(());
        }
        self.install(&missing)
    }

    pub(crate) fn present(&self, what: &str) {
        if self.verbose {
            progress::note(format_args!("Present: {what}"));
        }
    }

    pub(crate) fn allow(&self, what: &str) -> Result<()> {
        if !self.allowed {
            bail!("missing: {what}, and --no-setup forbids installing. Run again without it.");
        }
        Ok(())
    }

    fn install(&self, packages: &[&str]) -> Result<()> {
        self.allow(&packages.join(", "))?;
        install::packages(packages)
    }
}

/// Whether this repository's compiler can compile more than bare-metal programs for a target.
fn has_standard_library(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(workspace::root());
    process::output(&mut rustc).is_ok_and(|directory| Path::new(directory.trim()).is_dir())
}

/// Whether this compiler is there, with a C library to link programs with.
fn can_link(compiler: &str) -> bool {
    // It repeats the name of a file that it does not find.
    process::output(Command::new(compiler).arg("-print-file-name=libc.a"))
        .is_ok_and(|path| Path::new(path.trim()).is_absolute())
}

/// The packages of those programs that are not there.
fn missing(tools: impl IntoIterator<Item = (&'static str, &'static str)>) -> Vec<&'static str> {
    // A path stands for itself.
    let missing = tools.into_iter().filter(|(name, _)| process::find(name).is_none());
    missing.map(|(_, package)| package).collect()
}

/// A program that needs to be root to do its work, with sudo if we are not.
pub fn as_root(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = match process::find("sudo") {
        Some(sudo) if !Uid::effective().is_root() => {
            let mut command = Command::new(sudo);
            command.args(["--preserve-env=DEBIAN_FRONTEND", "--"]).arg(program);
            command
        }
        _ => Command::new(program),
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
