//! The queries of the dashboard in `deploy/grafana`, as Prometheus is asked them.

use serde_json::Value;

/// The dashboard as Grafana reads it.
pub const JSON: &str = include_str!("../../deploy/grafana/socktrace.json");

/// What Grafana puts in place of its variables: everything is chosen, of the last hour.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "5m"), ("$__range", "1h"), ("$instance", ".*"), ("$service", ".*")];

/// A query of the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The title of its panel, or the name of its annotations.
    pub panel: String,
    /// What Prometheus is asked.
    pub expr: String,
}

/// All queries.
///
/// # Errors
///
/// When the dashboard is no JSON, or a panel has no title.
pub fn queries() -> Result<Vec<Query>, String> {
    let dashboard: Value = serde_json::from_str(JSON).map_err(|error| error.to_string())?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let query = |panel: &Value, expr: &Value| {
        let panel = panel.as_str().ok_or("a panel has no title")?.to_owned();
        let expr = expr.as_str().ok_or_else(|| format!("{panel} has a target without query"))?;
        let expr = VARIABLES
            .iter()
            .fold(expr.to_owned(), |expr, (variable, value)| expr.replace(variable, value));
        Ok::<_, String>(Query { panel, expr })
    };
    let panels = list(&dashboard["panels"]);
    let targets = panels.iter().flat_map(|panel| {
        list(&panel["targets"]).into_iter().map(|target| query(&panel["title"], &target["expr"]))
    });
    let annotations = list(&dashboard["annotations"]["list"]);
    let annotations = annotations.iter().map(|one| query(&one["name"], &one["expr"]));
    targets.chain(annotations).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const RULES: &str = include_str!("../../deploy/prometheus/socktrace.rules.yml");
    const METRICS: &str = include_str!("../../docs/metrics.md");
    const PATTERNS: &str = include_str!("../../docs/patterns.md");

    /// Names of metrics and recording rules in a text.
    fn names(text: &str) -> BTreeSet<&str> {
        let is_part = |part: char| part.is_ascii_alphanumeric() || part == '_' || part == ':';
        let words = text.split(|part| !is_part(part));
        words
            .filter(|word| word.starts_with("socktrace_") || word.starts_with("socktrace:"))
            .map(|word| {
                let parts = ["_bucket", "_sum", "_count"];
                parts.iter().find_map(|part| word.strip_suffix(part)).unwrap_or(word)
            })
            .collect()
    }

    /// Expressions of the rules, and annotations, without comments and names of groups.
    fn rules() -> String {
        let is_text = |line: &&str| {
            let line = line.trim_start();
            !line.starts_with('#') && !line.starts_with("- name:") && !line.starts_with("- record:")
        };
        RULES.lines().filter(is_text).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn panels_and_rules_use_metrics_that_there_are() {
        let recorded = RULES.lines().filter_map(|line| line.trim().strip_prefix("- record: "));
        let recorded: BTreeSet<_> = recorded.collect();
        assert!(!recorded.is_empty());
        let queries = queries().unwrap();
        assert!(queries.len() > 15);
        let mut used: BTreeSet<_> = queries.iter().flat_map(|query| names(&query.expr)).collect();
        let rules = rules();
        used.extend(names(&rules));
        let documented = names(METRICS);
        let unknown: Vec<_> = used
            .iter()
            .filter(|name| !documented.contains(*name) && !recorded.contains(*name))
            .collect();
        assert!(unknown.is_empty(), "not in docs/metrics.md: {unknown:?}");
    }

    #[test]
    fn no_variable_is_left_in_a_query() {
        for query in queries().unwrap() {
            assert!(!query.expr.contains('$'), "{query:?}");
        }
    }

    #[test]
    fn every_alert_has_a_section() {
        let is_kept = |character: &char| character.is_alphanumeric() || "- ".contains(*character);
        let anchor = |heading: &str| {
            heading.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-")
        };
        let sections: BTreeSet<_> =
            PATTERNS.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        let alerts = RULES.lines().filter(|line| line.trim().starts_with("- alert: ")).count();
        let runbooks: Vec<_> = RULES
            .lines()
            .filter_map(|line| line.trim().strip_prefix("runbook: docs/patterns.md#"))
            .collect();
        assert_eq!(alerts, runbooks.len());
        for section in runbooks {
            assert!(sections.contains(section), "no section {section} in docs/patterns.md");
        }
    }
}
