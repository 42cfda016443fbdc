//! Reasons why BPF trampolines or kprobes, the two ways of hooking kernel functions, are closed on
//! this host, and the refusal when both are.

use std::io;

use caps::{CapSet, Capability};

use super::{
    features::Features,
    host::perf_event_paranoid,
    plan::Method,
    refusal::{Refusal, explain_eperm},
};

/// Reason why no function can be hooked by a BPF trampoline, the preferred way.
#[derive(Clone, Debug)]
pub(crate) enum NoTrampolines {
    /// `--attach kprobe` excludes them.
    NotAsked,
    /// The kernel has none for functions, according to this error.
    Missing(String),
    /// The kernel refuses programs for them, with this errno.
    Denied(i32),
}

impl NoTrampolines {
    /// The problem, unless kprobes were requested.
    pub(super) fn what(&self) -> Option<String> {
        match self {
            Self::NotAsked => None,
            Self::Missing(words) => {
                Some(format!("the kernel has no BPF trampolines for functions ({words})"))
            }
            Self::Denied(errno) => {
                Some(format!("the kernel refuses programs for BPF trampolines ({})", words(*errno)))
            }
        }
    }
}

/// Reason why no function can be hooked by a kprobe.
#[derive(Debug)]
pub(crate) enum NoKprobes {
    /// The kernel was built without kprobes.
    Missing,
    /// The kernel opens none for this process, but returns this errno.
    Denied(i32),
    /// Lockdown in confidentiality mode forbids them.
    Locked,
}

impl NoKprobes {
    /// The problem. `kernel` is the subject: "the kernel", or "it".
    pub(super) fn what(&self, kernel: &str) -> String {
        match self {
            Self::Missing => format!("{kernel} has no kprobes"),
            Self::Denied(errno) => format!("{kernel} refuses kprobes ({})", words(*errno)),
            Self::Locked => "lockdown=confidentiality forbids kprobes".to_owned(),
        }
    }

    /// Explanation of the problem.
    pub(super) fn why(&self) -> String {
        match self {
            Self::Missing => "kprobes need a kernel built with CONFIG_KPROBE_EVENTS".to_owned(),
            Self::Denied(_) => format!("a kprobe is opened as a performance event; {}", opener()),
            Self::Locked => "kprobe programs read kernel memory at any address, which this \
                             lockdown hides"
                .to_owned(),
        }
    }
}

/// Reason why this process may not open perf events.
fn opener() -> String {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false) {
        return "CAP_SYS_ADMIN is held, so a security policy denies it, such as a container's \
                seccomp filter"
            .to_owned();
    }
    format!(
        "without CAP_SYS_ADMIN it depends on kernel.perf_event_paranoid, here {}: \
         Debian's 3 denies all performance events",
        perf_event_paranoid().as_deref().unwrap_or("unknown")
    )
}

fn words(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// The refusal if functions can be hooked neither by trampolines nor by kprobes, which were tried
/// in this order. `None` if the trampolines' failure may concern one function only, so that others
/// are worth trying.
pub(super) fn both_closed(
    method: Method,
    features: Features,
    trampolines: Option<NoTrampolines>,
    kprobes: NoKprobes,
) -> Option<Refusal> {
    let trampolines = match method {
        Method::Kprobe => NoTrampolines::NotAsked,
        Method::Auto | Method::Fentry => trampolines?,
    };
    if let NoTrampolines::Denied(errno) = trampolines {
        match explain_eperm(features, words(errno)) {
            Refusal::Policy(_) => {}
            // A fault of the host, whichever way is used.
            other => return Some(other),
        }
    }
    Some(Refusal::NoWay(trampolines, kprobes))
}

#[cfg(test)]
mod tests {
    use nix::libc::{EACCES, EPERM};

    use super::*;

    const NEW: Features = Features {
        trampolines: true,
        ring_buffer: true,
        closes_first: true,
        charges_memlock: false,
        guards_recursion: true,
        int_pointers: true,
        typed_task: true,
        task_registers: true,
    };

    fn closed(
        method: Method,
        trampolines: Option<NoTrampolines>,
        kprobes: NoKprobes,
    ) -> Option<(u8, Vec<String>)> {
        let refusal = both_closed(method, NEW, trampolines, kprobes)?;
        Some((refusal.exit_code(), refusal.to_string().lines().map(str::to_owned).collect()))
    }

    #[test]
    fn a_policy_comes_before_missing_kprobes() {
        let (code, lines) =
            closed(Method::Auto, Some(NoTrampolines::Denied(EPERM)), NoKprobes::Missing)
                .expect("a refusal");
        assert_eq!(code, 14);
        assert_eq!(
            lines[0],
            "cannot trace: the kernel refuses programs for BPF trampolines (Operation not \
             permitted (os error 1)), and it has no kprobes"
        );
        assert!(lines[1].contains("a security policy denies it"), "{lines:?}");
        assert!(lines[1].ends_with("CONFIG_KPROBE_EVENTS"), "{lines:?}");
        assert!(lines[2].contains("administers this host's kernel policy"), "{lines:?}");
        assert!(!lines[2].contains("--attach"), "{lines:?}");
    }

    #[test]
    fn a_kernel_with_neither_way_says_so() {
        let missing = || Some(NoTrampolines::Missing("not supported".to_owned()));
        let (code, lines) = closed(Method::Auto, missing(), NoKprobes::Missing).expect("a refusal");
        assert_eq!(code, 19);
        assert_eq!(
            lines[0],
            "cannot trace: the kernel has no BPF trampolines for functions (not supported), and \
             it has no kprobes"
        );
        assert!(lines[2].contains("use a kernel with"), "{lines:?}");

        let (code, lines) =
            closed(Method::Auto, missing(), NoKprobes::Denied(EACCES)).expect("a refusal");
        assert_eq!(code, 19);
        assert!(lines[0].contains("refuses kprobes (Permission denied"), "{lines:?}");
        assert!(!lines[2].contains("--attach"), "{lines:?}");
    }

    #[test]
    fn kprobes_that_were_asked_for_need_not_be() {
        for kprobes in [NoKprobes::Missing, NoKprobes::Denied(EPERM), NoKprobes::Locked] {
            let (code, lines) = closed(Method::Kprobe, None, kprobes).expect("a refusal");
            assert!([15, 19].contains(&code), "{lines:?}");
            assert!(!lines[0].contains("trampolines"), "{lines:?}");
            assert!(lines[2].contains("drop --attach kprobe, or "), "{lines:?}");
        }
    }

    #[test]
    fn one_function_without_a_trampoline_is_no_verdict() {
        assert!(closed(Method::Auto, None, NoKprobes::Missing).is_none());
    }

    #[test]
    fn a_small_memory_limit_has_its_own_verdict() {
        let old = Features { charges_memlock: true, ..NEW };
        let denied = Some(NoTrampolines::Denied(EPERM));
        let refusal = both_closed(Method::Auto, old, denied, NoKprobes::Missing);
        assert_eq!(refusal.map(|refusal| refusal.exit_code()), Some(16));
    }
}
