//! The official OpenTelemetry Collector, built with the components in `deploy/otel/builder.yaml`.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use socktrace_lab::{process, progress, setup::Setup, workspace};

use super::engine::Engine;

/// Release of the builder and of all components.
const VERSION: &str = "0.161.0";

const BUILDER: &str = "go.opentelemetry.io/collector/cmd/builder";

/// Component that some mirrors of Go modules lack.
const KUBERNETES: &str = "k8sattributesprocessor";

/// Directory of the files that are shipped.
const SHIPPED: &str = "deploy/otel";

/// Longest time for it to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Builds the Collector, if necessary.
///
/// # Errors
///
/// When Go is missing, or a module cannot be fetched.
pub(super) fn ensure(setup: &Setup) -> Result<PathBuf> {
    let root = workspace::cache("tools").join(format!("otelcol-{VERSION}"));
    let program = root.join("otelcol/otelcol");
    if program.is_file() {
        return Ok(program);
    }
    if process::find("go").is_none() {
        bail!("missing: Go 1.25 or later, which builds the Collector: https://go.dev/dl");
    }
    if !setup.allowed {
        bail!("missing: the Collector, and --no-setup forbids building it. Run again without it.");
    }
    fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
    let step = progress::step("Compiling the OpenTelemetry Collector");
    let mut go = Command::new("go");
    go.args(["install", &format!("{BUILDER}@v{VERSION}")]).env("GOBIN", &root).current_dir(&root);
    process::output(&mut go).context("cannot build the Collector's builder")?;
    let parts = fs::read_to_string(shipped("builder.yaml"))?;
    let build = |parts: &str| {
        fs::write(root.join("builder.yaml"), parts)?;
        let mut builder = Command::new(root.join("builder"));
        process::output(builder.args(["--config", "builder.yaml"]).current_dir(&root))
    };
    if let Err(error) = build(&parts) {
        let without: Vec<_> = parts.lines().filter(|line| !line.contains(KUBERNETES)).collect();
        if !format!("{error:#}").contains(KUBERNETES) {
            return Err(error);
        }
        progress::note(format_args!(
            "Note: {KUBERNETES} is not available, so the Kubernetes part is not checked"
        ));
        build(&without.join("\n")).context("cannot build the Collector")?;
    }
    step.done(format_args!("Compiled the OpenTelemetry Collector {VERSION}"));
    Ok(program)
}

/// Has the Collector check the shipped configurations.
///
/// # Errors
///
/// When a configuration is wrong.
pub(super) fn validate(program: &Path) -> Result<()> {
    let has_kubernetes =
        process::output(Command::new(program).arg("components"))?.contains(KUBERNETES);
    let mut configurations = vec![vec!["collector.yaml"]];
    if has_kubernetes {
        configurations.push(vec!["collector.yaml", "collector-kubernetes.yaml"]);
    }
    for files in configurations {
        let mut check = Command::new(program);
        check.arg("validate");
        for file in &files {
            check.arg("--config").arg(shipped(file));
        }
        process::output(&mut check)
            .with_context(|| format!("the Collector rejects {}", files.join(" with ")))?;
        progress::note(format_args!("The Collector accepts {}", files.join(" with ")));
    }
    Ok(())
}

fn shipped(name: &str) -> PathBuf {
    workspace::root().join(SHIPPED).join(name)
}

/// A running Collector that writes to the engine. Killed when dropped.
pub(super) struct Collector {
    child: Child,
    /// Port for OTLP over HTTP.
    pub(super) port: u16,
    log: PathBuf,
}

impl Collector {
    /// Starts it with the shipped configuration.
    pub(super) fn start(program: &Path, engine: &Engine) -> Result<Self> {
        let port = free_port()?;
        let log = workspace::cache("vm-logs").join("fleet-collector.log");
        fs::create_dir_all(workspace::cache("vm-logs"))?;
        let child = Command::new(program)
            .arg("--config")
            .arg(shipped("collector.yaml"))
            .env("OTLP_LISTEN", format!("127.0.0.1:{port}"))
            .env("CLICKHOUSE_ENDPOINT", engine.url())
            .env("CLICKHOUSE_COMPRESS", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot run the Collector")?;
        let mut collector = Self { child, port, log };
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = collector.child.try_wait()?;
            ensure!(
                ended.is_none() && start.elapsed() < PATIENCE,
                "the Collector does not start: {}",
                collector.log.display()
            );
            thread::sleep(Duration::from_millis(50));
        }
        Ok(collector)
    }

    /// Peak memory of the process, in KiB.
    pub(super) fn peak_memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|text| text.trim().strip_suffix(" kB")).context("no VmHWM")?;
        Ok(number.parse()?)
    }

    /// Stops it, after it has written everything.
    pub(super) fn stop(mut self) -> Result<()> {
        signal::kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the Collector ended with {status}: {}", self.log.display());
        let said = fs::read_to_string(&self.log)?;
        let complaints: Vec<_> = said.lines().filter(|line| line.contains("\terror\t")).collect();
        ensure!(complaints.is_empty(), "the Collector complains: {complaints:#?}");
        Ok(())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Both fail only if the child has already ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that is not in use.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
