//! Fuzzes what reads bytes that others write, for a bounded time, led by coverage.
//!
//! A target is a unit test in a module called `fuzz`, with a corpus of its own beside the module in
//! `__fuzz__/NAME/corpus`. `cargo test` replays that, and what once failed, in `crashes`.

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use socktrace_lab::{process, programs::fuzzer, setup::Need, workspace};

use crate::cli::FuzzArgs;

/// The packages that have targets, and where their sources are.
const PACKAGES: [(&str, &str); 3] = [
    ("socktrace", "socktrace/src"),
    ("socktrace-exporter", "socktrace/exporter/src"),
    ("socktrace-plan", "socktrace/plan/src"),
];

/// Lines of the fuzzer's output that are shown when it has found something.
const SHOWN: usize = 60;

/// A unit test that takes bytes.
struct Target {
    package: &'static str,
    /// Its path in the package.
    test: String,
    /// The directory of its corpus and of what failed.
    kept: PathBuf,
}

/// Runs every target that was asked for.
///
/// # Errors
///
/// When the fuzzer cannot be built, or there is no such target.
pub(crate) fn run(args: &FuzzArgs) -> Result<ExitCode> {
    args.no_setup.setup().ensure(&[Need::Build, Need::Fuzz])?;
    let mut targets = Vec::new();
    for (package, sources) in PACKAGES {
        targets.extend(list(package, sources)?);
    }
    if let Some(wrong) = args.targets.iter().find(|name| !targets.iter().any(|it| it.is(name))) {
        let names: Vec<_> = targets.iter().map(|target| target.test.as_str()).collect();
        bail!("there is no target {wrong}; the targets are {}", names.join(", "));
    }
    if !args.targets.is_empty() {
        targets.retain(|target| args.targets.iter().any(|name| target.is(name)));
    }
    let mut failed = 0;
    for target in &targets {
        match target.fuzz(args.seconds.get())? {
            Ok(runs) => println!("ok   {}  {runs}", target.test),
            Err(output) => {
                println!("{output}");
                println!(
                    "FAIL {}: the input is in {}; `cargo test` will replay it",
                    target.test,
                    target.kept.join("crashes").display()
                );
                failed += 1;
            }
        }
    }
    println!("{} passed, {failed} failed", targets.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The targets of a package.
fn list(package: &'static str, sources: &str) -> Result<Vec<Target>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--quiet", "--locked", "--package", package, "--", "--list"]);
    let text = process::output(cargo.current_dir(workspace::root()))?;
    let tests = text.lines().filter_map(|line| line.strip_suffix(": test"));
    let targets = tests.filter_map(|test| {
        let (module, name) = test.rsplit_once("::")?;
        let parent = match module {
            "fuzz" => "",
            _ => module.strip_suffix("::fuzz")?,
        };
        let kept = workspace::root().join(sources).join(parent.replace("::", "/"));
        let kept = kept.join("__fuzz__").join(name);
        Some(Target { package, test: test.to_owned(), kept })
    });
    Ok(targets.collect())
}

impl Target {
    /// Whether it is called so, in full or by its last part.
    fn is(&self, name: &str) -> bool {
        self.test == name || self.test.rsplit("::").next() == Some(name)
    }

    /// Runs for so many seconds: how often, or what the fuzzer said of what it has found.
    fn fuzz(&self, seconds: u32) -> Result<Result<String, String>> {
        // What is new goes here, so that the tree stays as it is.
        let found = workspace::cache("fuzz/corpus").join(self.test.replace("::", "."));
        fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        let corpus = self.kept.join("corpus");
        if !corpus.is_dir() {
            bail!("{} has no corpus in {}", self.test, corpus.display());
        }
        let mut fuzzer = Command::new(fuzzer());
        fuzzer
            .args(["bolero", "test", "--sanitizer", "NONE", "--profile", "fuzz"])
            .args(["--package", self.package, "--time", &format!("{seconds}s")])
            .arg("--target-dir")
            .arg(workspace::cache("fuzz/build"))
            .arg("--corpus-dir")
            .arg(&found)
            .arg(format!("--engine-args={}", corpus.display()))
            .arg(&self.test)
            .current_dir(workspace::root())
            .stdin(Stdio::null());
        let output = fuzzer.output().context("cannot run cargo-bolero")?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let done = said.lines().find_map(|line| line.strip_prefix("Done "));
        if let Some(done) = done.filter(|_| output.status.success()) {
            return Ok(Ok(done.to_owned()));
        }
        let lines: Vec<_> = said.lines().collect();
        Ok(Err(lines[lines.len().saturating_sub(SHOWN)..].join("\n")))
    }
}
