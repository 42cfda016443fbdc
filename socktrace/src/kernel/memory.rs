//! Memory that only the start needs.

use std::{ffi::c_int, ptr};

use nix::{libc, sys::prctl};

/// Gives the kernel back what is not needed from now on: free memory that the allocator would keep,
/// and pages of this program's own files, which are read again where they are needed again.
///
/// While the kernel's type information is read and programs are loaded, it is several times what is
/// needed later.
pub(super) fn give_back() {
    // Or khugepaged makes huge pages of the little that is left, and takes for them all of what was
    // given back (`max_ptes_none`, `mm/khugepaged.c`): 4 to 6 MB of 3.
    if let Err(error) = prctl::set_thp_disable(true) {
        log::debug!("cannot turn off huge pages: {error}");
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: the callback matches the prototype, and the kernel's loader hands it valid segments.
    unsafe {
        libc::dl_iterate_phdr(Some(give_back_segments), ptr::null_mut());
    }
}

/// Gives back a loaded file's segments that nobody can have written to: code and constants.
unsafe extern "C" fn give_back_segments(
    file: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> c_int {
    // SAFETY: the loader hands over a file that it has loaded.
    let file = unsafe { &*file };
    if file.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: so many headers begin there, and they are loaded as long as the file is.
    let headers =
        unsafe { std::slice::from_raw_parts(file.dlpi_phdr, usize::from(file.dlpi_phnum)) };
    let page = page_size();
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let (Ok(offset), Ok(size)) =
            (usize::try_from(header.p_vaddr), usize::try_from(header.p_memsz))
        else {
            continue;
        };
        let Ok(base) = usize::try_from(file.dlpi_addr) else { continue };
        // Whole pages, so that none is touched which the segment shares with another.
        let begin = base.wrapping_add(offset).next_multiple_of(page);
        let end = base.wrapping_add(offset).wrapping_add(size) / page * page;
        if let Some(length) = end.checked_sub(begin).filter(|length| *length > 0) {
            let begin = ptr::without_provenance_mut::<libc::c_void>(begin);
            // SAFETY: these pages are mapped from a file and never written to: whoever touches one
            // gets the same from the file again. This function may be among them.
            let result = unsafe { libc::madvise(begin, length, libc::MADV_DONTNEED) };
            if result != 0 {
                log::debug!("pages stay resident: {}", std::io::Error::last_os_error());
            }
        }
    }
    0
}

fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    // At least the largest that there is.
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(64 << 10).max(1)
}
