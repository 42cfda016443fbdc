//! The image, run by Podman as its recipe documents, beside another container.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::unit::{fresh, output, run, until};

/// How the image is made and run.
const RECIPE: &str = include_str!("../../../../deploy/container/Containerfile");

/// Where Podman finds what the images are made of.
const CONTEXT: &str = "/run/context";

/// Where names of Podman's containers are, as the recipe has it.
const NAMES: &str = "/var/lib/containers/storage/overlay-containers";

/// A guest's root is what no root can be put in place of, and nothing rotates logs there.
const SETTINGS: &str = "\
[containers]
log_driver = \"k8s-file\"
[engine]
no_pivot_root = true
events_logger = \"file\"
";

/// An image whose program fails.
const VICTIM_RECIPE: &str = "FROM scratch\nCOPY init /init\n";

const VICTIM: &str = "victim";
const TRACER: &str = "tracer";

/// How many connections of the other container are reset.
const RESETS: usize = 4;

/// With the documented privileges alone, from a network namespace of its own, it reports the failures of
/// another container, by its name. Without the directory that has the names, it knows the id.
pub(in super::super) fn container() -> Result<()> {
    fresh()?;
    make_images()?;
    let names = format!("--volume={NAMES}:{NAMES}:ro");
    for (more, named) in [(Some(names.as_str()), true), (None, false)] {
        let documented = documented()?;
        let mut words = vec!["podman", "run", "--detach", "--name", TRACER];
        words.extend(documented.iter().map(String::as_str));
        words.extend(more);
        words.extend(["localhost/socktrace", "--no-metrics", "--output", "json"]);
        run(&words)?;
        let result = report(named).with_context(|| said(&["podman", "logs", TRACER]));
        run(&["podman", "rm", "--force", "--time", "2", TRACER])?;
        result?;
    }
    Ok(())
}

/// Makes both images by their recipes.
fn make_images() -> Result<()> {
    fs::create_dir_all(CONTEXT)?;
    fs::create_dir_all("/etc/containers")?;
    fs::write("/etc/containers/containers.conf", SETTINGS)?;
    for (from, name) in [("/usr/bin/socktrace", "socktrace"), ("/init", "init")] {
        fs::copy(from, format!("{CONTEXT}/{name}"))?;
    }
    // Licenses, whose text is of no matter here.
    let copied = RECIPE.lines().filter_map(|line| line.strip_prefix("COPY ")).skip(1);
    for name in copied.flat_map(str::split_whitespace).filter(|name| !name.contains('/')) {
        fs::write(format!("{CONTEXT}/{name}"), "")?;
    }
    for (name, recipe) in [("socktrace", RECIPE), (VICTIM, VICTIM_RECIPE)] {
        let file = format!("/run/{name}.containerfile");
        fs::write(&file, recipe)?;
        run(&["podman", "build", "--quiet", "--file", &file, "--tag", name, CONTEXT])?;
    }
    Ok(())
}

/// The options that the recipe documents, but for the published port, which takes rules of a firewall.
fn documented() -> Result<Vec<String>> {
    let lines = RECIPE.lines().map(|line| line.trim_start_matches('#').trim());
    let lines = lines.skip_while(|line| !line.starts_with("podman run "));
    let (mut options, mut is_last) = (Vec::new(), false);
    for line in lines.take_while(|line| !std::mem::replace(&mut is_last, !line.ends_with('\\'))) {
        options.extend(line.trim_end_matches('\\').split_whitespace().map(str::to_owned));
    }
    let port = options.iter().position(|word| word == "-p").context("no published port")?;
    options.drain(port..port + 2);
    // What it said before its end is worth reading.
    options.retain(|word| word != "--rm");
    options.drain(..2);
    options.pop().filter(|image| image.starts_with("socktrace:")).context("no image")?;
    for privilege in ["BPF", "PERFMON", "/sys/fs/cgroup:/host/cgroup:ro", "--read-only"] {
        ensure!(options.iter().any(|word| word == privilege), "no {privilege} in {options:?}");
    }
    options.push("--network=none".into());
    Ok(options)
}

/// Has the other container fail, and checks the lines.
fn report(named: bool) -> Result<()> {
    until(|| {
        let said = said(&["podman", "logs", TRACER]);
        ensure!(said.contains("; hooks: "), "it is not attached");
        Ok(())
    })?;
    let count = RESETS.to_string();
    let words = ["podman", "run", "--name", VICTIM, "--network=none", "localhost/victim"];
    run(&[&words[..], &["/init", "child", "reset", &count]].concat())?;
    let id = run(&["podman", "inspect", "--format", "{{.Id}}", VICTIM])?;
    let result = until(|| {
        let said = run(&["podman", "logs", TRACER])?;
        let lines = said.lines().filter(|line| line.starts_with('{'));
        let events = lines.map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let resets: Vec<_> =
            events.iter().filter(|event| event["cause"] == "reset_by_peer").collect();
        ensure!(resets.len() == RESETS, "{} lines: {events:?}", resets.len());
        for event in resets {
            let container = &event["container"];
            ensure!(container["id"] == id.trim(), "another container: {event}");
            let name = if named { VICTIM.into() } else { Value::Null };
            ensure!(container["name"] == name, "its name is not {name}: {event}");
            ensure!(container["runtime"] == "podman", "another runtime: {event}");
            ensure!(event["comm"] == "init" && event["errno"] == "ECONNRESET", "{event}");
        }
        Ok(())
    });
    run(&["podman", "rm", VICTIM])?;
    result
}

/// What a program says, on both streams.
fn said(words: &[&str]) -> String {
    output(words).map_or_else(
        |error| error.to_string(),
        |output| {
            let streams = [output.stdout, output.stderr];
            streams.map(|stream| String::from_utf8_lossy(&stream).into_owned()).concat()
        },
    )
}
