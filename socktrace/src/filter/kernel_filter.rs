//! Translation of a filter into the kernel side's criteria.

use socktrace_ebpf::{
    Criterion, CriterionKind,
    criteria::{self, End, UNWANTED, WANTED},
};

use super::{Choice, Filter, Network};
use crate::kernel::filter::{KernelFilter, Scope};

impl Filter {
    /// Criteria for the kernel side. `scope` selects events and counts; `all` includes noise.
    pub(crate) fn kernel_filter(&self, scope: Scope, all: bool) -> KernelFilter {
        let mut kernel_filter = KernelFilter::new(scope);
        let judges_meaning = self.asks_for_meaning() || !(all || self.names_failures());
        if scope.events && judges_meaning {
            kernel_filter.learn_signatures();
        }
        kernel_filter.ask("FILTER_SERVICE", self.service_mode());
        add(&mut kernel_filter, "FILTER_PID", &self.pid, |pid| {
            Criterion::number(CriterionKind::Pid, pid.0)
        });
        let comm = self.comm.in_kernel();
        add(&mut kernel_filter, "FILTER_COMM", &comm, |comm| Criterion::comm(*comm));
        add(&mut kernel_filter, "FILTER_UID", &self.uid, |uid| {
            Criterion::number(CriterionKind::Uid, uid.0)
        });
        add(&mut kernel_filter, "FILTER_NETNS", &self.netns, |netns| {
            Criterion::number(CriterionKind::Netns, netns.0)
        });
        add(&mut kernel_filter, "FILTER_PORT", &self.port, |port| {
            Criterion::number(CriterionKind::Port, u32::from(port.0))
        });
        add_networks(&mut kernel_filter, "FILTER_LOCAL", &self.local, End::Local);
        add_networks(&mut kernel_filter, "FILTER_REMOTE", &self.remote, End::Remote);
        kernel_filter
    }
}

fn add<T>(
    kernel_filter: &mut KernelFilter,
    global: &'static str,
    choice: &Choice<T>,
    criterion: impl Fn(&T) -> Criterion,
) {
    kernel_filter.ask(global, choice.mode());
    for (value, wanted) in choice.verdicts() {
        kernel_filter.judge(criterion(value), verdict(wanted));
    }
}

/// Adds networks to a longest-prefix map. A lookup returns only the narrowest network, so each
/// entry carries the verdict that it and all networks around it give together.
fn add_networks(
    kernel_filter: &mut KernelFilter,
    global: &'static str,
    choice: &Choice<Network>,
    end: End,
) {
    kernel_filter.ask(global, choice.mode());
    for (bits, key, wanted) in network_verdicts(choice, end) {
        kernel_filter.judge_network(bits, key, verdict(wanted));
    }
}

/// Map keys of the networks, with their verdicts.
pub(super) fn network_verdicts(
    choice: &Choice<Network>,
    end: End,
) -> impl Iterator<Item = (u32, criteria::Network, bool)> {
    choice.verdicts().map(move |(network, wanted)| {
        let is_kept_out = choice.unwanted.iter().any(|wider| wider.covers(network));
        let (bits, key) = network.key(end);
        (bits, key, wanted && !is_kept_out)
    })
}

const fn verdict(wanted: bool) -> u32 {
    if wanted { WANTED } else { UNWANTED }
}
