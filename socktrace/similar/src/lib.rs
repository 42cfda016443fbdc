//! The name that was probably meant by one that does not exist, for error messages: "did you mean X?".

/// The name most similar to a word, if it is similar enough to be what was meant.
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = names.into_iter().map(|name| (distance(word, name), name));
    let near = distances.filter(|(distance, _)| is_near(word, *distance));
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The number of letters in which they differ, a swap of neighbours counting as one.
#[must_use]
pub fn distance(word: &str, name: &str) -> usize {
    strsim::damerau_levenshtein(word, name)
}

/// Whether so many letters are few enough: one in three of the word, and one in a shorter word.
#[must_use]
pub fn is_near(word: &str, distance: usize) -> bool {
    distance <= (word.len() / 3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_is_found_if_it_is_near() {
        let names = ["output", "listen", "on-full"];
        assert_eq!(nearest("outptu", names), Some("output"));
        assert_eq!(nearest("listn", names), Some("listen"));
        assert_eq!(nearest("qqqqqq", names), None);
        assert_eq!(nearest("x", ["y", "yy"]), Some("y"));
    }
}
