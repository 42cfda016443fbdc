//! Attaches what the plan names, and falls back where this kernel does not take it.

use std::{error::Error, io};

use aya::{
    Ebpf,
    programs::{self, BtfTracePoint, FEntry, FExit, KProbe, ProgramError, kprobe::KProbeError},
    sys::SyscallError,
};
use nix::libc;

use super::{
    features::Features,
    health::{Health, HookState},
    hooks::Hook,
    host::hides_memory,
    plan::{Method, Plan, Served},
    refusal::{self, Refusal, denied},
    subject::Subject,
    variant::{Attach, Program, Variant},
};

/// The kernel's own value for what it does not support, from `include/linux/errno.h`.
const ENOTSUPP: i32 = 524;

/// What keeps a program attached: dropping it detaches it.
pub(super) type Link = Box<dyn Send>;

/// Attaches every hook that the plan serves.
///
/// # Errors
/// A [`Refusal`] when the host denies it all.
pub(super) fn attach_all(
    ebpf: &mut Ebpf,
    plan: &Plan,
    types: &aya::Btf,
    method: Method,
    features: Features,
) -> anyhow::Result<(Health, Vec<Link>)> {
    let with_spares = features.guards_recursion;
    let links = Vec::new();
    let mut attacher =
        Attacher { ebpf, types, method, with_spares, without_trampolines: None, links };
    let mut health = Health::default();
    for (hook, served) in &plan.hooks {
        let state = match served {
            Served::Not(reason) => HookState::Absent(reason.clone()),
            Served::By(variants) => match attacher.attach_first(variants) {
                Ok(state) => state,
                Err(error) => {
                    // What is denied to one program is denied to all: no use in trying the others.
                    // Only kprobes may be denied while trampolines are not.
                    if lacks_kprobes(&error) {
                        if health.hooked_functions().next().is_none() {
                            return Err(Refusal::NoKprobes.into());
                        }
                    } else if let Some(errno) = kprobe_denied(&error) {
                        if health.hooked_functions().next().is_none() {
                            return Err(Refusal::Kprobes(errno).into());
                        }
                    } else if let Some(errno) = denied(&error) {
                        return Err(refusal::explain_eperm(features, errno).into());
                    }
                    HookState::Failed(attacher.reason(*hook, &error))
                }
            },
        };
        health.record(*hook, state);
    }
    if health.hooked_functions().next().is_none() {
        // Auto does not try kprobes under that lockdown.
        let locked = attacher.without_trampolines.is_some() && hides_memory();
        return Err(if locked {
            Refusal::KprobesLocked
        } else {
            Refusal::NothingAttached(health.reasons())
        }
        .into());
    }
    Ok((health, attacher.links))
}

/// All that the plan may attach programs to.
pub(super) fn subjects(plan: &Plan) -> impl Iterator<Item = Subject> {
    let served = plan.hooks.iter().filter_map(|(_, served)| match served {
        Served::By(variants) => Some(variants),
        Served::Not(_) => None,
    });
    served.flatten().flat_map(|variant| {
        variant.programs.iter().map(|program| match program.attach {
            Attach::Tracepoint => Subject::Tracepoint(variant.function_of(program)),
            _ => Subject::Function(variant.function_of(program)),
        })
    })
}

struct Attacher<'a> {
    ebpf: &'a mut Ebpf,
    types: &'a aya::Btf,
    /// How functions were asked to be hooked.
    method: Method,
    /// Whether this kernel keeps calls from programs, so that spare ones are of use.
    with_spares: bool,
    /// The error that shows that this kernel has no trampolines for functions, once it is known.
    without_trampolines: Option<String>,
    links: Vec<Link>,
}

