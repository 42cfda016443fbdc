//! The list of scenarios.

use anyhow::{Context as _, Result};
use nix::libc;
use xtask_common::scope::Scope;

use socktrace_diagnosis::Cause;

use super::{
    accept, accept_queue, attach, bind, clients, command, connect, crowd, daemon, doctor, eof,
    fastopen, filter, flood, forbid, handover, hops,
    icmp::{self, Message},
    inherit, inject, iouring, kept,
    lane::Fault,
    layered::{self, Layer},
    listener, metrics, mptcp, nat,
    network::Family,
    no_socket, not_sent, odd, orderly, other_protocols, otlp, overlap, owner, policy, privileges,
    prometheus, quiet, recverr, refilter, refusal, reset, resolve, route, sandbox,
    scenario::{Act, BootKind, KprobeLimitation, Scenario},
    send_timeout, sent, service, sigpipe, sockopt, stream, stream_end, summary, survive, system,
    tables, terminal, timeout, top, udp, unix, unread, verifier, write,
};

/// Finds a scenario by name.
pub(super) fn named(name: &str) -> Result<&'static Scenario> {
    let found = CATALOGUE.iter().find(|scenario| scenario.name == name);
    found.with_context(|| format!("there is no scenario {name}"))
}

/// Return probes have a limited number of slots, and more calls may wait at the same time.
const WAITS: &str = "a function returns it that waits, and kprobes lose such returns";

/// Reasons why a superfluous report could still arrive after a scenario's last call.
const CLOSE: &str = "the kernel's own threads close what io_uring, MPTCP or a message held";
const END: &str = "connections end in order after the last call: nothing may be reported of that";
const TIMER: &str = "the kernel's timer may still answer for the connection";

/// The family part of a scenario's name.
macro_rules! family {
    (Ipv4) => {
        "ipv4"
    };
    (Ipv6) => {
        "ipv6"
    };
    (Mapped) => {
        "mapped"
    };
}

/// Scope of a row, from its mark.
macro_rules! scope {
    ([quick]) => {
        Scope::Quick
    };
    ([differs]) => {
        Scope::Differing
    };
    ([]) => {
        Scope::Whole
    };
}

/// End of a row: the cause that kprobes hide, if any.
macro_rules! hidden {
    ([$cause:ident $why:ident]) => {
        Some(KprobeLimitation { cause: Cause::$cause, why: $why })
    };
    ([]) => {
        None
    };
}

/// End of a row: why something may arrive late, if it may.
macro_rules! late {
    ([$why:ident]) => {
        Some($why)
    };
    ([]) => {
        None
    };
}

/// Lists scenarios that make sockets fail, with boot, mark, name and families; scenarios of Unix
/// sockets; and checks of the daemon. A row names the cause that kprobes hide, and why: they must
/// report everything else that the scenario makes. It also names what may follow the last call.
///
/// Rows marked `quick` run on every kernel. Rows marked `differs` also run on 5.10, which has its
/// own hooks or expectations for them. The others run on one kernel. A family in parentheses runs
/// only in the full scope: the call does not depend on the family, and the rows take turns.
macro_rules! catalogue {
    (
        fail { $($boot:ident $($mark:ident)? $name:literal
            $($family:ident)+ $(($($other:ident)+))?: $fail:expr
            $(, kprobes hide $cause:ident: $why:ident)? $(, late: $late:ident)?;)+ }
        unix { $($unix_boot:ident $($unix_mark:ident)? $unix_name:literal: $unix:expr
            $(, kprobes hide $unix_cause:ident: $unix_why:ident)?;)+ }
        check { $($check_boot:ident $($check_mark:ident)? $check_name:literal: $check:expr;)+ }
    ) => {
        catalogue! {
            // As single tokens, marks can be repeated with the families.
            @ fail { $([$($mark)?] [$($cause $why)?] [$($late)?] $boot $name
                [$($family)+] [$($($other)+)?]: $fail;)+ }
            unix { $([$($unix_mark)?] [$($unix_cause $unix_why)?] $unix_boot $unix_name: $unix;)+ }
            check { $([$($check_mark)?] $check_boot $check_name: $check;)+ }
        }
    };
    (
        @ fail { $($mark:tt $hidden:tt $late:tt $boot:ident $name:literal
            [$($family:ident)+] [$($other:ident)*]: $fail:expr;)+ }
        unix { $($unix_mark:tt $unix_hidden:tt $unix_boot:ident $unix_name:literal: $unix:expr;)+ }
        check { $($check_mark:tt $check_boot:ident $check_name:literal: $check:expr;)+ }
    ) => {
        /// All scenarios, in the order in which they run.
        pub(super) const CATALOGUE: &[Scenario] = &[
            $($(Scenario {
                name: concat!($name, "/", family!($family)),
                boot: BootKind::$boot,
                scope: scope!($mark),
                act: Act::Fail($fail, Family::$family),
                hidden: hidden!($hidden),
                late: late!($late),
            },)+
            $(Scenario {
                name: concat!($name, "/", family!($other)),
                boot: BootKind::$boot,
                scope: Scope::Full,
                act: Act::Fail($fail, Family::$other),
                hidden: hidden!($hidden),
                late: late!($late),
            },)*)+
            $(Scenario {
                name: $unix_name,
                boot: BootKind::$unix_boot,
                scope: scope!($unix_mark),
                act: Act::Fail(|_| $unix(), Family::Ipv4),
                hidden: hidden!($unix_hidden),
                late: None,
            },)+
            $(Scenario {
                name: $check_name,
                boot: BootKind::$check_boot,
                scope: scope!($check_mark),
                act: Act::Check($check),
                hidden: None,
                late: None,
            },)+
        ];
    };
}

