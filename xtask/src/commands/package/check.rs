//! Checks of packages, with the distributions' own tools and by installing them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use flate2::read::ZlibDecoder;
use object::{Object as _, ObjectSection as _};
use serde_json::Value;
use socktrace_lab::{
    packages::{
        bill,
        stage::{Stage, VERSION},
    },
    process, programs,
};
use xtask_common::arch::Arch;

const CONFIGURATION: &str = "etc/socktrace/socktrace.toml";
/// Databases of users and groups, their copies, and their lock.
const USERS: [&str; 9] = [
    "passwd",
    "passwd-",
    "group",
    "group-",
    "shadow",
    "shadow-",
    "gshadow",
    "gshadow-",
    ".pwd.lock",
];

/// Program that reports what is wrong with a bill of materials.
const VALIDATE: &str = "\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(error and str(error))
";

const PROGRAM: &str = "usr/bin/socktrace";

/// A setting that an administrator has changed.
const CHANGED: &str = "idle-threshold = 60\n";

/// Checks a package for Debian with lintian, and checks its files when it is installed, upgraded,
/// removed and purged. The effect on a running service can only be tested on a complete system.
///
/// # Errors
///
/// When a check fails.
pub(super) fn deb(package: &Path, arch: &Arch) -> Result<()> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--allow-root", "--tag-display-limit", "0"]);
    process::run(lintian.arg(package))?;
    println!("ok   lintian");

    let directory = tempfile::tempdir()?;
    let newer = newer(package, directory.path())?;
    let system = System::empty(&directory.path().join("root"))?;
    system.dpkg(&["--install"], Some(package))?;
    ensure!(system.has(PROGRAM), "the program is not there after the installation");
    if arch.is_own() {
        let mut program = Command::new(system.root.join(PROGRAM));
        let said = process::output(program.args(["explain", "EPIPE"]))?;
        ensure!(said.starts_with("EPIPE"), "installed, socktrace says: {said}");
    }
    let configuration = system.root.join(CONFIGURATION);
    fs::write(&configuration, CHANGED)?;
    system.dpkg(&["--force-confold", "--install"], Some(&newer))?;
    let kept = fs::read_to_string(&configuration)?;
    ensure!(kept == CHANGED, "an upgrade replaces a configuration that somebody has changed");
    system.dpkg(&["--remove", "socktrace"], None)?;
    ensure!(!system.has(PROGRAM), "the program stays after the removal");
    ensure!(system.has(CONFIGURATION), "the removal takes the configuration away");
    system.dpkg(&["--purge", "socktrace"], None)?;
    let left = system.files()?;
    ensure!(left.is_empty(), "purged, it leaves {left:?}");
    println!("ok   installed, upgraded, removed, purged");
    Ok(())
}

/// Checks that rpm can read a package for Red Hat, and what it would install and keep.
///
/// # Errors
///
/// When a check fails.
pub(super) fn rpm(package: &Path) -> Result<()> {
    process::output(Command::new("rpm").args(["--checksig", "--nosignature"]).arg(package))?;
    let listed = process::output(Command::new("rpm").args(["-qlp"]).arg(package))?;
    for file in [PROGRAM, CONFIGURATION, "usr/lib/systemd/system/socktrace.service"] {
        ensure!(listed.lines().any(|line| line == format!("/{file}")), "{file} is not in it");
    }
    let kept = process::output(Command::new("rpm").args(["-qcp"]).arg(package))?;
    ensure!(kept.trim() == format!("/{CONFIGURATION}"), "what an upgrade keeps is {kept:?}");
    println!("ok   rpm");
    Ok(())
}

/// Checks the bill of materials against the schema of `CycloneDX`, and that the program contains
/// the same bill.
///
/// # Errors
///
/// When a check fails.
pub(super) fn bill(stage: &Stage) -> Result<()> {
    let path = bill::path(stage);
    let mut validate = Command::new("python3");
    validate.args(["-c", VALIDATE]).arg(&path);
    process::output(validate.env("PYTHONPATH", programs::bill_checker()))?;
    let bill: Value = serde_json::from_slice(&fs::read(&path)?)?;
    let program = fs::read(stage.root.join("socktrace"))?;
    let elf = object::File::parse(program.as_slice())?;
    let section =
        elf.section_by_name(bill::SECTION).context("the program has no list of crates")?;
    let inside: Value = serde_json::from_reader(ZlibDecoder::new(section.data()?))?;
    let named = |list: &Value| -> BTreeSet<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let items = list.as_array().into_iter().flatten();
        items.map(|item| (text(&item["name"]), text(&item["version"]))).collect()
    };
    let mut listed = named(&bill["components"]);
    listed.insert(("socktrace".into(), VERSION.into()));
    ensure!(listed == named(&inside["packages"]), "the program lists other crates than the bill");
    println!("ok   bill of materials: {} crates", listed.len());
    Ok(())
}

/// Makes a newer version of the same package, with a different configuration.
///
/// # Errors
///
/// When it cannot be unpacked or packed.
pub(super) fn newer(package: &Path, directory: &Path) -> Result<PathBuf> {
    let tree = directory.join("tree");
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    process::output(Command::new("dpkg-deb").arg("--raw-extract").arg(package).arg(&tree))?;
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).context("the package has no control file")?;
    let old = format!("\nVersion: {VERSION}\n");
    ensure!(text.contains(&old), "the package's version is not {VERSION}");
    fs::write(&control, text.replace(&old, &format!("\nVersion: {VERSION}+newer\n")))?;
    fs::write(tree.join(CONFIGURATION), "# another\n")?;
    let newer = directory.join("newer.deb");
    let mut build = Command::new("dpkg-deb");
    // The check takes less time than compressing would.
    build.args(["--root-owner-group", "-Znone", "--build"]).arg(tree).arg(&newer);
    process::output(&mut build)?;
    Ok(newer)
}

/// An empty Debian system. Package scripts run outside it, and get its path.
struct System {
    root: PathBuf,
}

impl System {
    fn empty(root: &Path) -> Result<Self> {
        let database = root.join("var/lib/dpkg");
        fs::create_dir_all(database.join("info"))?;
        fs::create_dir_all(database.join("updates"))?;
        fs::write(database.join("status"), "")?;
        Ok(Self { root: root.to_owned() })
    }

    fn dpkg(&self, words: &[&str], package: Option<&Path>) -> Result<()> {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", self.root.display()));
        dpkg.args(["--force-not-root", "--force-script-chrootless", "--force-depends"]);
        process::output(dpkg.args(words).args(package)).map(drop)
    }

    fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// All files except dpkg's own and the user databases. The package keeps its users, as they may
    /// own files that somebody has left.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let mut directories = vec![self.root.clone()];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.ends_with("var/lib/dpkg") || path.ends_with("var/log") {
                    continue;
                }
                if USERS.iter().any(|name| path == self.root.join("etc").join(name)) {
                    continue;
                }
                if path.is_dir() { directories.push(path) } else { files.push(path) }
            }
        }
        Ok(files)
    }
}
