//! A private apt: it verifies the signatures of Debian's archives, and leaves the system's apt
//! untouched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use xtask_common::arch::Arch;

use crate::{mirror::Mirrors, process, progress, workspace};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Age up to which package lists are considered fresh.
pub(crate) const FRESH: Duration = Duration::from_hours(24);

/// Debian archive that a suite belongs to, by the label in its release file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// The main archive.
    Debian,
    /// The archive of security updates.
    Security,
}

/// A set of suites that are used together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    /// Name of the private apt's directory.
    pub(crate) name: &'static str,
    /// Suites, and the archive that each belongs to.
    pub(crate) suites: &'static [(&'static str, Label)],
    /// Names of the architectures that it has packages for.
    pub(crate) arches: &'static [&'static str],
}

impl Archive {
    /// Lines for apt's list of sources.
    pub(crate) fn sources(&self, arch: &Arch, mirrors: &Mirrors) -> Vec<String> {
        let line = |(suite, label): &(&str, Label)| {
            let url = mirrors.url(*label);
            format!("deb [arch={} signed-by={KEYRING}] {url} {suite} main", arch.name)
        };
        self.suites.iter().map(line).collect()
    }
}

/// A private apt for one archive and one architecture.
#[derive(Debug)]
pub(crate) struct Apt {
    root: PathBuf,
}

impl Apt {
    /// Opens it, with fresh package lists.
    ///
    /// # Errors
    ///
    /// When no mirror is known, or the lists cannot be fetched or verified.
    pub(crate) fn open(archive: &Archive, arch: &Arch, mirrors: &Mirrors) -> Result<Self> {
        let apt = Self { root: workspace::cache("apt").join(arch.name).join(archive.name) };
        let stamp = apt.root.join("updated");
        // Written every time, because the configuration contains the directory's absolute path.
        apt.configure(archive, arch, mirrors)?;
        if !is_fresh(&stamp, FRESH) {
            let name = format!("{} {}", archive.name, arch.name);
            let what = format!("Debian's package lists ({name})");
            let step = progress::step(format_args!("Fetching {what}"));
            // Without Error-Mode, apt only warns if it cannot fetch a list.
            process::output(apt.command("apt-get").args([
                "-qq",
                "-o",
                "APT::Update::Error-Mode=any",
                "update",
            ]))
            .with_context(|| format!("cannot fetch {what}"))?;
            step.done(format_args!("Fetched {what}"));
            fs::write(&stamp, "").with_context(|| format!("cannot write {}", stamp.display()))?;
        }
        Ok(apt)
    }

    /// Names of the packages that match a regular expression.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub(crate) fn names(&self, pattern: &str) -> Result<Vec<String>> {
        let found =
            process::output(self.command("apt-cache").args(["search", "--names-only", pattern]))?;
        Ok(found.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    /// Names of a package and of the parts that its maintainers have split off, if the archive
    /// still has them.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub(crate) fn with_parts(&self, package: &str) -> Result<Vec<String>> {
        let record = self.show(&[package])?;
        let wanted: Vec<_> = [package].into_iter().chain(parts(&record)).collect();
        let records = self.show(&wanted)?;
        Ok(field(&records, "Package").map(str::to_owned).collect())
    }

    /// Record of the newest version of each package. Empty for a package that exists only as a
    /// dependency of others.
    fn show(&self, packages: &[&str]) -> Result<String> {
        process::output(
            self.command("apt-cache").args(["show", "--no-all-versions"]).args(packages),
        )
    }

