//! Draws the Grafana dashboard over an hour of failures in a guest, with Grafana's own components,
//! and makes the schemas that tests check it against.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::Uid;
use socktrace_lab::{
    boot::{Boot, Outcome, Terminal},
    kernel, prepare, process,
    qemu::{Accelerator, Mode},
    setup::Need,
    workspace,
};
use xtask_common::{
    arch::Arch,
    dashboard,
    report::{History, Report},
};

use crate::{cli::DashboardArgs, commands::vm};

/// Directory of the JavaScript programs in the tree, and the files that they make.
const SOURCES: &str = "xtask/grafana";
const SCHEMAS: &str = "xtask/grafana/schema";
const PICTURE: &str = "docs/dashboard.png";

/// Time for the browser to draw, in milliseconds of its virtual time.
const PATIENCE: u32 = 30_000;

/// Width of the picture, and height of the name above the panels, in pixels.
const WIDTH: u32 = 1600;
const HEADING: u64 = 44;

/// Renews the schemas and the picture.
///
/// # Errors
///
/// When something cannot be installed or run, or the picture is not drawn.
pub(crate) fn run(args: &DashboardArgs) -> Result<ExitCode> {
    args.no_setup.setup().ensure(&[Need::Dashboard])?;
    let project = Project::install()?;
    project.make_schemas()?;
    println!("{SCHEMAS}");
    let history = workspace::cache("grafana").join("history.json");
    if !args.redraw {
        let text = serde_json::to_string(&watch(args)?)?;
        fs::write(&history, text).with_context(|| format!("cannot write {}", history.display()))?;
    }
    let history = fs::read_to_string(&history)
        .with_context(|| format!("cannot read {}: run without --redraw", history.display()))?;
    project.draw(&history)?;
    println!("{PICTURE}");
    Ok(ExitCode::SUCCESS)
}

/// Runs a guest for an hour of its time, and returns Prometheus's answers.
fn watch(args: &DashboardArgs) -> Result<History> {
    let setup = args.no_setup.setup();
    let series = kernel::series(kernel::DEFAULT).map_err(anyhow::Error::msg)?;
    let (programs, (files, prometheus)) = prepare::programs_and(Arch::OWN, &setup, true, || {
        let files = prepare::boot_files(series, Arch::OWN, &setup, &args.mirrors)?;
        Ok((files, prepare::prometheus(Arch::OWN, &setup, &args.mirrors)?))
    })?;
    let mut history = None;
    let outcome = Boot {
        files: &files,
        programs: &programs,
        peers: None,
        prometheus: Some(&prometheus),
        network: &[],
        accelerator: Accelerator::Tcg,
        mode: Mode::Icount,
        append: "",
        command: ["guest", "history"].map(str::to_owned).into(),
        env: [].into(),
        terminal: Terminal::Shown,
        limits: None,
    }
    .run(|report| match report {
        Report::History(reported) => history = Some(reported),
        other => vm::show(other),
    })?;
    if let Outcome::Finished { code: 0 } = outcome {
        return history.context("the guest has reported nothing");
    }
    vm::finished(outcome)?;
    bail!("the guest's services did not fail as expected")
}

/// A copy of the JavaScript programs, with the packages that they need.
struct Project {
    directory: PathBuf,
}

impl Project {
    /// Copies the programs, and fetches the packages if necessary.
    fn install() -> Result<Self> {
        const LOCK: &str = "package-lock.json";
        let directory = workspace::cache("grafana").join("project");
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let sources = workspace::root().join(SOURCES);
        let read = |path: &Path| fs::read(path.join(LOCK)).ok();
        let is_installed = directory.join("node_modules").is_dir()
            && read(&directory).is_some_and(|lock| Some(lock) == read(&sources));
        for entry in fs::read_dir(&sources)? {
            let path = entry?.path();
            if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                fs::copy(&path, directory.join(name))
                    .with_context(|| format!("cannot copy {}", path.display()))?;
            }
        }
        let project = Self { directory };
        if !is_installed {
            eprintln!("Fetching the packages of Grafana's components by npm");
            // Install scripts are not needed, and nobody has reviewed them.
            let mut npm = project.command("npm");
            process::output(npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]))?;
        }
        Ok(project)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.directory);
        command
    }

    fn make_schemas(&self) -> Result<()> {
        let directory = workspace::root().join(SCHEMAS);
        process::output(self.command("node").arg("schema.mjs").arg(directory)).map(drop)
    }

    /// Draws the dashboard over a history.
    fn draw(&self, history: &str) -> Result<()> {
        process::run(self.command("npx").arg("tsc"))?;
        process::run(self.command("npx").args(["vite", "build"]))?;
        let page = self.directory.join("dist");
        let shown = format!("shown = {{ dashboard: {}, history: {history} }};", dashboard::JSON);
        fs::write(page.join("shown.js"), shown)?;
        let picture = workspace::root().join(PICTURE);
        let taken = page.join("picture.png");
        let height = dashboard::height().map_err(anyhow::Error::msg)? + HEADING;
        let profile = tempfile::tempdir()?;
        let mut browser = self.command("chromium");
        if Uid::effective().is_root() {
            // Chromium's own sandbox does not work for root. The page is only ours.
            browser.arg("--no-sandbox");
        }
        browser.args(["--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]);
        browser.args(["--disable-background-networking", "--disable-component-update"]);
        browser.args(["--disable-sync", "--allow-file-access-from-files"]);
        // Without this, parts that were laid out late may be missing.
        browser.arg("--run-all-compositor-stages-before-draw");
        browser.arg(format!("--user-data-dir={}", profile.path().display()));
        browser.arg(format!("--window-size={WIDTH},{height}"));
        browser.arg(format!("--virtual-time-budget={PATIENCE}"));
        browser.arg(format!("--screenshot={}", taken.display()));
        browser.arg(format!("file://{}", page.join("index.html").display()));
        process::output(&mut browser)?;
        ensure!(taken.is_file(), "chromium has drawn nothing");
        fs::rename(&taken, &picture).with_context(|| format!("cannot write {}", picture.display()))
    }
}
