//! The container image, built by its recipe and run by Podman with the documented options, next to
//! another container.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::libc;
use serde_json::Value;
use xtask_common::{http, job};

use super::{
    super::{event_schema, tracer},
    unit::{run, until},
};

/// Directory with the names of Podman's containers, as in the recipe.
const NAMES: &str = "/var/lib/containers/storage/overlay-containers";

/// Options, in addition to the documented ones, to leave root and to read root's files after that.
const LEAVE_ROOT: [&str; 6] =
    ["--cap-add", "SETUID", "--cap-add", "SETGID", "--cap-add", "DAC_READ_SEARCH"];

/// A guest's root file system cannot be replaced by `pivot_root`.
const SETTINGS: &str = "\
[engine]
no_pivot_root = true
[network]
firewall_driver = \"nftables\"
";

/// Recipe of an image whose program fails.
const VICTIM_RECIPE: &str = "FROM scratch\nCOPY init /init\nENTRYPOINT [\"/init\", \"child\"]\n";

/// Name of the image and of the container.
const VICTIM: &str = "victim";

/// Numbers of the other container's connections that are reset, one per round.
const RESETS: [usize; 2] = [1, 4];

/// The kernel's overflow uid.
const NOBODY: u32 = 65_534;

/// Bit of `CAP_DAC_READ_SEARCH`.
const DAC_READ_SEARCH: u64 = 1 << 2;

/// With only the documented privileges, and from its own network namespace, socktrace reports
/// another container's failures under that container's name: in metrics, JSON and lines. With one
/// privilege less, it reports the missing one.
pub(in super::super) fn container() -> Result<()> {
    make_images()?;
    for privilege in ["BPF", "PERFMON"] {
        lacks(privilege).with_context(|| format!("without CAP_{privilege}"))?;
    }
    let volume = format!("--volume={NAMES}:{NAMES}:ro");
    let named = [volume.as_str()];
    let leaving = [&named[..], &LEAVE_ROOT].concat();
    let exporter = Tracer::start("exporter", &documented()?, &named, &[])?;
    let quiet = unpublished()?;
    let json = ["--no-metrics", "--output", "json"];
    let streaming = Tracer::start("streaming", &quiet, &named, &json)?;
    let lines = Tracer::start("lines", &quiet, &leaving, &["--no-metrics"])?;
    let nobody = Tracer::start("nobody", &quiet, &["--user=65534"], &json)?;
    for tracer in [&exporter, &streaming] {
        tracer.has_become(0, 0)?;
        tracer.says("still running as root: changing user needs CAP_SETUID and CAP_SETGID")?;
    }
    lines.has_become(NOBODY, DAC_READ_SEARCH)?;
    nobody.has_become(NOBODY, 0)?;

    run(&["podman", "run", "--detach", "--name", VICTIM, "--network=none", "victim", "keep"])?;
    let id = run(&["podman", "inspect", "--format", "{{.Id}}", VICTIM])?;
    // Names are looked up when a container first fails, and a line does not wait long for them.
    for count in RESETS {
        run(&["podman", "exec", VICTIM, "/init", "child", "reset", &count.to_string()])?;
        for tracer in [&streaming, &lines, &nobody] {
            until(|| {
                ensure!(tracer.lines()?.contains("ECONNRESET"), "{} reports nothing", tracer.name);
                Ok(())
            })?;
        }
    }
    until(is_counted)?;
    until(|| streaming.reports(id.trim(), &VICTIM.into()))?;
    // This daemon has no access to the files with the names.
    until(|| nobody.reports(id.trim(), &Value::Null))?;
    until(|| {
        let said = lines.lines()?;
        let resets = said.lines().filter(|line| line.contains("ECONNRESET"));
        let count =
            resets.filter(|line| line.split_whitespace().any(|word| word == VICTIM)).count();
        ensure!(count >= RESETS[1], "{count} of {RESETS:?} lines name {VICTIM}:\n{said}");
        Ok(())
    })?;
    for tracer in [exporter, streaming, lines, nobody] {
        tracer.stop()?;
    }
    run(&["podman", "rm", "--force", "--time=0", VICTIM]).map(drop)
}

