//! Compares figures with the recorded ones.

use xtask_common::figure::{Figure, NO_TOOL, Unit};

/// Value by which figures are compared, and whether it is a percentage: what a tool adds to the
/// figure without any tool, in percent, if that was measured, else the figure's own value.
#[must_use]
pub fn compared(figure: &Figure, all: &[Figure]) -> (f64, bool) {
    match without_tool(figure, all) {
        Some(base) if base > 0 => (added(figure.value, base), true),
        _ => (exact(figure.value), false),
    }
}

/// The figure of the same measurement without any tool.
#[must_use]
pub fn without_tool(figure: &Figure, all: &[Figure]) -> Option<u64> {
    let same = |other: &&Figure| other.measured == figure.measured && other.subject == NO_TOOL;
    all.iter().find(same).map(|other| other.value)
}

/// By how much a value exceeds another one, in percent.
#[must_use]
pub fn added(value: u64, base: u64) -> f64 {
    (exact(value) / exact(base) - 1.0) * 100.0
}

/// How much worse than the recorded figure a figure may be: in percentage points, or in the
/// figure's own unit. The same build repeats to the instruction. Another build differs by half of
/// this margin, through the ports that the kernel chooses, how full its tables are by then, and
/// what its timers interrupt.
fn noise(figure: &Figure, before: f64, is_percentage: bool) -> f64 {
    if is_percentage {
        return match figure.measured.as_str() {
            // Every connection pays this.
            "cost/orderly" => 0.5,
            // A short run of the same build has shown 4.5 points more than the recorded run, for an
            // unknown reason.
            cgroups if cgroups.starts_with("cgroups/") => f64::max(5.0, before.abs() * 0.3),
            _ => f64::max(3.0, before.abs() * 0.2),
        };
    }
    match figure.unit {
        Unit::Instructions | Unit::Rate => before * 0.25,
        Unit::Verified => before * 0.02,
        // Room for one more variable, as compilers differ.
        Unit::Stack => 32.0,
        // The pages of the program and of its allocator that a run touches differ.
        Unit::Bytes => f64::max(1_500_000.0, before * 0.15),
        // Zero stays zero.
        Unit::Count => before * 0.1,
        Unit::Size => 0.0,
    }
}

/// Describes each figure of socktrace that is worse than the recorded one by more than its noise.
/// Figures of other tools are not checked.
#[must_use]
pub fn worse(before: &[Figure], now: &[Figure]) -> Vec<String> {
    let ours = now.iter().filter(|figure| figure.subject.starts_with("socktrace"));
    let compared = ours.filter_map(|figure| {
        let same =
            |other: &&Figure| other.measured == figure.measured && other.subject == figure.subject;
        let (old, _) = compared(before.iter().find(same)?, before);
        let (new, is_percentage) = compared(figure, now);
        let more = match figure.unit {
            Unit::Size => return None,
            Unit::Rate => old - new,
            _ => new - old,
        };
        let noise = noise(figure, old, is_percentage);
        let percent = if is_percentage { " %" } else { "" };
        (more > noise).then(|| {
            format!(
                "{} with {}: {new:.2}{percent}, recorded as {old:.2}{percent}, noise {noise:.2}",
                figure.measured, figure.subject
            )
        })
    });
    compared.collect()
}

fn exact(value: u64) -> f64 {
    // Beyond 2^53, the last bits do not matter.
    #[expect(clippy::cast_precision_loss, reason = "figures are measured")]
    {
        value as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(subject: &str, unit: Unit, value: u64) -> Figure {
        Figure { measured: "cost/x".into(), subject: subject.into(), unit, value }
    }

    fn run(value: u64) -> [Figure; 2] {
        let unit = Unit::Instructions;
        [figure(NO_TOOL, unit, 100_000), figure("socktrace", unit, value)]
    }

    #[test]
    fn what_a_tool_adds_is_compared_and_not_the_kernel() {
        let slower = run(102_000).map(|mut figure| {
            figure.value *= 2;
            figure
        });
        assert_eq!(worse(&run(102_000), &slower), [""; 0]);
        assert_eq!(worse(&run(102_000), &run(104_900)), [""; 0]);
        let [line] = worse(&run(102_000), &run(106_000)).try_into().unwrap();
        let expected = "cost/x with socktrace: 6.00 %, recorded as 2.00 %, noise 3.00";
        assert_eq!(line, expected);
    }

    #[test]
    fn what_every_connection_pays_has_little_noise() {
        let orderly =
            |value| run(value).map(|figure| Figure { measured: "cost/orderly".into(), ..figure });
        assert_eq!(worse(&orderly(103_000), &orderly(103_400)), [""; 0]);
        assert_eq!(worse(&orderly(103_000), &orderly(103_600)).len(), 1);
    }

    #[test]
    fn a_megabyte_is_noise() {
        let resident = |value| [figure("socktrace", Unit::Bytes, value)];
        assert_eq!(worse(&resident(5_000_000), &resident(6_400_000)), [""; 0]);
        assert_eq!(worse(&resident(5_000_000), &resident(6_600_000)).len(), 1);
    }

    #[test]
    fn what_must_not_happen_has_no_noise() {
        let counts = |value| [figure("socktrace", Unit::Count, value)];
        assert_eq!(worse(&counts(0), &counts(1)).len(), 1);
        assert_eq!(worse(&counts(1), &counts(0)).len(), 0);
    }

    #[test]
    fn more_is_better_for_a_rate_and_nothing_for_a_size() {
        let of = |unit, value| [figure("socktrace", unit, value)];
        assert_eq!(worse(&of(Unit::Rate, 100), &of(Unit::Rate, 50)).len(), 1);
        assert_eq!(worse(&of(Unit::Rate, 100), &of(Unit::Rate, 200)).len(), 0);
        assert_eq!(worse(&of(Unit::Size, 100), &of(Unit::Size, 200)).len(), 0);
    }

    #[test]
    fn other_tools_are_not_ours() {
        let of = |value| [figure("bpftrace", Unit::Count, value)];
        assert_eq!(worse(&of(0), &of(1)).len(), 0);
    }
}
