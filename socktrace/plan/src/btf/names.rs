//! Index of types by name: the kernel has tens of thousands, and dozens are looked up.

/// Number of hash chains: a power of two, large enough that chains of functions, the most numerous
/// kind, are short.
const CHAINS: usize = 1 << 14;

/// Types of certain kinds, by hash of the name. Different names may have the same hash.
pub(super) struct Names {
    /// Start of each chain in `entries`, counted from 1; 0 if the chain is empty.
    chains: Vec<u32>,
    entries: Vec<Entry>,
}

struct Entry {
    hash: u32,
    id: u32,
    /// The next entry of the chain, counted from 1; 0 at its end.
    next: u32,
}

impl Default for Names {
    fn default() -> Self {
        Self { chains: vec![0; CHAINS], entries: Vec::new() }
    }
}

impl Names {
    /// Adds a type whose name starts here and ends before the first NUL. Ids must ascend.
    pub(super) fn add(&mut self, name: &[u8], id: u32) {
        let hash = hash(name);
        let first = &mut self.chains[chain(hash)];
        self.entries.push(Entry { hash, id, next: *first });
        // There are no more entries than ids, which have 32 bits.
        *first = u32::try_from(self.entries.len()).unwrap_or(0);
    }

    /// Ids of all types with this name, lowest first. Occasionally includes other types.
    pub(super) fn candidates(&self, name: &str) -> impl Iterator<Item = u32> + '_ {
        let wanted = hash(name.as_bytes());
        let mut found = Vec::new();
        let mut next = self.chains[chain(wanted)];
        while let Some(entry) = next.checked_sub(1).and_then(|at| self.entries.get(at as usize)) {
            if entry.hash == wanted {
                found.push(entry.id);
            }
            next = entry.next;
        }
        // Chains start with the entry added last.
        found.into_iter().rev()
    }
}

fn chain(hash: u32) -> usize {
    hash as usize % CHAINS
}

/// Hash of the bytes before the first NUL, or of all of them. It handles eight bytes at once,
/// because the names of all kernel types are hashed at each start.
fn hash(name: &[u8]) -> u32 {
    /// 2^64 divided by the golden ratio: spreads values that differ in few bits.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = 0_u64;
    for chunk in name.chunks(8) {
        let mut bytes = [0; 8];
        match <[u8; 8]>::try_from(chunk) {
            Ok(whole) => bytes = whole,
            Err(_) => bytes[..chunk.len()].copy_from_slice(chunk),
        }
        let word = u64::from_le_bytes(bytes);
        // The highest bit of each zero byte, and possibly of later bytes.
        let zeros = word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080;
        // The lowest of these bits marks the first zero byte; keep what comes before it.
        let first = zeros & zeros.wrapping_neg();
        let kept = if zeros == 0 { word } else { word & ((first >> 7) - 1) };
        if kept != 0 {
            hash = (hash.rotate_left(29) ^ kept).wrapping_mul(SPREAD);
        }
        if zeros != 0 {
            break;
        }
    }
    // The upper half depends on all bits.
    u32::try_from(hash >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_before_the_first_zero() {
        for name in ["", "a", "sock", "sock_key", "tcp_sock_", "inet_connection_sock"] {
            for rest in ["\0", "\0x", "\0\u{1}\0", "\0followed by much else"] {
                let text = format!("{name}{rest}");
                assert_eq!(hash(name.as_bytes()), hash(text.as_bytes()), "{text:?}");
            }
        }
    }

    #[test]
    fn names_that_differ_seldom_have_the_same_hash() {
        let names: Vec<_> = (0..50_000).map(|number| format!("__bpf_trace_{number}")).collect();
        let hashes: std::collections::HashSet<_> =
            names.iter().map(|name| hash(name.as_bytes())).collect();
        assert!(hashes.len() > names.len() - 10, "{}", hashes.len());
        // A carry from the byte 0x80 into the next one must not look like the end of the name.
        assert_ne!(hash(b"\x80\x01ab"), hash(b"\x80\x01cd"));
    }

    #[test]
    fn types_of_one_name_are_found_in_their_order() {
        let mut names = Names::default();
        for (id, name) in [(1, "a"), (4, "b"), (9, "a"), (12, "")] {
            names.add(format!("{name}\0z").as_bytes(), id);
        }
        assert_eq!(names.candidates("a").collect::<Vec<_>>(), [1, 9]);
        assert_eq!(names.candidates("").collect::<Vec<_>>(), [12]);
        assert_eq!(names.candidates("c").count(), 0);
    }
}
