//! aya's loader, without what it reads unasked.

use aya::EbpfLoader;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// A loader that knows none of the kernel's types: the programs take their offsets as globals.
///
/// `EbpfLoader::new` reads and parses the types of the whole kernel (aya 0.14), some megabytes, before it
/// can be configured not to. It does without them where it cannot open the file. So for this moment the process
/// may open none; whoever else tries sees EMFILE, as under any load.
pub(super) fn loader<'a>() -> EbpfLoader<'a> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    if let Ok((_, hard)) = limit {
        // Refused, it only costs time.
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
