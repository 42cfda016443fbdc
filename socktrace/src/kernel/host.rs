//! Security settings of this host, where they can be read. `None` means unknown.

use std::{fs, path::Path};

use nix::sys::{
    resource::{RLIM_INFINITY, Resource, getrlimit},
    utsname,
};

/// Whether user ids are not remapped: any other user namespace maps fewer than all of them.
pub(crate) fn in_initial_user_namespace() -> bool {
    // Unreadable without /proc. Loading will show it then.
    fs::read_to_string("/proc/self/uid_map").map_or(true, |map| {
        let fields: Vec<&str> = map.split_whitespace().collect();
        fields == ["0", "0", "4294967295"]
    })
}

/// Whether the kernel hides its memory from everybody (lockdown=confidentiality).
pub(crate) fn hides_memory() -> bool {
    lockdown().as_deref() == Some("confidentiality")
}

/// Whether the kernel may preempt a task in kernel mode; true if unknown.
pub(crate) fn preempts() -> bool {
    let version = utsname::uname()
        .map_or_else(|_| String::new(), |uts| uts.version().to_string_lossy().into_owned());
    let mut words = version.split_whitespace();
    if !words.clone().any(|word| word.starts_with("PREEMPT")) {
        return false;
    }
    // The mode can be chosen at boot and changed later.
    let is_dynamic = words.any(|word| word == "PREEMPT_DYNAMIC");
    !is_dynamic || preemption_mode().is_none_or(|mode| mode == "full" || mode == "lazy")
}

/// Active mode of a kernel that can change it: `none`, `voluntary`, `full` or `lazy`.
fn preemption_mode() -> Option<String> {
    let modes = fs::read_to_string("/sys/kernel/debug/sched/preempt").ok()?;
    let (_, rest) = modes.split_once('(')?;
    rest.split_once(')').map(|(active, _)| active.to_owned())
}

/// Active lockdown mode: `none`, `integrity` or `confidentiality`.
pub(crate) fn lockdown() -> Option<String> {
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    let (_, rest) = modes.split_once('[')?;
    rest.split_once(']').map(|(active, _)| active.to_owned())
}

/// Active security modules, separated by commas.
pub(crate) fn security_modules() -> Option<String> {
    line("/sys/kernel/security/lsm")
}

/// Security modules and lockdown mode, in words.
pub(crate) fn security_state() -> String {
    match (security_modules(), lockdown()) {
        (Some(modules), Some(lockdown)) => {
            format!("security modules {modules}; lockdown {lockdown}")
        }
        (Some(modules), None) => format!("security modules {modules}"),
        (None, _) => {
            "the module is unknown, as /sys/kernel/security is not mounted here".to_owned()
        }
    }
}

/// `kernel.perf_event_paranoid`.
pub(crate) fn perf_event_paranoid() -> Option<String> {
    line("/proc/sys/kernel/perf_event_paranoid")
}

/// The limit of locked memory.
pub(crate) fn memlock_limit() -> Option<String> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    Some(if soft == RLIM_INFINITY {
        "unlimited".to_owned()
    } else {
        format!("{} KiB", soft / 1024)
    })
}

/// The kernel's name and release, for display; never parsed.
pub(crate) fn running_kernel() -> String {
    utsname::uname().map_or_else(
        |_| "this kernel".to_owned(),
        |uts| format!("{} {}", uts.sysname().display(), uts.release().display()),
    )
}

/// The kernel's release; empty if unknown.
pub(crate) fn kernel_release() -> String {
    utsname::uname().map_or_else(|_| String::new(), |uts| uts.release().display().to_string())
}

/// Contents of a one-line file.
pub(crate) fn line(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}
