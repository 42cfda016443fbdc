//! Contents of `deploy/otel`, as `ClickHouse` and Grafana get them.

use serde_json::Value;

/// The tables and views.
pub const SCHEMA: &str = include_str!("../../../deploy/otel/clickhouse.sql");

/// The dashboard as Grafana reads it.
pub const DASHBOARD: &str = include_str!("../../../deploy/otel/grafana.json");

/// Values for the variables and macros of Grafana and its data source: every choice is selected,
/// and the time range is unlimited.
const VARIABLES: [(&str, &str); 5] = [
    ("$__fromTime", "toDateTime('1971-01-01 00:00:00')"),
    ("$__toTime", "toDateTime('2100-01-01 00:00:00')"),
    ("$__timeInterval(ts)", "toStartOfInterval(toDateTime(ts), INTERVAL 60 second)"),
    ("${host:sqlstring}", "SELECT host FROM otel.failures"),
    ("${service:sqlstring}", "SELECT service FROM otel.failures"),
];

/// Splits the schema into statements.
#[must_use]
pub fn statements() -> Vec<String> {
    let lines = SCHEMA.lines().filter(|line| !line.trim_start().starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    statements.map(str::to_owned).collect()
}

/// The dashboard's queries to `ClickHouse`: title and query of each panel, and name and query of
/// each variable.
///
/// # Errors
///
/// When the dashboard is not JSON, or a query is missing.
pub fn queries() -> Result<Vec<(String, String)>, String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).map_err(|error| error.to_string())?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let query = |name: &Value, query: &Value| {
        let name = name.as_str().ok_or("something has no name")?;
        let query = query.as_str().ok_or_else(|| format!("{name} has no query"))?;
        let query = VARIABLES
            .iter()
            .fold(query.to_owned(), |query, (variable, value)| query.replace(variable, value));
        Ok((name.to_owned(), query))
    };
    let of_panels = list(&dashboard["panels"]);
    let of_panels = of_panels.iter().flat_map(|panel| {
        let each = |target: Value| query(&panel["title"], &target["rawSql"]);
        list(&panel["targets"]).into_iter().map(each).collect::<Vec<_>>()
    });
    let variables = list(&dashboard["templating"]["list"]);
    let variables = variables.iter().filter(|variable| variable["type"] == "query");
    of_panels
        .chain(variables.map(|variable| query(&variable["name"], &variable["query"])))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::dashboard::differences;

    const COLLECTOR: [&str; 3] = [
        include_str!("../../../deploy/otel/collector.yaml"),
        include_str!("../../../deploy/otel/collector-kubernetes.yaml"),
        include_str!("../../../deploy/otel/builder.yaml"),
    ];
    /// Documentation of what is sent, and the code that sends it.
    const DOCUMENTED: &str = include_str!("../../../docs/otlp.md");
    const SENT: [&str; 2] = [
        include_str!("../../../socktrace/src/otlp/record.rs"),
        include_str!("../../../socktrace/src/otlp/resource.rs"),
    ];

    /// Quoted words of a text that look like names of attributes.
    fn quoted(text: &str, quote: char) -> BTreeSet<&str> {
        let is_name = |word: &&str| {
            word.contains('.')
                && word.chars().all(|it| it.is_ascii_lowercase() || "._".contains(it))
        };
        text.split(quote).filter(is_name).collect()
    }

    #[test]
    fn the_schema_reads_attributes_that_are_sent() {
        let is_attribute = |name: &&str| !name.starts_with("otel.");
        let used: BTreeSet<_> = quoted(SCHEMA, '\'').into_iter().filter(is_attribute).collect();
        assert!(used.len() > 20, "{used:?}");
        let documented = quoted(DOCUMENTED, '`');
        let unknown: Vec<_> = used.difference(&documented).collect();
        assert!(unknown.is_empty(), "not in docs/otlp.md: {unknown:?}");
        let is_ours = |name: &&str| name.starts_with("socktrace.");
        for name in used.into_iter().filter(is_ours) {
            assert!(SENT.iter().any(|code| code.contains(name)), "{name} is not sent");
        }
    }

    #[test]
    fn queries_use_tables_and_views_that_there_are() {
        let made: BTreeSet<_> = statements()
            .iter()
            .filter_map(|statement| {
                let mut words =
                    statement.split_whitespace().filter(|word| word.starts_with("otel."));
                words.next().map(str::to_owned)
            })
            .collect();
        assert!(made.contains("otel.both_ends") && made.contains("otel.otel_logs"), "{made:?}");
        let queries = queries().unwrap();
        assert!(queries.len() >= 10);
        for (name, query) in queries {
            assert!(!query.contains('$'), "{name}: {query}");
            let words = query.split(|it: char| !(it.is_ascii_alphanumeric() || "._".contains(it)));
            for word in words.filter(|word| word.starts_with("otel.")) {
                assert!(made.contains(word), "{name} asks {word}");
            }
        }
    }

    #[test]
    fn the_dashboard_has_what_grafana_knows() {
        let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let schema = match panel["type"].as_str().unwrap() {
                "stat" => include_str!("../../grafana/schema/stat.json"),
                "table" => include_str!("../../grafana/schema/table.json"),
                "timeseries" => include_str!("../../grafana/schema/timeseries.json"),
                other => panic!("no schema for {other}"),
            };
            let mut own = serde_json::json!({ "options": panel["options"] });
            if let Some(custom) = panel["fieldConfig"]["defaults"].get("custom") {
                own["custom"] = custom.clone();
            }
            let found = differences(schema, &own);
            assert!(found.is_empty(), "{}: {found:#?}", panel["title"]);
        }
        let found = differences(include_str!("../../grafana/schema/dashboard.json"), &dashboard);
        assert!(found.is_empty(), "{found:#?}");
    }

    /// The Collector itself checks these files in `cargo xtask fleet`.
    #[test]
    fn the_collectors_files_are_yaml() {
        for text in COLLECTOR {
            use saphyr::LoadableYamlNode as _;
            let parsed = saphyr::Yaml::load_from_str(text).unwrap();
            assert!(parsed.len() == 1 && parsed[0].is_mapping(), "{parsed:?}");
        }
    }
}
