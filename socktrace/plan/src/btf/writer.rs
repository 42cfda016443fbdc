//! Writer for BTF, type by type.

use std::collections::HashMap;

use super::{HEADER_BYTES, MAGIC};

/// BTF under construction; type ids count from 1 in writing order.
pub(super) struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    known: HashMap<String, u32>,
    count: u32,
}

impl Default for Writer {
    fn default() -> Self {
        // Offset 0 is the empty name.
        Self { types: Vec::new(), strings: vec![0], known: HashMap::new(), count: 0 }
    }
}

impl Writer {
    /// Offset of a name, which is stored once.
    pub(super) fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(&offset) = self.known.get(text) {
            return offset;
        }
        let offset = length(&self.strings);
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        self.known.insert(text.to_owned(), offset);
        offset
    }

    /// Adds a record with its trailing data, and returns its id.
    pub(super) fn add(
        &mut self,
        name: &str,
        kind: u32,
        flag: bool,
        vlen: u32,
        size_or_id: u32,
        tail: &[u32],
    ) -> u32 {
        let info = u32::from(flag) << 31 | kind << 24 | vlen;
        for word in [self.string(name), info, size_or_id].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_ne_bytes());
        }
        self.count += 1;
        self.count
    }

    /// Adds empty nameless types of this kind, so that the next type has this id.
    pub(super) fn skip_to(&mut self, id: u32, kind: u32) {
        let count = id.saturating_sub(self.count + 1);
        let record = [0, kind << 24, 0].map(u32::to_ne_bytes);
        self.types.extend(record.as_flattened().repeat(count as usize));
        self.count += count;
    }

    /// The complete BTF, in this machine's byte order.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let (types, strings) = (length(&self.types), length(&self.strings));
        let mut data = MAGIC.to_ne_bytes().to_vec();
        // Version and flags.
        data.extend_from_slice(&[1, 0]);
        for word in [HEADER_BYTES, 0, types, types, strings] {
            data.extend_from_slice(&word.to_ne_bytes());
        }
        data.extend_from_slice(&self.types);
        data.extend_from_slice(&self.strings);
        data
    }
}

/// BTF counts in 32 bits, and this writer's output is smaller than its source.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
