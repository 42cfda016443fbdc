//! Loads the kernel programs with this kernel's facts and attaches them.

use std::{error::Error as _, io};

use anyhow::Context as _;
use aya::{
    Ebpf, EbpfError, EbpfLoader, VerifierLogLevel,
    programs::{self, ProgramError},
};
use socktrace_ebpf::facts::ABSENT;

use super::{
    btf::Btf,
    facts::{self, Fact},
    health::{Health, HookState},
    hooks::{Attach, Program, Variant},
    plan::{Plan, Served, plan},
    refusal::{self, Refusal},
};

/// The kernel programs, compiled by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SOCKTRACE_EBPF_OBJECT"));

/// Size of a ring buffer that nothing is sent to: one page, the least the kernel makes.
const UNUSED_RING_BYTES: u32 = 4096;

/// `AYA_LOG_LEVEL` for no messages and for those of debug level.
const LOG_OFF: u8 = 0;
const LOG_DEBUG: u8 = 4;

/// What to load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Whether events are streamed; if not, the programs only count.
    pub(crate) stream: bool,
    /// Whether retransmission timeouts are streamed too.
    pub(crate) retransmits: bool,
    /// Whether the programs send debug messages.
    pub(crate) probe_log: bool,
    /// Silence after which a reset of the first data counts as one of an idle connection.
    pub(crate) idle_jiffies: u32,
    /// Retransmissions after which a reset counts as one after retransmissions.
    pub(crate) retransmit_threshold: u32,
}

/// The loaded object, its attached programs, and how attaching went.
///
/// Dropping it detaches everything; so does the kernel when the process dies.
pub(crate) struct Loaded {
    pub(crate) ebpf: Ebpf,
    pub(crate) health: Health,
    /// The kernel's names of `enum sk_rst_reason`, empty where it has none (before 6.10).
    pub(crate) rst_reasons: Vec<(u32, String)>,
}

/// Checks the host, then loads and attaches all that this kernel can serve.
///
/// # Errors
/// A [`Refusal`] when nothing can be traced here; it names the reason. One hook that cannot be
/// attached is no error: it stands in [`Loaded::health`].
pub(crate) fn load(options: Options) -> anyhow::Result<Loaded> {
    refusal::check_privileges()?;
    let data = std::fs::read(super::btf::VMLINUX).map_err(Refusal::NoBtf)?;
    let btf = Btf::parse(data).with_context(|| format!("cannot read {}", super::btf::VMLINUX))?;
    refusal::check_features(&btf)?;
    let facts = facts::read(&btf).map_err(|missing| {
        Refusal::UnknownKernel(missing.iter().map(ToString::to_string).collect())
    })?;
    let plan = plan(&btf);

    super::memlock::raise();
    let mut ebpf =
        load_object(options, &facts, &plan, &btf).map_err(|error| match denied(&error) {
            Some(errno) => refusal::explain_eperm(&btf, errno).into(),
            None => anyhow::Error::new(error).context("cannot set up the kernel programs' maps"),
        })?;

    let health = attach_all(&mut ebpf, &plan, &btf)?;
    Ok(Loaded { ebpf, health, rst_reasons: btf.enumerators("sk_rst_reason") })
}

fn load_object(
    options: Options,
    facts: &[Fact],
    plan: &Plan,
    btf: &Btf,
) -> Result<Ebpf, EbpfError> {
    let task_btf = btf.has_enumerator("bpf_func_id", "BPF_FUNC_get_current_task_btf");
    let globals = [
        ("TCP_RESET_SKB_ARG", plan.tcp_reset_skb_arg.unwrap_or(ABSENT)),
        ("READ_KERNEL", u32::from(!refusal::hides_memory())),
        ("TASK_BTF", u32::from(task_btf)),
        ("IDLE_JIFFIES", options.idle_jiffies),
        ("RETRANSMIT_THRESHOLD", options.retransmit_threshold),
        ("STREAM", u32::from(options.stream)),
        ("STREAM_RETRANSMITS", u32::from(options.retransmits)),
    ];
    let log_level = if options.probe_log { LOG_DEBUG } else { LOG_OFF };

    let mut loader = EbpfLoader::new();
    // Without relocations by aya: the programs take their offsets as globals.
    loader.btf(None).verifier_log_level(VerifierLogLevel::VERBOSE | VerifierLogLevel::STATS);
    for fact in facts {
        loader.override_global(fact.global, &fact.value, true);
    }
    for (name, value) in &globals {
        loader.override_global(name, value, true);
    }
    loader.override_global("AYA_LOG_LEVEL", &log_level, false);
    if !options.stream {
        loader.map_max_entries("EVENTS", UNUSED_RING_BYTES);
    }
    if !options.probe_log {
        loader.map_max_entries("AYA_LOGS", UNUSED_RING_BYTES);
    }
    loader.load(OBJECT)
}

