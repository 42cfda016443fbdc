//! Loads the kernel programs with this kernel's facts, and attaches them.

use anyhow::Context as _;
use aya::{Ebpf, EbpfError, Endianness, VerifierLogLevel, maps::Map};
use socktrace_ebpf::facts::ABSENT;

use super::{
    attach::{self, Link},
    btf::Btf,
    existing,
    features::{self, Features},
    filter::KernelFilter,
    health::Health,
    hooks::Hook,
    host::hides_memory,
    listeners::{self, ListenerTable},
    loader::loader,
    memory,
    object::Object,
    owned::Extent,
    plan::{Loss, Method, Plan, plan},
    refusal::{self, Refusal, denied},
    repeats::Limit,
    subject::Subject,
    ways::{NoKprobes, NoTrampolines},
};

/// The kernel programs, compiled by the build script.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SOCKTRACE_EBPF_OBJECT"));

/// The same with debug messages, which make the programs larger even if nobody reads them.
static LOG_OBJECT: &[u8] = aya::include_bytes_aligned!(env!("SOCKTRACE_EBPF_LOG_OBJECT"));

/// Default size of the ring buffer of events, in bytes.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
pub(crate) const RING_BYTES: u32 = socktrace_ebpf::RING_BYTES as u32;

/// Size of an unused ring buffer: one page, the kernel's minimum. The loader rounds it up where
/// pages are larger.
const UNUSED_RING_BYTES: u32 = 4096;

/// Observations that are off by default, because of their cost.
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnRequest {
    /// Datagrams that this host refuses to send.
    pub(crate) udp_sends: bool,
    /// Messages that Unix sockets cannot send.
    pub(crate) unix_sends: bool,
    /// TTLs of segments.
    pub(crate) hops: bool,
    /// Descendants of followed processes.
    pub(crate) follows: bool,
}

impl OnRequest {
    /// Whether a hook serves only observations that were not requested.
    pub(super) fn does_without(self, hook: Hook) -> bool {
        match hook {
            Hook::UdpSendmsg => !self.udp_sends,
            Hook::UnixSendmsg => !self.unix_sends,
            Hook::TcpInitTransfer => !self.hops,
            Hook::SchedProcess => !self.follows,
            _ => false,
        }
    }
}

/// Options for loading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Method of hooking functions.
    pub(crate) method: Method,
    /// Whether retransmission timeouts are streamed too.
    pub(crate) retransmits: bool,
    /// Optional observations.
    pub(crate) on_request: OnRequest,
    /// Maximum number of sockets whose owner is tracked.
    pub(crate) max_sockets: u32,
    /// Extent of the counts by owner; `None` for no counts.
    pub(crate) owned: Option<Extent>,
    /// Limit beyond which events are counted instead of streamed; `None` streams all.
    pub(crate) limit: Option<Limit>,
    /// Size of the ring buffer of events, in bytes: a power of two.
    pub(crate) ring_bytes: u32,
    /// Length of a jiffy in microseconds.
    pub(crate) jiffy_us: u32,
    /// Whether the programs send debug messages.
    pub(crate) probe_log: bool,
    /// Idle time after which a reset of the first data counts as a reset of an idle connection.
    pub(crate) idle_jiffies: u32,
    /// Retransmissions after which a reset counts as a reset after retransmissions.
    pub(crate) retransmit_threshold: u32,
}

/// The loaded object, its attached programs, and how attaching went.
///
/// Dropping it detaches everything; so does the kernel when the process dies.
pub(crate) struct Loaded {
    pub(crate) object: Object,
    pub(crate) links: Links,
    pub(crate) health: Health,
    /// Events that this kernel hides although the hooks are attached.
    pub(crate) losses: Vec<Loss>,
    /// The kernel's names of RST reasons; empty if it has none (before 6.10).
    pub(crate) rst_reasons: Vec<(u32, String)>,
    /// Measurements that this kernel supports.
    pub(crate) measurable: Measurable,
    /// Iterator over listeners.
    pub(crate) listeners: Option<ListenerTable>,
}

/// Measurements that a kernel supports, provided that the hook is attached.
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measurable {
    /// Length of retransmission timeouts.
    pub(crate) rto: bool,
    /// Time that connections wait to be accepted.
    pub(crate) accept_wait: bool,
    /// Fill level of accept queues.
    pub(crate) accept_queue: bool,
    /// Packets dropped by listeners.
    pub(crate) listener_drops: bool,
    /// Segment that resets a connection.
    pub(crate) reset_segment: bool,
}

/// Keeps the programs attached until it is dropped.
#[expect(dead_code, reason = "dropping them detaches the programs")]
pub(crate) struct Links(Vec<Link>);

