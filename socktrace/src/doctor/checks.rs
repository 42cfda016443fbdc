//! Checks of this host, one line each.

use std::fs;

use caps::{CapSet, Capability, CapsHashSet};
use serde::Serialize;

use crate::{
    kernel::{
        btf::VMLINUX,
        clock::Clock,
        host::{
            in_initial_user_namespace, line, lockdown, memlock_limit, perf_event_paranoid,
            running_kernel, security_modules,
        },
        load::Prepared,
        refusal::Refusal,
        trial::{Answer, Answers},
    },
    owner::cgroup_layout,
};

/// Capabilities that tracing uses, and what each is for.
const CAPABILITIES: [(Capability, &str, &str); 5] = [
    (Capability::CAP_BPF, "CAP_BPF", "to load the programs"),
    (Capability::CAP_PERFMON, "CAP_PERFMON", "to let them read the kernel"),
    (Capability::CAP_SYS_RESOURCE, "CAP_SYS_RESOURCE", "to lift the locked-memory limit"),
    (Capability::CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "for kprobes on Debian and its kin"),
    (Capability::CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "to find services by cgroup at once"),
];

/// State of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Good for tracing.
    Ok,
    /// Tracing works, but something is slower or hidden.
    Limited,
    /// Tracing does not work.
    Bad,
    /// This process cannot find out.
    Unknown,
    /// Neither good nor bad.
    Info,
}

/// One check and its result.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) state: State,
    pub(super) value: String,
    /// Consequence of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

impl Check {
    fn new(name: &'static str, state: State, value: impl Into<String>) -> Self {
        Self { name, state, value: value.into(), note: None }
    }

    fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

/// Every check. Causes come before their consequences.
pub(super) fn all(
    prepared: Option<&Prepared>,
    refusal: Option<&Refusal>,
    answers: Option<&Answers>,
) -> Vec<Check> {
    let charges_memlock = prepared.is_some_and(|prepared| prepared.features.charges_memlock);
    let mut checks = vec![kernel(refusal), btf(refusal), capabilities(), user_namespace()];
    checks.extend(loads(answers));
    checks.extend([
        setting("unprivileged_bpf_disabled", "/proc/sys/kernel/unprivileged_bpf_disabled"),
        paranoid(),
        locked_down(),
        modules(),
        system_call_filter(),
        memlock(charges_memlock),
        jit(),
        ftrace(),
        cgroups(),
        clock(),
        setting("clocksource", "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ]);
    checks
}

fn kernel(refusal: Option<&Refusal>) -> Check {
    let check = |state| Check::new("kernel", state, running_kernel());
    match refusal {
        Some(refusal @ (Refusal::TooOld(_) | Refusal::UnknownKernel(_))) => {
            check(State::Bad).note(refusal.why())
        }
        _ => check(State::Ok),
    }
}

fn btf(refusal: Option<&Refusal>) -> Check {
    match (fs::metadata(VMLINUX), refusal) {
        (Ok(_), Some(refusal @ Refusal::NoBtf(_))) => {
            Check::new("btf", State::Bad, "cannot be read").note(refusal.why())
        }
        (Ok(file), _) => {
            Check::new("btf", State::Ok, format!("{VMLINUX}, {} KiB", file.len() / 1024))
        }
        (Err(error), _) => Check::new("btf", State::Bad, format!("no {VMLINUX}"))
            .note(format!("{error}; without it the layout of kernel structures is unknown")),
    }
}

fn capabilities() -> Check {
    let Ok(held) = caps::read(None, CapSet::Effective) else {
        return Check::new("capabilities", State::Unknown, "cannot be read");
    };
    capabilities_of(&held)
}

fn capabilities_of(held: &CapsHashSet) -> Check {
    let (have, lack): (Vec<_>, Vec<_>) =
        CAPABILITIES.iter().partition(|(capability, ..)| held.contains(capability));
    let admin = held.contains(&Capability::CAP_SYS_ADMIN);
    let essential = |capability| admin || held.contains(&capability);
    let state = if !essential(Capability::CAP_BPF) || !essential(Capability::CAP_PERFMON) {
        State::Bad
    } else if held.contains(&Capability::CAP_DAC_READ_SEARCH) {
        State::Ok
    } else {
        State::Limited
    };
    let names: Vec<_> = have.iter().map(|(_, name, _)| *name).collect();
    let check = Check::new(
        "capabilities",
        state,
        if names.is_empty() { "none that matter".to_owned() } else { names.join(", ") },
    );
    if lack.is_empty() {
        return check;
    }
    let lack: Vec<_> = lack.iter().map(|(_, name, what)| format!("{name} ({what})")).collect();
    check.note(format!("missing: {}", lack.join(", ")))
}

fn user_namespace() -> Check {
    if in_initial_user_namespace() {
        Check::new("user_namespace", State::Ok, "the host's")
    } else {
        Check::new("user_namespace", State::Bad, "a container's own")
            .note("capabilities in it do not count for tracing")
    }
}

/// Checks whether the kernel accepts the maps and program types that tracing needs.
fn loads(answers: Option<&Answers>) -> Vec<Check> {
    const NAMES: [(&str, &str); 4] = [
        ("ring_buffer", "a map of one page"),
        ("load_socket_filter", "a program that needs no privilege to trace, for comparison"),
        ("load_trampoline", "a program for BPF trampolines, which serve the hooks"),
        (
            "load_kprobe",
            "a program for kprobes, which serve the hooks where there are no trampolines",
        ),
    ];
    let Some(answers) = answers else {
        return NAMES
            .iter()
            .map(|(name, _)| {
                Check::new(name, State::Unknown, "not tried")
                    .note("trying it needs CAP_BPF and CAP_PERFMON")
            })
            .collect();
    };
    let offers = [&answers.ring_buffer, &answers.filter, &answers.trampoline, &answers.kprobe];
    NAMES
        .iter()
        .zip(offers)
        .map(|((name, what), answer)| match answer {
            Answer::Taken => Check::new(name, State::Ok, "allowed"),
            Answer::Unknown => Check::new(name, bad_without(name), "unknown to this kernel"),
            Answer::Refused(words) => {
                let check = Check::new(name, bad_without(name), format!("refused: {words}"));
                check.note(format!("offered: {what}"))
            }
        })
        .collect()
}

/// State of the check if the kernel refuses it.
fn bad_without(name: &str) -> State {
    match name {
        "load_kprobe" | "load_socket_filter" => State::Limited,
        _ => State::Bad,
    }
}

/// Reports a kernel setting without judging it.
fn setting(name: &'static str, path: &str) -> Check {
    line(path).map_or_else(
        || Check::new(name, State::Unknown, "cannot be read"),
        |value| Check::new(name, State::Info, value),
    )
}

fn paranoid() -> Check {
    const NAME: &str = "perf_event_paranoid";
    let Some(value) = perf_event_paranoid() else {
        return Check::new(NAME, State::Unknown, "cannot be read");
    };
    let check = Check::new(NAME, State::Info, value.clone());
    if value.parse::<i32>().is_ok_and(|level| level >= 3) {
        check.note("kprobes, if they are needed, require CAP_SYS_ADMIN here")
    } else {
        check
    }
}

fn locked_down() -> Check {
    const NAME: &str = "lockdown";
    match lockdown() {
        None => Check::new(NAME, State::Unknown, "cannot be read")
            .note("no /sys/kernel/security/lockdown here"),
        Some(mode) if mode == "confidentiality" => Check::new(NAME, State::Limited, mode)
            .note("only typed reads of kernel memory work: no kprobes, no ICMP senders, no MPTCP"),
        Some(mode) => Check::new(NAME, State::Ok, mode),
    }
}

fn modules() -> Check {
    const NAME: &str = "security_modules";
    match security_modules() {
        None => Check::new(NAME, State::Unknown, "cannot be read")
            .note("no /sys/kernel/security/lsm here"),
        Some(list) if list.split(',').any(|module| module == "bpf") => {
            Check::new(NAME, State::Info, list)
                .note("BPF programs may decide here who may load others")
        }
        Some(list) => Check::new(NAME, State::Info, list),
    }
}

fn system_call_filter() -> Check {
    const NAME: &str = "seccomp";
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    match status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map(str::trim) {
        Some("0") => Check::new(NAME, State::Ok, "no filter"),
        Some(_) => Check::new(NAME, State::Info, "a filter is in force")
            .note("it must allow bpf, and perf_event_open for kprobes"),
        None => Check::new(NAME, State::Unknown, "cannot be read"),
    }
}

fn memlock(charges_memlock: bool) -> Check {
    let limit = memlock_limit().unwrap_or_else(|| "unknown".to_owned());
    let check = Check::new("memlock", State::Info, limit);
    if charges_memlock {
        check.note("this kernel charges maps to it; CAP_SYS_RESOURCE lifts the limit")
    } else {
        check.note("this kernel does not charge maps to it")
    }
}

fn jit() -> Check {
    const NAME: &str = "bpf_jit";
    match line("/proc/sys/net/core/bpf_jit_enable").as_deref() {
        // Readable by root only.
        None => Check::new(NAME, State::Unknown, "cannot be read"),
        Some("0") => Check::new(NAME, State::Limited, "off")
            .note("BPF trampolines need it: sysctl net.core.bpf_jit_enable=1"),
        Some(_) => Check::new(NAME, State::Ok, "on"),
    }
}

/// Ftrace, which trampolines and kprobes depend on.
fn ftrace() -> Check {
    const NAME: &str = "ftrace";
    match line("/proc/sys/kernel/ftrace_enabled").as_deref() {
        None => Check::new(NAME, State::Unknown, "cannot be read"),
        Some("0") => Check::new(NAME, State::Bad, "off")
            .note("no function can be hooked: sysctl kernel.ftrace_enabled=1"),
        Some(_) => Check::new(NAME, State::Ok, "on"),
    }
}

fn cgroups() -> Check {
    const NAME: &str = "cgroups";
    match cgroup_layout() {
        Err(error) => Check::new(NAME, State::Unknown, "cannot be read").note(error.to_string()),
        Ok(layout) => match (layout.unified.is_some(), layout.complete, layout.legacy) {
            (true, true, false) => Check::new(NAME, State::Ok, "v2"),
            (true, true, true) => Check::new(NAME, State::Limited, "v2 and v1")
                .note("containers may be in v1: a service is known only while its process lives"),
            (true, false, _) => Check::new(NAME, State::Limited, "v2, partly visible")
                .note("services outside this container's cgroup are known only while their processes live"),
            (false, ..) => Check::new(NAME, State::Limited, "v1")
                .note("a service is known only while its process lives"),
        },
    }
}

fn clock() -> Check {
    const NAME: &str = "clock";
    match Clock::new() {
        Ok(clock) => Check::new(NAME, State::Ok, format!("{} ticks a second", clock.hertz())),
        Err(error) => Check::new(NAME, State::Bad, "cannot be read").note(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_and_lacking_is_named() {
        let none = capabilities_of(&CapsHashSet::new());
        assert_eq!((none.state, none.value.as_str()), (State::Bad, "none that matter"));
        assert!(none.note.expect("a note").contains("CAP_BPF (to load the programs)"));
        let unit = [Capability::CAP_BPF, Capability::CAP_PERFMON].into_iter().collect();
        let unit = capabilities_of(&unit);
        assert_eq!((unit.state, unit.value.as_str()), (State::Limited, "CAP_BPF, CAP_PERFMON"));
        let old = [Capability::CAP_SYS_ADMIN].into_iter().collect();
        assert_eq!(capabilities_of(&old).state, State::Limited);
        let all = capabilities_of(&caps::all());
        assert_eq!((all.state, all.note), (State::Ok, None));
    }

    #[test]
    fn each_offer_has_its_own_line() {
        let refused = || Answer::Refused("Operation not permitted".to_owned());
        let answers = Answers {
            filter: Answer::Taken,
            kprobe: refused(),
            trampoline: refused(),
            ring_buffer: Answer::Unknown,
        };
        let states: Vec<_> =
            loads(Some(&answers)).iter().map(|check| (check.name, check.state)).collect();
        assert_eq!(
            states,
            [
                ("ring_buffer", State::Bad),
                ("load_socket_filter", State::Ok),
                ("load_trampoline", State::Bad),
                ("load_kprobe", State::Limited),
            ]
        );
        assert!(loads(None).iter().all(|check| check.state == State::Unknown));
    }

    #[test]
    fn names_are_unique() {
        let checks = all(None, Some(&Refusal::NotRoot), None);
        let mut names: Vec<_> = checks.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), checks.len());
    }
}