/// Builds both images from their recipes.
fn make_images() -> Result<()> {
    fs::create_dir_all("/etc/containers")?;
    fs::write("/etc/containers/containers.conf", SETTINGS)?;
    let (context, recipe) = ("/run/victim", "/run/victim/Containerfile");
    fs::create_dir_all(context)?;
    fs::copy("/init", Path::new(context).join("init"))?;
    fs::write(recipe, VICTIM_RECIPE)?;
    let documented = documented()?;
    let image = documented.last().context("no image")?;
    for (name, context) in [(image.as_str(), job::IMAGE), (VICTIM, context)] {
        run(&["podman", "build", "--quiet", "--tag", name, context])?;
    }
    Ok(())
}

/// Options and image of the command that the recipe documents.
fn documented() -> Result<Vec<String>> {
    let recipe = fs::read_to_string(Path::new(job::IMAGE).join("Containerfile"))?;
    let lines = recipe.lines().map(|line| line.trim_start_matches('#').trim());
    let mut words = Vec::new();
    for line in lines.skip_while(|line| !line.starts_with("podman run ")) {
        let (text, goes_on) = line.strip_suffix('\\').map_or((line, false), |text| (text, true));
        words.extend(text.split_whitespace().map(str::to_owned));
        if !goes_on {
            break;
        }
    }
    ensure!(words.len() > 2, "the recipe documents no command");
    words.drain(..2);
    Ok(words)
}

/// The same without the published port, which only one container can have.
fn unpublished() -> Result<Vec<String>> {
    without("-p", |port| port.ends_with(":10054"))
}

/// The same without the option that has such a value.
fn without(option: &str, is_value: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut words = documented()?;
    let found = words.windows(2).position(|pair| pair[0] == option && is_value(&pair[1]));
    let found = found.with_context(|| format!("no such {option} is documented: {words:?}"))?;
    words.drain(found..found + 2);
    Ok(words)
}

/// Checks that socktrace exits without a documented privilege, and reports which one and how to grant it.
fn lacks(privilege: &str) -> Result<()> {
    let options = without("--cap-add", |value| value == privilege)?;
    let mut tracer = Tracer::spawn("lacking", &options, &[], &[])?;
    let status = until(|| tracer.child.try_wait()?.context("it runs"))?;
    ensure!(status.code() == Some(11), "it ended with {status}: {}", tracer.messages()?);
    tracer.says(&format!("missing CAP_{privilege}"))?;
    tracer.says("containers: --cap-add")
}

/// Checks that the metrics at the published port have the failures under the other container's name.
fn is_counted() -> Result<()> {
    let metrics = tracer::scrape(http::METRICS.into())?;
    let labels = [
        "cause=\"reset_by_peer\"".to_owned(),
        "errno=\"ECONNRESET\"".to_owned(),
        format!("service=\"{VICTIM}\""),
        format!("container=\"{VICTIM}\""),
    ];
    let is_victims = |series: &str| {
        series.starts_with("socktrace_service_errors_total{")
            && labels.iter().all(|label| series.contains(label))
    };
    let counted: f64 =
        metrics.iter().filter(|(series, _)| is_victims(series)).map(|(_, count)| count).sum();
    let made: usize = RESETS.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    let is_right = (counted - made as f64).abs() < 0.5;
    ensure!(is_right, "{counted} of {made} resets are {VICTIM}'s");
    Ok(())
}

/// socktrace in a container.
struct Tracer {
    name: &'static str,
    child: Child,
}