/// Links and maps of an object from which nothing more will be loaded or taken.
#[expect(dead_code, reason = "dropping them would detach the programs, and hide maps from others")]
pub(crate) struct Attached {
    links: Links,
    maps: Vec<Map>,
}

impl Attached {
    /// Drops the programs' code, which the kernel has a copy of, and returns memory that only the
    /// start needed to the kernel.
    pub(crate) fn new(Object(mut ebpf): Object, links: Links) -> Self {
        let names: Vec<_> = ebpf.maps().map(|(name, _)| name.to_owned()).collect();
        let maps = names.iter().filter_map(|name| ebpf.take_map(name)).collect();
        drop(ebpf);
        memory::give_back();
        Self { links, maps }
    }
}

/// Checks the host, then loads and attaches everything that this kernel supports.
///
/// # Errors
/// A [`Refusal`] with the reason when nothing can be traced here. A single hook that cannot be
/// attached is not an error; [`Loaded::health`] reports it.
pub(crate) fn load(options: Options, filter: &KernelFilter) -> anyhow::Result<Loaded> {
    refusal::check_privileges()?;
    let prepared = Prepared::read(options.method)?;
    load_prepared(&prepared, options, filter)
}

/// Loads and attaches what was prepared for the same method. The privileges must suffice.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_prepared(
    prepared: &Prepared,
    options: Options,
    filter: &KernelFilter,
) -> anyhow::Result<Loaded> {
    let &Prepared { ref types, features, ref plan, .. } = prepared;
    super::memlock::raise();
    let mut ebpf =
        load_object(prepared, options, filter).map_err(|error| match denied(&error) {
            Some(errno) => refusal::explain_eperm(features, errno).into(),
            None => anyhow::Error::new(error).context("cannot set up the kernel programs' maps"),
        })?;

    filter.fill(&mut ebpf)?;
    let (health, links) = attach::attach_all(&mut ebpf, plan, types, options, features)?;
    let mut losses = plan.losses.clone();
    // After the hooks, which see sockets opened from now on.
    losses.extend(existing::find(&mut ebpf, types, prepared.hides_memory).err());
    let listeners = ListenerTable::new(&mut ebpf, types, prepared.hides_memory);
    let listeners = listeners.map_err(|loss| losses.push(loss)).ok();
    let (links, rst_reasons) = (Links(links), prepared.rst_reasons.clone());
    let measurable = Measurable {
        rto: plan.knows("ICSK_RTO"),
        accept_wait: plan.knows("TCP_LSNDTIME"),
        accept_queue: plan.knows("SOCK_ACK_BACKLOG"),
        listener_drops: plan.knows("SOCK_DROPS") && plan.knows("SOCK_ACK_BACKLOG"),
        reset_segment: plan.tcp_reset_skb_arg.is_some() && plan.knows("SKB_CB"),
    };
    let object = Object(ebpf);
    Ok(Loaded { object, links, health, losses, rst_reasons, measurable, listeners })
}

/// Facts about the kernel, gathered before anything is loaded and without privileges.
pub(crate) struct Prepared {
    /// Types of attach targets only, from the kernel's BTF.
    types: aya::Btf,
    rst_reasons: Vec<(u32, String)>,
    pub(crate) features: Features,
    hides_memory: bool,
    /// Method of hooking functions: the requested one, or the one that lockdown permits.
    method: Method,
    pub(crate) plan: Plan,
}

impl Prepared {
    /// Reads the kernel's type information and makes the plan.
    ///
    /// # Errors
    /// A [`Refusal`] when nothing can be traced on this kernel.
    pub(crate) fn read(method: Method) -> anyhow::Result<Self> {
        let data = std::fs::read(super::btf::VMLINUX).map_err(Refusal::NoBtf)?;
        let btf =
            Btf::parse(data).with_context(|| format!("cannot read {}", super::btf::VMLINUX))?;
        let features = Features::read(&btf);
        refusal::check_features(features)?;
        let hides_memory = hides_memory();
        let method = match method {
            Method::Kprobe if hides_memory => {
                return Err(Refusal::NoWay(NoTrampolines::NotAsked, NoKprobes::Locked).into());
            }
            Method::Auto if hides_memory => Method::Fentry,
            method => method,
        };
        let plan = plan(&btf, method).map_err(|missing| {
            Refusal::UnknownKernel(missing.iter().map(ToString::to_string).collect())
        })?;
        let subjects = attach::subjects(&plan)
            .chain([existing::TARGET, listeners::TARGET].map(Subject::Function));
        let types = aya::Btf::parse(&btf.skeleton(subjects), Endianness::default())
            .context("cannot hand on the kernel's BTF")?;
        let rst_reasons = features::rst_reasons(&btf);
        Ok(Self { types, rst_reasons, features, hides_memory, method, plan })
    }
}

