//! Checks of the Helm chart. It is rendered with several values, judged by Kubernetes' schemas,
//! types and Pod Security levels, and compared with the manifests and files that it repeats.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use socktrace_lab::{
    go::{self, HELM},
    process,
    setup::Setup,
    workspace,
};

use super::containers;

const CHART: &str = "deploy/helm/socktrace";
const MANIFESTS: &str = "deploy/kubernetes";

/// Values to render the chart with, and the reasons why Pod Security's level `baseline` refuses the
/// pods, as documented in docs/install.md.
const VALUES: [(&str, &[&str], &str); 4] = [
    (
        "default",
        &["--set", "podMonitor.enabled=true"],
        "non-default capabilities, hostPath volumes",
    ),
    ("operator", &["--values", "ci/operator.yaml"], "non-default capabilities, hostPath volumes"),
    ("otlp", &["--values", "ci/otlp.yaml"], "non-default capabilities, hostPath volumes"),
    (
        "old-nodes",
        &["--values", "ci/old-nodes.yaml"],
        "non-default capabilities, host namespaces, hostPath volumes, seLinuxOptions, seccompProfile",
    ),
];

/// Values that the schema refuses, and what its message names.
const REFUSED: [(&str, &str); 6] = [
    ("image.name=socktrace", "name"),
    ("extraCapabilities={CAP_BPF}", "/extraCapabilities/0"),
    ("otlp.endpoint=https://user:secret@collector", "/otlp/endpoint"),
    ("port=80", "/port"),
    ("networkPolicy.ingressFrom=monitoring", "/networkPolicy/ingressFrom"),
    ("podMonitor.interval=often", "/podMonitor/interval"),
];

/// A manifest as judged by `xtask/kubernetes`.
#[derive(Debug, Deserialize)]
struct Judged {
    document: Value,
    /// Pod Security levels that refuse it, with their reasons.
    refused: BTreeMap<String, String>,
}

/// Checks the chart, if Go is installed.
///
/// # Errors
///
/// When the chart is wrong, or a program that judges it cannot be installed.
pub(super) fn check(setup: &Setup) -> Result<()> {
    let Some(helm) = HELM.ensure(setup)? else {
        eprintln!("No Go of 1.21 or later here, which compiles helm: the chart is not checked");
        return Ok(());
    };
    let judge = go::build(&workspace::root().join("xtask/kubernetes"))?;
    let directory = tempfile::tempdir()?;
    let chart = Chart { helm, root: workspace::root().join(CHART) };
    let package = chart.package(directory.path())?;
    let mut rendered = BTreeMap::new();
    for (name, values, reasons) in VALUES {
        process::output(chart.command("lint").args(["--strict", "."]).args(values))?;
        let text = chart.render(Path::new("."), values)?;
        ensure!(text == chart.render(&package, values)?, "the packaged chart renders differently");
        let file = directory.path().join(format!("{name}.yaml"));
        fs::write(&file, text)?;
        containers::validate(std::slice::from_ref(&file))?;
        let documents = judged(&judge, &file)?;
        check_levels(&documents, reasons).with_context(|| format!("with the values {name}"))?;
        rendered.insert(name, documents);
        println!("ok   chart with the values {name}");
    }
    for (value, named) in REFUSED {
        let mut render = chart.command("template");
        let Err(error) = process::output(render.args(["socktrace", ".", "--set", value])) else {
            bail!("the schema of the values allows {value}");
        };
        ensure!(format!("{error:#}").contains(named), "of {value} helm says: {error:#}");
    }
    println!("ok   schema of the chart's values");
    for name in ["daemonset", "networkpolicy", "podmonitor", "serviceaccount"] {
        let file = workspace::root().join(MANIFESTS).join(name).with_extension("yaml");
        let manifest = judged(&judge, &file)?.pop().context("a manifest")?;
        let ours = of_kind(&rendered["default"], kind(&manifest.document))?;
        let (ours, theirs) = (plain(ours), plain(&manifest.document));
        ensure!(ours == theirs, "the chart has\n{ours:#}\nand {}\n{theirs:#}", file.display());
    }
    let rules = workspace::root().join("deploy/prometheus/socktrace.rules.yml");
    let rules = judged(&judge, &rules)?.pop().context("rules")?.document;
    let operator = &rendered["operator"];
    ensure!(of_kind(operator, "PrometheusRule")?["spec"] == rules, "the chart has other rules");
    let dashboard = fs::read_to_string(workspace::root().join("deploy/grafana/socktrace.json"))?;
    let dashboard: Value = serde_json::from_str(&dashboard)?;
    let ours = of_kind(operator, "ConfigMap")?["data"]["socktrace.json"].as_str();
    let ours: Value = serde_json::from_str(ours.context("no dashboard")?)?;
    ensure!(ours == dashboard, "the chart has another dashboard");
    println!("ok   chart has what the manifests, rules and dashboard have");
    Ok(())
}

