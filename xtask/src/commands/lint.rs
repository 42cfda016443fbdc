//! Formatting, lints and documentation, for the host's code and the kernel programs.

use std::{
    env,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::Result;
use socktrace_lab::{
    go::ACTIONLINT,
    process, programs,
    setup::{CLIPPY_DRIVER, Need},
    workspace,
};
use socktrace_toolchain::{Compiler, LOG_FEATURE, Toolchain};

use crate::cli::LintArgs;

/// Runs every check, even after one has failed.
///
/// # Errors
///
/// When a linter is missing and cannot be installed.
pub(crate) fn run(args: &LintArgs) -> Result<ExitCode> {
    let setup = args.no_setup.setup();
    setup.ensure(&[Need::Build, Need::Lint])?;
    let actionlint = ACTIONLINT.ensure(&setup)?.map(at_root);
    if actionlint.is_none() {
        eprintln!(
            "No Go of 1.21 or later here, which compiles actionlint: workflows are half checked"
        );
    }
    let toolchain = Toolchain::find(workspace::root()).map_err(anyhow::Error::msg)?;
    let checks = [
        ("formatting", cargo(&["fmt", "--all", "--check"])),
        (
            "lints",
            cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        ),
        (
            "lints of the smallest build",
            cargo(&[
                "clippy",
                "--locked",
                "--package",
                "socktrace",
                "--no-default-features",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
        ),
        ("lints of the kernel programs", programs(&toolchain, &[])),
        (
            "lints of the kernel programs with messages",
            programs(&toolchain, &["--features", LOG_FEATURE]),
        ),
        ("documentation", documentation()),
        ("licenses, duplicates and sources of crates", crates()),
        ("security of the workflows", zizmor()),
    ];
    let checks = checks.into_iter().chain(actionlint.map(|check| ("workflows", check)));
    let mut failed = false;
    for (name, mut check) in checks {
        match process::run(&mut check) {
            Ok(()) => println!("ok   {name}"),
            Err(error) => {
                println!("FAIL {name}: {error:#}");
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(args).current_dir(workspace::root());
    cargo
}

fn documentation() -> Command {
    let mut doc =
        cargo(&["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"]);
    doc.env("RUSTDOCFLAGS", "-Dwarnings");
    doc
}

/// Checks crates against `deny.toml`.
fn crates() -> Command {
    let mut deny = at_root(programs::deny());
    // Not offline, as cargo may have to fetch crates for other targets. Advisories would need
    // further downloads.
    deny.args(["--locked", "check", "--hide-inclusion-graph"]);
    deny.args(["licenses", "bans", "sources"]);
    deny
}

fn zizmor() -> Command {
    let mut zizmor = at_root(programs::zizmor());
    zizmor.args(["--offline", "--quiet", "--persona", "pedantic", ".github"]);
    zizmor
}

fn at_root(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root());
    command
}

fn programs(toolchain: &Toolchain, features: &[&str]) -> Command {
    let target_dir = workspace::cache("ebpf-lint");
    let cargo = |subcommand| {
        let arch = env::consts::ARCH;
        let mut cargo = toolchain.cargo(subcommand, workspace::root(), arch, &target_dir);
        cargo.args(features);
        cargo
    };
    match toolchain.compiler {
        // cargo-clippy would use the linter next to itself, but the one needed belongs to Debian's
        // compiler.
        Compiler::Debian { .. } => {
            let mut check = cargo("check");
            check.env("RUSTC_WORKSPACE_WRAPPER", CLIPPY_DRIVER);
            // The format in which cargo-clippy passes on arguments.
            check.env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
            check
        }
        Compiler::Nightly { .. } => {
            let mut clippy = cargo("clippy");
            clippy.args(["--", "-D", "warnings"]);
            clippy
        }
    }
}
