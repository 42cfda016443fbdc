//! Meaning of the kernel's report of a socket's error (`inet_sk_error_report`).

use crate::TcpState;

/// From `include/uapi/asm-generic/errno.h` and `errno-base.h`.
const EPIPE: u16 = 32;
const ETIMEDOUT: u16 = 110;

const CLOSE: u8 = TcpState::Close as u8;
const SYN_SENT: u8 = TcpState::SynSent as u8;

/// A report, and facts about its socket at that moment.
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `sk_err`.
    pub errno: u16,
    /// `sk_err_soft`.
    pub soft_errno: u16,
    /// The socket's [`TcpState`].
    pub state: u8,
    /// Port of the other end, 0 for none.
    pub remote_port: u16,
    /// Whether a function that ends in `tcp_done` has left a note that it is working on the socket.
    pub has_note: bool,
    /// Whether it is a subflow of an MPTCP socket, which reports its own failures.
    pub is_subflow: bool,
    /// Whether kTLS encrypts what the current process writes to it.
    pub encrypts: bool,
    /// Whether this kernel closes a connection before it reports the error that ends it: it has
    /// `tcp_done_with_error` (6.11, and some long-term series).
    pub closes_first: bool,
    /// Number of bytes sent but not acknowledged.
    pub unacked: u32,
    /// Unanswered probes (`icsk_probes_out`).
    pub probes: u8,
    /// `TCP_USER_TIMEOUT` in milliseconds, 0 for none.
    pub user_timeout: u32,
}

