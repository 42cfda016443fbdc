//! Reasons why socktrace cannot trace on this host: one variant each, with its own message.

use std::{fmt, io};

use caps::{CapSet, Capability};
use nix::libc;

use super::{
    features::Features,
    host::{
        hides_memory, in_initial_user_namespace, memlock_limit, running_kernel, security_state,
    },
    ways::{NoKprobes, NoTrampolines},
};

/// Reason why this host cannot be traced; it determines the exit code.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Started by an ordinary user.
    NotRoot,
    /// Apparently root, but without the capabilities that the kernel requires.
    MissingCapabilities(Vec<&'static str>),
    /// Root of a user namespace only.
    UserNamespace,
    /// The kernel has no BTF type information.
    NoBtf(io::Error),
    /// The kernel lacks a feature that socktrace is built on.
    TooOld(&'static str),
    /// All capabilities are held, and the kernel still returns EPERM.
    Policy(io::Error),
    /// Lockdown in confidentiality mode is active and the load was refused.
    Lockdown(io::Error),
    /// Functions can be hooked neither by BPF trampolines nor by kprobes.
    NoWay(NoTrampolines, NoKprobes),
    /// Locked-memory accounting (before Linux 5.11) leaves no room for the maps.
    Memlock(io::Error),
    /// Nothing could be attached, for reasons that differ by hook.
    NothingAttached(Vec<String>),
    /// The kernel's structures are unknown to socktrace.
    UnknownKernel(Vec<String>),
}

impl Refusal {
    /// The process's exit code. 10 to 19 mean "this host refuses tracing" as a whole.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::NotRoot => 10,
            Self::MissingCapabilities(_) | Self::UserNamespace => 11,
            Self::NoBtf(_) => 12,
            Self::TooOld(_) => 13,
            Self::Policy(_) | Self::NoWay(NoTrampolines::Denied(_), _) => 14,
            Self::Lockdown(_) | Self::NoWay(_, NoKprobes::Locked) => 15,
            Self::Memlock(_) => 16,
            Self::NothingAttached(_) => 17,
            Self::UnknownKernel(_) => 18,
            Self::NoWay(_, NoKprobes::Missing | NoKprobes::Denied(_)) => 19,
        }
    }

    /// Whether changing a policy could allow tracing on this very kernel.
    pub(crate) const fn is_by_policy(&self) -> bool {
        matches!(self, Self::Policy(_) | Self::NoWay(NoTrampolines::Denied(_), _))
    }

    /// The failure, in one line.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::NotRoot => "cannot trace: not started as root".to_owned(),
            Self::MissingCapabilities(missing) => {
                format!("cannot trace: missing {}", missing.join(" and "))
            }
            Self::UserNamespace => "cannot trace: root inside a user namespace only".to_owned(),
            Self::NoBtf(error) => {
                format!("cannot trace: the kernel offers no BTF type information ({error})")
            }
            Self::TooOld(lacking) => format!("cannot trace: the kernel is too old: no {lacking}"),
            Self::Policy(error) => {
                format!("cannot trace: the kernel refuses to load tracing programs ({error})")
            }
            Self::Lockdown(error) => {
                format!("cannot trace: refused under lockdown=confidentiality ({error})")
            }
            Self::NoWay(trampolines, kprobes) => match trampolines.what() {
                Some(first) => format!("cannot trace: {first}, and {}", kprobes.what("it")),
                None => format!("cannot trace: {}", kprobes.what("the kernel")),
            },
            Self::Memlock(error) => {
                format!("cannot trace: the locked-memory limit is too small ({error})")
            }
            Self::NothingAttached(_) => "cannot trace: no hook could be attached".to_owned(),
            Self::UnknownKernel(_) => {
                "cannot trace: the kernel's socket structures are unknown".to_owned()
            }
        }
    }

    /// The reason for the failure.
    pub(crate) fn why(&self) -> String {
        match self {
            Self::NotRoot => {
                "loading kernel tracing programs needs CAP_BPF and CAP_PERFMON, or root".to_owned()
            }
            Self::MissingCapabilities(_) => {
                "the kernel loads tracing programs only for CAP_BPF with CAP_PERFMON, or \
                 CAP_SYS_ADMIN; root in a container or service often lacks them"
                    .to_owned()
            }
            Self::UserNamespace => {
                "the kernel requires the capabilities in the initial user namespace; this process \
                 holds them only in its own, as in a rootless container"
                    .to_owned()
            }
            Self::NoBtf(_) => "socket structures differ from kernel to kernel; without \
                               /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF) they would be guesses"
                .to_owned(),
            Self::TooOld(_) => format!("{}; socktrace needs Linux 5.10 or later", running_kernel()),
            Self::Policy(_) => policy(),
            Self::Lockdown(_) => format!("the kernel runs locked down: {}", security_state()),
            Self::NoWay(NoTrampolines::Denied(_), kprobes) => {
                format!("{}; {}", policy(), kprobes.why())
            }
            Self::NoWay(NoTrampolines::Missing(_) | NoTrampolines::NotAsked, kprobes) => {
                kprobes.why()
            }
            Self::Memlock(_) => format!(
                "kernels before 5.11 charge maps to RLIMIT_MEMLOCK, here {}, and without \
                 CAP_SYS_RESOURCE it cannot be raised",
                memlock_limit().as_deref().unwrap_or("unknown")
            ),
            Self::NothingAttached(reasons) | Self::UnknownKernel(reasons) => reasons.join("; "),
        }
    }

    /// Advice on what to do about it.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::NotRoot => "run `sudo socktrace`",
            Self::MissingCapabilities(_) => {
                "grant the missing capabilities (systemd: AmbientCapabilities=, containers: \
                 --cap-add), or run in the host's context"
            }
            Self::UserNamespace => "run it as root on the host itself",
            Self::NoBtf(_) => {
                "use a distribution kernel (Debian 11, Ubuntu 20.10, RHEL 8.2 and later have BTF), \
                 or build with CONFIG_DEBUG_INFO_BTF=y; in a container, mount /sys read-only"
            }
            Self::TooOld(_) => "upgrade the kernel",
            Self::Policy(_) | Self::NoWay(NoTrampolines::Denied(_), _) => {
                "ask whoever administers this host's kernel policy (BPF LSM programs, SELinux, \
                 seccomp of the container runtime) to allow tracing programs, or use another host"
            }
            Self::Lockdown(_) => "boot with lockdown=integrity, which allows tracing",
            Self::NoWay(NoTrampolines::NotAsked, NoKprobes::Missing) => {
                "drop --attach kprobe, or use a kernel with kprobes"
            }
            Self::NoWay(NoTrampolines::NotAsked, NoKprobes::Denied(_)) => {
                "drop --attach kprobe, or run as root with CAP_SYS_ADMIN and let the \
                 container's seccomp filter allow perf_event_open"
            }
            Self::NoWay(NoTrampolines::NotAsked, NoKprobes::Locked) => {
                "drop --attach kprobe, or boot with lockdown=integrity"
            }
            Self::NoWay(NoTrampolines::Missing(_), NoKprobes::Missing) => {
                "use a kernel with BPF trampolines for functions (x86-64, or arm64 since Linux 6.4) \
                 or with kprobes"
            }
            Self::NoWay(NoTrampolines::Missing(_), NoKprobes::Denied(_)) => {
                "run as root with CAP_SYS_ADMIN and let the container's seccomp filter allow \
                 perf_event_open"
            }
            Self::NoWay(NoTrampolines::Missing(_), NoKprobes::Locked) => {
                "boot with lockdown=integrity, which allows kprobes"
            }
            Self::Memlock(_) => {
                "raise it: `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the systemd unit"
            }
            Self::NothingAttached(_) => "run again with -v and report its output with `uname -a`",
            Self::UnknownKernel(_) => {
                "report this with `uname -a`: socktrace must learn this kernel"
            }
        }
    }

    /// Command that resolves the problem, if there is one.
    pub(crate) const fn command(&self) -> Option<&'static str> {
        match self {
            Self::NotRoot => Some("sudo socktrace"),
            // A transient unit has the capabilities that the shell, service or container lacks.
            Self::MissingCapabilities(_) => Some("sudo systemd-run --pty socktrace"),
            Self::NoWay(
                NoTrampolines::NotAsked | NoTrampolines::Missing(_),
                NoKprobes::Denied(_),
            ) => Some("sudo sysctl kernel.perf_event_paranoid=2"),
            Self::Memlock(_) => Some("ulimit -l unlimited"),
            Self::UserNamespace
            | Self::NoBtf(_)
            | Self::TooOld(_)
            | Self::Policy(_)
            | Self::Lockdown(_)
            | Self::NoWay(..)
            | Self::NothingAttached(_)
            | Self::UnknownKernel(_) => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  why: {}\n  do:  {}", self.what(), self.why(), self.advice())
    }
}

