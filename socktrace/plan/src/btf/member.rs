//! Where a member lies in its struct, and what it is.

use std::hash::Hash;

use super::{Btf, BtfError, MAX_DEPTH, kind, single};

/// Bounds the search for a member: the kernel's largest structs have hundreds, and broken BTF may have
/// a struct that is anonymous in itself, twice.
const MAX_MEMBERS: usize = 1 << 12;

/// Where a member lies in its struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    /// Offset from the start of the outer struct, in bits.
    pub(crate) bit_offset: u32,
    /// Size of the member's type, in bytes.
    pub(crate) size: u32,
    /// Width in bits, of a bit-field.
    pub(crate) bit_field: Option<u32>,
}

/// One step on the way to a member.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// The record of the struct or union, and the member's number in it.
    pub(super) at: (usize, usize),
    ty: u32,
    bit_offset: u32,
    /// Width in bits, of a bit-field.
    bit_field: Option<u32>,
}

impl Btf {
    /// Where the member at `path` (`a.b.c`, through nested and anonymous structs) lies in
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

    /// What the member at `path` in `struct name` is, for people: `number of 4 bytes`,
    /// `struct sock *`.
    pub(crate) fn member_type(&self, name: &str, path: &str) -> Result<String, BtfError> {
        self.in_struct(name, path, |id| {
            let Step { ty, bit_field, .. } = *self.way(id, path)?.last()?;
            self.describe_member(ty, bit_field)
        })
    }

    /// The one answer that all structs of this name give.
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

    /// The way along `path` from type `id`, anonymous structs and unions included; at least one
    /// step.
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

    /// The way to the member `name` of type `id`, looking into anonymous structs and unions as C
    /// does, at no more than `left` members.
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
