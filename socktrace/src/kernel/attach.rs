//! Attaches the hooks of the plan, with a fallback where this kernel refuses one.

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
    host::{hides_memory, preempts},
    load::{OnRequest, Options},
    plan::{Method, Plan, Served},
    preload::{self, Preloaded},
    refusal::{self, Refusal, denied},
    subject::Subject,
    variant::{Attach, Program, Variant},
    ways::{NoKprobes, NoTrampolines, both_closed},
};

/// The kernel's internal ENOTSUPP, from `include/linux/errno.h`.
const ENOTSUPP: i32 = 524;

/// The link of an attached program: dropping it detaches the program.
pub(super) type Link = Box<dyn Send>;

/// Attaches every hook that the plan serves.
///
/// # Errors
/// A [`Refusal`] when the host denies everything.
pub(super) fn attach_all(
    ebpf: &mut Ebpf,
    plan: &Plan,
    types: &aya::Btf,
    options: Options,
    features: Features,
) -> anyhow::Result<(Health, Vec<Link>)> {
    let method = options.method;
    let mut attacher = Attacher {
        ebpf,
        types,
        method,
        on_request: options.on_request,
        not_built: &plan.not_built,
        hides_memory: hides_memory(),
        preempts: features.guards_recursion && preempts(),
        no_trampolines: None,
        uses_kprobes: false,
        preloaded: Preloaded::default(),
        links: Vec::new(),
    };
    let mut health = Health::default();
    for (index, (hook, served)) in plan.hooks.iter().enumerate() {
        if index == 1 {
            // The first hook has shown what this kernel supports.
            attacher.preload(&plan.hooks[index..], features);
        }
        if attacher.does_without(*hook, features) {
            continue;
        }
        let state = match served {
            Served::Not(reason) => HookState::Absent(reason.clone()),
            Served::By(variants) => match attacher.attach_first(variants) {
                Ok(state) => state,
                Err(error) => {
                    if let Some(kprobes) = no_kprobes(&error) {
                        // Kprobes may be closed while trampolines work.
                        let no_trampolines = attacher.no_trampolines.clone();
                        if health.hooked_functions().next().is_none()
                            && let Some(refusal) =
                                both_closed(method, features, no_trampolines, kprobes)
                        {
                            return Err(refusal.into());
                        }
                    } else if let Some(errno) = denied(&error) {
                        // A denial for one program applies to all: no use trying others.
                        return Err(refusal::explain_eperm(features, errno).into());
                    }
                    HookState::Failed(attacher.reason(*hook, &error))
                }
            },
        };
        health.record(*hook, state);
    }
    if health.hooked_functions().next().is_none() {
        // `auto` does not try kprobes under confidentiality lockdown.
        return Err(match attacher.no_trampolines {
            Some(trampolines) if hides_memory() => Refusal::NoWay(trampolines, NoKprobes::Locked),
            _ => Refusal::NothingAttached(health.reasons()),
        }
        .into());
    }
    Ok((health, attacher.links))
}

/// Everything that the plan may attach programs to.
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
    /// Requested way to hook functions.
    method: Method,
    on_request: OnRequest,
    /// Functions that this kernel is built without.
    not_built: &'a [&'static str],
    /// Whether the kernel hides its memory from programs.
    hides_memory: bool,
    /// Whether this kernel withholds calls from a program that another task was preempted in.
    preempts: bool,
    /// Reason why no function can be hooked by a trampoline, once known.
    no_trampolines: Option<NoTrampolines>,
    /// Whether any hook is served by kprobes.
    uses_kprobes: bool,
    preloaded: Preloaded,
    links: Vec<Link>,
}

impl<'a> Attacher<'a> {
    /// Whether the programs attached by now can tell that a socket they track has ended.
    fn recognizes_sockets(&self, features: Features) -> bool {
        features.cookies() && !self.uses_kprobes && !self.hides_memory
    }

    /// Whether a hook is not needed: it was not requested, or others do its job.
    fn does_without(&self, hook: Hook, features: Features) -> bool {
        self.on_request.does_without(hook)
            || (hook.only_forgets() && self.recognizes_sockets(features))
    }

    /// Reason why a hook could not be attached.
    fn reason(&self, hook: Hook, error: &ProgramError) -> String {
        match (&self.no_trampolines, hook.not_by_kprobe()) {
            (Some(NoTrampolines::Missing(words)), Some(why)) => {
                format!("{}, and by kprobes {why}", missing(words))
            }
            _ => first_line(error),
        }
    }

