//! Raises the locked-memory limit, to which kernels before 5.11 charge maps and programs.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Raises `RLIMIT_MEMLOCK` as high as this process may.
///
/// A failure is not an error: kernels since 5.11 ignore the limit, and older ones will refuse to
/// create a map, which is explained then.
pub(crate) fn raise() {
    if setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok() {
        return;
    }
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK)
        && let Err(error) = setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard)
    {
        log::debug!("cannot raise RLIMIT_MEMLOCK: {error}");
    }
}
