//! Tests that need no guest.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socktrace_lab::{progress, refusal, workspace};
use socktrace_toolchain::LOCK_VARIABLE;

use super::Count;

/// A daemon that runs this long has not been refused.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);

/// Sets of unit tests, with their names for people and their arguments for cargo: everything, and
/// the daemon without cargo's optional features.
const UNITS: [(&str, &[&str]); 2] = [
    ("unit tests", &["--workspace"]),
    ("unit tests of the smallest build", &["--package", "socktrace", "--no-default-features"]),
];

/// Runs the unit tests, at a lower priority than guests, which depend on their clocks.
///
/// # Errors
///
/// When cargo cannot be run.
pub(super) fn unit_tests() -> Result<Count> {
    let mut count = Count::default();
    for (name, packages) in UNITS {
        count.add(units(name, packages)?);
    }
    Ok(count)
}

fn units(name: &str, packages: &[&str]) -> Result<Count> {
    let start = Instant::now();
    let output = Command::new("nice")
        .args(["cargo", "test", "--quiet", "--locked", "--no-fail-fast"])
        .args(packages)
        .current_dir(workspace::root())
        .env(LOCK_VARIABLE, workspace::toolchain_lock())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut count = results(&text);
    let took = start.elapsed().as_secs_f64();
    if output.status.success() {
        progress::print(format!("ok   host  {name} ({})  {took:.1}s", count.passed));
    } else {
        progress::print(&text);
        progress::print(format!("FAIL host  {name}  {took:.1}s"));
        // Tests that do not compile count as failed.
        count.failed = count.failed.max(1);
    }
    Ok(count)
}

/// Sum of the result lines that test programs print.
fn results(text: &str) -> Count {
    let number = |text: &str, word: &str| {
        let mut parts = text.split([';', '.']).map(str::trim);
        parts.find_map(|part| part.strip_suffix(word)?.trim().parse().ok()).unwrap_or(0)
    };
    let mut count = Count::default();
    for line in text.lines().filter(|line| line.starts_with("test result: ")) {
        count.add(Count {
            passed: number(line, "passed"),
            failed: number(line, "failed"),
            skipped: number(line, "ignored"),
            unsteady: 0,
        });
    }
    count
}

/// Runs the daemon on this machine. If the kernel refuses tracing, the message must be plain.
/// Otherwise there is nothing to test.
///
/// # Errors
///
/// When the daemon cannot be run.
pub(super) fn refusal(daemon: &Path) -> Result<Count> {
    let mut child = Command::new(daemon)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", daemon.display()))?;
    let start = Instant::now();
    while child.try_wait().context("cannot wait for the daemon")?.is_none() {
        if start.elapsed() > REFUSED_WITHIN {
            let pid = i32::try_from(child.id()).context("the daemon has no process id")?;
            kill(Pid::from_raw(pid), Signal::SIGTERM).context("cannot end the daemon")?;
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().context("cannot wait for the daemon")?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if start.elapsed() > REFUSED_WITHIN || output.status.success() {
        progress::print("skip host  refusal: this host allows tracing");
        return Ok(Count { skipped: 1, ..Count::default() });
    }
    let verdict = if refusal::is_refusal(output.status.code()) {
        refusal::check(&stderr)
    } else {
        Err(format!("socktrace did not start ({}):\n{}", output.status, stderr.trim()))
    };
    match verdict {
        Ok(()) => {
            progress::print(format!(
                "ok   host  refusal is explained: {}",
                refusal::reason(&stderr)
            ));
            Ok(Count { passed: 1, ..Count::default() })
        }
        Err(problem) => {
            progress::print(format!("FAIL host  refusal: {problem}"));
            Ok(Count { failed: 1, ..Count::default() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_test_programs_add_up() {
        let text = "running 2 tests\n..\n\
                    test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
                    test result: FAILED. 5 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(results(text), Count { passed: 7, failed: 3, skipped: 1, unsteady: 0 });
    }
}
