//! Queries of the dashboard in `deploy/grafana`, as Grafana sends them to Prometheus.

use serde_json::Value;

/// The dashboard as Grafana reads it.
pub const JSON: &str = include_str!("../../../deploy/grafana/socktrace.json");

/// Values that Grafana substitutes for its time variables.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// `$__rate_interval`: the interval over which rates are computed.
    pub rate_interval: &'static str,
    /// `$__range`: the time range shown.
    pub range: &'static str,
}

/// The last hour, with rates over the interval that most rules use.
pub const HOUR: Times = Times { rate_interval: "5m", range: "1h" };

/// Pixels from one row of Grafana's grid to the next.
const ROW: u64 = 38;

/// Height of all panels together, in pixels.
///
/// # Errors
///
/// When the dashboard is not JSON, or a panel has no position.
pub fn height() -> Result<u64, String> {
    let dashboard: Value = serde_json::from_str(JSON).map_err(|error| error.to_string())?;
    let panels = dashboard["panels"].as_array().ok_or("no panels")?;
    let end = |panel: &Value| {
        let place = &panel["gridPos"];
        place["y"].as_u64().zip(place["h"].as_u64()).map(|(top, height)| top + height)
    };
    let ends = panels.iter().map(end).collect::<Option<Vec<_>>>().ok_or("a panel has no place")?;
    Ok(ends.into_iter().max().unwrap_or(0) * ROW)
}

/// A query of the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The title of its panel, or the name of its annotations.
    pub panel: String,
    /// Ids of the panel and of the query, or the name of the annotations.
    pub id: String,
    /// The query expression.
    pub expr: String,
    /// Whether it is a range query. If not, it is evaluated at the end of the range only.
    pub over_range: bool,
}

/// All queries, with every choice of the dashboard's variables selected.
///
/// # Errors
///
/// When the dashboard is not JSON, or a panel has no title.
pub fn queries(times: Times) -> Result<Vec<Query>, String> {
    let dashboard: Value = serde_json::from_str(JSON).map_err(|error| error.to_string())?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let variables = [
        ("$__rate_interval", times.rate_interval),
        ("$__range", times.range),
        ("$instance", ".*"),
        ("$service", ".*"),
    ];
    let query = |panel: &Value, id: String, target: &Value, over_range: bool| {
        let panel = panel.as_str().ok_or("a panel has no title")?.to_owned();
        let expr = target["expr"].as_str();
        let expr = expr.ok_or_else(|| format!("{panel} has a target without query"))?;
        let expr = variables
            .iter()
            .fold(expr.to_owned(), |expr, (variable, value)| expr.replace(variable, value));
        Ok::<_, String>(Query { panel, id, expr, over_range })
    };
    let panels = list(&dashboard["panels"]);
    let targets = panels.iter().flat_map(|panel| {
        let each = |target: Value| {
            let id = format!("{}/{}", panel["id"], target["refId"].as_str().unwrap_or_default());
            query(&panel["title"], id, &target, target["range"] == true)
        };
        list(&panel["targets"]).into_iter().map(each)
    });
    let annotations = list(&dashboard["annotations"]["list"]);
    let annotations = annotations.iter().map(|one| {
        let id = one["name"].as_str().unwrap_or_default().to_owned();
        query(&one["name"], id, one, true)
    });
    targets.chain(annotations).collect()
}

/// Violations in a value of a schema made from Grafana's types.
#[cfg(test)]
pub(crate) fn differences(schema: &str, value: &Value) -> Vec<String> {
    let schema = serde_json::from_str(schema).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors = validator.iter_errors(value);
    errors.map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    const RULES: &str = include_str!("../../../deploy/prometheus/socktrace.rules.yml");
    const METRICS: &str = include_str!("../../../docs/metrics.md");
    const CARGO: &str = include_str!("../../../Cargo.toml");
    const PATTERNS: &str = include_str!("../../../docs/patterns.md");

    /// Fields that Grafana's types lack, because they belong to its Prometheus data source.
    const OF_PROMETHEUS: [&str; 4] = ["expr", "step", "textFormat", "titleFormat"];

    #[test]
    fn has_what_grafana_knows_and_nothing_else() {
        let mut dashboard: Value = serde_json::from_str(JSON).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let schema = match panel["type"].as_str().unwrap() {
                "stat" => include_str!("../../grafana/schema/stat.json"),
                "table" => include_str!("../../grafana/schema/table.json"),
                "timeseries" => include_str!("../../grafana/schema/timeseries.json"),
                other => panic!("no schema for {other}"),
            };
            let mut own = json!({ "options": panel["options"] });
            if let Some(custom) = panel["fieldConfig"]["defaults"].get("custom") {
                own["custom"] = custom.clone();
            }
            let differences = differences(schema, &own);
            assert!(differences.is_empty(), "{}: {differences:#?}", panel["title"]);
        }
        for annotations in dashboard["annotations"]["list"].as_array_mut().unwrap() {
            let annotations = annotations.as_object_mut().unwrap();
            for name in OF_PROMETHEUS {
                assert!(annotations.remove(name).is_some(), "no {name}");
            }
        }
        let schema = include_str!("../../grafana/schema/dashboard.json");
        let found = differences(schema, &dashboard);
        assert!(found.is_empty(), "{found:#?}");

        // The schemas must reject something.
        dashboard["panels"][0]["title"] = json!(1);
        dashboard["styles"] = json!("dark");
        assert_eq!(differences(schema, &dashboard).len(), 2);
        let own = json!({ "options": { "colorMode": "foreground" } });
        assert!(!differences(include_str!("../../grafana/schema/stat.json"), &own).is_empty());
    }

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

    /// Expressions and annotations of the rules, without comments and group names.
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
        let queries = queries(HOUR).unwrap();
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
        for query in queries(HOUR).unwrap() {
            assert!(!query.expr.contains('$'), "{query:?}");
        }
    }

    #[test]
    fn every_alert_links_to_a_section() {
        let repository = CARGO.lines().find_map(|line| line.strip_prefix("repository = \""));
        let repository = repository.unwrap().trim_end_matches('"');
        let link = format!("runbook_url: {repository}/blob/main/docs/patterns.md#");
        let is_kept = |character: &char| character.is_alphanumeric() || "- ".contains(*character);
        let anchor = |heading: &str| {
            heading.to_lowercase().chars().filter(is_kept).collect::<String>().replace(' ', "-")
        };
        let sections: BTreeSet<_> =
            PATTERNS.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
        let alerts: Vec<_> = RULES.split("- alert: ").skip(1).collect();
        assert!(!alerts.is_empty());
        for alert in alerts {
            let name = alert.lines().next().unwrap();
            let links: Vec<_> =
                alert.lines().filter_map(|line| line.trim().strip_prefix(&link)).collect();
            let [section] = links[..] else { panic!("{name} has these links: {links:?}") };
            assert!(sections.contains(section), "{name}: no {section} in docs/patterns.md");
        }
    }
}
