//! IDX, the format of MNIST and its relatives: arrays of unsigned bytes, plain or gzip.
//!
//! ```text
//! 0x00 0x00 TYPE RANK   then RANK big-endian u32 dimensions, then the values in row-major order
//! ```
//!
//! Only the type 0x08 (unsigned byte), the one of images and labels, is read.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::DataError;
use crate::array::checked_product;
use crate::partial_read::read_up_to;

const UNSIGNED_BYTE: u8 = 0x08;
const FETCH_AGAIN: &str = "the file is damaged or of another format: fetch it again";

/// An array of bytes with its dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxArray {
    /// The dimensions, outermost first; `data` has their product as its length.
    pub dims: Vec<usize>,
    /// The values in row-major order.
    pub data: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes; gzip is recognised by its first two bytes.
///
/// # Errors
///
/// [`DataError::Io`] where the file cannot be read, [`DataError::Malformed`] where it is
/// truncated, has bytes left over, is no IDX file, holds another type, or is damaged gzip.
pub fn read_idx(path: &Path) -> Result<IdxArray, DataError> {
    eps_files::require_regular(path)?;
    let mut file = BufReader::new(File::open(path).map_err(DataError::io(path, "open"))?);
    let mut start = [0; 2];
    let n = read_up_to(&mut file, &mut start).map_err(DataError::io(path, "read"))?;
    let whole = (&start[..n]).chain(file);
    if start == [0x1f, 0x8b] {
        parse(path, MultiGzDecoder::new(BufReader::new(whole)))
    } else {
        parse(path, whole)
    }
}

fn parse(path: &Path, mut reader: impl Read) -> Result<IdxArray, DataError> {
    let malformed = |problem: String| DataError::malformed(path, problem, FETCH_AGAIN);
    let unreadable = |error: io::Error| malformed(format!("the content is unreadable ({error})"));

    let mut magic = [0; 4];
    let n = read_up_to(&mut reader, &mut magic).map_err(unreadable)?;
    if n < 4 {
        return Err(malformed(format!("the IDX header ends after {n} of 4 bytes")));
    }
    let [zero, zero_too, kind, rank] = magic;
    if (zero, zero_too) != (0, 0) {
        return Err(DataError::stand_in_or(path, || {
            malformed(format!("the first bytes are {magic:02x?}, IDX starts with 00 00"))
        }));
    }
    if kind != UNSIGNED_BYTE {
        return Err(DataError::malformed(
            path,
            format!("the IDX type is 0x{kind:02x}, only 0x08 (unsigned byte) is read"),
            "convert the values to unsigned bytes",
        ));
    }

    let mut dims = Vec::with_capacity(rank.into());
    for axis in 0..rank {
        let mut dim = [0; 4];
        let n = read_up_to(&mut reader, &mut dim).map_err(unreadable)?;
        if n < 4 {
            return Err(malformed(format!("the file ends inside dimension {axis} of {rank}")));
        }
        dims.push(u32::from_be_bytes(dim) as usize);
    }
    let Some(expected) = checked_product(&dims) else {
        return Err(malformed(format!("the dimensions {dims:?} overflow the address space")));
    };

    // The header is not trusted with an allocation; one byte more shows what is left over, and
    // reading to the end makes gzip check its CRC.
    let mut data = Vec::new();
    let limit = (expected as u64).saturating_add(1);
    reader.take(limit).read_to_end(&mut data).map_err(unreadable)?;
    if data.len() < expected {
        let found = data.len();
        return Err(malformed(format!(
            "the file ends after {found} of the {expected} values of dimensions {dims:?}"
        )));
    }
    if data.len() > expected {
        return Err(malformed(format!(
            "the file has bytes left over after the {expected} values of dimensions {dims:?}"
        )));
    }
    Ok(IdxArray { dims, data })
}
