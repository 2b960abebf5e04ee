//! The pixel range: images are in [-1, 1], files of 8 bits hold 0 to 255.
//!
//! The two maps are EDM's (Karras et al. 2022, `training/dataset.py` and `generate.py`).

/// The `range` attribute of every array of this crate that holds images.
pub const RANGE: &str = "[-1, 1]: uint8 / 127.5 - 1";

/// What a `range` attribute that a reader checks begins with, without its spaces.
pub(crate) const SCALE: &str = "[-1,1]";

/// The value in [-1, 1] of an 8-bit pixel.
///
/// ```text
/// x = v / 127.5 − 1
/// ```
///
/// # Example
///
/// ```
/// use eps_data::range::value_of_byte;
/// assert_eq!(value_of_byte(0), -1.0);
/// assert_eq!(value_of_byte(255), 1.0);
/// ```
pub fn value_of_byte(byte: u8) -> f64 {
    f64::from(byte) / 127.5 - 1.0
}

/// The 8-bit pixel of a value, clipped to the range; the inverse of [`value_of_byte`].
///
/// ```text
/// v = ⌊clip(127.5 x + 128, 0, 255)⌋
/// ```
///
/// NaN gives 0: callers that can meet NaN check first.
///
/// # Example
///
/// ```
/// use eps_data::range::byte_of_value;
/// assert_eq!(byte_of_value(-1.3), 0);
/// assert_eq!(byte_of_value(0.0), 128);
/// assert_eq!(byte_of_value(1.0), 255);
/// ```
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to 255")]
pub fn byte_of_value(value: f64) -> u8 {
    // `as` truncates towards zero and maps NaN to 0.
    (127.5 * value + 128.0).clamp(0.0, 255.0) as u8
}

/// The nearest of the 65536 levels of 16 bits to a value in [-1, 1]; clipped.
///
/// # Example
///
/// ```
/// use eps_data::range::word_of_value;
/// assert_eq!([-1.3, -1.0, 0.0, 1.0].map(word_of_value), [0, 0, 32768, 65535]);
/// ```
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0 to 65535"
)]
pub fn word_of_value(value: f64) -> u16 {
    // `as` truncates towards zero and maps NaN to 0.
    (32767.5 * value + 32768.0).clamp(0.0, 65535.0) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for byte in 0..=255 {
            assert_eq!(byte_of_value(value_of_byte(byte)), byte);
            // Values rounded to f32 on their way come back too.
            assert_eq!(byte_of_value(f64::from(value_of_byte(byte) as f32)), byte);
        }
    }
}
