//! Reader for the kernel's own type information (BTF): positions of members, parameters of
//! functions.
//!
//! It reads only what the daemon needs: struct members by path, prototypes of functions, and the
//! existence of enumerators. The format is described in `Documentation/bpf/btf.rst` in the kernel
//! tree. Names of several different types are reported as ambiguous, never guessed.

use std::collections::HashSet;

use names::Names;
use thiserror::Error;

#[cfg(test)]
mod damage;
mod describe;
mod kind;
mod member;
mod names;
mod reduce;
mod skeleton;
mod writer;

pub(crate) use member::Member;

/// File with the running kernel's BTF; readable by everyone.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: u32 = 24;
const TYPE_BYTES: usize = 12;

/// Limit for resolving typedefs and qualifiers, which can be nested.
const MAX_DEPTH: usize = 32;

/// Reason why a fact could not be read from BTF.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BtfError {
    /// The bytes are not BTF in this machine's byte order, or are truncated.
    #[error("malformed BTF: {0}")]
    Malformed(&'static str),
    /// No type has that name.
    #[error("no {what} `{name}`")]
    Missing {
        /// Kind of type, such as `struct`, `member` or `function`.
        what: &'static str,
        /// The requested name.
        name: String,
    },
    /// Types with that name differ in the requested detail.
    #[error("several different {what}s `{name}`")]
    Ambiguous {
        /// Kind of type, as for `Missing`.
        what: &'static str,
        /// The requested name.
        name: String,
    },
    /// A member that can no longer be read in the expected way.
    #[error("`{name}` of {found} instead of {wanted}")]
    Changed {
        /// Struct and path of the member.
        name: String,
        /// Its description in this kernel.
        found: String,
        /// Its expected description.
        wanted: String,
    },
}

/// Parameters of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Prototype {
    /// Type of each parameter, such as `struct sock *` or `int`, without qualifiers.
    pub(crate) parameters: Vec<String>,
    /// Type of the return value.
    pub(crate) returns: String,
}

/// A kernel's BTF, indexed by the names to look up.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Offset of each type's record in `data`; type ids count from 1.
    types: Vec<u32>,
    structs: Names,
    functions: Names,
    enums: Names,
    typedefs: Names,
}

/// One parsed type record.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    vlen: usize,
    /// Whether members' offsets also encode bit-field widths.
    kind_flag: bool,
    size_or_id: u32,
}

impl Type {
    /// Start of the data that follows the record.
    fn tail(&self) -> usize {
        self.at + TYPE_BYTES
    }
}

impl Btf {
    /// Parses BTF from the bytes of `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// When the bytes are not BTF, or truncated.
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
        if header < HEADER_BYTES as usize || end > data.len() || strings_end > data.len() {
            return Err(SHORT);
        }
        if str_len == 0 || data[strings_end - 1] != 0 {
            return Err(BtfError::Malformed("string section not terminated"));
        }

