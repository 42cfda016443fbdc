//! How much room each service keeps when the kernel's map of counts by owner fills: those with the most
//! entries give some up.

/// The part of the map that may be in use. What is counted between two looks has to fit the rest.
pub(super) const FULL: usize = 2;

/// How many entries each one keeps at most, so that all together leave half of `room` free; `None` where they
/// do. `sizes` are how many each has.
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
        // More of them than entries: each is to find room again.
        assert_eq!(share(8, vec![1; 8]), Some(0));
    }
}
