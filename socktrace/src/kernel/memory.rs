//! Memory that is needed only at the start.

use std::{ffi::c_int, ptr};

use nix::{libc, sys::prctl};

/// Returns unneeded memory to the kernel: free memory that the allocator would keep, and pages of
/// this program's own files, which are read again on demand.
///
/// While the kernel's BTF is parsed and programs are loaded, memory use is several times what is
/// needed later.
pub(super) fn give_back() {
    // Otherwise khugepaged builds huge pages from the little that is left, and uses for them all
    // that was returned (`max_ptes_none`, `mm/khugepaged.c`): 3 MB become 4 to 6.
    if let Err(error) = prctl::set_thp_disable(true) {
        log::debug!("cannot turn off huge pages: {error}");
    }
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer and touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
    // SAFETY: the callback matches the prototype, and the kernel's loader hands it valid segments.
    unsafe {
        libc::dl_iterate_phdr(Some(give_back_segments), ptr::null_mut());
    }
}

/// Returns the segments of a loaded file that cannot have been written to: code and constants.
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
    // SAFETY: this many headers start there, and they stay loaded as long as the file does.
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
        // Whole pages only, so that no page shared with another segment is touched.
        let begin = base.wrapping_add(offset).next_multiple_of(page);
        let end = base.wrapping_add(offset).wrapping_add(size) / page * page;
        if let Some(length) = end.checked_sub(begin).filter(|length| *length > 0) {
            let begin = ptr::without_provenance_mut::<libc::c_void>(begin);
            // SAFETY: these pages are mapped from a file and never written to, so a later access
            // reads the same bytes from the file again. This function may be among them.
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
    // At least the largest page size in use.
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(64 << 10).max(1)
}
