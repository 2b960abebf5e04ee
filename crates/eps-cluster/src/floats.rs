//! Numbers as the bytes that processes tell each other, and that are kept.

/// The bytes of numbers, little-endian.
#[must_use]
pub fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The numbers of [`bytes_of`]; what is left of a number that is cut off is passed over.
///
/// # Example
///
/// ```
/// let values = [1.5, -0.25];
/// assert_eq!(eps_cluster::values_of(&eps_cluster::bytes_of(&values)), values);
/// ```
#[must_use]
pub fn values_of(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
