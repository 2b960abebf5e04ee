//! NumPy arrays in pickles.
//!
//! ```text
//! call of numpy.core.multiarray._reconstruct(numpy.ndarray, (0,), b"b")
//!   with the state (1, shape, dtype, fortran_order, bytes)
//! dtype: call of numpy.dtype("f4", False, True) with the state (3, "<", …)
//! ```
//!
//! NumPy 2 writes `numpy._core` for `numpy.core`.

use super::{Item, PickleError};
use crate::Array;
use crate::array::checked_product;
use crate::npy::{Kind, row_major};

/// The array that a value stands for, in row-major order.
///
/// Booleans, integers and floats of either byte order are read as f64, as those of NPY files;
/// values that are not finite are read too.
///
/// # Errors
/// [`PickleError::Unexpected`] where the value is no call that makes an array, where its type is no
/// real number, or where the bytes are not as many as the shape needs; `what` names the value.
pub fn array(item: Item<'_, '_>, what: &str) -> Result<Array, PickleError> {
    let unexpected = |item: Item<'_, '_>, expected| PickleError::Unexpected {
        what: what.to_owned(),
        found: item.describe(),
        expected,
    };
    let call = item.call().ok_or_else(|| unexpected(item, "a numpy array"))?;
    match item.at(call.callable).global() {
        Some(("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct")) => {}
        _ => return Err(unexpected(item, "a numpy array")),
    }
    let state = call.state.map(|id| item.at(id)).and_then(Item::sequence).unwrap_or_default();
    let [_version, shape, dtype, order, bytes] = state[..] else {
        return Err(unexpected(item, "a numpy array with a state of five parts"));
    };

    let dims: Option<Vec<usize>> = shape.sequence().and_then(|sides| {
        sides.into_iter().map(|side| usize::try_from(side.int()?).ok()).collect()
    });
    let dims = dims.ok_or_else(|| unexpected(shape, "the shape of an array"))?;
    let kind = kind(dtype).ok_or_else(|| unexpected(dtype, "a numpy dtype of real numbers"))?;
    let super::Value::Bool(fortran_order) = *order.value() else {
        return Err(unexpected(order, "the order of an array"));
    };
    let bytes = bytes.bytes().ok_or_else(|| unexpected(bytes, "the bytes of an array"))?;

    let needed = checked_product(&dims).and_then(|count| count.checked_mul(kind.width()));
    if needed != Some(bytes.len()) {
        return Err(PickleError::Unexpected {
            what: what.to_owned(),
            found: format!("an array of {} bytes with the shape {dims:?}", bytes.len()),
            expected: "one whose bytes fill its shape",
        });
    }
    let stored: Vec<f64> = bytes.chunks_exact(kind.width()).map(|b| kind.value(b)).collect();
    let values = if fortran_order { row_major(&dims, &stored) } else { stored };
    Ok(Array { dims, values })
}

/// The number type of a `numpy.dtype`.
fn kind(dtype: Item<'_, '_>) -> Option<Kind> {
    let call = dtype.call()?;
    (dtype.at(call.callable).global()? == ("numpy", "dtype")).then_some(())?;
    let letters = dtype.at(call.arguments).sequence()?.first()?.text()?;
    let state = dtype.at(call.state?).sequence()?;
    // One byte has no order: `|`.
    Kind::parse(&format!("{}{letters}", state.get(1)?.text()?))
}