fn attach_all(ebpf: &mut Ebpf, plan: &Plan, btf: &Btf) -> anyhow::Result<Health> {
    let types = aya::Btf::from_sys_fs().context("cannot read the kernel's BTF")?;
    let mut health = Health::default();
    for (hook, served) in &plan.hooks {
        let state = match served {
            Served::Not(reason) => HookState::Absent(reason.clone()),
            Served::By(variants) => match attach_first(ebpf, variants, &types) {
                Ok(()) => HookState::Attached,
                Err(error) => {
                    // EPERM strikes all programs alike: no use in trying the others.
                    if let Some(errno) = denied(&error) {
                        return Err(refusal::explain_eperm(btf, errno).into());
                    }
                    HookState::Failed(first_line(&error))
                }
            },
        };
        health.record(*hook, state);
    }
    if health.attached().next().is_none() {
        return Err(Refusal::NothingAttached(health.problems().collect()).into());
    }
    Ok(health)
}

/// Attaches the first of the variants that the kernel accepts; the last one's error if none.
fn attach_first(
    ebpf: &mut Ebpf,
    variants: &[&Variant],
    types: &aya::Btf,
) -> Result<(), ProgramError> {
    let mut result = Err(ProgramError::NotLoaded);
    for variant in variants {
        result = attach(ebpf, variant, types);
        match &result {
            Ok(()) => break,
            Err(error) => log::debug!("{}: {}", variant.function, full_text(error)),
        }
    }
    result
}

/// Loads and attaches the programs of one variant: all of them or none.
fn attach(ebpf: &mut Ebpf, variant: &Variant, types: &aya::Btf) -> Result<(), ProgramError> {
    for program in variant.programs {
        load_program(ebpf, program.function.unwrap_or(variant.function), program, types)?;
    }
    for program in variant.programs {
        if let Err(error) = attach_program(ebpf, program) {
            for program in variant.programs {
                unload(ebpf, program);
            }
            return Err(error);
        }
    }
    Ok(())
}

fn load_program(
    ebpf: &mut Ebpf,
    function: &str,
    program: &Program,
    types: &aya::Btf,
) -> Result<(), ProgramError> {
    match program.attach {
        Attach::Fentry => entry(ebpf, program)?.load(function, types),
        Attach::Fexit => exit(ebpf, program)?.load(function, types),
        Attach::Tracepoint => tracepoint(ebpf, program)?.load(function, types),
    }
}

fn attach_program(ebpf: &mut Ebpf, program: &Program) -> Result<(), ProgramError> {
    match program.attach {
        Attach::Fentry => entry(ebpf, program)?.attach().map(drop),
        Attach::Fexit => exit(ebpf, program)?.attach().map(drop),
        Attach::Tracepoint => tracepoint(ebpf, program)?.attach().map(drop),
    }
}

/// Takes a program out again; one that is not loaded stays as it is.
fn unload(ebpf: &mut Ebpf, program: &Program) {
    let result = match program.attach {
        Attach::Fentry => entry(ebpf, program).and_then(programs::FEntry::unload),
        Attach::Fexit => exit(ebpf, program).and_then(programs::FExit::unload),
        Attach::Tracepoint => tracepoint(ebpf, program).and_then(programs::BtfTracePoint::unload),
    };
    if let Err(error) = result {
        log::debug!("{}: not unloaded: {error}", program.name);
    }
}

fn entry<'a>(
    ebpf: &'a mut Ebpf,
    program: &Program,
) -> Result<&'a mut programs::FEntry, ProgramError> {
    ebpf.program_mut(program.name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

fn exit<'a>(
    ebpf: &'a mut Ebpf,
    program: &Program,
) -> Result<&'a mut programs::FExit, ProgramError> {
    ebpf.program_mut(program.name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

fn tracepoint<'a>(
    ebpf: &'a mut Ebpf,
    program: &Program,
) -> Result<&'a mut programs::BtfTracePoint, ProgramError> {
    ebpf.program_mut(program.name).ok_or(ProgramError::UnexpectedProgramType)?.try_into()
}

/// The kernel's "operation not permitted" somewhere in the chain of causes.
fn denied(error: &(dyn std::error::Error + 'static)) -> Option<io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.raw_os_error() == Some(nix::libc::EPERM)
        {
            return Some(io::Error::from_raw_os_error(nix::libc::EPERM));
        }
        next = error.source();
    }
    None
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
