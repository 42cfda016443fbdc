//! aya's loader, without the BTF that it reads by default.

use aya::EbpfLoader;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Creates a loader without the kernel's BTF: the programs get their offsets as globals.
///
/// `EbpfLoader::new` reads and parses the BTF of the whole kernel (aya 0.14), some megabytes,
/// before it can be configured not to. It goes without BTF if the file cannot be opened. So the
/// process may open no files for this moment; any other thread that tries gets EMFILE, as it might
/// under load.
pub(super) fn loader<'a>() -> EbpfLoader<'a> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    if let Ok((_, hard)) = limit {
        // If this is refused, loading only takes longer.
        let _refused = setrlimit(Resource::RLIMIT_NOFILE, 0, hard);
    }
    let mut loader = EbpfLoader::new();
    if let Ok((soft, hard)) = limit
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, soft, hard)
    {
        log::warn!("cannot restore the limit of open files, which stays at 0: {error}");
    }
    loader.btf(None);
    loader
}