impl std::error::Error for Refusal {}

/// Describes the policy that refuses what the capabilities allow.
fn policy() -> String {
    let state = security_state();
    format!("CAP_BPF and CAP_PERFMON are held, so a security policy denies it: {state}")
}

/// Checks the privileges before anything is loaded.
pub(crate) fn check_privileges() -> Result<(), Refusal> {
    let held = caps::read(None, CapSet::Effective).unwrap_or_default();
    let admin = held.contains(&Capability::CAP_SYS_ADMIN);
    let missing: Vec<_> =
        [(Capability::CAP_BPF, "CAP_BPF"), (Capability::CAP_PERFMON, "CAP_PERFMON")]
            .into_iter()
            .filter(|(capability, _)| !admin && !held.contains(capability))
            .map(|(_, name)| name)
            .collect();
    if missing.is_empty() {
        return if in_initial_user_namespace() { Ok(()) } else { Err(Refusal::UserNamespace) };
    }
    Err(if nix::unistd::geteuid().is_root() {
        Refusal::MissingCapabilities(missing)
    } else {
        Refusal::NotRoot
    })
}

/// Checks that the kernel has what every program needs.
pub(crate) fn check_features(features: Features) -> Result<(), Refusal> {
    if !features.trampolines {
        return Err(Refusal::TooOld("BPF trampolines (fentry)"));
    }
    if !features.ring_buffer {
        return Err(Refusal::TooOld("BPF ring buffer"));
    }
    Ok(())
}

