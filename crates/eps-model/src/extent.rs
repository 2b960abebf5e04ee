//! Lengths on both sides of the border to libtorch: `usize` in Rust, `i64` in its tensors.

/// A length as libtorch takes it.
///
/// What exceeds `i64` becomes its largest value, of which libtorch refuses to make a tensor; no length of anything in
/// memory does.
#[must_use]
pub fn extent(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// A length that libtorch tells; 0 for a negative one, which no tensor has.
#[must_use]
pub fn length_of(extent: i64) -> usize {
    usize::try_from(extent).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_never_wrap_around() {
        assert_eq!((extent(3), length_of(3)), (3, 3));
        assert_eq!((extent(usize::MAX), length_of(-1)), (i64::MAX, 0));
    }
}
