//! Reads the kernel's own type information (BTF): where a member lies, what a function takes.
//!
//! Only what the daemon asks for: members of structs by path, prototypes of functions, and
//! whether an enumerator exists. Format: `Documentation/bpf/btf.rst` in the kernel tree.
//! Names that stand for several different types are reported as ambiguous, never guessed.

use std::collections::HashSet;

use thiserror::Error;

use super::btf_kind as kind;

/// Where the running kernel shows its BTF; readable by everyone.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;

/// Bounds the resolution of typedefs and qualifiers, which BTF allows to nest.
const MAX_DEPTH: usize = 32;

/// Why a fact could not be read from BTF.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    /// The bytes are not BTF of this machine's byte order, or are cut short.
    #[error("malformed BTF: {0}")]
    Malformed(&'static str),
    /// No type of that name.
    #[error("no {what} `{name}`")]
    Missing {
        /// `struct`, `member`, `function`.
        what: &'static str,
        /// The name asked for.
        name: String,
    },
    /// Types of that name differ in what was asked.
    #[error("several different {what}s `{name}`")]
    Ambiguous {
        /// As for `Missing`.
        what: &'static str,
        /// The name asked for.
        name: String,
    },
}

/// Where a member lies in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Offset from the start of the outer struct, in bits.
    pub bit_offset: u32,
    /// Size of the member's type, in bytes.
    pub size: u32,
}

/// What a function takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prototype {
    /// Each parameter's type: `struct sock *`, `int`, ...; qualifiers are left out.
    pub parameters: Vec<String>,
}

/// A kernel's BTF, indexed by what is looked up by name.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Offset of each type's record in `data`; type ids count from 1.
    types: Vec<u32>,
    structs: Vec<u32>,
    functions: Vec<u32>,
    enums: Vec<u32>,
    typedefs: Vec<u32>,
}

/// One type record, read out.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    vlen: usize,
    /// Bit-fields are encoded in the members' offsets.
    kind_flag: bool,
    size_or_id: u32,
}

impl Btf {
    /// Reads BTF from the bytes of `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// When they are not BTF, or cut short.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        const SHORT: BtfError = BtfError::Malformed("cut short");
        let magic = data.get(..2).ok_or(SHORT)?;
        if magic != MAGIC.to_ne_bytes() {
            return Err(BtfError::Malformed("wrong magic number or byte order"));
        }
        let field = |index: usize| read_u32(&data, 4 + 4 * index).ok_or(SHORT);
        let header = field(0)? as usize;
        let (type_off, type_len) = (field(1)? as usize, field(2)? as usize);
        let (str_off, str_len) = (field(3)? as usize, field(4)? as usize);
        let first = header.checked_add(type_off).ok_or(SHORT)?;
        let end = first.checked_add(type_len).ok_or(SHORT)?;
        let strings = header.checked_add(str_off).ok_or(SHORT)?;
        let strings_end = strings.checked_add(str_len).ok_or(SHORT)?;
        if header < HEADER_BYTES || end > data.len() || strings_end > data.len() {
            return Err(SHORT);
        }
        if str_len == 0 || data[strings_end - 1] != 0 {
            return Err(BtfError::Malformed("string section without an end"));
        }