impl Attacher<'_> {
    /// Why a hook could not be attached.
    fn reason(&self, hook: Hook, error: &ProgramError) -> String {
        match (&self.without_trampolines, hook.not_by_kprobe()) {
            (Some(reason), Some(why)) => format!("{reason}, and by kprobes {why}"),
            _ => first_line(error),
        }
    }

    /// Attaches the first of the variants that the kernel accepts; the last one's error if none.
    fn attach_first(&mut self, variants: &[&Variant]) -> Result<HookState, ProgramError> {
        let have_kprobes = variants.iter().any(|variant| variant.is_kprobe());
        let mut last = ProgramError::NotLoaded;
        for variant in variants {
            if variant.needs_trampoline() && self.without_trampolines.is_some() && have_kprobes {
                continue;
            }
            match attach(self.ebpf, variant, self.types) {
                Ok(links) if variant.is_kprobe() => {
                    self.links.extend(links);
                    return Ok(HookState::Fallback(self.why_kprobes(&last)));
                }
                Ok(links) => {
                    self.links.extend(links);
                    if self.with_spares {
                        self.links.extend(attach_spares(self.ebpf, variant, self.types));
                    }
                    return Ok(HookState::Attached);
                }
                Err(error) => {
                    log::debug!("{}: {}", variant.function, full_text(&error));
                    if variant.needs_trampoline() && is_unsupported(&error) {
                        self.without_trampolines = Some(format!(
                            "this kernel has no BPF trampolines for functions ({})",
                            full_text(&error)
                        ));
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Why kprobes serve a hook whose other programs ended in this error.
    fn why_kprobes(&self, error: &ProgramError) -> String {
        match (self.method, &self.without_trampolines) {
            (Method::Kprobe, _) => "as --attach kprobe asks".to_owned(),
            (_, Some(reason)) => reason.clone(),
            (_, None) => first_line(error),
        }
    }
}

/// Loads and attaches the programs that a variant's hook needs: all of them or none.
fn attach(ebpf: &mut Ebpf, variant: &Variant, types: &aya::Btf) -> Result<Vec<Link>, ProgramError> {
    for program in variant.needed() {
        if let Err(error) = load_program(ebpf, variant.function_of(program), program, types) {
            unload_all(ebpf, variant);
            return Err(error);
        }
    }
    let attached =
        variant.needed().map(|program| attach_program(ebpf, variant.function_of(program), program));
    // Of links that are not handed on, the programs are detached.
    let links = attached.collect::<Result<Vec<_>, _>>();
    if links.is_err() {
        unload_all(ebpf, variant);
    }
    links
}

/// Loads and attaches the variant's spare programs, as far as the kernel takes them.
fn attach_spares(ebpf: &mut Ebpf, variant: &Variant, types: &aya::Btf) -> Vec<Link> {
    let mut links = Vec::new();
    for program in variant.programs.iter().filter(|program| program.spare) {
        let function = variant.function_of(program);
        let result = load_program(ebpf, function, program, types)
            .and_then(|()| attach_program(ebpf, function, program));
        match result {
            Ok(link) => links.push(link),
            Err(error) => {
                log::debug!("{}: not attached: {}", program.name, full_text(&error));
                unload(ebpf, program);
            }
        }
    }
    links
}

fn load_program(
    ebpf: &mut Ebpf,
    function: &str,
    program: &Program,
    types: &aya::Btf,
) -> Result<(), ProgramError> {
    match program.attach {
        Attach::Fentry => find::<FEntry>(ebpf, program)?.load(function, types),
        Attach::Fexit => find::<FExit>(ebpf, program)?.load(function, types),
        Attach::Kprobe | Attach::Kretprobe => find::<KProbe>(ebpf, program)?.load(),
        Attach::Tracepoint => find::<BtfTracePoint>(ebpf, program)?.load(function, types),
    }
}

fn attach_program(
    ebpf: &mut Ebpf,
    function: &str,
    program: &Program,
) -> Result<Link, ProgramError> {
    Ok(match program.attach {
        Attach::Fentry => {
            let program = find::<FEntry>(ebpf, program)?;
            let link = program.attach()?;
            Box::new(program.take_link(link)?)
        }
        Attach::Fexit => {
            let program = find::<FExit>(ebpf, program)?;
            let link = program.attach()?;
            Box::new(program.take_link(link)?)
        }
        Attach::Kprobe | Attach::Kretprobe => {
            let program = find::<KProbe>(ebpf, program)?;
            let link = program.attach(function, 0)?;
            Box::new(program.take_link(link)?)
        }
        Attach::Tracepoint => {
            let program = find::<BtfTracePoint>(ebpf, program)?;
            let link = program.attach()?;
            Box::new(program.take_link(link)?)
        }
    })
}

fn unload_all(ebpf: &mut Ebpf, variant: &Variant) {
    for program in variant.needed() {
        unload(ebpf, program);
    }
}

/// Takes a program out again; one that is not loaded stays as it is.
fn unload(ebpf: &mut Ebpf, program: &Program) {
    let result = match program.attach {
        Attach::Fentry => find(ebpf, program).and_then(FEntry::unload),
        Attach::Fexit => find(ebpf, program).and_then(FExit::unload),
        Attach::Kprobe | Attach::Kretprobe => find(ebpf, program).and_then(KProbe::unload),
        Attach::Tracepoint => find(ebpf, program).and_then(BtfTracePoint::unload),
    };
    match result {
        Ok(()) | Err(ProgramError::NotLoaded) => {}
        Err(error) => log::debug!("{}: not unloaded: {error}", program.name),
    }
}

/// A program of the object, as what it is.
fn find<'a, P>(ebpf: &'a mut Ebpf, program: &Program) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(program.name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

/// Whether the kernel lacks what attaching takes: arm64 before 6.4, and kernels built without
/// `DYNAMIC_FTRACE_WITH_DIRECT_CALLS`, say so when a program is linked.
fn is_unsupported(error: &ProgramError) -> bool {
    matches!(
        error,
        ProgramError::SyscallError(SyscallError { io_error, .. })
            if matches!(io_error.raw_os_error(), Some(ENOTSUPP | libc::EOPNOTSUPP))
    )
}

/// Whether the kernel has no kprobes, as where it does not say what to open one as.
fn lacks_kprobes(error: &ProgramError) -> bool {
    matches!(
        error,
        ProgramError::KProbeError(KProbeError::FileError { io_error, .. })
            if io_error.kind() == io::ErrorKind::NotFound
    )
}

/// The kernel's refusal to open a kprobe, which takes a performance event.
fn kprobe_denied(error: &ProgramError) -> Option<io::Error> {
    let ProgramError::SyscallError(SyscallError { call: "perf_event_open", io_error }) = error
    else {
        return None;
    };
    let errno = io_error.raw_os_error()?;
    matches!(errno, libc::EPERM | libc::EACCES).then(|| io::Error::from_raw_os_error(errno))
}

/// The error without the verifier's log, which goes on for pages.
fn first_line(error: &ProgramError) -> String {
    let text = match error {
        ProgramError::LoadError { io_error, .. } => {
            format!("the kernel refused the program: {io_error}")
        }
        other => full_text(other),
    };
    text.lines().next().unwrap_or_default().to_owned()
}

fn full_text(error: &ProgramError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(call: &'static str, errno: i32) -> ProgramError {
        SyscallError { call, io_error: io::Error::from_raw_os_error(errno) }.into()
    }

    #[test]
    fn missing_trampolines_are_told_from_other_failures() {
        for errno in [ENOTSUPP, libc::EOPNOTSUPP] {
            assert!(is_unsupported(&failed("bpf_raw_tracepoint_open", errno)), "{errno}");
        }
        assert!(!is_unsupported(&failed("bpf_raw_tracepoint_open", libc::EBUSY)));
        assert!(!is_unsupported(&ProgramError::NotLoaded));
    }

    #[test]
    fn missing_kprobes_are_told_from_other_failures() {
        let failed = |kind: io::ErrorKind| {
            let filename = "/sys/bus/event_source/devices/kprobe/type".into();
            ProgramError::from(KProbeError::FileError { filename, io_error: kind.into() })
        };
        assert!(lacks_kprobes(&failed(io::ErrorKind::NotFound)));
        assert!(!lacks_kprobes(&failed(io::ErrorKind::PermissionDenied)));
    }

    #[test]
    fn refused_kprobes_are_told_from_refused_programs() {
        for errno in [libc::EPERM, libc::EACCES] {
            let refused = kprobe_denied(&failed("perf_event_open", errno)).expect("denied");
            assert_eq!(refused.raw_os_error(), Some(errno));
            assert!(kprobe_denied(&failed("bpf_prog_load", errno)).is_none());
        }
        // No such function.
        assert!(kprobe_denied(&failed("perf_event_open", libc::ENOENT)).is_none());
    }
}
