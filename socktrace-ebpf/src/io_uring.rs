//! Socket operations of `io_uring`.
//!
//! The path to the socket leads through a `void *`, as in [`descriptor`].

use crate::{descriptor, errno::returned, load::Probe, offsets, sock::Sock};

/// A `struct io_kiocb` whose operation has just been tried.
#[derive(Clone, Copy)]
pub(crate) struct Operation(*const u8);

impl Operation {
    #[inline(always)]
    pub(crate) fn new(request: *const u8) -> Self {
        Self(request)
    }

    /// Errno that the program gets; 0 for success. The operation's function returns 0 if it has
    /// stored a result in the request; otherwise the result found there is an earlier operation's.
    #[inline(always)]
    pub(crate) fn errno(self, function_returned: u64) -> u16 {
        if function_returned as i32 != 0 {
            return 0;
        }
        let result: i32 = Probe::read_member(self.0, &offsets::IO_REQUEST_RESULT);
        returned(i64::from(result).cast_unsigned())
    }

    /// Socket of the operation.
    #[inline(always)]
    pub(crate) fn sock(self) -> Option<Sock<Probe>> {
        descriptor::sock_of(Probe::read_member(self.0, &offsets::IO_REQUEST_FILE))
    }
}
