//! The `struct socket`, a program's side of a socket.

use core::marker::PhantomData;

use aya_ebpf::helpers::generated::bpf_sock_from_file;

use crate::{
    load::{Direct, Load},
    offsets,
    sock::Sock,
    verifier::is_same,
};

/// A `struct socket`, which a program's descriptor leads to.
#[derive(Clone, Copy)]
pub(crate) struct Socket<L>(*const u8, PhantomData<L>);

/// From `include/uapi/asm-generic/fcntl.h`, for x86 and arm64 too.
pub(crate) const O_NONBLOCK: i32 = 0o4_000;

impl Socket<Direct> {
    /// Whether calls on this `struct file`, a pointer that the verifier has typed, do not block.
    #[inline(always)]
    pub(crate) fn is_nonblocking(file: *const u8) -> bool {
        // SAFETY: a hook's `struct file` argument, and an offset in it.
        let flags: i32 = unsafe { Direct::member(file, &offsets::FILE_FLAGS) };
        flags & O_NONBLOCK != 0
    }

    /// The socket of a `struct file`, a pointer that the verifier has typed; `None` for another
    /// file. Only for kernels that have the helper: since 5.11.
    #[inline(always)]
    pub(crate) fn of_file(file: *const u8) -> Option<Self> {
        // SAFETY: the helper takes any such pointer and checks what it is.
        let socket: *const u8 =
            unsafe { bpf_sock_from_file(file.cast_mut().cast()) }.cast_const().cast();
        (!socket.is_null()).then(|| Self::new(socket))
    }
}

/// From `socket_state` in `include/uapi/linux/net.h`.
const SS_UNCONNECTED: i32 = 1;
const SS_CONNECTING: i32 = 2;

impl<L: Load> Socket<L> {
    #[inline(always)]
    pub(crate) fn new(pointer: *const u8) -> Self {
        Self(pointer, PhantomData)
    }

    /// Whether no connect is in progress or done.
    #[inline(always)]
    pub(crate) fn is_unconnected(self) -> bool {
        self.state() == SS_UNCONNECTED
    }

    /// Whether a connect is in progress, or has failed and no call has queried it yet: 1 or 0.
    #[inline(always)]
    pub(crate) fn is_connecting(self) -> u64 {
        is_same(u64::from(self.state().cast_unsigned()), SS_CONNECTING as u64)
    }

    /// Whether a program has a descriptor for it; `true` if that cannot be read.
    #[inline(always)]
    pub(crate) fn may_have_file(self) -> bool {
        // SAFETY: a `struct socket`, and an offset in it.
        let file: *const u8 = unsafe { L::member(self.0, &offsets::SOCKET_FILE) };
        offsets::SOCKET_FILE.is_absent() || !file.is_null()
    }

    #[inline(always)]
    fn state(self) -> i32 {
        // SAFETY: a hook's `struct socket` argument, and an offset in it.
        unsafe { L::member(self.0, &offsets::SOCKET_STATE) }
    }

    /// The socket's protocol side.
    #[inline(always)]
    pub(crate) fn sock(self) -> Sock<L> {
        // SAFETY: a hook's `struct socket` argument, and an offset in it.
        Sock::new(unsafe { L::member(self.0, &offsets::SOCKET_SK) })
    }
}
