//! The bill of materials: the crates that are linked into the daemon, for inquiries about a
//! vulnerability. It exists as a file (`CycloneDX`), and in the program itself, in the format of
//! cargo-auditable.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use flate2::{Compression, write::ZlibEncoder};
use serde_json::{Value, json};

use super::{
    crates::{Crates, Package},
    stage::{Stage, VERSION},
};
use crate::process;

const DAEMON: &str = "socktrace";

/// Section of the program that scanners look for, as defined by cargo-auditable.
pub const SECTION: &str = ".dep-v0";

/// Writes the bill next to the packages.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn write(stage: &Stage, crates: &Crates) -> Result<()> {
    let path = path(stage);
    let text = serde_json::to_string_pretty(&cyclonedx(crates))?;
    fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// Path of the bill.
#[must_use]
pub fn path(stage: &Stage) -> PathBuf {
    stage.output().join(format!("{DAEMON}_{VERSION}_{}.cdx.json", stage.arch.name))
}

/// Copies the program, and adds the list of crates to the copy.
///
/// # Errors
///
/// When it cannot be written.
pub(super) fn add_to(program: &Path, copy: &Path, stage: &Stage, crates: &Crates) -> Result<()> {
    let section = tempfile::NamedTempFile::new()?;
    let mut compressed = ZlibEncoder::new(File::create(section.path())?, Compression::best());
    compressed.write_all(&serde_json::to_vec(&auditable(crates))?)?;
    compressed.finish()?;
    let own = stage.arch.is_own();
    let name = if own { "objcopy".into() } else { format!("{}-objcopy", stage.arch.gnu) };
    let mut objcopy = Command::new(name);
    objcopy.arg("--add-section").arg(format!("{SECTION}={}", section.path().display()));
    objcopy.arg("--set-section-flags").arg(format!("{SECTION}=noload,readonly"));
    process::output(objcopy.arg(program).arg(copy)).map(drop)
}

/// Describes a crate for `CycloneDX`.
fn component(package: &Package, crates: &Crates) -> Value {
    let is_daemon = package.name == DAEMON;
    let mut component = json!({
        "type": if is_daemon { "application" } else { "library" },
        "bom-ref": package.title(),
        "name": package.name,
        "version": package.version,
        "purl": format!("pkg:cargo/{}@{}", package.name, package.version),
    });
    if let Some(license) = &package.license {
        // Old crates separate licenses by a slash.
        let parts: Vec<_> = license.split('/').map(str::trim).collect();
        component["licenses"] = json!([{ "expression": parts.join(" OR ") }]);
    }
    if let Some(checksum) = crates.checksums.get(&package.title()) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn cyclonedx(crates: &Crates) -> Value {
    let all = crates.packages.iter();
    let (daemon, rest): (Vec<_>, Vec<_>) = all.partition(|package| package.name == DAEMON);
    let components: Vec<_> = rest.iter().map(|package| component(package, crates)).collect();
    let dependencies = crates.dependencies.iter();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": daemon.first().map(|package| component(package, crates)) },
        "components": components,
        "dependencies": dependencies
            .map(|(title, of)| json!({ "ref": title, "dependsOn": of }))
            .collect::<Vec<_>>(),
    })
}

fn auditable(crates: &Crates) -> Value {
    let position = |title: &String| crates.packages.iter().position(|it| it.title() == *title);
    let packages = crates.packages.iter().map(|package| {
        let of = crates.dependencies.get(&package.title()).into_iter().flatten();
        let of: Vec<_> = of.filter_map(position).collect();
        let source = if package.source.is_some() { "crates.io" } else { "local" };
        let mut item = json!({
            "name": package.name, "version": package.version, "source": source, "dependencies": of
        });
        if package.name == DAEMON {
            item["root"] = json!(true);
        }
        item
    });
    json!({ "packages": packages.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use xtask_common::arch::Arch;

    use super::*;

    #[test]
    fn the_bill_has_what_is_linked() {
        let crates = Crates::linked(Arch::OWN).expect("crates");
        let bill = cyclonedx(&crates);
        assert_eq!(bill["metadata"]["component"]["name"], "socktrace");
        let components = bill["components"].as_array().expect("components");
        let find = |name: &str| components.iter().find(|component| component["name"] == name);
        let aya = find("aya").expect("aya");
        assert_eq!(aya["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(aya["hashes"][0]["content"].as_str().map(str::len), Some(64));
        assert!(find("aya-ebpf").is_some() && find("socktrace-plan").is_some());
        assert!(find("proptest").is_none() && find("serde_derive").is_none());
        let packages = auditable(&crates)["packages"].as_array().expect("packages").clone();
        assert_eq!(packages.len(), components.len() + 1);
        let daemon = packages.iter().find(|package| package["root"] == true).expect("a root");
        let of = daemon["dependencies"].as_array().expect("dependencies");
        let names = of.iter().filter_map(|at| packages.get(usize::try_from(at.as_u64()?).ok()?));
        let names: Vec<_> = names.map(|package| package["name"].clone()).collect();
        assert!(names.contains(&json!("aya")) && !names.contains(&json!("ring")), "{names:?}");
    }
}
