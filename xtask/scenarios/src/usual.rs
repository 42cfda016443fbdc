//! Properties that failures of a cause share, unless the scenario says otherwise.

use socktrace_diagnosis::Cause;

/// State of the socket before the failure.
pub(super) const fn state(cause: Cause) -> &'static str {
    match cause {
        Cause::ConnectRefused
        | Cause::ConnectRefusedIcmp
        | Cause::ConnectTimeout
        | Cause::ConnectSendTimeout
        | Cause::ConnectSendFailed
        | Cause::ConnectUnreachable
        | Cause::ConnectCancelled
        | Cause::Interrupted => "SYN_SENT",
        Cause::ConnectNoRoute
        | Cause::BacklogFull
        | Cause::NoSuchSocket
        | Cause::ConnectLocal
        | Cause::ConnectRetriedAfterFailure
        | Cause::WriteAfterReset
        | Cause::WriteAfterTimeout
        | Cause::WriteAfterUnreachable
        | Cause::WriteUnconnected
        | Cause::ListenerClosed
        | Cause::ReceiveQueueFull
        | Cause::SendRefused
        | Cause::PeerQueueFull
        | Cause::SockoptRejected
        | Cause::NetlinkOverrun
        | Cause::DeviceDown
        | Cause::BindFailed
        | Cause::ListenFailed => "CLOSE",
        Cause::SocketFailed => "unknown",
        Cause::ResetWhileClosing | Cause::DataAfterShutdown | Cause::WriteAfterShutdown => {
            "FIN_WAIT2"
        }
        Cause::ResetAfterPeerClose => "CLOSE_WAIT",
        Cause::UnreachableBeforeAccept => "SYN_RECV",
        Cause::AcceptResources | Cause::AcceptFailed | Cause::AcceptQueueOverflow => "LISTEN",
        Cause::ResetBeforeAccept
        | Cause::ResetByPeer
        | Cause::ResetAfterRetransmit
        | Cause::ResetWithoutAnswer
        | Cause::ResetAfterIdle
        | Cause::RetransmitTimeout
        | Cause::UserTimeout
        | Cause::SendTimeout
        | Cause::KeepaliveTimeout
        | Cause::ZeroWindowTimeout
        | Cause::UnreachableTimeout
        | Cause::SendFailedLocally
        | Cause::UnreachableReported
        | Cause::AbortedLocally
        | Cause::SubflowFailed
        | Cause::PrematureEof
        | Cause::WriteFailed
        | Cause::WriteAfterPeerClose
        | Cause::PortUnreachable
        | Cause::Other => "ESTABLISHED",
    }
}

/// Flags of the failure.
pub(super) const fn flags(cause: Cause) -> &'static [&'static str] {
    match cause {
        Cause::ConnectTimeout | Cause::ResetAfterRetransmit | Cause::RetransmitTimeout => {
            &["retransmitted"]
        }
        Cause::ConnectSendFailed => &["retransmitted", "send_failed"],
        Cause::ResetWithoutAnswer => &["retransmitted", "unanswered"],
        Cause::ResetBeforeAccept | Cause::UnreachableBeforeAccept => &["unaccepted"],
        Cause::ResetAfterIdle => &["idle"],
        Cause::DataAfterShutdown => &["no_rst"],
        Cause::WriteAfterReset | Cause::WriteAfterTimeout => &["reported", "send_shutdown"],
        Cause::WriteAfterUnreachable => &["reported", "send_shutdown", "unreachable"],
        Cause::WriteAfterShutdown => &["send_shutdown"],
        Cause::SendTimeout => &["zero_window"],
        Cause::WriteAfterPeerClose => &["peer_closed"],
        Cause::KeepaliveTimeout => &["probed", "keepalive"],
        Cause::ZeroWindowTimeout => &["zero_window", "unsent", "probed", "probes_exhausted"],
        Cause::UnreachableTimeout => &["retransmitted", "soft_error"],
        Cause::SubflowFailed => &["subflow"],
        Cause::ConnectRetriedAfterFailure => &["reported"],
        _ => &[],
    }
}
