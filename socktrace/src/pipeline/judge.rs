//! Decides what happens to an event: whether it is shown or counted here, and which verdicts the
//! kernel can cache.

use std::sync::Arc;

use socktrace_diagnosis::{Finding, diagnose};
use socktrace_ebpf::{Criterion, NamedEvent, Signature, event::unsettled};

use crate::{
    filter::{Filter, is_noise},
    owner::{Service, Unknown},
    record::{Decoder, Flood, Record},
    sinks::Audience,
};

/// Decides what is shown, and what is counted if filters narrow the counts.
pub(crate) struct Judge {
    filter: Arc<Filter>,
    /// Filter at the start, which the kernel applies.
    at_start: Arc<Filter>,
    /// Criteria to apply to floods, because the kernel applied others.
    of_floods: Option<Filter>,
    /// Whether noise is shown, too.
    all: bool,
    /// Whether any sink takes noise even without `all`.
    serves_all: bool,
    /// Whether retransmissions are shown.
    retransmits: bool,
}

/// Verdict on one event.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Record for the sinks.
    pub(super) shown: Option<Record>,
    /// Whether the kernel left the event to be counted here, and it passes.
    pub(super) is_counted: bool,
    /// Verdicts that the kernel asked for: whether events with this signature, and from this
    /// cgroup, are wanted.
    pub(super) for_kernel: [Option<(Criterion, bool)>; 2],
}

impl Judge {
    /// Creates a judge with this filter. `all` and `retransmits` are what to show in addition to
    /// failures.
    pub(crate) fn new(filter: Arc<Filter>, all: bool, retransmits: bool) -> Self {
        let all = all || filter.names_failures();
        let at_start = Arc::clone(&filter);
        Self { filter, at_start, of_floods: None, all, serves_all: false, retransmits }
    }

    /// Lets noise pass for sinks that take it even without `all`, if there are any.
    pub(super) fn serve_all(&mut self, serves_all: bool) {
        self.serves_all = serves_all;
    }

    /// Whether any sink takes events of ordinary operation.
    pub(super) fn wants_noise(&self) -> bool {
        self.serves_all || self.all
    }

    /// Sinks that take events with this finding.
    pub(super) fn audience(&self, finding: Finding) -> Audience {
        if self.all || !is_noise(finding) { Audience::Everybody } else { Audience::WhoeverWantsAll }
    }

    /// Switches noise on or off, and changes to another filter if there is one.
    pub(super) fn change(&mut self, all: bool, filter: Option<Arc<Filter>>) {
        if let Some(filter) = filter {
            self.of_floods = filter.changed_subjects(&self.at_start);
            self.filter = filter;
        }
        self.all = all || self.filter.names_failures();
    }

    /// Whether verdicts depend on names of containers, which can change.
    pub(super) fn depends_on_names(&self) -> bool {
        self.filter.asks_for_containers()
    }

    /// Judges an event by its signature first, and decodes it only if that leaves something to
    /// decide. `counts_here` is whether the kernel leaves events to be counted here.
    pub(super) fn judge(
        &self,
        named: &NamedEvent,
        counts_here: bool,
        decoder: &mut Decoder,
    ) -> Verdict {
        let event = &named.event;
        let is_unsettled = |what: u8| event.unsettled & what != 0;
        let mut verdict = Verdict::default();
        let finding = diagnose(event.signature);
        let is_meant = self.is_meant(event.signature, finding);
        if is_unsettled(unsettled::SIGNATURE) {
            verdict.for_kernel[0] = Some((Criterion::signature(&event.signature), is_meant));
        }
        let is_left = counts_here && is_unsettled(unsettled::SERVICE);
        if !is_meant && !is_left {
            return verdict;
        }
        let record = decoder.decode(named, finding);
        let is_service = self.filter.admits_service(&record.service);
        if is_unsettled(unsettled::SERVICE)
            && event.cgroup_id != 0
            && decoder.finds_services_by_cgroup()
            && is_final(&record.service)
        {
            verdict.for_kernel[1] = Some((Criterion::cgroup(event.cgroup_id), is_service));
        }
        if !is_service || !self.filter.admits_subject(&record) {
            return verdict;
        }
        verdict.is_counted = is_left;
        let is_shown = is_meant && self.is_wanted(record.finding);
        verdict.shown = is_shown.then_some(record);
        verdict
    }

    /// Whether a flood is shown. The kernel has judged connections and processes, and leaves to the
    /// daemon what all events of the flood have in common.
    pub(super) fn shows_flood(&self, flood: &Flood) -> bool {
        self.is_meant(flood.signature, flood.finding)
            && self.is_wanted(flood.finding)
            && self.filter.admits_service(&flood.service)
            && self.of_floods.as_ref().is_none_or(|filter| filter.admits_flood(flood))
    }

    /// Whether events with this signature and finding are wanted.
    fn is_meant(&self, signature: Signature, finding: Finding) -> bool {
        self.filter.admits_finding(signature, finding) && (self.wants_noise() || !is_noise(finding))
    }

    fn is_wanted(&self, finding: Finding) -> bool {
        self.retransmits || finding != Finding::Retransmission
    }
}

/// Whether another look-up of the cgroup will find the same service, names of containers aside.
fn is_final(service: &Service) -> bool {
    matches!(service.unknown, None | Some(Unknown::CgroupGone))
}