        let mut btf = Self {
            data,
            strings,
            types: Vec::new(),
            structs: Names::default(),
            functions: Names::default(),
            enums: Names::default(),
            typedefs: Names::default(),
        };
        let mut at = first;
        while at < end {
            let ty = btf.record(at).ok_or(SHORT)?;
            btf.types.push(u32::try_from(at).map_err(|_| SHORT)?);
            let id = u32::try_from(btf.types.len()).map_err(|_| SHORT)?;
            let names = match ty.kind {
                kind::STRUCT => Some(&mut btf.structs),
                kind::FUNC => Some(&mut btf.functions),
                kind::ENUM | kind::ENUM64 => Some(&mut btf.enums),
                kind::TYPEDEF => Some(&mut btf.typedefs),
                _ => None,
            };
            if let Some(names) = names {
                let name = btf.data.get(btf.strings + ty.name as usize..).unwrap_or_default();
                names.add(name, id);
            }
            at += TYPE_BYTES + trailing_bytes(&ty)?;
        }
        if at > end {
            return Err(SHORT);
        }
        Ok(btf)
    }

    /// Prototype of the function `name`.
    pub(crate) fn prototype(&self, name: &str) -> Result<Prototype, BtfError> {
        let found = self
            .named(&self.functions, name)
            .filter_map(|id| self.type_by_id(self.type_by_id(id)?.size_or_id))
            .filter(|proto| proto.kind == kind::FUNC_PROTO)
            .map(|proto| self.describe_prototype(&proto))
            .collect();
        single(found, "function", || name.to_owned())
    }

    /// Arguments of the tracepoint `name`, from its `btf_trace_` typedef: a pointer to a function
    /// whose first parameter is internal to the kernel.
    pub(crate) fn tracepoint(&self, name: &str) -> Result<Prototype, BtfError> {
        let found = self
            .named(&self.typedefs, &Self::tracepoint_type(name))
            .filter_map(|id| self.type_by_id(self.type_by_id(id)?.size_or_id))
            .filter_map(|pointer| self.type_by_id(pointer.size_or_id))
            .filter(|proto| proto.kind == kind::FUNC_PROTO)
            .map(|proto| {
                let mut prototype = self.describe_prototype(&proto);
                prototype.parameters = prototype.parameters.split_off(1.min(proto.vlen));
                prototype
            })
            .collect();
        single(found, "tracepoint", || name.to_owned())
    }

    /// Values and names of the enumerators in `enum name`; empty if there is no such enum.
    pub(crate) fn enumerators(&self, name: &str) -> Vec<(u32, String)> {
        self.named(&self.enums, name)
            .filter_map(|id| self.type_by_id(id))
            .flat_map(|ty| self.values(&ty).collect::<Vec<_>>())
            .collect()
    }

    /// Whether `enum name` has the enumerator `value`.
    pub(crate) fn has_enumerator(&self, name: &str, value: &str) -> bool {
        self.enumerators(name).iter().any(|(_, found)| found == value)
    }

    /// Whether `struct name` exists.
    pub(crate) fn has_struct(&self, name: &str) -> bool {
        self.named(&self.structs, name).next().is_some()
    }

    /// The name of a tracepoint's type.
    fn tracepoint_type(name: &str) -> String {
        format!("btf_trace_{name}")
    }

    /// Values and names of an enum.
    fn values(&self, ty: &Type) -> impl Iterator<Item = (u32, String)> {
        let bytes = if ty.kind == kind::ENUM64 { 12 } else { 8 };
        let (tail, count) = (ty.tail(), ty.vlen);
        (0..count).filter_map(move |index| {
            let [name, value] = self.words(tail + index * bytes)?;
            Some((value, self.name(name)))
        })
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

    /// `N` words at an offset in the data.
    fn words<const N: usize>(&self, at: usize) -> Option<[u32; N]> {
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
            *word = read_u32(&self.data, at + 4 * index)?;
        }
        Some(words)
    }

    fn type_by_id(&self, id: u32) -> Option<Type> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        self.record(*self.types.get(index)? as usize)
    }

    /// Ids of the types with this name.
    fn named<'a>(&'a self, names: &'a Names, name: &'a str) -> impl Iterator<Item = u32> + 'a {
        names
            .candidates(name)
            .filter(move |&id| self.type_by_id(id).is_some_and(|ty| self.is_named(ty.name, name)))
    }

    fn is_named(&self, offset: u32, name: &str) -> bool {
        name_bytes(&self.data, self.strings, offset) == name.as_bytes()
    }

    fn name(&self, offset: u32) -> String {
        let bytes = name_bytes(&self.data, self.strings, offset);
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// The type without typedefs and qualifiers.
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
}

/// The only element of `found`; an error if there are several or none.
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

/// Number of bytes that follow a type's record, depending on its kind.
fn trailing_bytes(ty: &Type) -> Result<usize, BtfError> {
    Ok(match ty.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => ty.vlen * 12,
        kind::ENUM | kind::FUNC_PROTO => ty.vlen * 8,
        kind::PTR | kind::FWD | kind::TYPEDEF..=kind::FUNC | kind::FLOAT | kind::TYPE_TAG => 0,
        _ => return Err(BtfError::Malformed("unknown kind of type")),
    })
}

/// The name at this offset of the strings; empty if there is none.
fn name_bytes(data: &[u8], strings: usize, offset: u32) -> &[u8] {
    let bytes = data.get(strings + offset as usize..).unwrap_or_default();
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
