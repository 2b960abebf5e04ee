//! How large a picture may be, checked by its header before memory is taken.

use std::path::Path;

use crate::{DataError, memory};

/// The most values of a picture, 16384 × 16384 in grey: a small file must not fill the memory.
pub(crate) const MOST_VALUES: usize = 1 << 28;

/// The number of values of a picture, unless they are more than are read or need more memory than there is;
/// `bytes` is what each needs.
pub(crate) fn check_size(
    path: &Path,
    (width, height): (usize, usize),
    channels: usize,
    bytes: usize,
) -> Result<usize, DataError> {
    let header = format!("its header announces {width} x {height} pixels of {channels} channels");
    let need = width as u128 * height as u128 * channels as u128 * bytes as u128;
    let need = u64::try_from(need).unwrap_or(u64::MAX);
    let count = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(channels));
    let Some(count) = count.filter(|&count| count <= MOST_VALUES) else {
        let limit = "at most 268435456 values are read, such as 16384 x 16384 in grey";
        let problem = format!("{header}, which need {}; {limit}", memory::size(need));
        return Err(DataError::malformed(path, problem, "cut it, or make it smaller"));
    };
    let what = format!("the picture, as {header},");
    memory::require(&what, need, "cut it, or make it smaller").map_err(|e| e.in_file(path))?;
    Ok(count)
}
