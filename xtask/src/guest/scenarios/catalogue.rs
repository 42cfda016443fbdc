//! The list of scenarios.

use anyhow::Result;

use super::{
    connect, daemon, network::Family, orderly, privileges, refusal, reset, timeout,
    verify::Expected,
};

/// How the guest is booted for a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boot {
    /// Two processors in real time: races are possible.
    Smp,
    /// One processor whose idle time is skipped: timeouts of minutes pass in a second.
    Icount,
}

/// What a scenario does.
#[derive(Clone, Copy)]
pub(super) enum Act {
    /// Makes sockets fail and tells what the program got; compared with the tracer's words.
    Fail(fn(Family) -> Result<Vec<Expected>>, Family),
    /// Looks at the daemon itself, with daemons of its own.
    Check(fn() -> Result<()>),
}

/// A scenario.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) boot: Boot,
    pub(super) act: Act,
}

macro_rules! catalogue {
    ($($boot:ident $name:literal: $act:expr;)+) => {
        /// Every scenario, in the order in which they run.
        pub(super) const CATALOGUE: &[Scenario] = &[
            $(Scenario { name: $name, boot: Boot::$boot, act: $act },)+
        ];
    };
}

use Act::{Check, Fail};
use Family::{Ipv4, Ipv6, Mapped};

catalogue! {
    Smp "connect_refused/ipv4": Fail(connect::refused, Ipv4);
    Smp "connect_refused/ipv6": Fail(connect::refused, Ipv6);
    Smp "connect_refused/mapped": Fail(connect::refused, Mapped);
    Smp "connect_refused_nonblocking/ipv4": Fail(connect::refused_nonblocking, Ipv4);
    Smp "connect_refused_nonblocking/ipv6": Fail(connect::refused_nonblocking, Ipv6);
    Smp "reset_by_peer/ipv4": Fail(reset::by_peer, Ipv4);
    Smp "reset_by_peer/ipv6": Fail(reset::by_peer, Ipv6);
    Smp "reset_by_peer/mapped": Fail(reset::by_peer, Mapped);
    Smp "reset_by_peer_unread_data/ipv4": Fail(reset::by_peer_with_unread_data, Ipv4);
    Smp "reset_before_accept/ipv4": Fail(reset::before_accept, Ipv4);
    Smp "reset_before_accept/ipv6": Fail(reset::before_accept, Ipv6);
    Smp "reset_before_accept/mapped": Fail(reset::before_accept, Mapped);
    Smp "reset_before_accept_after_fin/ipv4": Fail(reset::before_accept_after_fin, Ipv4);
    Smp "reset_before_accept_after_fin/ipv6": Fail(reset::before_accept_after_fin, Ipv6);
    Smp "reset_before_accept_never_accepted/ipv4": Fail(reset::never_accepted, Ipv4);
    Smp "reset_after_peer_close/ipv4": Fail(reset::after_peer_close, Ipv4);
    Smp "reset_after_peer_close/ipv6": Fail(reset::after_peer_close, Ipv6);
    Smp "reset_while_closing/ipv4": Fail(reset::while_closing, Ipv4);
    Smp "reset_while_closing/ipv6": Fail(reset::while_closing, Ipv6);
    Smp "reset_while_closing_orphan/ipv4": Fail(reset::while_closing_orphan, Ipv4);
    Smp "reset_while_closing_orphan/ipv6": Fail(reset::while_closing_orphan, Ipv6);
    Smp "data_after_shutdown/ipv4": Fail(reset::data_after_shutdown, Ipv4);
    Smp "data_after_shutdown/ipv6": Fail(reset::data_after_shutdown, Ipv6);
    Smp "other_aborted/ipv4": Fail(reset::aborted, Ipv4);
    Smp "orderly_client_first": Fail(orderly::client_first, Ipv4);
    Smp "orderly_server_first": Fail(orderly::server_first, Ipv6);
    Smp "orderly_half_close": Fail(orderly::half_close, Ipv4);
    Smp "orderly_simultaneous": Fail(orderly::simultaneous, Ipv6);
    Smp "storm": Check(daemon::storm);
    Smp "no_stream": Check(daemon::no_stream);
    Smp "probe_log": Check(daemon::probe_log);
    Smp "human_output": Check(daemon::human_output);
    Smp "metrics_port_taken": Check(daemon::metrics_port_taken);
    Smp "stops_on_signals": Check(daemon::stops_on_signals);
    Smp "service_privileges": Check(privileges::of_the_unit);
    Smp "refused_not_root": Check(refusal::not_root);
    Smp "refused_missing_capability": Check(refusal::missing_capability);
    Smp "refused_no_btf": Check(refusal::no_btf);
    Smp "refused_memlock": Check(refusal::memlock);
    Icount "connect_timeout/ipv4": Fail(timeout::connect, Ipv4);
    Icount "connect_timeout/ipv6": Fail(timeout::connect, Ipv6);
    Icount "connect_timeout/mapped": Fail(timeout::connect, Mapped);
    Icount "retransmit_timeout/ipv4": Fail(timeout::retransmit, Ipv4);
    Icount "retransmit_timeout/ipv6": Fail(timeout::retransmit, Ipv6);
    Icount "user_timeout/ipv4": Fail(timeout::user, Ipv4);
    Icount "user_timeout/ipv6": Fail(timeout::user, Ipv6);
    Icount "user_timeout_zero_window/ipv4": Fail(timeout::user_with_closed_window, Ipv4);
    Icount "keepalive_timeout/ipv4": Fail(timeout::keepalive, Ipv4);
    Icount "keepalive_timeout/ipv6": Fail(timeout::keepalive, Ipv6);
    Icount "zero_window_timeout/ipv4": Fail(timeout::zero_window, Ipv4);
    Icount "zero_window_timeout/ipv6": Fail(timeout::zero_window, Ipv6);
    Icount "unreachable_timeout/ipv4": Fail(timeout::unreachable, Ipv4);
    Icount "unreachable_timeout/ipv6": Fail(timeout::unreachable, Ipv6);
}
