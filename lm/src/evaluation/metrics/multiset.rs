//! Lists as multisets.

use std::cmp::Ordering;

/// How many items two lists have in common, each counted as often as it stands in both.
pub(super) fn common<T: Ord>(mut one: Vec<T>, mut other: Vec<T>) -> usize {
    // Sorting beats hashing for the few hundred items of an answer.
    one.sort_unstable();
    other.sort_unstable();
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    let mut common = 0;
    while let (Some(a), Some(b)) = (one.peek(), other.peek()) {
        match a.cmp(b) {
            Ordering::Less => _ = one.next(),
            Ordering::Greater => _ = other.next(),
            Ordering::Equal => {
                common += 1;
                one.next();
                other.next();
            }
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::common;

    #[test]
    fn counts_what_stands_in_both() {
        assert_eq!(common(vec![3, 1, 3, 3, 2], vec![3, 3, 4, 1]), 3);
        assert_eq!(common(vec!["a"], vec![]), 0);
    }
}
