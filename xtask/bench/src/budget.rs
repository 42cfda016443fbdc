//! The cost of socktrace, in a few sentences.

use anyhow::{Context as _, Result};
use xtask_common::figure::Figure;

use crate::check::without_tool;

/// Clock rate behind the times in the document: 3 GHz, at one instruction a cycle.
const INSTRUCTIONS_A_MICROSECOND: u64 = 3_000;

/// Describes, from these figures, what running socktrace costs.
///
/// # Errors
///
/// When a figure is missing.
pub(crate) fn budget(figures: &[Figure]) -> Result<String> {
    let find = |measured: &str, subject: &str| {
        let mut all = figures.iter();
        let found = all.find(|figure| figure.measured == measured && figure.subject == subject);
        found.with_context(|| format!("{measured} with {subject} was not measured"))
    };
    let added = |work: &str, subject: &str| {
        let figure = find(&format!("cost/{work}"), subject)?;
        let base = without_tool(figure, figures).context("nothing to compare with")?;
        Ok::<_, anyhow::Error>(figure.value.saturating_sub(base))
    };
    let connection = cost(added("orderly", "socktrace")?);
    let counted = added("reset_after_accept", "socktrace --no-stream")?;
    let line = cost(added("reset_after_accept", "socktrace")?.saturating_sub(counted));
    let counted = cost(counted);
    let repeated = cost(added("write_after_reset", "socktrace")?);
    let start = find("start/exec to ready", "socktrace")?.value / 1_000_000;
    Ok(format!(
        "A TCP connection that is opened and closed without a failure costs {connection} more with \
         socktrace than without, at 3 GHz and one instruction a cycle. What is sent and received on it \
         costs nothing more. A failure costs {counted} until it is explained, attributed and counted, \
         and {line} more where it is shown as a line of JSON. In a flood, which is summed up, a failure \
         costs {repeated} all in all. The start takes {start} million instructions, once.\n"
    ))
}

/// Formats a number of instructions, both as a count and as time.
fn cost(instructions: u64) -> String {
    let tenths = (instructions * 10).div_ceil(INSTRUCTIONS_A_MICROSECOND);
    // No more exact than the measurements are.
    let rounded = instructions.div_ceil(100) * 100;
    let (thousands, rest) = (rounded / 1_000, rounded % 1_000);
    let number = if thousands > 0 { format!("{thousands},{rest:03}") } else { format!("{rest}") };
    format!("{number} instructions ({}.{} µs)", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use xtask_common::figure::{NO_TOOL, Unit};

    use super::*;

    fn figure(measured: &str, subject: &str, value: u64) -> Figure {
        let (measured, subject) = (measured.to_owned(), subject.to_owned());
        Figure { measured, subject, unit: Unit::Instructions, value }
    }

    fn figures() -> Vec<Figure> {
        vec![
            figure("cost/orderly", NO_TOOL, 80_000),
            figure("cost/orderly", "socktrace", 82_345),
            figure("cost/reset_after_accept", NO_TOOL, 60_000),
            figure("cost/reset_after_accept", "socktrace", 85_000),
            figure("cost/reset_after_accept", "socktrace --no-stream", 69_000),
            figure("cost/write_after_reset", NO_TOOL, 1_000),
            figure("cost/write_after_reset", "socktrace", 1_950),
            figure("start/exec to ready", "socktrace", 999_999_999),
        ]
    }

    #[test]
    fn each_cost_is_what_is_added_to_no_tool() {
        let text = budget(&figures()).expect("all there");
        for part in [
            "a failure costs 2,400 instructions (0.8 µs) more",
            "A failure costs 9,000 instructions (3.0 µs) until",
            "and 16,000 instructions (5.4 µs) more",
            "a failure costs 1,000 instructions (0.4 µs) all",
            "takes 999 million",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_missing_figure_is_an_error() {
        for missing in 0..figures().len() {
            let mut figures = figures();
            figures.remove(missing);
            assert!(budget(&figures).is_err(), "{missing}");
        }
    }
}