impl Report {
    /// Whether no other hook reports this error:
    /// [`EventKind::ErrorReported`](crate::EventKind::ErrorReported) of a connection that stays
    /// open, as with `IP_RECVERR`. Every other report is of an error that another hook reports, or
    /// is not a failure.
    #[expect(
        clippy::inline_always,
        reason = "as a function of its own it would take some of the programs' stack"
    )]
    #[must_use]
    #[inline(always)]
    pub const fn is_news(&self) -> bool {
        // `sock_queue_err_skb` stores no error; `tcp_disconnect` has cleared the peer.
        if self.errno == 0 || self.remote_port == 0 {
            return false;
        }
        // `tcp_done` has seen closed sockets. It will see others, because up to 6.10 it is called
        // after the report: those that fail in a function with a note, while connecting, or with
        // ETIMEDOUT.
        let is_ending = self.has_note
            || matches!(self.state, CLOSE | SYN_SENT)
            || self.errno == ETIMEDOUT
            || self.is_given_up();
        // kTLS stores EPIPE if it could not send; the write in progress then takes it.
        let is_of_the_layer = self.errno == EPIPE && self.encrypts;
        !is_ending && !self.is_subflow && !is_of_the_layer
    }

    /// Whether the persist or the keepalive timer gives the connection up with the errno that an
    /// ICMP error or a lost route has left (`tcp_write_err`), and `tcp_done` follows.
    ///
    /// These timers run when nothing is in flight, and give up after probes, or by
    /// `TCP_USER_TIMEOUT`. An ICMP error that is reported at once leaves no soft error
    /// (`tcp_v4_err`), and is about a segment in flight: the kernel believes neither a probe's
    /// sequence number nor an acknowledged one.
    const fn is_given_up(&self) -> bool {
        let has_limit = self.probes != 0 || self.user_timeout != 0;
        !self.closes_first && self.errno == self.soft_errno && self.unacked == 0 && has_limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EHOSTUNREACH: u16 = 113;
    const ECONNRESET: u16 = 104;
    const ECONNREFUSED: u16 = 111;
    const ENETUNREACH: u16 = 101;
    const EBADMSG: u16 = 74;

    /// A program with `IP_RECVERR` has sent something, and a router reports that it cannot be delivered.
    const ICMP: Report = Report {
        errno: EHOSTUNREACH,
        soft_errno: 0,
        state: TcpState::Established as u8,
        remote_port: 80,
        has_note: false,
        is_subflow: false,
        encrypts: false,
        closes_first: false,
        unacked: 8,
        probes: 0,
        user_timeout: 0,
    };

    /// Nothing is in flight, and the answer to an earlier segment has left an error.
    const GIVEN_UP: Report = Report { soft_errno: EHOSTUNREACH, unacked: 0, probes: 9, ..ICMP };

    /// The report on kernels of either order of events. Those that close first report a closed socket.
    fn of_both(report: Report) -> [Report; 2] {
        [report, Report { closes_first: true, ..report }]
    }

    #[test]
    fn an_icmp_error_of_a_socket_that_wants_them_is_news() {
        for report in of_both(ICMP) {
            assert!(report.is_news(), "{report:?}");
            // While it is retransmitted, for a program that set a limit.
            assert!(Report { probes: 1, user_timeout: 4_000, ..report }.is_news());
            // An earlier one came while the program held the socket, and was left as a soft error.
            assert!(Report { soft_errno: EHOSTUNREACH, ..report }.is_news());
            assert!(Report { soft_errno: ENETUNREACH, ..report }.is_news());
            // An acknowledgement was answered: it carries nothing that would be in flight.
            assert!(Report { unacked: 0, ..report }.is_news());
        }
    }

    #[test]
    fn the_keepalive_timer_gives_up_and_tcp_done_follows() {
        assert!(!GIVEN_UP.is_news());
        assert!(!Report { errno: ETIMEDOUT, soft_errno: 0, ..GIVEN_UP }.is_news());
    }

    #[test]
    fn the_persist_timer_gives_up_and_tcp_done_follows() {
        // By TCP_USER_TIMEOUT before the first probe could leave.
        let lost_route = Report {
            errno: ENETUNREACH,
            soft_errno: ENETUNREACH,
            probes: 0,
            user_timeout: 4_000,
            ..GIVEN_UP
        };
        assert!(!lost_route.is_news());
        assert!(!Report { probes: 15, user_timeout: 0, ..lost_route }.is_news());
    }

    #[test]
    fn the_retransmission_timer_gives_up_and_tcp_done_follows() {
        let report = Report { soft_errno: EHOSTUNREACH, has_note: true, ..ICMP };
        assert!(!report.is_news());
        assert!(!Report { errno: ETIMEDOUT, soft_errno: 0, ..report }.is_news());
    }

    #[test]
    fn what_is_closed_already_was_seen_by_tcp_done() {
        for errno in [EHOSTUNREACH, ECONNRESET, ETIMEDOUT] {
            let report = Report { errno, state: CLOSE, closes_first: true, ..GIVEN_UP };
            assert!(!report.is_news(), "{report:?}");
        }
    }

    #[test]
    fn a_connect_that_fails_is_seen_by_tcp_done() {
        for report in of_both(Report { errno: ECONNREFUSED, state: SYN_SENT, ..ICMP }) {
            assert!(!report.is_news(), "{report:?}");
        }
    }

    #[test]
    fn a_reset_and_a_kill_leave_a_note() {
        assert!(!Report { errno: ECONNRESET, has_note: true, ..ICMP }.is_news());
    }

    #[test]
    fn no_error_and_no_peer_are_no_failure() {
        // Timestamps and zero-copy data: by `sock_queue_err_skb`.
        assert!(!Report { errno: 0, ..ICMP }.is_news());
        // `tcp_disconnect`.
        assert!(!Report { errno: ECONNRESET, remote_port: 0, state: CLOSE, ..ICMP }.is_news());
    }

    #[test]
    fn only_ktls_has_its_epipe_taken_by_the_write_under_way() {
        for report in of_both(Report { errno: EPIPE, ..ICMP }) {
            assert!(!Report { encrypts: true, ..report }.is_news());
            assert!(report.is_news());
            // A record that cannot be decrypted waits for a read.
            assert!(Report { errno: EBADMSG, encrypts: true, ..report }.is_news());
        }
    }

    #[test]
    fn a_subflow_is_reported_by_its_mptcp_socket() {
        for report in of_both(Report { is_subflow: true, ..ICMP }) {
            assert!(!report.is_news(), "{report:?}");
        }
    }
}
