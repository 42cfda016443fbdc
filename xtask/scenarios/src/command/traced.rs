//! Results of traced commands, and traces that are still running.

use std::{
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    process::{Child, Output, Stdio},
    sync::mpsc::Receiver,
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::Pid;
use serde_json::Value;

use super::{JSON, PATIENCE, child::this_program, tracing};
use crate::tracer;

/// Outcome of a command and its trace.
pub(super) struct Traced {
    pub(super) code: Option<i32>,
    /// The command's output.
    pub(super) stdout: String,
    /// JSON lines on stderr; `said` has the remaining ones.
    pub(super) lines: Vec<Value>,
    pub(super) said: String,
}

impl Traced {
    pub(super) fn of(output: Output) -> Result<Self> {
        let stdout = String::from_utf8(output.stdout)?;
        let stderr = String::from_utf8(output.stderr)?;
        let (lines, said): (Vec<_>, Vec<_>) =
            stderr.lines().partition(|line| line.starts_with('{'));
        let lines = lines.into_iter().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { code: output.status.code(), stdout, lines, said: said.join("\n") })
    }

    /// Checks that the command has failed `count` times, each time by a refused connect, with the
    /// processes and errnos that it printed.
    pub(super) fn check(&self, count: usize, code: i32) -> Result<()> {
        ensure!(self.code == Some(code), "ended with {:?}, not {code}: {}", self.code, self.said);
        let mut made: Vec<_> = self.stdout.lines().collect();
        let shown: Vec<_> = self.lines.iter().map(summary_of).collect();
        let mut shown: Vec<_> = shown.iter().map(String::as_str).collect();
        made.sort_unstable();
        shown.sort_unstable();
        ensure!(made.len() == count && made == shown, "made {made:?}, shown {shown:?}");
        let words = match count {
            0 => "socktrace: no failures; ".to_owned(),
            1 => "socktrace: 1 failure (connect_refused 1); ".to_owned(),
            count => format!("socktrace: {count} failures (connect_refused {count}); "),
        };
        ensure!(self.said.contains(&words), "no {words:?} in {}", self.said);
        Ok(())
    }
}

/// Formats a line as the child prints it.
fn summary_of(line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", line["pid"], text("errno"), text("cause"))
}

/// A trace, in its own process group, of a command that reports when it is ready.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) ready: io::PipeReader,
}

impl Running {
    pub(super) fn start(words: &[&str], variables: &[(&str, String)]) -> Result<Self> {
        let program = this_program()?;
        let words = [&[program.as_str(), "child", "command"], words].concat();
        // The command's stdin is a pipe that it writes to.
        let (ready, writer) = io::pipe()?;
        let mut command = tracing(&JSON, &words);
        command.stdin(writer).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let child = command.spawn()?;
        drop(command);
        let mut running = Self { child, ready };
        running.ready.read_exact(&mut [0]).context("the command does not get ready")?;
        Ok(running)
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub(super) fn end(self) -> Result<Traced> {
        Traced::of(self.child.wait_with_output()?)
    }
}

/// A trace that has reported on stderr that it is ready.
pub(super) struct Ready {
    child: Child,
    stderr: Receiver<String>,
    said: Vec<String>,
}

impl Ready {
    pub(super) fn wait(mut child: Child, text: &str) -> Result<Self> {
        let stderr = tracer::lines(child.stderr.take().context("no stderr")?);
        let mut ready = Self { child, stderr, said: Vec::new() };
        loop {
            match ready.stderr.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let is_it = line.contains(text);
                    ready.said.push(line);
                    if is_it {
                        return Ok(ready);
                    }
                }
                Err(_) => bail!("it does not say {text:?}: {:?}", ready.said),
            }
        }
    }

    pub(super) fn end(&mut self) -> Result<(Option<i32>, String, String)> {
        let mut shown = String::new();
        self.child.stdout.take().context("no stdout")?.read_to_string(&mut shown)?;
        let status = self.child.wait()?;
        self.said.extend(self.stderr.iter());
        Ok((status.code(), shown, self.said.join("\n")))
    }
}