impl Prepared {
    /// The kernel's number of an RST reason.
    fn rst_reason(&self, name: &str) -> Option<u32> {
        self.rst_reasons.iter().find(|(_, known)| known == name).map(|(number, _)| *number)
    }
}

/// Slots per set of the socket table.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
const SOCKET_WAYS: u32 = socktrace_ebpf::SOCKET_WAYS as u32;

/// Maximum number of sets of the socket table.
const MAX_SOCKET_SETS: u32 = 1 << 22;

/// Number of sets for this many sockets: a power of two. Each socket fits into either of two sets.
fn socket_sets(sockets: u32) -> u32 {
    sockets.div_ceil(SOCKET_WAYS).clamp(1, MAX_SOCKET_SETS).next_power_of_two()
}

fn load_object(
    prepared: &Prepared,
    options: Options,
    filter: &KernelFilter,
) -> Result<Ebpf, EbpfError> {
    let &Prepared { features, hides_memory, method, ref plan, .. } = prepared;
    let socket_sets = socket_sets(options.max_sockets);
    let globals = [
        ("TCP_RESET_SKB_ARG", plan.tcp_reset_skb_arg.unwrap_or(ABSENT)),
        ("RST_INVALID_SYN", prepared.rst_reason("invalid_syn").unwrap_or(ABSENT)),
        ("READ_KERNEL", u32::from(!hides_memory)),
        ("CLOSES_FIRST", u32::from(features.closes_first)),
        ("TASK_BTF", u32::from(features.typed_task)),
        ("TASK_REGISTERS", u32::from(features.task_registers)),
        ("COOKIES", u32::from(features.cookies() && method != Method::Kprobe)),
        ("SLICES", u32::from(features.ancestors() && plan.knows("TASK_CGROUPS"))),
        ("SOCKET_SET_MASK", socket_sets - 1),
        ("MPTCP", u32::from(plan.recognizes_mptcp && !hides_memory)),
        ("FAST_OPEN_RETURNS", u32::from(plan.sees_fast_open && !hides_memory)),
        ("IDLE_JIFFIES", options.idle_jiffies),
        ("RETRANSMIT_THRESHOLD", options.retransmit_threshold),
        ("STREAM_RETRANSMITS", u32::from(options.retransmits)),
        ("UDP_SENDS", u32::from(options.on_request.udp_sends)),
        ("UNIX_SENDS", u32::from(options.on_request.unix_sends)),
        ("HOPS", u32::from(options.on_request.hops)),
        ("JIFFY_US", options.jiffy_us),
        ("OWNED_COUNTS", u32::from(options.owned.is_some())),
        ("SERVICE_PORTS", u32::from(options.owned.is_some_and(|extent| extent.ports))),
        ("REPEAT_AFTER", options.limit.map_or(0, |limit| limit.events)),
        ("FLOODS_BY_CGROUP", u32::from(options.limit.is_none_or(|limit| limit.by_cgroup))),
    ];

    let mut loader = loader();
    loader.verifier_log_level(VerifierLogLevel::VERBOSE | VerifierLogLevel::STATS);
    for fact in &plan.facts {
        loader.override_global(fact.global, &fact.value, true);
    }
    let asked = filter.globals();
    for (name, value) in globals.iter().chain(&asked) {
        loader.override_global(name, value, true);
    }
    loader.map_max_entries("SOCKET_SETS", socket_sets);
    loader.map_max_entries("RECORDS", socket_sets * SOCKET_WAYS);
    loader.map_max_entries("OWNED", options.owned.map_or(1, |extent| extent.entries));
    if !options.on_request.unix_sends {
        loader.map_max_entries("UNIX_RECEIVERS", 1);
    }
    loader.map_max_entries(
        "HOPS_LEFT",
        if options.on_request.hops { socket_sets * SOCKET_WAYS } else { 1 },
    );
    if !options.on_request.follows {
        loader.map_max_entries("FOLLOWED", 1);
        loader.map_max_entries("FOLLOWED_ENDED", 1);
    }
    if options.owned.is_none() {
        loader.map_max_entries("OTHERS", 1);
    }
    if options.limit.is_none() {
        loader.map_max_entries("REPEATS", 1);
        loader.map_max_entries("REPEATS_OF_ANY_PORT", 1);
    }
    filter.size_maps(&mut loader);
    let ring_bytes = if filter.needs_events() { options.ring_bytes } else { UNUSED_RING_BYTES };
    loader.map_max_entries("EVENTS", ring_bytes);
    if method == Method::Fentry {
        loader.map_max_entries("CALLS", 1);
    }
    loader.load(if options.probe_log { LOG_OBJECT } else { OBJECT })
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
