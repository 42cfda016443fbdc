//! The daemon's reports that a host refuses tracing.

/// Exit codes for a refusal: missing privileges, an unsuitable kernel, or a policy that forbids
/// tracing.
const EXIT_CODES: std::ops::RangeInclusive<i32> = 10..=19;

/// The start of the daemon's messages.
const PREFIX: &str = "socktrace: ";

/// Words that only belong in a log for developers.
const UNPLAIN: [&str; 5] = ["backtrace", "panicked at", "processed ", "R0", "Error {"];

/// Whether the daemon exited because the host refuses tracing.
#[must_use]
pub fn is_refusal(exit: Option<i32>) -> bool {
    exit.is_some_and(|code| EXIT_CODES.contains(&code))
}

/// Extracts the reason from the daemon's output to stderr.
#[must_use]
pub fn reason(stderr: &str) -> &str {
    let line = stderr.lines().find_map(|line| line.strip_prefix(PREFIX));
    line.unwrap_or("it does not say why").trim_end_matches('.')
}

/// Checks that a message states what failed, why, and what to do.
///
/// # Errors
///
/// When the message does not; the error describes the problem.
pub fn check(stderr: &str) -> Result<(), String> {
    let text = stderr.trim();
    let problem = if !text.starts_with(PREFIX) {
        format!("it does not start with `{PREFIX}`")
    } else if let Some(word) = UNPLAIN.into_iter().find(|word| text.contains(word)) {
        format!("it contains `{word}`, which is for developers")
    } else if sentences(text) < 2 {
        "it is a single sentence; it must say what failed, why and what to do".into()
    } else {
        return Ok(());
    };
    Err(format!("the message for a host that refuses tracing is not plain: {problem}:\n{text}"))
}

fn sentences(text: &str) -> usize {
    text.lines()
        .flat_map(|line| line.split_inclusive(". "))
        .filter(|sentence| sentence.split_whitespace().count() >= 3)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "socktrace: tracing needs root. This process has no CAP_BPF.\nRun: sudo \
                        socktrace\n";

    #[test]
    fn refusals_are_recognized_by_exit_code() {
        assert!(is_refusal(Some(10)) && is_refusal(Some(19)));
        assert!(!is_refusal(Some(9)) && !is_refusal(Some(20)) && !is_refusal(None));
    }

    #[test]
    fn reason_is_the_first_line() {
        assert_eq!(reason(GOOD), "tracing needs root. This process has no CAP_BPF");
        assert_eq!(reason(""), "it does not say why");
    }

    #[test]
    fn messages_for_developers_are_recognized() {
        assert_eq!(check(GOOD), Ok(()));
        for bad in [
            "",
            "Error: no. Really not so.",
            "socktrace: it failed",
            "socktrace: it failed. Here is why it did.\nprocessed 12 insns",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
