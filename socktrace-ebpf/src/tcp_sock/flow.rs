//! Sequence numbers of a connection's first bytes, by which both ends identify it.

use socktrace_ebpf::{Event, Flags, Role, TcpState, first_byte};

use super::TcpSock;
use crate::{
    load::Load,
    offsets,
    verifier::{is_other, is_same},
};

impl<L: Load> TcpSock<L> {
    /// Fills in the sequence numbers of the first bytes, if they are known. The event's signature
    /// and role must already be set.
    ///
    /// They are the last number acknowledged, and received, minus the number of bytes, where the
    /// kernel counts a FIN, and the SYN of the side that connected, as one byte each. Once a socket
    /// has been disconnected, the counts begin at 0 again and the numbers go on; while it connects,
    /// it has none of the peer's.
    #[inline(always)]
    pub(super) fn describe_first_bytes(self, event: &mut Event) {
        if offsets::TCP_BYTES_ACKED.is_absent() || offsets::TCP_SND_UNA.is_absent() {
            return;
        }
        let is_unaccepted = is_other((event.signature.flags & Flags::UNACCEPTED.0).into(), 0);
        let recorded = u64::from(event.role) | (is_unaccepted * Role::Server as u64);
        let role = recorded | (is_same(recorded, 0) * self.opened_as());
        let numbers = self.first_bytes(role);
        event.first_bytes = [(numbers >> 32) as u32, numbers as u32];
    }

    /// The two numbers, given how the connection was opened; 0 if unknown. A separate function,
    /// like the one below: otherwise their stack would be part of each program's frame.
    #[inline(never)]
    fn first_bytes(self, role: u64) -> u64 {
        let (sent, received) = (self.acknowledged(), self.received());
        // Some hooks run without the socket lock, while segments may arrive.
        let is_still = is_same(sent.into(), self.acknowledged().into())
            & is_same(received.into(), self.received().into());
        let awaited: u32 = self.load(offsets::TCP_RCV_NXT.present());
        let is_known = is_still
            & is_other(awaited.into(), 0)
            & is_other(role, 0)
            & is_other(self.sock.remote_port().into(), 0)
            & is_other(self.sock.state().into(), TcpState::SynSent as u64);
        let first = sent.wrapping_add(is_same(role, Role::Client as u64) as u32);
        is_known * (u64::from(first) << 32 | u64::from(received))
    }

    /// How an open connection was opened, a [`Role`]; 0 if that cannot be determined.
    ///
    /// Two signs have to agree. One is the limit of its queue: a child has its listener's limit
    /// (`sk_clone_lock`), which is 0 after `listen(fd, 0)`, as on a socket that has never listened.
    /// The other is the bytes: the number that is sent next, minus the bytes sent, is the number of
    /// the first byte, while the SYN of the side that connected is among the bytes acknowledged.
    #[inline(never)]
    pub(crate) fn opened_as(self) -> u64 {
        if offsets::TCP_BYTES_SENT.is_absent()
            || offsets::TCP_BYTES_ACKED.is_absent()
            || offsets::TCP_SND_UNA.is_absent()
            || offsets::SOCK_MAX_ACK_BACKLOG.is_absent()
        {
            return 0;
        }
        let state = u64::from(self.sock.state());
        let is = |other: TcpState| is_same(state, other as u64);
        let is_open = is(TcpState::Established) | is(TcpState::CloseWait) | is(TcpState::SynRecv);
        let has_closed = is(TcpState::FinWait1)
            | is(TcpState::FinWait2)
            | is(TcpState::Closing)
            | is(TcpState::LastAck);
        let next: u32 = self.load(offsets::TCP_SND_NXT.present());
        let written: u32 = self.load(offsets::TCP_WRITE_SEQ.present());
        let sent: u64 = self.load(offsets::TCP_BYTES_SENT.present());
        let again: u64 = self.load(offsets::TCP_BYTES_RETRANS.present());
        let fin = (has_closed & is_same(next.into(), written.into())) as u32;
        let first = first_byte(next, sent.wrapping_sub(again)).wrapping_sub(fin);
        let lead = u64::from(first.wrapping_sub(self.acknowledged()));
        let has_listened = self.sock.has_queue_limit();
        let is_client = is_same(lead, 1) & (1 ^ has_listened);
        let is_server = is_same(lead, 0) & has_listened;
        (is_open | has_closed) * (is_client * Role::Client as u64 + is_server * Role::Server as u64)
    }

    /// Last number acknowledged, minus the number of bytes acknowledged. Only for use where this
    /// kernel has the members, like the one below.
    #[inline(always)]
    fn acknowledged(self) -> u32 {
        let unacked: u32 = self.load(offsets::TCP_SND_UNA.present());
        let acked: u64 = self.load(offsets::TCP_BYTES_ACKED.present());
        first_byte(unacked, acked)
    }

    /// Last number received, minus the number of bytes received.
    #[inline(always)]
    fn received(self) -> u32 {
        let next: u32 = self.load(offsets::TCP_RCV_NXT.present());
        let received: u64 = self.load(offsets::TCP_BYTES_RECEIVED.present());
        first_byte(next, received)
    }

    /// Numbers of an RST that has arrived, if the segment cannot be read (5.10).
    ///
    /// The RST was accepted because of its sequence number (`tcp_validate_incoming`) or, while
    /// connecting, because of what it acknowledges (`tcp_rcv_synsent_state_process`).
    #[inline(always)]
    pub(crate) fn expected_rst(self) -> [u32; 2] {
        if offsets::TCP_RCV_NXT.is_absent() {
            return [0, 0];
        }
        let is_connecting = is_same(self.sock.state().into(), TcpState::SynSent as u64) as u32;
        let awaited: u32 = self.load(offsets::TCP_RCV_NXT.present());
        [awaited, is_connecting * self.sent_sequence()]
    }
}
