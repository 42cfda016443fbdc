//! Filters, applied before an event costs the ring buffer anything.
//!
//! Criteria on the connection and its process are judged here as in the daemon. Only the daemon
//! knows the diagnosis of a signature and the service behind a cgroup; its verdicts on them are
//! stored here. If there is no verdict yet, the event goes up and the daemon judges it.

use aya_ebpf::{
    btf_maps::{HashMap, LpmTrie, LruHashMap, lpm_trie::Key},
    macros::btf_map,
};
use socktrace_ebpf::{
    Address, Criterion, CriterionKind, OwnerSource, Signature,
    criteria::{End, Network, UNWANTED, VERDICT_ENTRIES, mode},
};

use crate::{
    follow,
    offsets::{self, Fact},
    owner::Owner,
    subject::Subject,
};

/// Verdicts on values; sized and filled by the daemon.
#[btf_map]
static CRITERIA: HashMap<Criterion, u32, 1> = HashMap::new();

/// Verdicts on networks; sized and filled by the daemon. Each network has the combined verdict of
/// all networks around it.
#[btf_map]
static NETWORKS: LpmTrie<[u8; 20], u32, 1> = LpmTrie::new();

/// Verdicts learnt by the daemon.
#[btf_map]
static VERDICTS: LruHashMap<Criterion, u32, VERDICT_ENTRIES> = LruHashMap::new();

/// Verdict on an event; an integer, because that is what BPF functions return.
pub(crate) type Verdict = u32;
pub(crate) const PASS: Verdict = 0;
/// The daemon has to judge the event.
pub(crate) const UNSETTLED: Verdict = 1;
pub(crate) const DROP: Verdict = 2;
/// Like [`UNSETTLED`], but the daemon judges the process, not the service as a whole.
pub(crate) const UNSETTLED_PROCESS: Verdict = UNSETTLED | 4;

/// Whether a verdict is [`UNSETTLED`]: 1 or 0, with no branch that would double the paths to verify.
#[inline(always)]
pub(crate) fn is_unsettled(verdict: Verdict) -> u8 {
    (verdict & UNSETTLED) as u8
}

/// Whether the filters drop a connection.
#[inline(always)]
pub(crate) fn drops(signature: &Signature, subject: &Subject) -> bool {
    offsets::FILTER.get() != 0 && drops_subject(u32::from(signature.family), subject) == DROP
}

/// Verdict of the filters on what the signature means.
#[inline(always)]
pub(crate) fn judge_signature(signature: &Signature) -> Verdict {
    if offsets::FILTER_SIGNATURE.get() == 0 {
        return PASS;
    }
    let [flags, where_from, rest, _] = Criterion::signature(signature).value.map(u64::from);
    judge_meaning(flags, where_from, rest) as Verdict
}

/// A global function: the verifier walks it once per program, whatever the paths to it, and allows
/// only numbers as arguments.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn judge_meaning(flags: u64, where_from: u64, rest: u64) -> u64 {
    let value = [flags as u32, where_from as u32, rest as u32, 0];
    u64::from(learnt(&Criterion { kind: CriterionKind::Signature as u32, value }))
}

/// Not inlined, because the programs' stack is small.
#[inline(never)]
fn drops_subject(family: u32, subject: &Subject) -> Verdict {
    if drops_number(&offsets::FILTER_NETNS, CriterionKind::Netns, subject.netns)
        || drops_port(subject)
        || drops_address(&offsets::FILTER_LOCAL, End::Local, family, subject.local)
        || drops_address(&offsets::FILTER_REMOTE, End::Remote, family, subject.remote)
    {
        return DROP;
    }
    PASS
}