struct Chart {
    helm: PathBuf,
    root: PathBuf,
}

impl Chart {
    fn command(&self, subcommand: &str) -> Command {
        let mut helm = Command::new(&self.helm);
        helm.arg(subcommand).current_dir(&self.root);
        helm
    }

    /// Renders what `helm install` would create.
    fn render(&self, chart: &Path, values: &[&str]) -> Result<String> {
        let mut render = self.command("template");
        render.arg("socktrace").arg(chart).args(["--namespace", "socktrace"]);
        process::output(render.args(values))
    }

    /// Builds the chart's archive, which contains the files that the chart links to.
    fn package(&self, directory: &Path) -> Result<PathBuf> {
        process::output(self.command("package").args([".", "--destination"]).arg(directory))?;
        let version = socktrace_lab::packages::stage::VERSION;
        Ok(directory.join(format!("socktrace-{version}.tgz")))
    }
}

fn judged(judge: &Path, file: &Path) -> Result<Vec<Judged>> {
    let manifests = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let output = Command::new(judge).stdin(manifests).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}", file.display());
    let lines = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    let documents = lines.collect::<Result<Vec<Judged>, _>>()?;
    Ok(documents.into_iter().filter(|judged| !judged.document.is_null()).collect())
}

fn check_levels(documents: &[Judged], reasons: &str) -> Result<()> {
    let is_set = |judged: &&Judged| kind(&judged.document) == "DaemonSet";
    let refused = &documents.iter().find(is_set).context("no DaemonSet")?.refused;
    let said = refused.get("baseline").map_or("nothing", String::as_str);
    ensure!(said == reasons, "`baseline` refuses it with {said}, not with {reasons}");
    ensure!(refused.contains_key("restricted"), "`restricted` accepts it");
    ensure!(!refused.contains_key("privileged"), "even `privileged` refuses it");
    Ok(())
}

fn kind(document: &Value) -> &str {
    document["kind"].as_str().unwrap_or_default()
}

fn of_kind<'a>(documents: &'a [Judged], wanted: &str) -> Result<&'a Value> {
    let found = documents.iter().find(|judged| kind(&judged.document) == wanted);
    Ok(&found.with_context(|| format!("the chart has no {wanted}"))?.document)
}

/// A manifest without the parts that may differ: labels, and the location of the image.
fn plain(document: &Value) -> Value {
    let mut plain = document.clone();
    for place in ["/metadata", "/spec/template/metadata"] {
        if let Some(metadata) = plain.pointer_mut(place).and_then(Value::as_object_mut) {
            metadata.remove("labels");
        }
    }
    for place in ["/spec/selector/matchLabels", "/spec/podSelector/matchLabels"] {
        if let Some(labels) = plain.pointer_mut(place).and_then(Value::as_object_mut) {
            labels.remove("app.kubernetes.io/instance");
        }
    }
    let container = plain.pointer_mut("/spec/template/spec/containers/0");
    if let Some(container) = container.and_then(Value::as_object_mut) {
        container.remove("image");
        container.remove("imagePullPolicy");
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_is_of_this_version() {
        let path = workspace::root().join(CHART).join("Chart.yaml");
        let chart = fs::read_to_string(path).expect("there");
        for key in ["version", "appVersion"] {
            let line = format!("{key}: {}", socktrace_lab::packages::stage::VERSION);
            assert!(chart.lines().any(|it| it == line), "no {line}");
        }
    }
}
