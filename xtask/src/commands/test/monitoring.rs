//! Checks of the metrics, the Prometheus rules and the Grafana dashboard, with Prometheus's own
//! tool.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result};
use socktrace_lab::{process, progress, workspace};
use xtask_common::dashboard;

use super::Count;

/// Arguments of promtool, in the directory with the rules.
const CHECKS: [(&str, &[&str]); 3] = [
    (
        "Prometheus's configuration",
        &["check", "config", "--syntax-only", "--lint=all", "prometheus.yml", "prometheus-tls.yml"],
    ),
    ("alert rules", &["check", "rules", "--lint=all", "--lint-fatal", "socktrace.rules.yml"]),
    ("tests of the alert rules", &["test", "rules", "socktrace.rules.test.yml"]),
];

/// Metrics page that the exporter's unit tests compare with.
const PAGE: &str = "socktrace/src/metrics/testdata/metrics.txt";

/// Runs all of these checks.
///
/// # Errors
///
/// When a file cannot be written.
pub(super) fn check(promtool: &Path) -> Result<Count> {
    let mut count = Count::default();
    let mut report = |name: &str, start: Instant, result: Result<String>| {
        let took = start.elapsed().as_secs_f64();
        match result {
            Ok(_) => {
                progress::print(format!("ok   host  {name}  {took:.1}s"));
                count.passed += 1;
            }
            Err(error) => {
                progress::print(format!("FAIL host  {name}: {error:#}"));
                count.failed += 1;
            }
        }
    };
    for (name, args) in CHECKS {
        let start = Instant::now();
        let mut command = Command::new(promtool);
        command.args(args).current_dir(workspace::root().join("deploy/prometheus"));
        report(name, start, process::output(&mut command));
    }
    let start = Instant::now();
    let rules = workspace::cache("dashboard.rules.yml");
    let text = dashboard_as_rules()?;
    fs::write(&rules, text).with_context(|| format!("cannot write {}", rules.display()))?;
    let mut command = Command::new(promtool);
    report(
        "queries of the dashboard",
        start,
        process::output(command.args(["check", "rules"]).arg(&rules)),
    );
    let start = Instant::now();
    let page = workspace::root().join(PAGE);
    let page = File::open(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(page).stdout(Stdio::null());
    report("the page of metrics", start, process::run(&mut command).map(|()| String::new()));
    Ok(count)
}

/// The dashboard's queries in a format that promtool reads.
fn dashboard_as_rules() -> Result<String> {
    let queries = dashboard::queries(dashboard::HOUR);
    let queries = queries.map_err(anyhow::Error::msg).context("the dashboard")?;
    let mut text = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, query) in queries.iter().enumerate() {
        // A JSON string is also a YAML string.
        let expr = serde_json::to_string(&query.expr)?;
        writeln!(text, "      - record: query{number}\n        expr: {expr}")?;
    }
    Ok(text)
}
