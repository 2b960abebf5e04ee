//! Numbers in messages.

/// A number for a message, with an exponent where it has many digits.
///
/// ```
/// assert_eq!(eps::format::number(0.05), "0.05");
/// assert_eq!(eps::format::number(1e-300), "1e-300");
/// ```
pub fn number(value: f64) -> String {
    if value == 0.0 || (1e-4..1e7).contains(&value.abs()) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}