/// Verdict of the filters on the process, known from this [`OwnerSource`], and on its service.
#[inline(always)]
pub(crate) fn judge_owner(owner: &Owner, source: u32, was_followed: bool) -> Verdict {
    let is_nobody = owner.tgid == 0;
    // Before anything that only the daemon can find out: processes that have ended count, too.
    if follow::is_asked() && !was_followed && !follow::has(owner.tgid, owner.since_ns) {
        return DROP;
    }
    if is_nobody && source != OwnerSource::Socket as u32 {
        return if asks_for_owner(|mode| mode == mode::ONLY) { DROP } else { PASS };
    }
    if source == OwnerSource::Gone as u32 {
        // Only the daemon can find out, and if the process is gone there is nobody to judge.
        return if asks_for_owner(|mode| mode != mode::ANY) { UNSETTLED_PROCESS } else { PASS };
    }
    let drops_process = if is_nobody {
        offsets::FILTER_PID.get() == mode::ONLY || offsets::FILTER_COMM.get() == mode::ONLY
    } else {
        drops_number(&offsets::FILTER_PID, CriterionKind::Pid, owner.tgid)
            || (offsets::FILTER_COMM.get() != mode::ANY
                && drops_value(&offsets::FILTER_COMM, &Criterion::comm(owner.comm)))
    };
    if drops_process || drops_number(&offsets::FILTER_UID, CriterionKind::Uid, owner.uid) {
        return DROP;
    }
    if offsets::FILTER_SERVICE.get() == mode::ANY {
        return PASS;
    }
    learnt(&Criterion::cgroup(owner.cgroup_id))
}

/// Whether the mode of any filter on the process satisfies `is`. An unknown process matches neither
/// included nor excluded values.
#[inline(always)]
fn asks_for_owner(is: impl Fn(u32) -> bool) -> bool {
    is(offsets::FILTER_PID.get())
        || is(offsets::FILTER_COMM.get())
        || is(offsets::FILTER_UID.get())
        || is(offsets::FILTER_SERVICE.get())
}

#[inline(always)]
fn drops_number(mode: &Fact, kind: CriterionKind, number: u32) -> bool {
    mode.get() != mode::ANY && drops_value(mode, &Criterion::number(kind, number))
}

#[inline(always)]
fn drops_value(mode: &Fact, criterion: &Criterion) -> bool {
    // SAFETY: read at once; only the daemon writes, and before the programs run.
    decide(mode, unsafe { CRITERIA.get(criterion) }.copied())
}

#[inline(always)]
fn decide(mode: &Fact, verdict: Option<u32>) -> bool {
    match verdict {
        Some(verdict) => verdict == UNWANTED,
        None => mode.get() == mode::ONLY,
    }
}

/// Drops a connection unless one end has an included port and neither end has an excluded one.
#[inline(always)]
fn drops_port(subject: &Subject) -> bool {
    if offsets::FILTER_PORT.get() == mode::ANY {
        return false;
    }
    let ports = [subject.local_port, subject.remote_port];
    let [local, remote] = ports.map(|port| {
        let criterion = Criterion::number(CriterionKind::Port, u32::from(port));
        // SAFETY: as in `drops_value`.
        unsafe { CRITERIA.get(criterion) }.copied().unwrap_or(0)
    });
    if local == UNWANTED || remote == UNWANTED {
        return true;
    }
    local == 0 && remote == 0 && offsets::FILTER_PORT.get() == mode::ONLY
}

#[inline(always)]
fn drops_address(mode: &Fact, end: End, family: u32, address: Address) -> bool {
    if mode.get() == mode::ANY {
        return false;
    }
    let Network(data) = Network::new(end, family as u8, address.octets);
    let bits = Network::SCOPE_BITS + 8 * address.octets.len() as u32;
    decide(mode, NETWORKS.get(&Key::new(bits, data)).copied())
}

#[inline(always)]
fn learnt(criterion: &Criterion) -> Verdict {
    // SAFETY: read at once.
    match unsafe { VERDICTS.get(criterion) } {
        None => UNSETTLED,
        Some(&UNWANTED) => DROP,
        Some(_) => PASS,
    }
}
