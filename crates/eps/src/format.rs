//! Numbers in messages.

/// The digits of a number that was typed, at most; one of more was measured or computed.
const TYPED: usize = 10;

/// The digits of a number that was measured or computed.
const MEASURED: usize = 4;

/// The digits of one that is told beside a bound.
const COMPARED: usize = 8;

/// A number for a message: as it was typed, or to four digits where it has more than ten, with an exponent where it is large or small.
///
/// ```
/// use eps::format::number;
/// assert_eq!(number(0.05), "0.05");
/// assert_eq!(number(1e-300), "1e-300");
/// assert_eq!(number(0.41999999999999993), "0.42");
/// assert_eq!(number(0.1745329251994), "0.1745");
/// ```
pub fn number(value: f64) -> String {
    to_digits(value, MEASURED)
}

/// The same to eight digits, of a number that lies beyond a bound, maybe by little.
///
/// ```
/// use eps::format::{compared_number, number};
/// assert_eq!(compared_number(1.0000123456789), "1.0000123");
/// assert_eq!(number(1.0000123456789), "1");
/// ```
pub fn compared_number(value: f64) -> String {
    to_digits(value, COMPARED)
}

fn to_digits(value: f64, measured: usize) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    // In this notation no zeros at the end count as digits.
    let shortest = format!("{value:e}");
    let mantissa = shortest.split('e').next().unwrap_or(&shortest);
    let value = if mantissa.bytes().filter(u8::is_ascii_digit).count() <= TYPED {
        value
    } else {
        // What this notation writes is a number that can be read.
        format!("{value:.*e}", measured - 1).parse().unwrap_or(value)
    };
    if value == 0.0 || (1e-4..1e7).contains(&value.abs()) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_computed_has_few_digits() {
        for (value, text) in [
            (0.42f64.next_down(), "0.42"),
            (7e-4f64.next_up(), "0.0007"),
            (400.0f64.next_down(), "400"),
            (65535.0 / 4095.0, "16"),
            (f64::from(0.3f32), "0.3"),
            (-1.0 / 3.0, "-0.3333"),
            (1.0 / 30000.0, "3.333e-5"),
            (1e9 / 7.0, "1.429e8"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn what_is_typed_stays() {
        for (value, text) in [
            (6.375, "6.375"),
            (0.012_345_678, "0.012345678"),
            (-0.34375, "-0.34375"),
            (1_234_567.0, "1234567"),
            (-1e-20, "-1e-20"),
            (0.0, "0"),
            (f64::INFINITY, "inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