catalogue! {
    fail {
        Smp quick "connect_refused" Ipv4 Ipv6 Mapped: connect::refused;
        Smp "connect_refused_nonblocking" Ipv4 Ipv6: connect::refused_nonblocking;
        Smp "connect_refused_asked_by_connect" Ipv4 Ipv6: connect::refused_asked_by_connect;
        Smp "connect_refused_asked_by_write" Ipv4 Ipv6: connect::refused_asked_by_write;
        Smp quick "connect_refused_fast_open" Ipv4 Ipv6: connect::refused_fast_open;
        Smp quick "connect_refused_io_uring" Ipv4 Ipv6: iouring::connect_refused, late: CLOSE;
        Smp "connect_refused_repeatedly" Ipv4 Ipv6: connect::refused_repeatedly, late: TIMER;
        Smp quick "connect_retried_after_failure" Ipv4 Ipv6: connect::retried_after_failure;
        Smp quick "connect_cancelled" Ipv4 Ipv6 Mapped: connect::cancelled;
        Smp quick "connect_send_timeout" Ipv4 Ipv6 Mapped: send_timeout::connect,
            kprobes hide ConnectSendTimeout: WAITS, late: TIMER;
        Smp differs "connect_send_timeout_fast_open" Ipv4 Ipv6: send_timeout::fast_open, late: TIMER;
        Icount differs "connect_send_timeout_goes_on" Ipv4 (Ipv6): send_timeout::connect_goes_on,
            kprobes hide ConnectSendTimeout: WAITS;
        Smp "connect_cancelled_by_death" Ipv4 Ipv6: connect::cancelled_by_death;
        Smp "connect_refused_put_off" Ipv4 Ipv6: connect::refused_put_off;
        Smp differs "connect_cancelled_by_shutdown" Ipv4 Ipv6: connect::shut_down,
            kprobes hide ConnectCancelled: WAITS;
        Smp differs "connect_is_progress" Ipv4 Ipv6: connect::progress, late: END;
        Smp quick "interrupted_connect" Ipv4 Ipv6: connect::interrupted,
            kprobes hide Interrupted: WAITS;
        Icount quick "connect_timeout" Ipv4 Ipv6 Mapped: timeout::connect;
        Icount "connect_timeout_md5_key" Ipv4 Ipv6: timeout::connect_with_md5_key;
        Icount quick "connect_send_failed" Ipv4 Ipv6 Mapped: |f| not_sent::connect(f, Fault::Firewall);
        Icount "connect_send_failed_cgroup" Ipv4 (Ipv6): |f| not_sent::connect(f, Fault::Cgroup);
        Icount "connect_send_failed_conntrack" Ipv6 (Ipv4): not_sent::connect_without_conntrack;
        Icount differs "connect_send_failed_route" Ipv4 Ipv6: not_sent::connect_and_lose_the_route;

        Icount quick "connect_unreachable_net" Ipv4 Mapped: |f| icmp::rejected(f, icmp::NET);
        Icount "connect_unreachable_host" Ipv4: |f| icmp::rejected(f, icmp::HOST);
        Icount "connect_unreachable_protocol" Ipv4: |f| icmp::rejected(f, icmp::PROTOCOL);
        Icount "connect_unreachable_net_prohibited" Ipv4: |f| icmp::rejected(f, icmp::NET_PROHIBITED);
        Icount "connect_unreachable_host_prohibited" Ipv4: |f| icmp::rejected(f, icmp::HOST_PROHIBITED);
        Icount "connect_unreachable_admin_prohibited" Ipv4: |f| icmp::rejected(f, icmp::ADMIN_PROHIBITED);
        Icount quick "connect_refused_icmp" Ipv4 Mapped: |f| icmp::rejected(f, icmp::PORT);
        Icount quick "connect_unreachable_no_route" Ipv6: |f| icmp::rejected(f, icmp::NO_ROUTE6);
        Icount "connect_unreachable_admin_prohibited" Ipv6: |f| icmp::rejected(f, icmp::ADMIN_PROHIBITED6);
        Icount "connect_unreachable_address" Ipv6: |f| icmp::rejected(f, icmp::ADDRESS6);
        Icount "connect_unreachable_policy" Ipv6: |f| icmp::rejected(f, icmp::POLICY_FAIL6);
        Icount "connect_unreachable_reject_route" Ipv6: |f| icmp::rejected(f, icmp::REJECT_ROUTE6);
        Icount quick "connect_refused_icmp" Ipv6: |f| icmp::rejected(f, icmp::PORT6);
        Icount "connect_unreachable_nonblocking" Ipv4: |f| icmp::rejected_nonblocking(f, icmp::HOST);
        Icount "connect_unreachable_nonblocking" Ipv6: |f| icmp::rejected_nonblocking(f, icmp::ADDRESS6);
        Icount "connect_refused_icmp_nonblocking" Ipv4 Mapped: |f| icmp::rejected_nonblocking(f, icmp::PORT);
        Icount "connect_refused_icmp_nonblocking" Ipv6: |f| icmp::rejected_nonblocking(f, icmp::PORT6);
        Icount quick "connect_unreachable_once" Ipv4 Ipv6: icmp::rejected_once;
        Icount "connect_cancelled_after_icmp" Ipv4 Ipv6: icmp::cancelled;
        Icount "connect_unreachable_no_neighbour" Ipv4 Ipv6 Mapped: icmp::no_neighbour;
        Smp "connect_unreachable_3_1" Ipv4 Mapped: |f| inject::injected(f, Message::new(3, 1, libc::EHOSTUNREACH));
        Smp "connect_refused_icmp_3_3" Ipv4: |f| inject::injected(f, Message::new(3, 3, libc::ECONNREFUSED));
        Smp "connect_unreachable_3_5" Ipv4: |f| inject::injected(f, Message::new(3, 5, libc::EOPNOTSUPP));
        Smp "connect_unreachable_3_6" Ipv4: |f| inject::injected(f, Message::new(3, 6, libc::ENETUNREACH));
        Smp "connect_unreachable_3_7" Ipv4: |f| inject::injected(f, Message::new(3, 7, libc::EHOSTDOWN));
        Smp "connect_unreachable_3_8" Ipv4: |f| inject::injected(f, Message::new(3, 8, libc::ENONET));
        Smp "connect_unreachable_11_0" Ipv4: |f| inject::injected(f, Message::new(11, 0, libc::EHOSTUNREACH));
        Smp "connect_unreachable_12_0" Ipv4: |f| inject::injected(f, Message::new(12, 0, libc::EPROTO));
        Smp "connect_unreachable_1_0" Ipv6: |f| inject::injected(f, Message::new(1, 0, libc::ENETUNREACH));
        Smp "connect_unreachable_1_2" Ipv6: |f| inject::injected(f, Message::new(1, 2, libc::EHOSTUNREACH));
        Smp "connect_refused_icmp_1_4" Ipv6: |f| inject::injected(f, Message::new(1, 4, libc::ECONNREFUSED));
        Smp "connect_unreachable_3_0" Ipv6: |f| inject::injected(f, Message::new(3, 0, libc::EHOSTUNREACH));
        Smp "connect_unreachable_4_0" Ipv6: |f| inject::injected(f, Message::new(4, 0, libc::EPROTO));

        Smp quick "connect_no_route" Ipv4 Ipv6 Mapped: route::none;
        Smp "connect_no_route_unreachable" Ipv4 Ipv6 Mapped: |f| route::refused(f, route::UNREACHABLE);
        Smp "connect_no_route_blackhole" Ipv4 Ipv6: |f| route::refused(f, route::BLACKHOLE);
        Smp "connect_no_route_throw" Ipv4 Ipv6: |f| route::refused(f, route::THROW);
        Smp "connect_no_route_broadcast" Ipv4: route::broadcast;
        Smp differs "connect_no_route_after_failure" Ipv4 Ipv6 Mapped: connect::elsewhere_after_failure;
        Smp "connect_no_route_without_scope" Ipv6: route::without_scope;
        Smp "connect_no_route_multicast" Ipv4 Ipv6: route::multicast;
        Smp "connect_no_route_from_loopback" Ipv4 Mapped: route::from_loopback;
        Smp differs "connect_no_route_only_v6" Mapped: route::only_v6;
        Smp "connect_no_route_fast_open" Ipv4 Ipv6 Mapped: route::none_by_fast_open;
        Smp differs "connect_no_route_io_uring" Ipv4 Ipv6: iouring::connect_no_route, late: CLOSE;
        Smp quick "connect_local_prohibit" Ipv4 Ipv6: |f| route::refused(f, route::PROHIBIT);
        Smp "connect_local_ports_used_up" Ipv4 Ipv6: route::ports_used_up;
        Smp "connect_local_other_family" Ipv4: route::other_family;
        Smp differs "connect_local_malformed" Ipv4 Ipv6: connect::malformed;
        Smp differs "connect_local_fast_open" Ipv4 Ipv6: connect::fast_open_refused;

        Smp quick "reset_by_peer" Ipv4 Ipv6 Mapped: reset::by_peer;
        Smp differs "reset_by_peer_unread_data" Ipv4 (Ipv6): reset::by_peer_with_unread_data;
        Smp "reset_by_peer_after_its_answer" Ipv4 Ipv6: reset::by_peer_after_its_answer;
        Smp quick "reset_by_peer_process" Ipv4 Ipv6: inherit::reset_by_process;
        Smp differs "reset_by_peer_killed" Ipv6 (Ipv4): inherit::reset_by_killed_process;
        Smp differs "reset_by_peer_listener" Ipv4 (Ipv6): accept_queue::by_closing_listener, late: TIMER;
        Smp "reset_by_peer_listener_with_data" Ipv6 (Ipv4): accept_queue::by_closing_listener_with_data, late: TIMER;
        Icount quick "accept_queue_overflow" Ipv4 Ipv6: listener::overflows;
        Smp quick "quiet_stray_segments" Ipv4: listener::stray_segments;
        Icount "reset_by_peer_full_queue" Ipv4 Ipv6: accept_queue::by_full_queue, late: END;
        Icount quick "reset_without_answer" Ipv4 Ipv6: accept_queue::without_answer, late: END;
        Smp "reset_by_peer_while_read_waits" Ipv4: reset::by_peer_while_read_waits;
        Icount "reset_by_peer_while_write_waits" Ipv4: reset::by_peer_while_write_waits;
        Icount differs "reset_by_peer_orphan" Ipv4 (Ipv6): reset::by_closing_one_too_many, late: END;
        Smp quick "reset_by_peer_overlap" Ipv4 Ipv6: overlap::reset;
        Smp differs "reset_by_peer_from_another_netns" Ipv4 Ipv6: overlap::reset_from_another;
        Smp quick "reset_by_peer_fast_open" Ipv4 Ipv6: fastopen::reset_by_peer;
        Icount quick "reset_by_peer_both_connect" Ipv4 Ipv6: fastopen::reset_while_both_connect;
        Smp quick "reset_before_accept" Ipv4 Ipv6 Mapped: reset::before_accept;
        Smp differs "reset_before_accept_fast_open" Ipv6 (Ipv4): fastopen::reset_before_accept;
        Smp quick "unreachable_before_accept" Ipv4 Ipv6: fastopen::unreachable_before_accept;
        Smp differs "reset_before_accept_after_fin" Ipv6 (Ipv4): reset::before_accept_after_fin;
        Smp differs "reset_before_accept_never_accepted" Ipv4 (Ipv6): reset::never_accepted, late: TIMER;
        Smp quick "reset_after_peer_close" Ipv4 Ipv6 Mapped: reset::after_peer_close;
        Smp differs "reset_by_peer_after_its_shutdown" Ipv6 (Ipv4): reset::after_peer_shutdown;
        Smp quick "reset_by_peer_unread_after_its_shutdown" Ipv4 (Ipv6): reset::unread_after_peer_shutdown;
        Smp quick "reset_by_peer_while_answer_is_due" Ipv4 (Ipv6): reset::by_peer_while_answer_is_due;
        Icount quick "reset_after_retransmit" Ipv4 Ipv6: reset::after_retransmit;
        Icount quick "reset_after_idle" Ipv4 Ipv6: reset::after_idle;
        Icount "reset_after_idle_by_keepalive" Ipv6 (Ipv4): reset::after_idle_by_keepalive;
        Icount "reset_after_short_idle" Ipv4 (Ipv6): reset::after_short_idle;
        Smp quick "reset_while_closing" Ipv4 Ipv6: reset::while_closing;
        Icount differs "reset_while_closing_orphan" Ipv6 (Ipv4): reset::while_closing_orphan;
        Smp quick "data_after_shutdown" Ipv4 Ipv6: reset::data_after_shutdown;
        Smp quick "aborted_locally" Ipv4 Ipv6: reset::aborted_locally;

        Smp quick "write_after_reset" Ipv4 Ipv6 Mapped: write::after_reset;
        Smp differs "write_after_reset_was_read" Ipv4 (Ipv6): write::after_reset_was_read;
        Smp quick "write_after_reset_crowd" Ipv4 Ipv6: write::after_resets_in_a_crowd;
        Smp quick "write_after_shutdown" Ipv4 Ipv6: write::after_shutdown;
        Smp quick "write_unconnected_dissolved" Ipv4 Ipv6: write::after_dissolving;
        Smp quick "write_after_shutdown_by_both" Ipv4 (Ipv6): write::after_both_have_closed;
        Smp quick "write_unconnected" Ipv4 Ipv6: write::unconnected;
        Smp quick "write_by_ktls_after_shutdown" Ipv4 (Ipv6): |f| layered::after_shutdown(f, Layer::Ktls);
        Smp quick "write_by_ktls_after_reset" Ipv6 (Ipv4): |f| layered::after_reset(f, Layer::Ktls);
        Smp quick "write_by_sockmap_after_shutdown" Ipv6 (Ipv4): |f| layered::after_shutdown(f, Layer::Sockmap);
        Smp quick "write_by_sockmap_after_reset" Ipv4 (Ipv6): |f| layered::after_reset(f, Layer::Sockmap);
        Smp quick "write_by_sockmap_thread" Ipv4 Ipv6: layered::by_kernel_thread;
        Smp quick "write_bad_control_message" Ipv4 Ipv6: write::bad_control_message;
        Smp quick "write_bad_buffer" Ipv4 Ipv6: write::bad_buffer;
        Smp "write_passed_socket" Ipv6 (Ipv4): inherit::passed, late: CLOSE;
        Smp "sigpipe_none" Ipv4 (Ipv6): |f| sigpipe::after_reset(f, sigpipe::NO_SIGNAL);
        Smp "sigpipe_ignored" Ipv6 (Ipv4): |f| sigpipe::after_reset(f, sigpipe::IGNORED);
        Smp "sigpipe_handled" Ipv4 (Ipv6): |f| sigpipe::after_reset(f, sigpipe::HANDLED);
        Smp quick "sigpipe_blocked" Ipv4 Ipv6: |f| sigpipe::after_reset(f, sigpipe::BLOCKED);
        Smp quick "sigpipe_kills" Ipv4 Ipv6: |f| sigpipe::after_reset(f, sigpipe::DEFAULT);
        Smp "sigpipe_kills_writev" Ipv4: |f| sigpipe::after_reset(f, sigpipe::WRITEV);
        Smp "sigpipe_kills_sendfile" Ipv6 (Ipv4): |f| sigpipe::after_reset(f, sigpipe::SENDFILE);
        Smp differs "sigpipe_kills_io_uring_write" Ipv4: |f| sigpipe::after_reset(f, sigpipe::URING_WRITE), late: CLOSE;
        Smp differs "sigpipe_none_io_uring_send" Ipv4 (Ipv6): |f| sigpipe::after_reset(f, sigpipe::URING_SEND), late: CLOSE;
        Smp "sigpipe_discarded" Ipv6 (Ipv4): |f| sigpipe::after_reset(f, sigpipe::INIT);
        Smp "sigpipe_handled_by_init" Ipv4: |f| sigpipe::after_reset(f, sigpipe::INIT_HANDLED);
        Smp "sigpipe_none_after_peer_close" Ipv4: |f| sigpipe::after_peer_close(f, sigpipe::NO_SIGNAL);
        Smp "sigpipe_ignored_after_peer_close" Ipv4: |f| sigpipe::after_peer_close(f, sigpipe::IGNORED);
        Smp "sigpipe_kills_after_peer_close" Ipv4 (Ipv6): |f| sigpipe::after_peer_close(f, sigpipe::DEFAULT);
        Smp "sigpipe_kills_after_shutdown" Ipv6 (Ipv4): |f| sigpipe::after_shutdown(f, sigpipe::DEFAULT);
        Smp quick "sigpipe_kills_by_ktls" Ipv4 (Ipv6): |f| layered::kills(f, Layer::Ktls);
        Smp quick "sigpipe_kills_by_sockmap" Ipv6 (Ipv4): |f| layered::kills(f, Layer::Sockmap);
        Smp "sigpipe_ignored_after_shutdown" Ipv4: |f| sigpipe::after_shutdown(f, sigpipe::IGNORED);
        Smp "sigpipe_discarded_after_peer_close" Ipv4: |f| sigpipe::after_peer_close(f, sigpipe::INIT);

        Icount quick "retransmit_timeout" Ipv4 Ipv6: timeout::retransmit;
        Icount quick "write_after_timeout" Ipv4 Ipv6: timeout::write_after;
        Icount quick "user_timeout" Ipv4 Ipv6: timeout::user;
        Icount "user_timeout_large_segments" Ipv4 Ipv6: timeout::user_by_large_segments;
        Icount "user_timeout_after_idle" Ipv4 (Ipv6): timeout::user_after_idle;
        Smp quick "send_timeout" Ipv4 Ipv6 Mapped: send_timeout::closed_window;
        Icount differs "send_timeout_cut" Ipv4 (Ipv6): send_timeout::cut;
        Icount differs "user_timeout_zero_window" Ipv4: timeout::user_with_closed_window;
        Icount quick "keepalive_timeout" Ipv4 Ipv6: timeout::keepalive;
        Icount "keepalive_timeout_user" Ipv6 (Ipv4): timeout::keepalive_with_user_timeout;
        Icount quick "zero_window_timeout" Ipv4 Ipv6: timeout::zero_window;
        Icount quick "unreachable_timeout" Ipv4 Ipv6: timeout::unreachable;
        Icount quick "send_failed" Ipv4 Ipv6 Mapped: |f| not_sent::new_data(f, Fault::Firewall);
        Icount "send_failed_cgroup" Ipv6 (Ipv4): |f| not_sent::new_data(f, Fault::Cgroup);
        Icount "send_failed_link_down" Ipv4 Ipv6: |f| not_sent::new_data(f, Fault::LinkDown);
        Icount "send_failed_device_gone" Ipv4 Ipv6: |f| not_sent::new_data(f, Fault::DeviceGone);
        Icount differs "send_failed_address_gone" Ipv4 Ipv6: |f| not_sent::new_data(f, Fault::AddressGone);
        Icount differs "send_failed_route_gone" Ipv4 Ipv6: |f| not_sent::new_data(f, Fault::RouteGone);
        Icount "send_failed_blackhole" Ipv4 Ipv6: |f| not_sent::new_data(f, Fault::Blackhole);
        Icount "send_failed_queue_full" Ipv4 (Ipv6): |f| not_sent::new_data(f, Fault::QueueFull);
        Icount quick "send_failed_in_flight" Ipv4 Ipv6: |f| not_sent::in_flight(f, Fault::Firewall);
        Icount differs "send_failed_in_flight_route" Ipv4 Ipv6: |f| not_sent::in_flight(f, Fault::RouteGone);
        Icount "send_failed_in_flight_blackhole" Ipv4 (Ipv6): |f| not_sent::in_flight(f, Fault::Blackhole);
        Icount "send_failed_user_timeout" Ipv4 Ipv6: |f| not_sent::user_timeout(f, Fault::Firewall);
        Icount "send_failed_user_timeout_reject" Ipv4 Ipv6: |f| not_sent::user_timeout(f, Fault::Reject);
        Icount "send_failed_user_timeout_in_flight" Ipv6 (Ipv4): |f| not_sent::user_timeout_in_flight(f, Fault::Firewall);
        Icount "send_failed_user_timeout_queue_full" Ipv4 (Ipv6): |f| not_sent::user_timeout_in_flight(f, Fault::QueueFull);
        Icount "send_failed_keepalive" Ipv4 Ipv6: not_sent::keepalive;
        Icount "send_failed_closed_window" Ipv4 (Ipv6): not_sent::closed_window;
        Icount quick "user_timeout_spoofed_icmp" Ipv4 Ipv6: timeout::user_beside_spoofed_icmp;
        Icount differs "user_timeout_survived_icmp" Ipv4 Ipv6: timeout::user_after_survived_icmp;
        Icount differs "unreachable_timeout_injected" Ipv4 Ipv6: timeout::unreachable_by_injected_icmp;
        Icount quick "unreachable_timeout_overlap" Ipv4 Ipv6: overlap::unreachable;
        Smp quick "port_unreachable" Ipv4 Ipv6 Mapped: udp::port_unreachable_to_recv;
        Smp "port_unreachable_to_send" Ipv4 Ipv6 Mapped: udp::port_unreachable_to_send;
        Smp quick "port_unreachable_to_waiter" Ipv4 Ipv6 Mapped: udp::port_unreachable_to_waiter;
        Smp quick "port_unreachable_unconnected" Ipv4 Ipv6: udp::port_unreachable_unconnected;
        Smp quick "port_unreachable_beside_timestamps" Ipv4 Ipv6: udp::port_unreachable_beside_timestamps;
        Smp quick "udp_prohibited" Ipv4 Ipv6 Mapped: udp::prohibited;
        Smp quick "udp_unreachable" Ipv4 Ipv6: udp::unreachable;
        Smp quick "udp_connect_no_route" Ipv4 Ipv6 Mapped: udp::connect_no_route;
        Smp "udp_connect_unreachable_route" Ipv4 Ipv6: |f| udp::connect_refused_by_route(f, route::UNREACHABLE);
        Smp "udp_connect_prohibited" Ipv4 Ipv6: |f| udp::connect_refused_by_route(f, route::PROHIBIT);
        Smp "udp_connect_broadcast" Ipv4: udp::connect_broadcast;
        Smp quick "udp_bind_failed" Ipv4 Ipv6 Mapped: udp::bind_failed;
        Smp quick "udp_option_rejected" Ipv4 Ipv6: udp::option_rejected;
        Smp quick "send_refused" Ipv4 Ipv6: udp::send_refused, kprobes hide SendRefused: WAITS;
        Smp quick "receive_queue_full" Ipv4 Ipv6 Mapped: udp::receive_queue_full;

        Icount quick "unreachable_reported" Ipv4 Ipv6: recverr::unreachable;
        Icount "unreachable_reported_to_write" Ipv4 Ipv6: recverr::unreachable_by_write;
        Icount quick "write_after_shutdown_survived" Ipv4 Ipv6: recverr::write_after_shutdown;
        Smp quick "write_after_unreachable" Ipv4 Ipv6: icmp::write_after_refused;

        Smp quick "listener_closed" Ipv4 Ipv6: accept::listener_closed,
            kprobes hide ListenerClosed: WAITS;
        Smp "listener_closed_without_backlog" Ipv4 Ipv6: accept::listener_closed_without_backlog,
            kprobes hide ListenerClosed: WAITS;
        Smp differs "accept_failed_never_listened" Ipv4 Ipv6: accept::never_listened,
            kprobes hide AcceptFailed: WAITS, late: END;
        Smp quick "accept_resources" Ipv4 Ipv6: accept::too_many_files,
            kprobes hide AcceptResources: WAITS;
        Smp quick "reset_before_accept_io_uring" Ipv4 Ipv6: iouring::reset_before_accept, late: CLOSE;
        Smp quick "listener_closed_io_uring" Ipv4 Ipv6: iouring::listener_closed,
            kprobes hide ListenerClosed: WAITS, late: CLOSE;
        Smp quick "interrupted_accept" Ipv4 Ipv6: accept::interrupted,
            kprobes hide Interrupted: WAITS;
        Smp quick "accept_failed_bad_address" Ipv4 Ipv6: accept::bad_address,
            kprobes hide AcceptFailed: WAITS, late: END;
        Smp "accept_failed_bad_flags" Ipv6 (Ipv4): accept::bad_flags,
            kprobes hide AcceptFailed: WAITS;
        Smp differs "accept_failed_policy" Ipv4 (Ipv6): forbid::accept,
            kprobes hide AcceptFailed: WAITS, late: END;
        Smp quick "premature_eof" Ipv4 Ipv6: eof::at_first_question;
        Smp "premature_eof_later" Ipv4 (Ipv6): eof::at_later_question;
        Smp "premature_eof_farewell" Ipv6 (Ipv4): eof::at_farewell;
        Smp differs "premature_eof_half_close" Ipv4 (Ipv6): eof::at_half_close;
        Smp differs "premature_eof_no_greeting" Ipv6 (Ipv4): eof::instead_of_greeting;
        Icount differs "premature_eof_before_request" Ipv4 (Ipv6): eof::before_the_question;

        Smp quick "undelivered_polled" Ipv4 Ipv6: unread::polled;
        Smp "undelivered_aborted" Ipv6 (Ipv4): unread::aborted;
        Smp "undelivered_duplicated" Ipv4 (Ipv6): unread::duplicated;
        Smp quick "undelivered_io_uring" Ipv6 (Ipv4): unread::closed_by_io_uring, late: CLOSE;
        Smp quick "undelivered_killed" Ipv4 (Ipv6): unread::killed;
        Smp quick "undelivered_connect" Ipv4 Ipv6: unread::connect;
        Smp differs "undelivered_accepted" Ipv6 (Ipv4): unread::accepted;
        Smp differs "undelivered_end_was_read" Ipv4 (Ipv6): unread::end_was_read;
        Icount quick "undelivered_reported" Ipv4 (Ipv6): unread::reported;
        Smp quick "undelivered_mptcp" Ipv4 (Ipv6): unread::of_mptcp, late: CLOSE;
        Icount differs "undelivered_error_queue" Ipv6 (Ipv4): unread::looked_for_in_error_queue;
        Smp quick "delivered_by_peek" Ipv4 (Ipv6): unread::peeked;
        Smp quick "delivered_by_so_error" Ipv6 (Ipv4): unread::asked_for;
        Smp "delivered_by_io_uring" Ipv4 (Ipv6): unread::read_by_io_uring, late: CLOSE;
        Smp differs "delivered_by_connect" Ipv4 (Ipv6): unread::connected_again;

        Smp quick "sockopt_rejected_values" Ipv4 Ipv6: sockopt::bad_values;
        Smp differs "sockopt_rejected_unknown" Ipv6 (Ipv4): sockopt::unknown;
        Smp differs "sockopt_rejected_not_permitted" Ipv4 (Ipv6): sockopt::not_permitted;
        Smp quick "sockopt_rejected_no_socket" Ipv4: sockopt::no_socket;
        Smp quick "socket_failed_too_many_files" Ipv4 Ipv6: no_socket::too_many_files;
        Smp differs "socket_failed_not_permitted" Ipv6 (Ipv4): no_socket::not_permitted;
        Smp "socket_failed_may_not_ping" Ipv4 (Ipv6): no_socket::may_not_ping;
        Smp differs "socket_failed_unknown" Ipv4 (Ipv6): no_socket::unknown;
        Smp differs "socket_failed_cgroup" Ipv6 (Ipv4): forbid::socket;
        Smp quick "bind_failed_in_use" Ipv4 Ipv6: bind::address_in_use;
        Smp "bind_failed_not_local" Ipv4 Ipv6: bind::address_not_local;
        Smp "bind_failed_privileged_port" Ipv4 Ipv6: bind::privileged_port;
        Smp differs "bind_failed_malformed" Ipv4 Ipv6: bind::malformed;
        Smp "bind_failed_only_v6" Mapped: bind::only_v6;
        Smp "bind_failed_twice" Ipv4 Ipv6: bind::twice;
        Smp quick "listen_failed_in_use" Ipv4 Ipv6: bind::listen_twice;
        Smp "listen_failed_connected" Ipv6 (Ipv4): bind::listen_connected;
        Smp quick "bind_failed_io_uring" Ipv4 Ipv6: iouring::bind_in_use, late: CLOSE;
        Smp quick "listen_failed_io_uring" Ipv4 Ipv6: iouring::listen_in_use, late: CLOSE;
        Smp quick "sockopt_rejected_io_uring" Ipv4 Ipv6: iouring::sockopt_rejected, late: CLOSE;
        Smp quick "connect_local_policy" Ipv4 Ipv6 Mapped: policy::connect;
        Smp quick "bind_failed_policy" Ipv4 Ipv6 Mapped: policy::bind;
        Smp differs "bind_failed_cgroup" Ipv4 (Ipv6): forbid::bind;
        Smp differs "listen_failed_policy" Ipv4 (Ipv6): policy::listen;

        Smp differs "raw_unreachable" Ipv4 Ipv6: other_protocols::raw;
        Smp differs "icmp_unreachable" Ipv4 Ipv6: other_protocols::icmp;
        Smp quick "netlink_overrun" Ipv4: other_protocols::netlink;
        Smp quick "device_down" Ipv4: other_protocols::packet;
        Smp quick "vsock_refused" Ipv4: other_protocols::vsock;

        Smp quick "owner_in_cgroups" Ipv4 Ipv6: owner::in_cgroups;
        Smp quick "owner_while_another_runs" Ipv4 Ipv6: owner::while_another_runs;

        Smp quick "owner_inherited" Ipv4 Ipv6: handover::inherited;
        Smp "owner_passed" Ipv6 (Ipv4): handover::passed, late: CLOSE;
        Smp "owner_inherited_and_busy" Ipv4 (Ipv6): handover::inherited_and_busy;
        Smp "owner_other_program" Ipv6 (Ipv4): handover::other_program;
        Smp differs "owner_first_thread_ended" Ipv6 (Ipv4): handover::first_thread_ended;
        Smp "owner_threads" Ipv4 (Ipv6): handover::threads;
        Smp "owner_same_addresses" Ipv6 (Ipv4): handover::same_addresses;

        Smp quick "mptcp_connect_refused" Ipv4 Ipv6 Mapped: mptcp::connect_refused, late: CLOSE;
        Icount "mptcp_connect_send_failed" Ipv4 (Ipv6): not_sent::connect_by_mptcp, late: CLOSE;
        Smp quick "mptcp_reset_by_peer" Ipv4 Ipv6: mptcp::reset_by_peer, late: CLOSE;
        Smp quick "mptcp_reset_by_peer_after_fallback" Ipv4 Ipv6: mptcp::reset_by_peer_after_fallback, late: CLOSE;
        Smp "mptcp_send_timeout" Ipv4 (Ipv6): mptcp::send_timeout, late: CLOSE;
        Smp quick "mptcp_subflow_failed" Ipv4 Ipv6: mptcp::subflow_killed, late: CLOSE;
        Smp quick "mptcp_bind_failed" Ipv4 Ipv6: mptcp::bind_in_use, late: CLOSE;
        Smp quick "mptcp_listen_failed" Ipv4 (Ipv6): mptcp::listen_in_use, late: CLOSE;
        Smp differs "mptcp_orderly" Ipv4 Ipv6: mptcp::orderly, late: CLOSE;

        Smp "orderly_client_first" Ipv4: orderly::client_first, late: END;
        Smp "orderly_server_first" Ipv6: orderly::server_first, late: END;
        Smp quick "orderly_half_close" Ipv4: orderly::half_close, late: END;
        Smp "orderly_simultaneous" Ipv6: orderly::simultaneous, late: END;
        Smp differs "quiet_restarted_accept" Ipv4: accept::interrupted_and_restarted, late: END;
        Icount "quiet_restarted_connect" Ipv4 Ipv6: connect::interrupted_and_restarted;
        Smp "quiet_eof_at_servers_word" Ipv4 (Ipv6): eof::at_servers_word, late: END;
        Smp "quiet_eof_after_the_answer" Ipv6 (Ipv4): eof::after_the_answer, late: END;
        Smp differs "quiet_eof_log_collector" Ipv4 (Ipv6): eof::of_a_log_collector, late: END;
        Smp "quiet_eof_upload" Ipv6 (Ipv4): eof::of_an_upload, late: END;
        Icount "quiet_eof_in_reserve" Ipv4 (Ipv6): eof::of_a_connection_in_reserve;
        Smp differs "quiet_nonblocking_accept" Ipv4 (Ipv6): quiet::nonblocking_accept, late: END;
        Smp "quiet_nonblocking_write" Ipv6 (Ipv4): quiet::nonblocking_write, late: END;
        Smp quick "quiet_nonblocking_connect" Ipv4 Ipv6: quiet::nonblocking_connect, late: END;
        Smp quick "quiet_send_timeout" Ipv4 (Ipv6): send_timeout::in_parts, late: END;
        Smp "quiet_read_timeout" Ipv4: quiet::read_timeout, late: END;
        Icount "quiet_slow_connect" Ipv4 (Ipv6): quiet::slow_connect;
        Smp quick "quiet_keep_alive" Ipv4 Ipv6: quiet::keep_alive, late: END;
        Icount "quiet_idle_pool" Ipv6 (Ipv4): quiet::idle_pool;
        Smp "quiet_shared_port" Ipv4 Ipv6: quiet::shared_port, late: END;
        Smp "quiet_not_connected" Ipv4 (Ipv6): quiet::not_connected, late: END;
        Smp quick "quiet_udp" Ipv4 Ipv6 Mapped: udp::quiet, late: END;
        Smp differs "quiet_no_socket" Ipv4: quiet::no_socket;

        Odd differs "connect_refused_without_ipv6" Ipv4: connect::refused;
        Odd "reset_by_peer_without_ipv6" Ipv4: reset::by_peer;
        Odd "bind_failed_without_ipv6" Ipv4: bind::address_in_use;
        Odd "socket_failed_without_ipv6" Ipv4: no_socket::without_ipv6;
    }
    unix {
        Smp quick "unix_connect_refused": unix::refused;
        Smp quick "unix_no_such_socket": unix::no_such_socket;
        Smp quick "unix_no_such_socket_probe": unix::probes;
        Smp quick "unix_connect_local": unix::connect_local;
        Smp quick "unix_backlog_full": unix::backlog_full;
        Smp quick "unix_backlog_full_waited": unix::backlog_full_waited;
        Smp quick "unix_connect_io_uring": unix::by_io_uring;
        Smp "unix_backlog_full_by_another_name": unix::backlog_full_elsewhere;
        Smp quick "unix_reset_by_peer": unix::reset;
        Smp "unix_reset_by_client": unix::reset_by_exit;
        Smp quick "unix_reset_by_peer_pair": unix::reset_pair;
        Smp quick "unix_reset_by_listener": unix::reset_by_listener;
        Smp quick "unix_write_after_peer_close": unix::write_after_close;
        Smp quick "unix_write_after_peer_close_unsignalled": unix::sends::write_after_close,
            kprobes hide WriteAfterPeerClose: WAITS;
        Smp quick "unix_write_after_shutdown": unix::sends::write_after_shutdown,
            kprobes hide WriteAfterShutdown: WAITS;
        Smp quick "unix_nobody_receives": unix::sends::nobody_receives, kprobes hide ConnectRefused: WAITS;
        Smp quick "unix_no_such_receiver": unix::sends::no_such_receiver,
            kprobes hide NoSuchSocket: WAITS;
        Smp quick "unix_receiver_closed": unix::sends::receiver_closed,
            kprobes hide WriteAfterPeerClose: WAITS;
        Smp quick "unix_write_unconnected": unix::sends::not_connected,
            kprobes hide WriteUnconnected: WAITS;
        Smp quick "unix_send_refused": unix::sends::refused, kprobes hide SendRefused: WAITS;
        Smp quick "unix_peer_queue_full": unix::sends::queue_full, kprobes hide PeerQueueFull: WAITS;
        Smp quick "unix_send_timeout": unix::sends::timeout, kprobes hide SendTimeout: WAITS;
        Smp quick "quiet_unix_would_wait": unix::sends::would_wait;
        Smp quick "quiet_unix_broken_pipe": unix::broken_pipe;
        Smp quick "unix_bind_failed": unix::bind;
        Smp quick "unix_listen_failed": unix::listen;
        Smp quick "quiet_unix_connections": unix::connections;
        Smp quick "quiet_unix_datagrams": unix::datagrams;
        Smp quick "quiet_unix_pairs": unix::pairs;
        Smp quick "quiet_unix_descriptors": unix::passes_descriptors;
    }
    check {
        // The scenarios before may leave connections that give up some time later.
        Icount differs "kprobe_timers": attach::timers_by_kprobe;
        Icount "retransmits": stream::retransmits;
        Icount "noise_is_counted_only": stream::noise_is_counted_only;
        Icount "thresholds": stream::thresholds;
        Icount differs "metrics_of_timers": metrics::of_timers;
        Icount "metrics_of_many_services": metrics::many_services;
        Smp quick "metrics_of_sockets": metrics::of_sockets;
        Icount quick "listener_hung": listener::hung;
        Icount "listener_met_full": listener::met_full;
        Smp "listener_syn_cookies": listener::syn_cookies;
        Smp "listener_syn_cookies_elsewhere": listener::syn_cookies_elsewhere;
        Smp quick "listener_slow_to_accept": listener::slow_to_accept;
        Smp "metrics_of_a_short_lived_service": metrics::short_lived_service;
        // These scenarios share daemons.
        Smp differs "metrics_of_the_tracer": metrics::of_the_tracer;
        Smp "survives_processor_going": survive::processor_goes;
        Smp "survives_no_descriptors": survive::no_descriptors;
        Smp differs "service_sandbox": service::sandbox;
        Smp differs "sandbox_from_inside": sandbox::from_inside;
        Smp differs "sandbox_with_outputs": sandbox::with_outputs;
        Smp quick "service_privileges": privileges::of_the_unit;
        Smp "flood": metrics::flood;
        Smp "storm": daemon::storm;
        Smp quick "flood_beside_another": flood::beside_another;
        Smp "flood_filtered": flood::filtered;
        Smp differs "flood_of_datagrams": flood::of_datagrams;
        Smp "flood_not_collapsed": flood::not_collapsed;
        Smp differs "flood_storm": flood::storm;
        Smp "flood_stopped_in_a_storm": flood::stopped_in_a_storm;
        Icount "flood_reported_at_once": flood::reported_at_once;
        Smp "no_stream": daemon::no_stream;
        Smp differs "probe_log": daemon::probe_log;
        Smp "human_output": daemon::human_output;
        Smp "human_output_on_terminal": terminal::columns_that_fit;
        Smp "reset_sent": sent::reset_sent;
        Smp "reset_behind_nat": nat::reset;
        Smp "opened_before": daemon::opened_before;
        Smp differs "unix_listener_opened_before": unix::of_listener_before;
        Smp "owner_gone": owner::gone;
        Smp "owner_too_many": handover::too_many;
        Smp differs "owner_beside_a_crowd": crowd::keeps_out_nobody;
        Smp differs "tables_full_of_cgroups": tables::full_of_cgroups;
        Smp differs "tables_full_of_odd_numbers": tables::full_of_odd_numbers;
        Smp "owner_in_legacy_cgroup": owner::in_legacy_cgroup;
        Smp "filter_by_process": filter::by_process;
        Smp "filter_by_process_pattern": filter::by_process_pattern;
        Smp "filter_wrong_values": filter::wrong_values;
        Smp "filter_by_user_and_namespace": filter::by_user_and_namespace;
        Smp "filter_by_gone_process": filter::by_gone_process;
        Smp "filter_by_service": filter::by_service;
        Smp "filter_by_service_pattern": filter::by_service_pattern;
        Smp "filter_by_cgroup": filter::by_cgroup;
        Smp "filter_by_local_end": filter::by_local_end;
        Smp "filter_by_remote_end": filter::by_remote_end;
        Smp "filter_by_address_asked_for": filter::by_address_asked_for;
        Smp "filter_by_errno_and_cause": filter::by_errno_and_cause;
        Smp "filter_by_severity": filter::by_severity;
        Smp "filter_metrics": filter::metrics;
        Smp "filter_reload": refilter::in_daemon;
        Smp "filter_reload_of_kernel_side": refilter::in_kernel;
        Smp "filter_reload_of_floods": refilter::of_floods;
        Smp "filter_reload_with_metrics": refilter::of_counts;
        Smp "summary": summary::of_services;
        Smp "summary_of_floods": summary::of_floods;
        Smp "summary_stalled_reader": summary::stalled_reader;
        Smp "stream_count": stream_end::count;
        Smp "stream_count_of_blocks": stream_end::count_of_blocks;
        Smp "stream_duration": stream_end::duration;
        Smp "stream_reader_gone": stream_end::reader_gone;
        Smp "commands_reader_gone": stream_end::commands_reader_gone;
        Smp "otlp_says_what_the_stream_says": otlp::says_what_the_stream_says;
        Smp "otlp_without_lines": otlp::without_lines;
        Smp "otlp_alone": otlp::alone;
        Smp "otlp_reads_headers_again": otlp::reads_headers_again;
        Smp "otlp_collector_away": otlp::collector_away;
        Smp "otlp_wrong_settings": otlp::wrong_settings;
        Smp "history_as_shown": kept::as_shown;
        Smp "history_survives_kill": kept::survives_kill;
        Smp "history_second_writer": kept::second_writer;
        Smp "history_full_disk": kept::full_disk;
        Smp "history_not_writable": kept::not_writable;
        Smp "history_flood": kept::flood;
        Smp "history_as_streamed": kept::as_streamed;
        Smp "history_reload": kept::reload;
        Smp "history_wrong_arguments": kept::wrong_arguments;
        Smp differs "top_live": top::live;
        Smp "top_ends_well": top::ends_well;
        Smp "top_of_history": top::of_history;
        Smp "top_of_replay": top::of_replay;
        Smp "resolve": resolve::names_remote_ends;
        Smp "metrics_port_taken": daemon::metrics_port_taken;
        Smp "stops_on_signals": daemon::stops_on_signals;
        Smp "stops_in_a_storm": daemon::stops_in_a_storm;
        Smp "hostile_clients": clients::hostile;
        Smp "clients_out_of_files": clients::out_of_files;
        Smp "several_listeners": clients::several_listeners;
        Smp "socket_activation": clients::socket_activation;
        Smp "wrong_web_config": clients::wrong_web_config;
        Smp quick "hops": hops::of_resets;
        Smp differs "command_fails": command::fails;
        Smp "command_into_a_file": command::into_a_file;
        Smp "command_exit_codes": command::exit_codes;
        Smp quick "command_descendants": command::descendants;
        Smp "command_crowd": command::crowd;
        Smp "command_as_the_caller": command::as_the_caller;
        Smp "command_signals": command::signals;
        Smp differs "command_follow": command::follow;
        Smp "command_beside_a_service": command::beside_a_service;
        Smp quick "kprobe_command": command::by_kprobe;
        Smp quick "kprobe": attach::by_kprobe;
        Smp differs "kprobe_fallback": attach::fallback;
        Smp "refused_not_root": refusal::not_root;
        Smp quick "refused_missing_capability": refusal::missing_capability;
        Smp quick "refused_no_btf": refusal::no_btf;
        Smp differs "refused_memlock": refusal::memlock;
        Smp quick "refused_kprobes": refusal::kprobes;
        Smp quick "refused_user_namespace": refusal::user_namespace;
        Smp quick "verifier_room": verifier::leaves_room;
        Smp differs "doctor_self_test": doctor::self_test;
        Smp "doctor_unprivileged": doctor::unprivileged;
        Smp "doctor_no_btf": doctor::no_btf;
        Smp "service_manager": service::manager;
        Smp "service_journal": service::journal;
        Smp differs "service_configuration": service::configuration;
        Smp "survives_stalled_reader": survive::stalled_reader;
        Smp "survives_full_pipe": survive::full_pipe;
        Smp "survives_full_disk": survive::disk_full;
        Smp "survives_clock_jump": survive::clock_jump;
        Smp "survives_second_instance": survive::two_instances;
        Smp "survives_being_killed": survive::killed;
        Smp "survives_soak": survive::soak;
        System quick "system_install": system::install;
        System quick "system_start": system::start;
        System "system_stream": system::stream;
        System "system_reload": system::reload;
        System quick "system_history": system::history;
        System "system_crash": system::crash;
        System "system_watchdog": system::watchdog;
        System "system_wrong_configuration": system::wrong_configuration;
        System "system_socket_activation": system::socket_activation;
        System quick "system_exposure": system::exposure;
        System "system_upgrade": system::upgrade;
        System "system_nginx_backlog": system::nginx_backlog;
        System "system_resolver_down": system::resolver_down;
        System "system_removal": system::removal;
        Container "system_container": system::container;
        Odd "flood_storm_on_four_processors": flood::storm;
        Odd differs "missing_function": odd::missing_function;
        Odd differs "lockdown_integrity": odd::lockdown_integrity;
        Odd differs "lockdown_confidentiality": odd::lockdown_confidentiality;
        Scrape "prometheus": prometheus::counts_and_alerts;
    }
}