impl Tracer {
    /// Runs it in the foreground, with its output in files.
    fn spawn(
        name: &'static str,
        documented: &[String],
        options: &[&str],
        args: &[&str],
    ) -> Result<Self> {
        let (image, own) = documented.split_last().context("no image")?;
        let mut podman = Command::new("podman");
        podman.args(["run", "--name", name]).args(own).args(options).arg(image).args(args);
        podman.stdin(Stdio::null());
        podman.stdout(File::create(path(name, "out"))?).stderr(File::create(path(name, "err"))?);
        Ok(Self { name, child: podman.spawn().context("cannot run podman")? })
    }

    /// Runs it and waits until it has attached.
    fn start(
        name: &'static str,
        documented: &[String],
        options: &[&str],
        args: &[&str],
    ) -> Result<Self> {
        let mut tracer = Self::spawn(name, documented, options, args)?;
        until(|| {
            if let Some(status) = tracer.child.try_wait()? {
                bail!("{name} ended with {status}: {}", tracer.messages()?);
            }
            tracer.says("; hooks: ")
        })?;
        Ok(tracer)
    }

    /// Lines of its stream.
    fn lines(&self) -> Result<String> {
        Ok(fs::read_to_string(path(self.name, "out"))?)
    }

    /// Its messages on stderr.
    fn messages(&self) -> Result<String> {
        Ok(fs::read_to_string(path(self.name, "err"))?)
    }

    fn says(&self, words: &str) -> Result<()> {
        let messages = self.messages()?;
        ensure!(messages.contains(words), "{} does not say {words:?}: {messages}", self.name);
        Ok(())
    }

    /// Checks its user and groups, the capabilities it has kept, and that its root is read-only.
    fn has_become(&self, user: u32, capabilities: u64) -> Result<()> {
        let pid = run(&["podman", "inspect", "--format", "{{.State.Pid}}", self.name])?;
        let process = Path::new("/proc").join(pid.trim());
        until(|| {
            let status = fs::read_to_string(process.join("status"))?;
            for (field, expected) in [
                ("Uid", format!("{user}\t{user}\t{user}\t{user}")),
                ("CapPrm", format!("{capabilities:016x}")),
                ("CapEff", format!("{capabilities:016x}")),
                ("NoNewPrivs", "1".to_owned()),
            ] {
                let found =
                    status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
                let found = found.unwrap_or_default().trim();
                ensure!(found == expected, "{}: {field} is {found:?}, not {expected:?}", self.name);
            }
            Ok(())
        })?;
        let written = fs::write(process.join("root/written"), "");
        let errno = written.err().and_then(|error| error.raw_os_error());
        ensure!(errno == Some(libc::EROFS), "{}: its root can be written to: {errno:?}", self.name);
        Ok(())
    }

    /// Checks that its JSON lines report the other container's failures with this name.
    fn reports(&self, id: &str, name: &Value) -> Result<()> {
        let said = self.lines()?;
        let events = said.lines().map(event_schema::read).collect::<Result<Vec<Value>>>()?;
        let is_reset = |event: &&Value| event["cause"] == "reset_by_peer";
        let resets: Vec<_> = events.iter().filter(is_reset).collect();
        let made: usize = RESETS.iter().sum();
        ensure!(resets.len() == made, "{}: {} resets: {said}", self.name, resets.len());
        for (index, event) in resets.into_iter().enumerate() {
            let container = &event["container"];
            ensure!(container["id"] == id, "not of container {id}: {event}");
            let is_late = index < RESETS[0] && event["owner_unknown"] == "busy";
            ensure!(is_late || container["name"] == *name, "its name is not {name}: {event}");
            ensure!(container["runtime"] == "podman", "not Podman's: {event}");
            ensure!(event["comm"] == "init" && event["errno"] == "ECONNRESET", "{event}");
        }
        Ok(())
    }

    /// Stops it as Podman stops containers.
    fn stop(mut self) -> Result<()> {
        run(&["podman", "stop", "--time=20", self.name])?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}: {}", self.name, self.messages()?);
        Ok(())
    }
}

fn path(name: &str, stream: &str) -> String {
    format!("/run/{name}.{stream}")
}