        let mut btf = Self {
            data,
            strings,
            types: Vec::new(),
            structs: Vec::new(),
            functions: Vec::new(),
            enums: Vec::new(),
            typedefs: Vec::new(),
        };
        let mut at = first;
        while at < end {
            let ty = btf.record(at).ok_or(SHORT)?;
            btf.types.push(u32::try_from(at).map_err(|_| SHORT)?);
            let id = u32::try_from(btf.types.len()).map_err(|_| SHORT)?;
            match ty.kind {
                kind::STRUCT => btf.structs.push(id),
                kind::FUNC => btf.functions.push(id),
                kind::ENUM | kind::ENUM64 => btf.enums.push(id),
                kind::TYPEDEF => btf.typedefs.push(id),
                _ => {}
            }
            at += TYPE_BYTES + trailing_bytes(&ty)?;
        }
        if at > end {
            return Err(SHORT);
        }
        Ok(btf)
    }

    /// Where the member at `path` (`a.b.c`, through nested and anonymous structs) lies in `struct name`.
    ///
    /// # Errors
    /// When there is none, or several that differ.
    pub fn member(&self, name: &str, path: &str) -> Result<Member, BtfError> {
        let what = "struct";
        let mut found = HashSet::new();
        let mut seen = false;
        for id in self.named(&self.structs, name) {
            seen = true;
            found.extend(self.resolve_path(id, path));
        }
        if !seen {
            return Err(BtfError::Missing { what, name: name.to_owned() });
        }
        let full = || format!("{name}.{path}");
        single(found, "member", full)
    }

    /// The parameters of the function `name`.
    ///
    /// # Errors
    /// When there is none, or several that differ.
    pub fn prototype(&self, name: &str) -> Result<Prototype, BtfError> {
        let found = self
            .named(&self.functions, name)
            .filter_map(|id| self.type_by_id(self.type_by_id(id)?.size_or_id))
            .filter(|proto| proto.kind == kind::FUNC_PROTO)
            .map(|proto| Prototype { parameters: self.parameters(&proto) })
            .collect();
        single(found, "function", || name.to_owned())
    }

    /// The arguments of the tracepoint `name`, from its `btf_trace_` typedef: a pointer to a
    /// function whose first parameter is the kernel's own.
    ///
    /// # Errors
    /// When there is none, or several that differ.
    pub fn tracepoint(&self, name: &str) -> Result<Prototype, BtfError> {
        let typedef = format!("btf_trace_{name}");
        let found = self
            .named(&self.typedefs, &typedef)
            .filter_map(|id| self.type_by_id(self.type_by_id(id)?.size_or_id))
            .filter_map(|pointer| self.type_by_id(pointer.size_or_id))
            .filter(|proto| proto.kind == kind::FUNC_PROTO)
            .map(|proto| Prototype {
                parameters: self.parameters(&proto).into_iter().skip(1).collect(),
            })
            .collect();
        single(found, "tracepoint", || name.to_owned())
    }

    /// The names of `enum name`'s values, empty when there is no such enum.
    #[must_use]
    pub fn enumerators(&self, name: &str) -> Vec<(u32, String)> {
        self.named(&self.enums, name)
            .filter_map(|id| self.type_by_id(id))
            .flat_map(|ty| {
                let bytes = if ty.kind == kind::ENUM64 { 12 } else { 8 };
                (0..ty.vlen).filter_map(move |index| {
                    let at = ty.at + TYPE_BYTES + index * bytes;
                    Some((read_u32(&self.data, at + 4)?, self.name(read_u32(&self.data, at)?)))
                })
            })
            .collect()
    }

    /// Whether `enum name` has the enumerator `value`.
    #[must_use]
    pub fn has_enumerator(&self, name: &str, value: &str) -> bool {
        self.enumerators(name).iter().any(|(_, found)| found == value)
    }

    /// Whether there is a `struct name` at all.
    #[must_use]
    pub fn has_struct(&self, name: &str) -> bool {
        self.named(&self.structs, name).next().is_some()
    }

    fn record(&self, at: usize) -> Option<Type> {
        let name = read_u32(&self.data, at)?;
        let info = read_u32(&self.data, at + 4)?;
        let size_or_id = read_u32(&self.data, at + 8)?;
        Some(Type {
            at,
            name,
            kind: info >> 24 & 0x1f,
            vlen: (info & 0xffff) as usize,
            kind_flag: info >> 31 != 0,
            size_or_id,
        })
    }

    fn type_by_id(&self, id: u32) -> Option<Type> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        self.record(*self.types.get(index)? as usize)
    }

    fn named<'a>(&'a self, ids: &'a [u32], name: &'a str) -> impl Iterator<Item = u32> + 'a {
        ids.iter()
            .copied()
            .filter(move |&id| self.type_by_id(id).is_some_and(|ty| self.is_named(ty.name, name)))
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        let start = self.strings + offset as usize;
        self.data.get(start..).is_some_and(|bytes| {
            bytes.starts_with(name.as_bytes()) && bytes.get(name.len()) == Some(&0)
        })
    }

    fn name(&self, offset: u32) -> String {
        let bytes = self.data.get(self.strings + offset as usize..).unwrap_or_default();
        let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(0);
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// Follows `path` from type `id`, adding up offsets.
    fn resolve_path(&self, id: u32, path: &str) -> Option<Member> {
        let mut at = Member { bit_offset: 0, size: 0 };
        let mut id = id;
        for name in path.split('.') {
            let (bit_offset, member) = self.find_member(id, name, 0)?;
            at.bit_offset += bit_offset;
            id = member;
        }
        at.size = self.size_of(id, 0)?;
        Some(at)
    }

    /// The member `name` of type `id`, looking into anonymous structs and unions as C does.
    fn find_member(&self, id: u32, name: &str, depth: usize) -> Option<(u32, u32)> {
        let ty = self.unqualified(id)?;
        if depth > MAX_DEPTH || !matches!(ty.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        for index in 0..ty.vlen {
            let member = ty.at + TYPE_BYTES + index * 12;
            let member_name = read_u32(&self.data, member)?;
            let member_type = read_u32(&self.data, member + 4)?;
            let raw = read_u32(&self.data, member + 8)?;
            let bit_offset = if ty.kind_flag { raw & 0x00ff_ffff } else { raw };
            if self.is_named(member_name, name) {
                return Some((bit_offset, member_type));
            }
            if member_name == 0
                && let Some((inner, found)) = self.find_member(member_type, name, depth + 1)
            {
                return Some((bit_offset + inner, found));
            }
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn unqualified(&self, id: u32) -> Option<Type> {
        let mut ty = self.type_by_id(id)?;
        for _ in 0..MAX_DEPTH {
            match ty.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    ty = self.type_by_id(ty.size_or_id)?;
                }
                _ => return Some(ty),
            }
        }
        None
    }

    fn size_of(&self, id: u32, depth: usize) -> Option<u32> {
        let ty = self.unqualified(id)?;
        match ty.kind {
            kind::PTR => u32::try_from(size_of::<usize>()).ok(),
            kind::ARRAY if depth < MAX_DEPTH => {
                let element = read_u32(&self.data, ty.at + TYPE_BYTES)?;
                let count = read_u32(&self.data, ty.at + TYPE_BYTES + 8)?;
                self.size_of(element, depth + 1)?.checked_mul(count)
            }
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                Some(ty.size_or_id)
            }
            _ => None,
        }
    }

    fn parameters(&self, proto: &Type) -> Vec<String> {
        (0..proto.vlen)
            .filter_map(|index| read_u32(&self.data, proto.at + TYPE_BYTES + index * 8 + 4))
            .map(|id| self.describe(id))
            .collect()
    }

    /// A type as C writes it, without qualifiers.
    fn describe(&self, id: u32) -> String {
        let mut suffix = String::new();
        let mut id = id;
        for _ in 0..MAX_DEPTH {
            let Some(ty) = self.type_by_id(id) else {
                // Type 0 is void.
                return format!("void{suffix}");
            };
            let name = self.name(ty.name);
            match ty.kind {
                kind::PTR => {
                    if suffix.is_empty() {
                        suffix.push(' ');
                    }
                    suffix.push('*');
                    id = ty.size_or_id;
                }
                kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = ty.size_or_id;
                }
                kind::STRUCT => return format!("struct {name}{suffix}"),
                kind::UNION => return format!("union {name}{suffix}"),
                kind::ENUM | kind::ENUM64 => return format!("enum {name}{suffix}"),
                _ => return format!("{name}{suffix}"),
            }
        }
        format!("?{suffix}")
    }
}

/// The one element of `found`; several different ones or none is an error.
fn single<T>(
    found: HashSet<T>,
    what: &'static str,
    name: impl FnOnce() -> String,
) -> Result<T, BtfError> {
    let several = found.len() > 1;
    match found.into_iter().next() {
        None => Err(BtfError::Missing { what, name: name() }),
        Some(_) if several => Err(BtfError::Ambiguous { what, name: name() }),
        Some(only) => Ok(only),
    }
}

/// Bytes that follow a type's record, by its kind.
fn trailing_bytes(ty: &Type) -> Result<usize, BtfError> {
    Ok(match ty.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => ty.vlen * 12,
        kind::ENUM | kind::FUNC_PROTO => ty.vlen * 8,
        // Forward declarations (7) have nothing behind them either.
        2 | 7..=12 | kind::FLOAT | kind::TYPE_TAG => 0,
        _ => return Err(BtfError::Malformed("unknown kind of type")),
    })
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
