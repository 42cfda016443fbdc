//! Mounts of this host's cgroup hierarchies.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Inode of cgroup2's root directory: its kernfs node is the first one (`kernfs_create_root`).
const ROOT_INODE: u64 = 1;

/// Layout of the cgroup hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Mount point of cgroup2.
    pub(crate) unified: Option<PathBuf>,
    /// Whether that mount shows every cgroup. In a cgroup namespace, it may start further down.
    pub(crate) complete: bool,
    /// Whether cgroup v1 hierarchies exist. The cgroup2 tree is then empty (v1 only) or used only
    /// by systemd (hybrid), and some containers may appear only in v1 hierarchies.
    pub(crate) legacy: bool,
}

impl Layout {
    /// Reads the layout as visible to this process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(super) fn read() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let is_root = |path: &Path| fs::metadata(path).is_ok_and(|root| root.ino() == ROOT_INODE);
        Ok(Self::parse(&mounts, is_root))
    }

    /// Parses `mountinfo`; `is_root` returns whether a path is the root of all cgroups.
    pub(super) fn parse(mountinfo: &str, is_root: impl Fn(&Path) -> bool) -> Self {
        let mut layout = Self::default();
        for (place, kind) in mountinfo.lines().filter_map(mount) {
            match kind {
                "cgroup2" if !layout.complete => {
                    let complete = is_root(&place);
                    if complete || layout.unified.is_none() {
                        layout.unified = Some(place);
                        layout.complete = complete;
                    }
                }
                "cgroup" => layout.legacy = true,
                _ => {}
            }
        }
        layout
    }
}

/// Mount point and type in one line; see `proc_pid_mountinfo(5)`.
fn mount(line: &str) -> Option<(PathBuf, &str)> {
    let (before, after) = line.split_once(" - ")?;
    let place = before.split(' ').nth(4)?;
    Some((PathBuf::from(unescape(place)?), after.split(' ').next()?))
}

/// Decodes octal escapes, which the kernel uses for white space and backslashes.
fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('\\');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let code = u8::from_str_radix(part.get(..3)?, 8).ok()?;
        plain.push(char::from(code));
        plain.push_str(&part[3..]);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str = "\
22 1 0:21 / /proc rw,relatime - proc proc rw
30 22 0:25 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
";
    const HYBRID: &str = "\
25 23 0:21 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
26 25 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
27 25 0:23 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
28 25 0:24 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
";
    const NAMESPACE: &str = "\
40 37 0:25 / /sys/fs/cgroup ro - cgroup2 cgroup ro
41 37 0:25 /../.. /host\\040cgroup ro - cgroup2 cgroup ro
";

    #[test]
    fn unified_hybrid_and_legacy() {
        let layout = Layout::parse(UNIFIED, |_| true);
        assert_eq!(layout.unified.as_deref(), Some(Path::new("/sys/fs/cgroup")));
        assert!(layout.complete && !layout.legacy);
        let layout = Layout::parse(HYBRID, |_| true);
        assert_eq!(layout.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert!(layout.complete && layout.legacy);
        let layout = Layout::parse(&HYBRID.replace("cgroup2", "tmpfs"), |_| true);
        assert!(layout.unified.is_none() && layout.legacy);
        assert_eq!(Layout::parse("", |_| true), Layout::default());
    }

    #[test]
    fn in_a_namespace_the_mount_that_shows_all_is_taken() {
        let host = Path::new("/host cgroup");
        let layout = Layout::parse(NAMESPACE, |path| path == host);
        assert_eq!(layout.unified.as_deref(), Some(host));
        assert!(layout.complete);
        let layout = Layout::parse(NAMESPACE, |_| false);
        assert_eq!(layout.unified.as_deref(), Some(Path::new("/sys/fs/cgroup")));
        assert!(!layout.complete);
    }

    #[test]
    fn lines_that_are_cut_off_are_left_out() {
        for line in ["30 22 0:25 /", "30 22 0:25 / /a rw", "30 22 0:25 / /a\\0 rw - cgroup2 x"] {
            assert_eq!(Layout::parse(line, |_| true), Layout::default(), "{line}");
        }
    }
}
