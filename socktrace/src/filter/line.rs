//! Filtering of lines that were read back, with the same result as for their records.

use super::{Filter, protocol_of};
use crate::record::Line;

impl Filter {
    /// Whether a line passes. A field that a line about many events lacks matches no value.
    pub(crate) fn admits_line(&self, line: &Line) -> bool {
        // Only failures have a cause. Progress matches neither wanted nor unwanted values.
        let cause = line.cause.as_deref();
        let of_failure = cause.is_some();
        let port = |port: &u16| {
            [line.local_port, line.remote_port, line.service_port].contains(&Some(*port))
        };
        self.protocol.admits(|protocol| line.protocol.as_deref() == Some(protocol_of(*protocol)))
            && (self.path.wanted.is_empty() || line.is_unix())
            && self.errno.admits(|errno| of_failure && line.errno_number == Some(errno.number()))
            && self.cause.admits(|wanted| cause == Some(wanted.id()))
            && self
                .severity
                .admits(|wanted| of_failure && line.severity.as_deref() == Some(wanted.id()))
            && self.pid.admits(|pid| line.pid == Some(pid.0))
            && self
                .comm
                .admits(|comm| line.comm.as_deref().is_some_and(|name| comm.is_of_shown(name)))
            && self.uid.admits(|uid| line.uid == Some(uid.0))
            && self.netns.admits(|netns| line.netns == Some(netns.0))
            && self.port.admits(|wanted| port(&wanted.0))
            && self.local.admits(|network| line.local.is_some_and(|ip| network.contains(ip)))
            && self.remote.admits(|network| line.remote.is_some_and(|ip| network.contains(ip)))
            && self
                .path
                .admits(|pattern| line.path.as_deref().is_some_and(|path| pattern.is_of(path)))
            && (!self.asks_for_services() || self.admits_service(&line.full_service()))
    }

    fn asks_for_services(&self) -> bool {
        !(self.unit.is_any() && self.container.is_any() && self.cgroup.is_any())
    }
}