    /// Downloads packages without their dependencies into an existing directory. Progress output
    /// calls them `what`.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub(crate) fn download(&self, packages: &[String], directory: &Path, what: &str) -> Result<()> {
        let command = || {
            let mut apt = self.command("apt-get");
            apt.args(["-qq", "download"]).args(packages).current_dir(directory);
            apt
        };
        fetch(command, directory, what)
    }

    /// Downloads packages with all dependencies into an existing directory. Progress output calls
    /// them `what`.
    ///
    /// # Errors
    ///
    /// When apt fails.
    pub(crate) fn download_closure(
        &self,
        packages: &[&str],
        directory: &Path,
        what: &str,
    ) -> Result<()> {
        fs::create_dir_all(directory.join("partial"))?;
        let archives = format!("Dir::Cache::archives={}/", directory.display());
        let command = || {
            let mut apt = self.command("apt-get");
            apt.args(["-qq", "--yes", "--no-install-recommends", "--download-only"]);
            apt.args(["-o", &archives, "install"]).args(packages);
            apt
        };
        fetch(command, directory, what)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.root.join("apt.conf")).env("LC_ALL", "C.UTF-8");
        command
    }

    fn configure(&self, archive: &Archive, arch: &Arch, mirrors: &Mirrors) -> Result<()> {
        let root = self.root.display();
        for directory in ["lists/partial", "cache/archives/partial", "parts", "dpkg"] {
            let directory = self.root.join(directory);
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        if !Path::new(KEYRING).is_file() {
            bail!(
                "{KEYRING} is missing, which Debian's packages are verified with. Run: cargo xtask setup"
            );
        }
        let sources = archive.sources(arch, mirrors).join("\n") + "\n";
        let (host, arch) = (host_settings()?.join("\n"), arch.name);
        let config = format!(
            "{host}\n\
             Acquire::Languages \"none\";\n\
             Acquire::http::Timeout \"20\";\n\
             Acquire::Retries \"3\";\n\
             APT::Architecture \"{arch}\";\n\
             APT::Sandbox::User \"root\";\n\
             Dir::Cache \"{root}/cache\";\n\
             Dir::Etc::main \"/dev/null\";\n\
             Dir::Etc::parts \"{root}/parts\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"{root}/parts\";\n\
             Dir::Etc::sourcelist \"{root}/sources.list\";\n\
             Dir::Etc::sourceparts \"{root}/parts\";\n\
             Dir::State \"{root}\";\n\
             Dir::State::lists \"{root}/lists\";\n\
             Dir::State::status \"{root}/dpkg/status\";\n"
        );
        for (name, text) in
            [("sources.list", &*sources), ("apt.conf", &config), ("dpkg/status", "")]
        {
            let path = self.root.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Sum of the sizes in the output of `--print-uris`.
pub(crate) fn bytes(uris: &str) -> u64 {
    uris.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()).sum()
}

/// Settings with which this machine's apt fetches, such as proxies. The private apt uses them too.
///
/// # Errors
///
/// When apt fails.
pub(crate) fn host_settings() -> Result<Vec<String>> {
    let settings = process::output(Command::new("apt-config").args(["dump", "Acquire"]))?;
    let wanted =
        |line: &&str| line.starts_with("Acquire::") && !line.starts_with("Acquire::IndexTargets");
    Ok(settings.lines().filter(wanted).map(str::to_owned).collect())
}

/// Runs an apt command that downloads into a directory.
fn fetch(command: impl Fn() -> Command, directory: &Path, what: &str) -> Result<()> {
    let bytes = bytes(&process::output(command().arg("--print-uris"))?);
    let step = progress::download(format_args!("Fetching {what}"), bytes);
    step.while_growing(directory, || process::output(&mut command()))?;
    step.done(format_args!("Fetched {what}"));
    Ok(())
}

/// Dependencies of a package on one exact version: the other parts of the same build.
fn parts(record: &str) -> impl Iterator<Item = &str> {
    let depends = field(record, "Depends").flat_map(|depends| depends.split(", "));
    depends.filter_map(|dependency| {
        let (name, version) = dependency.split_once(' ')?;
        version.starts_with("(= ").then_some(name)
    })
}

/// Values of a field in package records.
fn field<'text>(records: &'text str, name: &str) -> impl Iterator<Item = &'text str> {
    records.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Whether a file was written within the given time.
pub(crate) fn is_fresh(path: &Path, within: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < within))
}

/// Unpacks every package file of a directory into a tree.
///
/// # Errors
///
/// When a package is damaged or the tree cannot be written.
pub(crate) fn unpack(directory: &Path, tree: &Path) -> Result<()> {
    for entry in
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?
    {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            process::output(Command::new("dpkg-deb").arg("-x").arg(&path).arg(tree))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_added_up() {
        let uris = "'http://a.example/a_1_all.deb' a_1_all.deb 1000 SHA256:00\n\
                    'http://a.example/b%2b_1_all.deb' b+_1_all.deb 24 SHA256:00\n";
        assert_eq!(bytes(uris), 1024);
        assert_eq!(bytes(""), 0);
    }

    #[test]
    fn parts_are_what_is_needed_in_one_version() {
        let record = "Package: linux-image-7.3.4+deb13-cloud-amd64\n\
                      Pre-Depends: dpkg (= 1)\n\
                      Depends: dracut | initramfs-tools (>= 0.120+deb8u2), kmod, \
                      linux-base-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1), \
                      linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1~bpo13+1)\n\
                      Recommends: apparmor\n";
        let parts: Vec<_> = parts(record).collect();
        assert_eq!(
            parts,
            ["linux-base-7.3.4+deb13-cloud-amd64", "linux-binary-7.3.4+deb13-cloud-amd64"]
        );
        assert_eq!(super::parts("Package: a\n").count(), 0);
    }
}
