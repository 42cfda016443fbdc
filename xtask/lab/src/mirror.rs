//! Addresses of Debian's archives, by default those that this machine's own apt uses.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::{apt::Label, process};

/// Options that name mirrors.
#[derive(Args, Clone, Debug, Default)]
pub struct MirrorArgs {
    /// Debian mirror for kernels and the guest's programs [default: the one this machine's apt uses]
    #[arg(long, value_name = "URL", env = "SOCKTRACE_DEBIAN_MIRROR")]
    mirror: Option<String>,
    /// Mirror of Debian's security updates [default: the one this machine's apt uses]
    #[arg(long, value_name = "URL", env = "SOCKTRACE_DEBIAN_SECURITY_MIRROR")]
    security_mirror: Option<String>,
}

/// Addresses of both archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    debian: String,
    security: String,
}

impl Mirrors {
    /// Uses the mirrors named in `args`, and the mirrors of this machine's apt for the rest.
    ///
    /// # Errors
    ///
    /// When the address of an archive is in neither.
    pub fn find(args: &MirrorArgs) -> Result<Self> {
        let format = "$(LABEL)|$(REPO_URI)";
        let targets = process::output(Command::new("apt-get").args([
            "indextargets",
            "--format",
            format,
            "Identifier: Packages",
        ]))
        .unwrap_or_default();
        let choose = |option: &Option<String>, label: &str| {
            option.clone().or_else(|| labelled(&targets, label))
        };
        match (choose(&args.mirror, "Debian"), choose(&args.security_mirror, "Debian-Security")) {
            (Some(debian), Some(security)) => Ok(Self { debian, security }),
            _ => bail!(
                "no Debian mirror known: virtual machines run Debian's kernels, and this machine's \
                 apt has no package lists of Debian and Debian-Security. Run `apt-get update` if \
                 this is Debian, or name mirrors with --mirror URL and --security-mirror URL."
            ),
        }
    }

    /// Address of an archive.
    pub(crate) fn url(&self, label: Label) -> &str {
        match label {
            Label::Debian => &self.debian,
            Label::Security => &self.security,
        }
    }
}

fn labelled(targets: &str, label: &str) -> Option<String> {
    let mut pairs = targets.lines().filter_map(|line| line.split_once('|'));
    pairs.find(|(found, _)| *found == label).map(|(_, url)| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_recognized_by_label() {
        let targets = "Other|http://other.example/\nDebian|http://a.example/debian/\n\
                       Debian-Security|http://a.example/security/\n";
        assert_eq!(labelled(targets, "Debian").as_deref(), Some("http://a.example/debian/"));
        assert_eq!(
            labelled(targets, "Debian-Security").as_deref(),
            Some("http://a.example/security/")
        );
        assert_eq!(labelled("", "Debian"), None);
    }
}
