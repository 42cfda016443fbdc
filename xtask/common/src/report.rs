//! What a guest reports to the host: JSON lines on a serial port of their own, so that nothing the
//! kernel or a program prints gets between them.

use std::{
    collections::BTreeMap,
    env,
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _, Write},
    os::unix::fs::OpenOptionsExt as _,
};

use nix::{libc, sys::termios};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::figure::Figure;

/// The environment variable that names the file reports are written to.
pub const VARIABLE: &str = "GUEST_REPORT";

/// One report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Report {
    /// The guest has booted, and its command starts. Written by the guest's init.
    Up,
    /// What will be run. The first report of a test boot; a scenario it names and that gets no
    /// verdict has failed.
    Plan {
        /// Names of scenarios.
        scenarios: Vec<String>,
    },
    /// A scenario begins.
    Started {
        /// Its name.
        scenario: String,
    },
    /// A scenario's verdict.
    Scenario {
        /// Its name.
        name: String,
        /// Whether all was as expected.
        passed: bool,
        /// Cause and family of each failure that socktrace had to report.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        covers: Vec<String>,
        /// What was not, in full. Empty when it passed.
        detail: String,
    },
    /// A scenario cannot be made on this kernel, which is no fault.
    Skipped {
        /// Its name.
        name: String,
        /// What is missing.
        reason: String,
    },
    /// socktrace would not start in the guest.
    Refused {
        /// Its exit code.
        exit: i32,
        /// What it wrote to stderr, with the verifier's words if it was the verifier.
        stderr: String,
    },
    /// Something worth showing beside the verdicts.
    Note {
        /// A line or more.
        text: String,
    },
    /// A benchmark's result.
    Figure(Figure),
    /// What Prometheus has to answer when the dashboard is shown.
    History(History),
    /// The guest's command ended. The last report; written by the guest's init.
    Exit {
        /// The exit code, or 128 and the signal.
        code: i32,
    },
}

/// What happened over a while, as Prometheus recorded it. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The beginning.
    pub from: u64,
    /// The end.
    pub to: u64,
    /// Seconds from one value to the next.
    pub step: u64,
    /// The `data` of each answer, by the [id](crate::dashboard::Query::id) of the query.
    pub answers: BTreeMap<String, Value>,
}

/// Writes reports.
#[derive(Debug)]
pub struct Reporter(Option<File>);

impl Reporter {
    /// A reporter to the file that the environment names, or to stdout if it names none.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn from_env() -> io::Result<Self> {
        match env::var_os(VARIABLE) {
            Some(path) => Self::open(&path.to_string_lossy()),
            None => Ok(Self(None)),
        }
    }

    /// A reporter to this file, which may be a serial port.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn open(path: &str) -> io::Result<Self> {
        // A port must not become the terminal of who opens it.
        let file = OpenOptions::new().append(true).custom_flags(libc::O_NOCTTY).open(path)?;
        Ok(Self(Some(file)))
    }

    /// Writes one report. It has left the guest when this returns, and is not lost if the kernel
    /// panics next.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn send(&mut self, report: &Report) -> io::Result<()> {
        let mut line = serde_json::to_string(report)?;
        line.push('\n');
        match &mut self.0 {
            Some(file) => {
                file.write_all(line.as_bytes())?;
                if file.is_terminal() {
                    termios::tcdrain(file)?;
                }
                Ok(())
            }
            None => io::stdout().write_all(line.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_one_line_of_json_with_their_kind() {
        let report = Report::Scenario {
            name: "reset_by_peer/ipv4".into(),
            passed: false,
            covers: vec![],
            detail: "two\nlines".into(),
        };
        let line = serde_json::to_string(&report).unwrap();
        assert_eq!(
            line,
            r#"{"kind":"scenario","name":"reset_by_peer/ipv4","passed":false,"detail":"two\nlines"}"#
        );
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
        assert_eq!(
            serde_json::from_str::<Report>(r#"{"kind":"exit","code":3}"#).unwrap(),
            Report::Exit { code: 3 }
        );
    }
}
