//! Results of benchmarks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Names of all measurements.
pub const MEASUREMENTS: [&str; 10] =
    ["cost", "programs", "storm", "start", "idle", "growth", "scrape", "export", "history", "top"];

/// One measured value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// Name of the measurement, as a path: `cost/reset_after_accept`.
    pub measured: String,
    /// Tool that was measured; [`NO_TOOL`] for none.
    pub subject: String,
    /// Unit of the value.
    pub unit: Unit,
    /// The value.
    pub value: u64,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}: {}", self.measured, self.subject, self.value)
    }
}

/// Subject of the baseline figures, measured without any tool.
pub const NO_TOOL: &str = "no tool";

/// Unit of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Instructions of the guest's processor, in user and kernel mode. Fewer are better.
    Instructions,
    /// Instructions that the verifier followed. Fewer are better.
    Verified,
    /// Bytes of stack that a program uses, of 512. Fewer are better.
    Stack,
    /// Bytes, with 1,024 to the kilobyte. Fewer are better.
    Bytes,
    /// A count. Fewer are better.
    Count,
    /// Events in 10^9 instructions. More are better.
    Rate,
    /// Amount that other figures refer to. Neither more nor fewer is better.
    Size,
}
