//! Reports of a guest to the host: JSON lines on a serial port of their own, so that no output of
//! the kernel or of a program gets between them.

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

/// Environment variable with the path of the file that reports are written to.
pub const VARIABLE: &str = "GUEST_REPORT";

/// One report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Report {
    /// The guest has booted, and its command starts. Sent by the guest's init.
    Up,
    /// Scenarios about to run. The first report of a test boot. A scenario named here that gets no
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
        /// Whether everything was as expected.
        passed: bool,
        /// Cause and family of each failure that socktrace had to report.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        covers: Vec<String>,
        /// Full description of what was not as expected. Empty if it passed.
        detail: String,
    },
    /// A scenario cannot run on this kernel, which is not a failure.
    Skipped {
        /// Its name.
        name: String,
        /// The missing prerequisite.
        reason: String,
    },
    /// socktrace did not start in the guest.
    Refused {
        /// Its exit code.
        exit: i32,
        /// Its output to stderr, including the verifier's log if the verifier rejected a program.
        stderr: String,
    },
    /// A remark worth showing next to the verdicts.
    Note {
        /// One or more lines.
        text: String,
    },
    /// A benchmark's result.
    Figure(Figure),
    /// Prometheus's answers to the queries of the dashboard.
    History(History),
    /// The guest's command has ended. The last report; sent by the guest's init.
    Exit {
        /// The exit code, or 128 plus the signal.
        code: i32,
    },
}

/// Recorded values of Prometheus over a period. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Start of the period.
    pub from: u64,
    /// End of the period.
    pub to: u64,
    /// Seconds from one value to the next.
    pub step: u64,
    /// The `data` of each answer, by the [id](crate::dashboard::Query::id) of its query.
    pub answers: BTreeMap<String, Value>,
}

/// Writes reports.
#[derive(Debug)]
pub struct Reporter(Option<File>);

impl Reporter {
    /// Reports to the file named in the environment, or to stdout if none is named.
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

    /// Reports to this file, which may be a serial port.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub fn open(path: &str) -> io::Result<Self> {
        // A port must not become the controlling terminal.
        let file = OpenOptions::new().append(true).custom_flags(libc::O_NOCTTY).open(path)?;
        Ok(Self(Some(file)))
    }

    /// Writes a report. When this returns, the report has left the guest, and is not lost even if
    /// the kernel panics next.
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
