//! Removal of the parts of the object that the daemon would only read at each start, or pass to the
//! kernel for nothing.

use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// Size of the part of the `.BTF.ext` header that all versions share, up to the length of the line
/// information (`struct btf_ext_header`, `tools/lib/bpf/libbpf_internal.h`).
const HEADER: usize = 24;

/// Removes from the object the debug information that the linker has made BTF from, the sections
/// that only other linkers need, and the line information.
///
/// Together these are most of the file. The kernel does not require line information. If it gets
/// any, it checks every line, and each time it replaces or removes an instruction, it moves all
/// later ones.
///
/// # Errors
///
/// When the data is not a BPF object file.
pub fn strip(data: &[u8]) -> Result<Vec<u8>, String> {
    let mut builder = Builder::read(data).map_err(|error| error.to_string())?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        section.delete =
            [".debug_", ".rel.debug_", ".rel.BTF"].iter().any(|start| name.starts_with(start));
        if name == ".BTF.ext"
            && let SectionData::Data(data) = &mut section.data
        {
            *data = without_lines(data).ok_or("malformed .BTF.ext")?.into();
        }
    }
    builder.delete_orphans();
    // The linker stores section names together with symbol names, but the writer expects a table of
    // their own.
    let names = builder.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped).map_err(|error| error.to_string())?;
    Ok(stripped)
}

/// `.BTF.ext` with only the function information, which the verifier checks arguments against.
fn without_lines(data: &[u8]) -> Option<Vec<u8>> {
    let field = |at: usize| {
        let bytes = data.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
    };
    let (header, offset, length) = (field(4)?, field(8)?, field(12)?);
    let functions = header.checked_add(offset)?;
    let mut kept = data.get(..HEADER)?.to_vec();
    kept[4..8].copy_from_slice(&u32::try_from(HEADER).ok()?.to_le_bytes());
    kept[8..12].fill(0);
    kept[16..HEADER].fill(0);
    kept.extend(data.get(functions..functions.checked_add(length)?)?);
    Some(kept)
}
