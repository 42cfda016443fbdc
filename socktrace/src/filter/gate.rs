//! Lets events pass or not, and teaches the kernel side what only the daemon knows.

use std::{collections::HashSet, sync::Arc, time::Duration};

use socktrace_diagnosis::Finding;
use socktrace_ebpf::{Criterion, Event, criteria::VERDICT_ENTRIES, event::unsettled};

use super::{Filter, counts::Judged, is_noise};
use crate::{
    kernel::filter::Verdicts,
    output::{Decoder, Record},
    owner::{Service, Unknown},
};

/// How long a verdict on a cgroup holds where containers are asked for: some are named only after
/// they have begun, and they can be renamed.
pub(crate) const REFRESH: Duration = Duration::from_secs(5);

/// What is shown, and counted where filters narrow the counts.
pub(crate) struct Gate {
    filter: Arc<Filter>,
    /// Whether noise is shown too.
    all: bool,
    /// Whether retransmissions are.
    retransmits: bool,
    /// Where filters narrow the counts.
    judged: Option<Arc<Judged>>,
    /// `None` where there is no kernel side, in tests.
    verdicts: Option<Verdicts>,
    /// What the kernel side has a verdict on.
    taught: HashSet<Criterion>,
}

impl Gate {
    /// One for this filter. `all` and `retransmits` say what is shown besides failures.
    pub(crate) fn new(
        filter: Arc<Filter>,
        (all, retransmits): (bool, bool),
        judged: Option<Arc<Judged>>,
        verdicts: Option<Verdicts>,
    ) -> Self {
        let all = all || filter.names_failures();
        Self { filter, all, retransmits, judged, verdicts, taught: HashSet::new() }
    }

    /// The record of an event, if it is to be shown.
    pub(crate) fn pass(&mut self, event: Event, decoder: &mut Decoder) -> Option<Record> {
        let is_unsettled = |what: u8| event.unsettled & what != 0;
        let is_meant =
            self.filter.admits_signature(event.signature) && (self.all || !is_noise(&event));
        if is_unsettled(unsettled::SIGNATURE) {
            self.teach(Criterion::signature(&event.signature), is_meant);
        }
        let is_counted = !(self.judged.is_some() && is_unsettled(unsettled::SERVICE));
        if !is_meant && is_counted {
            return None;
        }
        let record = decoder.decode(event);
        let is_service = self.filter.admits_service(&record.service);
        if is_unsettled(unsettled::SERVICE)
            && event.cgroup_id != 0
            && decoder.finds_services_by_cgroup()
            && is_final(&record.service)
        {
            let cgroup = Criterion::cgroup(event.cgroup_id);
            self.teach(cgroup, is_service);
        }
        if !is_service || !self.filter.admits_subject(&record) {
            return None;
        }
        if let (Some(judged), false) = (&self.judged, is_counted) {
            judged.add(&event);
        }
        let is_shown = is_meant && (self.retransmits || record.finding != Finding::Retransmission);
        is_shown.then_some(record)
    }

    /// How often [`Self::refresh`] is to be called; `None` for never.
    pub(crate) fn refresh_period(&self) -> Option<Duration> {
        (!self.filter.container.is_any()).then_some(REFRESH)
    }

    /// Shows noise too from now on, or not any more.
    pub(crate) fn change(&mut self, all: bool) {
        self.all = all || self.filter.names_failures();
        self.refresh();
    }

    /// Has the kernel side ask again about everything.
    pub(crate) fn refresh(&mut self) {
        for criterion in self.taught.drain() {
            if let Some(verdicts) = &mut self.verdicts {
                verdicts.forget(criterion);
            }
        }
    }

    fn teach(&mut self, criterion: Criterion, wanted: bool) {
        if self.taught.len() == VERDICT_ENTRIES {
            self.refresh();
        }
        if let Some(verdicts) = &mut self.verdicts {
            verdicts.teach(criterion, wanted);
            self.taught.insert(criterion);
        }
    }
}

/// Whether the same will be found when the cgroup is looked up again, names of containers aside.
fn is_final(service: &Service) -> bool {
    matches!(service.unknown, None | Some(Unknown::CgroupGone))
}
