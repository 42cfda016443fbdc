//! Measurements on this host, if it allows tracing.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context as _, Result, bail, ensure};
use socktrace_lab::{
    compile, refusal,
    setup::{Need, as_root},
};
use xtask_common::{arch::Arch, figure::Figure};

use crate::cli::BenchArgs;

/// Returns figures of this host, in nanoseconds of CPU time instead of a guest's instructions.
///
/// # Errors
///
/// When the host refuses tracing, or a measurement fails.
pub(super) fn measure(args: &BenchArgs) -> Result<Vec<Figure>> {
    args.no_setup.setup().ensure(&[Need::Build, Need::Target(Arch::OWN)])?;
    let daemon = compile::daemon(compile::BuildOptions::NATIVE)?;
    let doctor = as_root(&daemon).arg("doctor").output().context("cannot run the daemon")?;
    if refusal::is_refusal(doctor.status.code()) {
        eprint!("{}", String::from_utf8_lossy(&doctor.stdout));
        bail!("this host refuses tracing; run without --native to measure in a virtual machine");
    }
    let mut command = as_root(compile::guest(compile::BuildOptions::released(Arch::OWN))?);
    command.args(["bench", "--native"]).arg(&daemon).args(super::words(args));
    let mut child =
        command.stdout(Stdio::piped()).spawn().context("cannot run the measuring program")?;
    let stdout = child.stdout.take().context("its output is not piped")?;
    let mut figures = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        let report = serde_json::from_str(&line).with_context(|| format!("no report: {line}"))?;
        super::hear("here", report, &mut figures);
    }
    let status = child.wait().context("cannot wait for the measuring program")?;
    ensure!(status.success(), "measuring ended with {status}");
    Ok(figures)
}
