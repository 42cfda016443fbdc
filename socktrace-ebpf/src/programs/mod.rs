//! The hooks, one file each, named after the kernel function.

mod inet_csk_accept;
mod tcp_done;
mod tcp_reset;
mod tcp_retransmit_timer;
