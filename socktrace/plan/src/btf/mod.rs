//! Reads the kernel's own type information (BTF): where a member lies, what a function takes.
//!
//! Only what the daemon asks for: members of structs by path, prototypes of functions, and
//! whether an enumerator exists. Format: `Documentation/bpf/btf.rst` in the kernel tree.
//! Names that stand for several different types are reported as ambiguous, never guessed.

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

/// Where the running kernel shows its BTF; readable by everyone.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: u32 = 24;
const TYPE_BYTES: usize = 12;

/// Bounds the resolution of typedefs and qualifiers, which BTF allows to nest.
const MAX_DEPTH: usize = 32;

/// Why a fact could not be read from BTF.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
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
    /// A member that cannot be read as it used to be.
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
    /// Each parameter's type: `struct sock *`, `int`, ...; qualifiers are left out.
    pub(crate) parameters: Vec<String>,
    /// The type of what it returns.
    pub(crate) returns: String,
}

/// A kernel's BTF, indexed by what is looked up by name.
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

impl Type {
    /// Where in the data that begins which follows the record.
    fn tail(&self) -> usize {
        self.at + TYPE_BYTES
    }
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

    /// The parameters of the function `name`.
    pub(crate) fn prototype(&self, name: &str) -> Result<Prototype, BtfError> {
        let found = self
            .named(&self.functions, name)
            .filter_map(|id| self.type_by_id(self.type_by_id(id)?.size_or_id))
            .filter(|proto| proto.kind == kind::FUNC_PROTO)
            .map(|proto| self.describe_prototype(&proto))
            .collect();
        single(found, "function", || name.to_owned())
    }

    /// The arguments of the tracepoint `name`, from its `btf_trace_` typedef: a pointer to a
    /// function whose first parameter is the kernel's own.
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

    /// The names of `enum name`'s values, empty when there is no such enum.
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

    /// Whether there is a `struct name` at all.
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

    /// Ids of the types of this name.
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
        kind::PTR | kind::FWD | kind::TYPEDEF..=kind::FUNC | kind::FLOAT | kind::TYPE_TAG => 0,
        _ => return Err(BtfError::Malformed("unknown kind of type")),
    })
}

/// The name at this offset of the strings, empty if there is none.
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
