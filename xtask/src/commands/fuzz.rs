//! Coverage-guided fuzzing, for a limited time, of the code that parses foreign input.
//!
//! A target is a unit test in a module called `fuzz`. Its corpus is next to the module, in
//! `__fuzz__/NAME/corpus`. `cargo test` replays the corpus, and the inputs that once failed, in
//! `crashes`.

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use socktrace_lab::{process, programs::fuzzer, setup::Need, workspace};

use crate::cli::FuzzArgs;

/// Packages with targets, and the directories of their sources.
const PACKAGES: [(&str, &str); 3] = [
    ("socktrace", "socktrace/src"),
    ("socktrace-exporter", "socktrace/exporter/src"),
    ("socktrace-plan", "socktrace/plan/src"),
];

/// Lines of the fuzzer's output to show after a failure.
const SHOWN: usize = 60;

/// A unit test that takes bytes as input.
struct Target {
    package: &'static str,
    /// Path of the test in its package.
    test: String,
    /// Directory of its corpus and of inputs that failed.
    kept: PathBuf,
}

/// Runs the requested targets.
///
/// # Errors
///
/// When the fuzzer cannot be built, or a target does not exist.
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
                println!("FAIL {}: {}", target.test, target.failure());
                failed += 1;
            }
        }
    }
    println!("{} passed, {failed} failed", targets.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lists the targets of a package.
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
    /// Whether this is the test's full name, or the last part of it.
    fn is(&self, name: &str) -> bool {
        self.test == name || self.test.rsplit("::").next() == Some(name)
    }

    /// Describes a failure: where the input is that caused it, if one did.
    fn failure(&self) -> String {
        let crashes = self.kept.join("crashes");
        if fs::read_dir(&crashes).is_ok_and(|mut inputs| inputs.next().is_some()) {
            format!("the input is in {}; `cargo test` will replay it", crashes.display())
        } else {
            "no input made it fail; the fuzzer's output is above".to_owned()
        }
    }

    /// Runs the target for `seconds`. Returns the number of runs, or the fuzzer's output about a
    /// failure.
    fn fuzz(&self, seconds: u32) -> Result<Result<String, String>> {
        // New inputs go here, so that the tree stays unchanged.
        let found = workspace::cache("fuzz/corpus").join(self.test.replace("::", "."));
        fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
        let corpus = self.kept.join("corpus");
        if !corpus.is_dir() {
            bail!("{} has no corpus in {}", self.test, corpus.display());
        }
        let mut fuzzer = Command::new(fuzzer());
        fuzzer
            .args(["bolero", "test", "--sanitizer", "NONE", "--profile", "fuzz"])
            .args(["--package", self.package, "-T", &format!("{seconds}s")])
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
