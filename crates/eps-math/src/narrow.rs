//! Numbers in narrower types, with what becomes of those that do not fit.

/// The nearest number of f32, in which tensors, pictures and archives keep values: infinite beyond 3.4e38, NaN for NaN.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the rounding is what is asked for")]
pub fn nearest_f32(value: f64) -> f32 {
    value as f32
}

/// The whole part of a number that counts or numbers something: 0 for what is negative or NaN, the largest `usize` for
/// what exceeds it.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what does not fit is said above, and `as` does it"
)]
pub fn whole(value: f64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_becomes_the_nearest() {
        assert_eq!([2.9, -1.0, f64::NAN, 1e300].map(whole), [2, 0, 0, usize::MAX]);
        assert_eq!([0.1, 1e300].map(nearest_f32), [0.1, f32::INFINITY]);
    }
}