/// The kernel's EPERM, if it is in the chain of causes.
pub(super) fn denied(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.raw_os_error() == Some(libc::EPERM)
        {
            return Some(io::Error::from_raw_os_error(libc::EPERM));
        }
        next = error.source();
    }
    None
}

/// Refusal behind an EPERM from the kernel when all capabilities are held.
pub(crate) fn explain_eperm(features: Features, error: io::Error) -> Refusal {
    if features.charges_memlock {
        return Refusal::Memlock(error);
    }
    if hides_memory() {
        return Refusal::Lockdown(error);
    }
    Refusal::Policy(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<Refusal> {
        let eperm = || io::Error::from_raw_os_error(1);
        let mut kinds = vec![
            Refusal::NotRoot,
            Refusal::MissingCapabilities(vec!["CAP_BPF", "CAP_PERFMON"]),
            Refusal::UserNamespace,
            Refusal::NoBtf(io::Error::from_raw_os_error(2)),
            Refusal::TooOld("BPF ring buffer"),
            Refusal::Policy(eperm()),
            Refusal::Lockdown(eperm()),
            Refusal::Memlock(eperm()),
            Refusal::NothingAttached(vec!["tcp_done: the kernel refused the program".to_owned()]),
            Refusal::UnknownKernel(vec!["no member `sock.sk_err`".to_owned()]),
        ];
        let missing = NoTrampolines::Missing("not supported".to_owned());
        for trampolines in [NoTrampolines::NotAsked, missing, NoTrampolines::Denied(libc::EPERM)] {
            for kprobes in [NoKprobes::Missing, NoKprobes::Denied(libc::EACCES), NoKprobes::Locked]
            {
                kinds.push(Refusal::NoWay(trampolines.clone(), kprobes));
            }
        }
        kinds
    }

    #[test]
    fn each_says_what_why_and_what_to_do() {
        for refusal in every_kind() {
            let text = refusal.to_string();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), 3, "{text}");
            assert!(lines[0].starts_with("cannot trace: "), "{text}");
            assert!(lines[1].starts_with("  why: ") && lines[1].len() > 20, "{text}");
            assert!(lines[2].starts_with("  do:  ") && lines[2].len() > 15, "{text}");
        }
    }

    #[test]
    fn exit_codes_lie_in_the_documented_range() {
        for refusal in every_kind() {
            assert!((10..=19).contains(&refusal.exit_code()), "{refusal}");
        }
    }
}
