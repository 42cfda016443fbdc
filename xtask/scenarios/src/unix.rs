//! Unix sockets, failing and not.

mod failing;
mod path;
mod peer;
mod quiet;
pub(super) mod sends;
mod socket;

pub(super) use self::{
    failing::{
        backlog_full, backlog_full_elsewhere, backlog_full_waited, bind, by_io_uring,
        connect_local, listen, no_such_socket, probes, refused,
    },
    path::of_listener_before,
    peer::{reset, reset_by_exit, reset_by_listener, reset_pair, write_after_close},
    quiet::{broken_pipe, connections, datagrams, end_with_pair, pairs, passes_descriptors},
};
