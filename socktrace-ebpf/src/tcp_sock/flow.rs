//! By what both ends of a connection know it: the sequence numbers of its first bytes.

use socktrace_ebpf::{Event, Flags, Role, TcpState, first_byte};

use super::TcpSock;
use crate::{
    load::Load,
    offsets,
    verifier::{is_other, is_same},
};

impl<L: Load> TcpSock<L> {
    /// Fills in the sequence numbers of the first bytes, where they are known. Event and role are known
    /// already.
    ///
    /// They are what has been acknowledged and received, less how many bytes that were, of which the kernel
    /// counts a FIN, and the SYN of the side that connected, as one. Once a socket has been disconnected
    /// the counts begin at 0 again, and the numbers go on; while it connects it knows none of the peer's.
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

    /// The two numbers, by how the connection was opened; 0 where they are not known. A separate function,
    /// as the one below: what they need of the stack would else be part of the frame of each program.
    #[inline(never)]
    fn first_bytes(self, role: u64) -> u64 {
        let (sent, received) = (self.acknowledged(), self.received());
        // Some hooks run without the socket's lock, while segments may come.
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

    /// How an open connection was begun, a [`Role`]; 0 where that cannot be known.
    ///
    /// Two signs have to agree. The limit of its queue: a child has that of its listener
    /// (`sk_clone_lock`), which is 0 after `listen(fd, 0)`, and so it is of who has never listened. And the
    /// bytes: less those that were sent, the number that is sent next is that of the first byte, while the
    /// SYN of the side that connected is among those that were acknowledged.
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

    /// What was acknowledged last, less how many bytes were. To be asked where this kernel has the members,
    /// as below.
    #[inline(always)]
    fn acknowledged(self) -> u32 {
        let unacked: u32 = self.load(offsets::TCP_SND_UNA.present());
        let acked: u64 = self.load(offsets::TCP_BYTES_ACKED.present());
        first_byte(unacked, acked)
    }

    /// What was received last, less how many bytes were.
    #[inline(always)]
    fn received(self) -> u32 {
        let next: u32 = self.load(offsets::TCP_RCV_NXT.present());
        let received: u64 = self.load(offsets::TCP_BYTES_RECEIVED.present());
        first_byte(next, received)
    }

    /// Numbers of an RST that has come, where the segment cannot be read (5.10).
    ///
    /// It was taken for its sequence number (`tcp_validate_incoming`), and while connecting for what it
    /// acknowledges (`tcp_rcv_synsent_state_process`).
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
