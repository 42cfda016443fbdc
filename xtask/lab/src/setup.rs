//! Installation of what building, linting and virtual machines need, if it is missing.

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

/// A purpose that requires certain programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Compile the daemon.
    Build,
    /// Check the kernel programs with the linter of their compiler.
    Lint,
    /// Run the parsers under a fuzzer.
    Fuzz,
    /// Compile for machines of this architecture.
    Target(&'static Arch),
    /// Boot guests of this architecture.
    Machines(&'static Arch),
    /// Make packages.
    Packages,
    /// Check packages, including those for Red Hat, and the deployment files.
    PackageChecks,
    /// Build a complete Debian system for guests.
    DebianSystem,
    /// Draw the dashboard.
    Dashboard,
}

/// Programs or files, each with the Debian package that contains it.
const MACHINE_TOOLS: [(&str, &str); 6] = [
    ("depmod", "kmod"),
    ("dpkg-deb", "dpkg"),
    ("gpgv", "gpgv"),
    ("lz4", "lz4"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
];

/// Like [`MACHINE_TOOLS`], for building packages.
const PACKAGE_TOOLS: [(&str, &str); 2] = [("dh", "debhelper"), ("dpkg-buildpackage", "dpkg-dev")];

/// Like [`MACHINE_TOOLS`], for checking packages.
const PACKAGE_CHECKERS: [(&str, &str); 2] = [("lintian", "lintian"), ("rpmbuild", "rpm")];

/// Like [`MACHINE_TOOLS`], for building Debian systems.
const SYSTEM_TOOLS: [(&str, &str); 2] =
    [("bsdtar", "libarchive-tools"), ("mmdebstrap", "mmdebstrap")];

/// Like [`MACHINE_TOOLS`], for drawing the dashboard.
const BROWSER_TOOLS: [(&str, &str); 3] =
    [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];

/// Exists only if the package has the keys of the newest release that kernels come from.
const KEYRING: (&str, &str) =
    ("/usr/share/keyrings/debian-archive-trixie-automatic.gpg", "debian-archive-keyring");

fn machine_tools(arch: &Arch) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    MACHINE_TOOLS.into_iter().chain([arch.qemu, KEYRING])
}

const COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
const CLIPPY: &str = "rust-web-clippy";

/// Path of Debian's linter for the kernel programs.
pub const CLIPPY_DRIVER: &str = "/usr/bin/clippy-driver";

/// Sets up the machine; with `allowed` false, only reports what is missing.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Whether anything may be installed.
    pub allowed: bool,
    /// Whether to report what is already present.
    pub verbose: bool,
}

impl Setup {
    /// Makes sure that everything for `needs` is installed.
    ///
    /// # Errors
    ///
    /// When something is missing that cannot or may not be installed.
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

    /// Returns the mirrors of Debian's archives. Their addresses are in the system's package lists,
    /// which are fetched if there are none.
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

    /// Installs all Debian packages for these needs at once, which is faster than one by one.
    ///
    /// # Errors
    ///
    /// When something is missing that cannot or may not be installed.
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
                // Outside the repository, whose settings do not apply to this program.
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
        // Otherwise the compiler is rustup's, and its linter is a component of it.
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

    /// Installs what is needed to compile for an architecture other than this machine's.
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

    /// Installs the packages of the programs that are missing.
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

/// Whether this repository's compiler has the standard library for a target.
fn has_standard_library(target: &str) -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(workspace::root());
    process::output(&mut rustc).is_ok_and(|directory| Path::new(directory.trim()).is_dir())
}

/// Whether this compiler is installed, with a C library to link programs with.
fn can_link(compiler: &str) -> bool {
    // It echoes the name of a file that it does not find.
    process::output(Command::new(compiler).arg("-print-file-name=libc.a"))
        .is_ok_and(|path| Path::new(path.trim()).is_absolute())
}

/// Packages of the programs that are missing.
fn missing(tools: impl IntoIterator<Item = (&'static str, &'static str)>) -> Vec<&'static str> {
    // An absolute path is looked up as it is.
    let missing = tools.into_iter().filter(|(name, _)| process::find(name).is_none());
    missing.map(|(_, package)| package).collect()
}

/// Command for a program that needs root, run with sudo if necessary.
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
