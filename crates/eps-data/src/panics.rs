//! Decoders that may panic.

use std::panic::{UnwindSafe, catch_unwind};
use std::path::Path;

use crate::DataError;

/// Decodes a picture by a decoder that may panic.
///
/// zune-jpeg asserts what rare or damaged files do not keep, of their subsampling for example. One picture of
/// a million must not end an import, and nothing that a decoder changes is left.
pub(crate) fn without_panics<T>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, DataError> + UnwindSafe,
) -> Result<T, DataError> {
    catch_unwind(decode).unwrap_or_else(|_| {
        Err(DataError::malformed(
            path,
            "its decoder panicked",
            "the file is damaged or of a rare kind: export it again, as a PNG for example",
        ))
    })
}
