//! Room that each service keeps when the kernel's map of counts by owner fills: those with the
//! most entries give some up.

/// One part in this many of the map may be in use. Entries added between two looks must fit the
/// rest.
pub(super) const FULL: usize = 2;

/// Maximum number of entries that each one keeps, so that all together leave half of `room` free;
/// `None` if they already do. `sizes` holds the number of entries of each.
pub(super) fn share(room: usize, mut sizes: Vec<usize>) -> Option<usize> {
    let mut left = room / FULL;
    if sizes.iter().sum::<usize>() <= left {
        return None;
    }
    sizes.sort_unstable();
    let mut others = sizes.len();
    for size in sizes {
        let equal = left / others;
        if size > equal {
            return Some(equal);
        }
        left -= size;
        others -= 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_most_gives_up_what_is_too_much() {
        assert_eq!(share(100, vec![]), None);
        assert_eq!(share(100, vec![20, 30]), None);
        assert_eq!(share(100, vec![90]), Some(50));
        assert_eq!(share(100, vec![3, 90, 2]), Some(45));
        assert_eq!(share(100, vec![40, 10, 60]), Some(20));
        // More of them than entries: each must find room again.
        assert_eq!(share(8, vec![1; 8]), Some(0));
    }
}
