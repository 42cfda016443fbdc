//! Extraction of the kernel from a boot image, and of the BTF in it.

use std::{fs, io::Write as _};

use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _};

use crate::{
    compression::{self, Format},
    kernel::Kernel,
    workspace,
};

/// Fields of the x86 setup header (`Documentation/arch/x86/boot.rst`).
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const SECTOR: usize = 512;

/// BTF of a kernel, the same bytes as in its `/sys/kernel/btf/vmlinux`.
///
/// # Errors
///
/// When the image cannot be read or unpacked, or has no BTF.
pub(crate) fn btf(kernel: &Kernel) -> Result<Vec<u8>> {
    let image = kernel.image()?;
    let read = || {
        let bytes = fs::read(&image)?;
        section(&unpack(&bytes)?)
    };
    read().with_context(|| format!("cannot read the BTF in {}", image.display()))
}

fn section(vmlinux: &[u8]) -> Result<Vec<u8>> {
    let elf = object::File::parse(vmlinux).context("it does not contain a kernel")?;
    let section = elf.section_by_name(".BTF").context("it was built without BTF")?;
    Ok(section.data()?.to_vec())
}

fn unpack(image: &[u8]) -> Result<Vec<u8>> {
    let payload = payload(image).context("it is not an x86 kernel image")?;
    // Files under target/ are on a disk with enough space; /tmp may be in memory.
    let mut file = tempfile::NamedTempFile::new_in(workspace::cache(""))?;
    file.write_all(payload)?;
    compression::content(file.path())
}

/// Compressed kernel in an image.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| {
        let bytes = image.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    if !image.get(MAGIC.0..)?.starts_with(MAGIC.1) {
        return None;
    }
    let sectors = usize::from(*image.get(SETUP_SECTORS)?);
    let start = ((sectors + 1) * SECTOR).checked_add(word(PAYLOAD_OFFSET)?)?;
    let payload = image.get(start..start.checked_add(word(PAYLOAD_LENGTH)?)?)?;
    // The kernel's build appends the unpacked size unless the format already ends with it.
    match Format::of(payload)? {
        Format::Packed("gzip") => Some(payload),
        _ => payload.get(..payload.len().checked_sub(4)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(packed: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x260];
        image[SETUP_SECTORS] = 1;
        image[MAGIC.0..MAGIC.0 + 4].copy_from_slice(MAGIC.1);
        image[PAYLOAD_OFFSET] = 16;
        image[PAYLOAD_LENGTH] = u8::try_from(packed.len()).unwrap();
        image.resize(2 * SECTOR + 16, 0);
        image.extend_from_slice(packed);
        image
    }

    #[test]
    fn payload_is_found_and_freed_of_the_size_after_it() {
        let xz = b"\xfd7zXZ\0content\x01\x02\x03\x04";
        assert_eq!(payload(&image(xz)), Some(&xz[..xz.len() - 4]));
        let gzip = b"\x1f\x8bcontent\x01\x02\x03\x04";
        assert_eq!(payload(&image(gzip)), Some(&gzip[..]));
    }

    #[test]
    fn other_files_and_cut_ones_are_no_images() {
        assert_eq!(payload(b"MZ"), None);
        assert_eq!(payload(&image(b"unknown")), None);
        let whole = image(b"\xfd7zXZ\0content\x01\x02\x03\x04");
        for length in 0..whole.len() {
            assert_eq!(payload(&whole[..length]), None, "{length} bytes were accepted");
        }
    }
}
