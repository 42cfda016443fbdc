//! Position and type of struct members.

use std::hash::Hash;

use super::{Btf, BtfError, MAX_DEPTH, kind, single};

/// Limit of the search for a member. The kernel's largest structs have hundreds of members, and
/// malformed BTF may contain a struct that twice contains itself anonymously.
const MAX_MEMBERS: usize = 1 << 12;

/// Position and size of a member in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    /// Offset from the start of the outer struct, in bits.
    pub(crate) bit_offset: u32,
    /// Size of the member's type, in bytes.
    pub(crate) size: u32,
    /// Width of a bit-field in bits.
    pub(crate) bit_field: Option<u32>,
}

/// One step on the path to a member.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Record of the struct or union, and index of the member in it.
    pub(super) at: (usize, usize),
    ty: u32,
    bit_offset: u32,
    /// Width of a bit-field in bits.
    bit_field: Option<u32>,
}

impl Btf {
    /// Position of the member at `path` (`a.b.c`, through nested and anonymous structs) in
    /// `struct name`.
    pub(crate) fn member(&self, name: &str, path: &str) -> Result<Member, BtfError> {
        self.in_struct(name, path, |id| {
            let way = self.way(id, path)?;
            let bit_offset =
                way.iter().try_fold(0_u32, |sum, step| sum.checked_add(step.bit_offset))?;
            let Step { ty, bit_field, .. } = *way.last()?;
            Some(Member { bit_offset, bit_field, size: self.size_of(ty, 0)? })
        })
    }

    /// Description of the type of the member at `path` in `struct name`, such as
    /// `number of 4 bytes` or `struct sock *`.
    pub(crate) fn member_type(&self, name: &str, path: &str) -> Result<String, BtfError> {
        self.in_struct(name, path, |id| {
            let Step { ty, bit_field, .. } = *self.way(id, path)?.last()?;
            self.describe_member(ty, bit_field)
        })
    }

    /// The answer that all structs with this name agree on.
    fn in_struct<T: Eq + Hash>(
        &self,
        name: &str,
        path: &str,
        ask: impl Fn(u32) -> Option<T>,
    ) -> Result<T, BtfError> {
        if !self.has_struct(name) {
            return Err(BtfError::Missing { what: "struct", name: name.to_owned() });
        }
        let found = self.named(&self.structs, name).filter_map(ask).collect();
        single(found, "member", || format!("{name}.{path}"))
    }

    /// The steps along `path` from type `id`, including those through anonymous structs and unions;
    /// at least one.
    pub(super) fn way(&self, id: u32, path: &str) -> Option<Vec<Step>> {
        let mut way = Vec::new();
        let mut ty = id;
        for name in path.split('.') {
            let mut left = MAX_MEMBERS;
            way.extend(self.find_member(ty, name, 0, &mut left)?);
            ty = way.last()?.ty;
        }
        Some(way)
    }

    /// The steps to the member `name` of type `id`. Searches anonymous structs and unions as C
    /// does, with at most `left` members in total.
    fn find_member(
        &self,
        id: u32,
        name: &str,
        depth: usize,
        left: &mut usize,
    ) -> Option<Vec<Step>> {
        let ty = self.unqualified(id)?;
        if depth > MAX_DEPTH || !matches!(ty.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        for index in 0..ty.vlen {
            *left = left.checked_sub(1)?;
            let [member_name, member_type, raw] = self.words(ty.tail() + index * 12)?;
            let step = Step {
                at: (ty.at, index),
                ty: member_type,
                bit_offset: if ty.kind_flag { raw & 0x00ff_ffff } else { raw },
                bit_field: Some(raw >> 24).filter(|&bits| ty.kind_flag && bits != 0),
            };
            if self.is_named(member_name, name) {
                return Some(vec![step]);
            }
            if member_name == 0
                && let Some(mut way) = self.find_member(member_type, name, depth + 1, left)
            {
                way.insert(0, step);
                return Some(way);
            }
        }
        None
    }

    pub(super) fn size_of(&self, id: u32, depth: usize) -> Option<u32> {
        let ty = self.unqualified(id)?;
        match ty.kind {
            kind::PTR => u32::try_from(size_of::<usize>()).ok(),
            kind::ARRAY if depth < MAX_DEPTH => {
                let [element, _, count] = self.words(ty.tail())?;
                self.size_of(element, depth + 1)?.checked_mul(count)
            }
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                Some(ty.size_or_id)
            }
            _ => None,
        }
    }
}
