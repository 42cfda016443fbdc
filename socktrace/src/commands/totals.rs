//! Totals of failures for the one-line summaries.

use std::fmt::Display;

/// Number of failures with that of each cause, in the order given: `2 failures (reset_by_peer 2)`.
pub(super) fn failures(causes: impl IntoIterator<Item = (impl Display, u64)>) -> String {
    let mut total = 0;
    let mut list = Vec::new();
    for (cause, count) in causes {
        total += count;
        list.push(format!("{cause} {count}"));
    }
    let word = if total == 1 { "failure" } else { "failures" };
    if total == 0 {
        "no failures".to_owned()
    } else {
        format!("{total} {word} ({})", list.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::failures;

    #[test]
    fn one_failure_is_singular_and_none_has_no_list() {
        assert_eq!(failures([("reset_by_peer", 0)]), "no failures");
        assert_eq!(failures([("reset_by_peer", 1)]), "1 failure (reset_by_peer 1)");
        let causes = [("reset_by_peer", 2), ("user_timeout", 1)];
        assert_eq!(failures(causes), "3 failures (reset_by_peer 2, user_timeout 1)");
    }
}
