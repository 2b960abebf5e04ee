//! Checks of inputs, and the distance that several metrics share.

use crate::MetricsError;

/// Refuses an empty input and one that holds NaN or infinities.
pub(crate) fn check_finite(what: &'static str, values: &[f64]) -> Result<(), MetricsError> {
    if values.is_empty() {
        return Err(MetricsError::Empty { what });
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(MetricsError::NotFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}

/// As [`check_finite`], and the input has `expected` values.
pub(crate) fn check_length(
    what: &'static str,
    values: &[f64],
    expected: usize,
) -> Result<(), MetricsError> {
    if values.len() != expected {
        return Err(MetricsError::Length { what, expected, got: values.len() });
    }
    check_finite(what, values)
}

/// As [`check_finite`], and the input consists of rows of `unit` values; returns how many.
pub(crate) fn check_rows(
    what: &'static str,
    values: &[f64],
    unit: usize,
) -> Result<usize, MetricsError> {
    if unit == 0 {
        return Err(MetricsError::Empty { what });
    }
    if !values.len().is_multiple_of(unit) {
        return Err(MetricsError::Multiple { what, unit, got: values.len() });
    }
    check_finite(what, values)?;
    Ok(values.len() / unit)
}

/// ‖a − b‖², summed in eight interleaved parts, which vectorises and rounds less than one sum.
pub(crate) fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut parts = [0.0; LANES];
    for (u, v) in a_chunks.iter().zip(b_chunks) {
        for ((part, x), y) in parts.iter_mut().zip(u).zip(v) {
            *part += (x - y) * (x - y);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| (x - y) * (x - y)).sum();
    parts.iter().sum::<f64>() + rest
}