    /// Loads the programs that will be tried first for each hook.
    fn preload(&mut self, hooks: &[(Hook, Served)], features: Features) {
        let mut wanted = Vec::new();
        for (hook, served) in hooks {
            if self.does_without(*hook, features) {
                continue;
            }
            if let Served::By(variants) = served
                && let Some(variant) =
                    variants.iter().find(|variant| !self.is_hopeless(variant, variants))
            {
                let needed = self.needed(variant);
                let spares =
                    variant.programs.iter().filter(|program| program.spare && self.preempts);
                let programs = needed.chain(spares);
                wanted.extend(programs.map(|program| (program, variant.function_of(program))));
            }
        }
        self.preloaded = preload::preload(self.ebpf, &wanted, self.types);
    }

    /// Programs that a variant's hook needs on this kernel.
    fn needed<'v>(
        &self,
        variant: &'v Variant,
    ) -> impl Iterator<Item = &'static Program> + use<'a, 'v> {
        let not_built = self.not_built;
        variant.needed_of(move |function| !not_built.contains(&function))
    }

    /// Whether this kernel is known to refuse a variant, while others remain to be tried.
    fn is_hopeless(&self, variant: &Variant, variants: &[&Variant]) -> bool {
        let no_trampolines = matches!(self.no_trampolines, Some(NoTrampolines::Missing(_)));
        let have_kprobes = variants.iter().any(|variant| variant.is_kprobe());
        (variant.needs_trampoline() && no_trampolines && have_kprobes)
            || (variant.reads_memory() && self.hides_memory)
    }

    /// Attaches the first variant that the kernel accepts; returns the last error if it accepts
    /// none.
    fn attach_first(&mut self, variants: &[&'static Variant]) -> Result<HookState, ProgramError> {
        let mut last = ProgramError::NotLoaded;
        for variant in variants {
            if self.is_hopeless(variant, variants) {
                continue;
            }
            match self.attach(variant) {
                Ok(links) if variant.is_kprobe() => {
                    self.uses_kprobes = true;
                    self.links.extend(links);
                    return Ok(HookState::Fallback(self.why_kprobes(&last)));
                }
                Ok(links) => {
                    self.links.extend(links);
                    if self.preempts {
                        let spares = self.attach_spares(variant);
                        self.links.extend(spares);
                    }
                    return Ok(HookState::Attached);
                }
                Err(error) => {
                    log::debug!("{}: {}", variant.function, full_text(&error));
                    if variant.needs_trampoline() {
                        self.no_trampolines = no_trampolines(&error).or(self.no_trampolines.take());
                    }
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Loads and attaches the programs that a variant's hook needs: all or none.
    fn attach(&mut self, variant: &Variant) -> Result<Vec<Link>, ProgramError> {
        for program in self.needed(variant) {
            if let Err(error) = self.load(variant.function_of(program), program) {
                self.unload_all(variant);
                return Err(error);
            }
        }
        let attached = self
            .needed(variant)
            .map(|program| attach_program(self.ebpf, variant.function_of(program), program));
        // Links dropped here detach their programs.
        let links = attached.collect::<Result<Vec<_>, _>>();
        if links.is_err() {
            self.unload_all(variant);
        }
        links
    }

    /// Loads and attaches the variant's spare programs, skipping those that the kernel refuses.
    fn attach_spares(&mut self, variant: &Variant) -> Vec<Link> {
        let mut links = Vec::new();
        for program in variant.programs.iter().filter(|program| program.spare) {
            let function = variant.function_of(program);
            let result = self
                .load(function, program)
                .and_then(|()| attach_program(self.ebpf, function, program));
            match result {
                Ok(link) => links.push(link),
                Err(error) => {
                    log::debug!("{}: not attached: {}", program.name, full_text(&error));
                    self.unload(program);
                }
            }
        }
        links
    }

    fn load(&mut self, function: &str, program: &Program) -> Result<(), ProgramError> {
        if let Some(result) = self.preloaded.take(program) {
            return result;
        }
        let found =
            self.ebpf.program_mut(program.name).ok_or(ProgramError::UnexpectedProgramType)?;
        preload::load(found, program, function, self.types)
    }

    fn unload_all(&mut self, variant: &Variant) {
        for program in variant.needed() {
            self.unload(program);
        }
    }

    /// Unloads a program, if it is loaded.
    fn unload(&mut self, program: &Program) {
        drop(self.preloaded.take(program));
        let result = match program.attach {
            Attach::Fentry => find(self.ebpf, program).and_then(FEntry::unload),
            Attach::Fexit => find(self.ebpf, program).and_then(FExit::unload),
            Attach::Kprobe | Attach::Kretprobe => find(self.ebpf, program).and_then(KProbe::unload),
            Attach::Tracepoint => find(self.ebpf, program).and_then(BtfTracePoint::unload),
        };
        match result {
            Ok(()) | Err(ProgramError::NotLoaded) => {}
            Err(error) => log::debug!("{}: not unloaded: {error}", program.name),
        }
    }

    /// Reason why kprobes serve a hook whose other programs failed with this error.
    fn why_kprobes(&self, error: &ProgramError) -> String {
        match (self.method, &self.no_trampolines) {
            (Method::Kprobe, _) => "as requested by --attach kprobe".to_owned(),
            (_, Some(NoTrampolines::Missing(words))) => missing(words),
            _ => first_line(error),
        }
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

/// Finds a program of the object, by its type.
fn find<'a, P>(ebpf: &'a mut Ebpf, program: &Program) -> Result<&'a mut P, ProgramError>
where
    &'a mut P: TryFrom<&'a mut programs::Program, Error = ProgramError>,
{
    ebpf.program_mut(program.name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

/// Whether the kernel lacks support for attaching. arm64 before 6.4, and kernels built without
/// `DYNAMIC_FTRACE_WITH_DIRECT_CALLS`, report that when a program is linked.
fn is_unsupported(error: &ProgramError) -> bool {
    matches!(
        error,
        ProgramError::SyscallError(SyscallError { io_error, .. })
            if matches!(io_error.raw_os_error(), Some(ENOTSUPP | libc::EOPNOTSUPP))
    )
}

/// Reason why an error closes trampolines to every function, if it does.
fn no_trampolines(error: &ProgramError) -> Option<NoTrampolines> {
    if is_unsupported(error) {
        return Some(NoTrampolines::Missing(full_text(error)));
    }
    denied(error)?.raw_os_error().map(NoTrampolines::Denied)
}

/// A hook's reason on a kernel without trampolines for functions.
fn missing(words: &str) -> String {
    format!("this kernel has no BPF trampolines for functions ({words})")
}

/// Reason why an error closes kprobes to every function, if it does.
fn no_kprobes(error: &ProgramError) -> Option<NoKprobes> {
    match error {
        // A kernel with kprobes publishes their event type in this file.
        ProgramError::KProbeError(KProbeError::FileError { io_error, .. })
            if io_error.kind() == io::ErrorKind::NotFound =>
        {
            Some(NoKprobes::Missing)
        }
        // Opening a kprobe opens a perf event.
        ProgramError::SyscallError(SyscallError { call: "perf_event_open", io_error }) => {
            let errno = io_error.raw_os_error()?;
            matches!(errno, libc::EPERM | libc::EACCES).then_some(NoKprobes::Denied(errno))
        }
        _ => None,
    }
}

/// The error without the verifier's log, which runs to pages.
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
    fn errors_that_close_trampolines_are_known() {
        for errno in [ENOTSUPP, libc::EOPNOTSUPP] {
            let closed = no_trampolines(&failed("bpf_raw_tracepoint_open", errno));
            assert!(matches!(closed, Some(NoTrampolines::Missing(_))), "{errno}: {closed:?}");
        }
        let denied = no_trampolines(&failed("bpf_prog_load", libc::EPERM));
        assert!(matches!(denied, Some(NoTrampolines::Denied(libc::EPERM))), "{denied:?}");
        assert!(no_trampolines(&failed("bpf_raw_tracepoint_open", libc::EBUSY)).is_none());
        assert!(no_trampolines(&ProgramError::NotLoaded).is_none());
    }

    #[test]
    fn errors_that_close_kprobes_are_known() {
        let unreadable = |kind: io::ErrorKind| {
            let filename = "/sys/bus/event_source/devices/kprobe/type".into();
            ProgramError::from(KProbeError::FileError { filename, io_error: kind.into() })
        };
        let missing = no_kprobes(&unreadable(io::ErrorKind::NotFound));
        assert!(matches!(missing, Some(NoKprobes::Missing)), "{missing:?}");
        assert!(no_kprobes(&unreadable(io::ErrorKind::PermissionDenied)).is_none());
        for errno in [libc::EPERM, libc::EACCES] {
            let denied = no_kprobes(&failed("perf_event_open", errno));
            assert!(matches!(denied, Some(NoKprobes::Denied(found)) if found == errno), "{errno}");
            assert!(no_kprobes(&failed("bpf_prog_load", errno)).is_none());
        }
        // No such function.
        assert!(no_kprobes(&failed("perf_event_open", libc::ENOENT)).is_none());
    }
}
