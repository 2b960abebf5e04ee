//! MAT, the files of MATLAB: version 5, and version 7.3, which is HDF5.
//!
//! ```text
//! 116 bytes of text   8 of no use here   version (u16)   "IM" little-endian or "MI" big-endian
//! then elements: type (u32)   bytes (u32)   data, padded to 8 bytes; up to 4 bytes of data in the tag itself
//! ```
//!
//! Of version 5, plain or compressed, arrays of numbers and cells of them are read; of version 7.3 the same, where a cell is a
//! dataset of references. Structures, sparse matrices and text are passed over. Complex numbers are pairs of channels, as in NPY.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::array::{Array, Needed, Variable, checked_product};
use crate::error::require_finite;
use crate::hdf5_file::read_matlab_variables;
use crate::npy::{complex_pairs, row_major};
use crate::{DataError, memory};

const SAVE_AGAIN: &str = "the file is damaged or of another format: save it again with MATLAB's save or scipy.io.savemat";
const HEADER: usize = 128;
/// Cells within cells that are followed.
const DEEPEST: usize = 8;
/// The most dimensions of an array.
const MOST_DIMS: usize = 32;

const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;

/// Reads all variables that are arrays of numbers or cells of them, in the order of the file.
///
/// # Errors
///
/// [`DataError::Io`] where the file cannot be read, [`DataError::Malformed`] where it is no MAT file of version 5 or 7.3, or damaged,
/// [`DataError::NonFinite`] where a value is NaN or infinite, [`DataError::Invalid`] where it needs more memory than there is.
pub fn read_mat(path: &Path) -> Result<Vec<Variable>, DataError> {
    read_variables(path, None, Needed::Finite)
}

/// The variable of a name, where it is an array of numbers or a cell of them; what the others hold does not matter.
pub(crate) fn read_mat_variable(
    path: &Path,
    name: &str,
    needed: Needed,
) -> Result<Option<Variable>, DataError> {
    Ok(read_variables(path, Some(name), needed)?.pop())
}

/// The variables of arrays, or the one that is wanted alone.
fn read_variables(
    path: &Path,
    wanted: Option<&str>,
    needed: Needed,
) -> Result<Vec<Variable>, DataError> {
    eps_files::require_regular(path)?;
    let file = File::open(path).map_err(DataError::io(path, "open"))?;
    let mut reader = BufReader::new(file);
    let mut header = Vec::new();
    let read = (&mut reader).take(HEADER as u64).read_to_end(&mut header);
    read.map_err(DataError::io(path, "read"))?;
    if header.starts_with(b"\x89HDF\r\n\x1a\n") || header.starts_with(b"MATLAB 7.3") {
        return read_matlab_variables(path, wanted, needed);
    }
    let big_endian = match header.get(124..HEADER) {
        Some([_, _, b'I', b'M']) => false,
        Some([_, _, b'M', b'I']) => true,
        _ => {
            return Err(DataError::stand_in_or(path, || {
                DataError::malformed(
                    path,
                    "it does not start as a MAT file of version 5 or 7.3",
                    SAVE_AGAIN,
                )
            }));
        }
    };
    let parser = Parser { path, big_endian, wanted, needed };
    let size = reader.get_ref().metadata().map_err(DataError::io(path, "read"))?.len();
    parser.require("the file", size)?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(DataError::io(path, "read"))?;
    let mut rest = &bytes[..];
    let mut variables = Vec::new();
    while !rest.is_empty() {
        let (kind, data) = parser.element(&mut rest)?;
        let inflated;
        let data = match kind {
            COMPRESSED => {
                inflated = parser.inflate(data)?;
                let (kind, data) = parser.element(&mut &inflated[..])?;
                if kind != MATRIX {
                    continue;
                }
                data
            }
            MATRIX => data,
            _ => continue,
        };
        let Matrix { name, arrays } = parser.matrix(data, 0)?;
        if !arrays.is_empty() {
            variables.push(Variable { name, arrays });
        }
    }
    Ok(variables)
}

/// Where the bytes come from, and their order.
struct Parser<'a> {
    path: &'a Path,
    big_endian: bool,
    /// The one variable whose numbers are read; none for those of all.
    wanted: Option<&'a str>,
    needed: Needed,
}

struct Matrix {
    name: String,
    arrays: Vec<Array>,
}

impl Parser<'_> {
    fn malformed(&self, problem: impl Into<String>) -> DataError {
        DataError::malformed(self.path, problem, SAVE_AGAIN)
    }

    /// Fails where `what` needs more memory than there is.
    fn require(&self, what: &str, bytes: u64) -> Result<(), DataError> {
        memory::require(what, bytes, "save a part of it").map_err(|error| error.in_file(self.path))
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// The next element, its type and its data.
    fn element<'b>(&self, rest: &mut &'b [u8]) -> Result<(u32, &'b [u8]), DataError> {
        let ends = || self.malformed("it ends inside of an element");
        let word = |at: usize| -> Option<u32> {
            let bytes = rest.get(at..at + 4)?;
            Some(self.u32([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let (first, second) = word(0).zip(word(4)).ok_or_else(ends)?;
        let (kind, start, size, step) = if first >> 16 == 0 {
            let size = second as usize;
            // Compressed elements alone are not padded.
            let padded =
                if first == COMPRESSED { Some(size) } else { size.checked_next_multiple_of(8) };
            (first, 8_usize, size, padded.and_then(|size| size.checked_add(8)).ok_or_else(ends)?)
        } else {
            (first & 0xFFFF, 4, (first >> 16) as usize, 8_usize)
        };
        if start == 4 && size > 4 {
            return Err(
                self.malformed(format!("a small element announces {size} bytes, at most 4 fit"))
            );
        }
        let data = start.checked_add(size).and_then(|end| rest.get(start..end)).ok_or_else(ends)?;
        // The last element may lack its padding.
        *rest = rest.get(step..).unwrap_or_default();
        Ok((kind, data))
    }

    /// The element that compressed data hold, its tag before it.
    fn inflate(&self, data: &[u8]) -> Result<Vec<u8>, DataError> {
        let mut decoder = flate2::read::ZlibDecoder::new(data);
        let damaged =
            |error| self.malformed(format!("a compressed element is unreadable ({error})"));
        let mut bytes = vec![0; 8];
        decoder.read_exact(&mut bytes).map_err(damaged)?;
        // As much as its tag says, which is not trusted with an allocation.
        let size = self.u32([bytes[4], bytes[5], bytes[6], bytes[7]]);
        // What it grows in may have twice the bytes.
        self.require("a variable of the file", 2 * u64::from(size))?;
        decoder.take(u64::from(size)).read_to_end(&mut bytes).map_err(damaged)?;
        Ok(bytes)
    }

    /// The data of an element of type [`MATRIX`]; without arrays where it holds no numbers.
    fn matrix(&self, data: &[u8], depth: usize) -> Result<Matrix, DataError> {
        let mut rest = data;
        // Cells that were never filled.
        if rest.is_empty() {
            return Ok(Matrix { name: String::new(), arrays: Vec::new() });
        }
        let (_, flags) = self.element(&mut rest)?;
        let flags = match flags {
            [a, b, c, d, ..] => self.u32([*a, *b, *c, *d]),
            _ => return Err(self.malformed("a variable has no flags")),
        };
        let (_, dims) = self.element(&mut rest)?;
        let dims: Vec<usize> =
            dims.chunks_exact(4).map(|b| self.u32([b[0], b[1], b[2], b[3]]) as usize).collect();
        if dims.len() > MOST_DIMS {
            return Err(self.malformed(format!(
                "a variable has {} dimensions, at most {MOST_DIMS} are read",
                dims.len()
            )));
        }
        let (_, name) = self.element(&mut rest)?;
        let name = String::from_utf8_lossy(name).into_owned();
        if depth == 0 && self.wanted.is_some_and(|wanted| wanted != name) {
            return Ok(Matrix { name, arrays: Vec::new() });
        }
        let Some(count) = checked_product(&dims) else {
            return Err(self.malformed(format!(
                "the variable {name:?} has dimensions {dims:?} that overflow"
            )));
        };
        let arrays = match flags & 0xFF {
            // A cell.
            1 if depth < DEEPEST => {
                let mut arrays = Vec::new();
                while !rest.is_empty() {
                    let (kind, data) = self.element(&mut rest)?;
                    if kind == MATRIX {
                        arrays.extend(self.matrix(data, depth + 1)?.arrays);
                    }
                }
                arrays
            }
            // Floats and integers.
            6..=15 => {
                let re = self.numbers(&mut rest, &name, &dims, count)?;
                let array = if flags & 0x800 == 0 {
                    Array { dims, values: re }
                } else {
                    self.needed.check_complex(self.path, &format!("the variable {name:?}"))?;
                    let im = self.numbers(&mut rest, &name, &dims, count)?;
                    self.require(&format!("the variable {name:?}"), 16 * count as u64)?;
                    complex_pairs(&dims, &re, &im)
                };
                vec![array]
            }
            _ => Vec::new(),
        };
        Ok(Matrix { name, arrays })
    }

    /// The numbers of an element, in row-major order.
    fn numbers(
        &self,
        rest: &mut &[u8],
        name: &str,
        dims: &[usize],
        count: usize,
    ) -> Result<Vec<f64>, DataError> {
        let (kind, data) = self.element(rest)?;
        macro_rules! read {
            ($t:ty) => {{
                let (items, left) = data.as_chunks::<{ size_of::<$t>() }>();
                // In both orders.
                self.require(&format!("the variable {name:?}"), 16 * items.len() as u64)?;
                let value = |b: &[u8; size_of::<$t>()]| {
                    if self.big_endian { <$t>::from_be_bytes(*b) } else { <$t>::from_le_bytes(*b) }
                };
                (items.iter().map(|b| value(b) as f64).collect::<Vec<f64>>(), left.is_empty())
            }};
        }
        let (values, is_whole) = match kind {
            1 => read!(i8),
            2 => read!(u8),
            3 => read!(i16),
            4 => read!(u16),
            5 => read!(i32),
            6 => read!(u32),
            7 => read!(f32),
            9 => read!(f64),
            12 => read!(i64),
            13 => read!(u64),
            other => {
                return Err(self.malformed(format!(
                    "the variable {name:?} has data of the unknown type {other}"
                )));
            }
        };
        if !is_whole || values.len() != count {
            return Err(self.malformed(format!(
                "the variable {name:?} of dimensions {dims:?} has {} values in {} bytes",
                values.len(),
                data.len()
            )));
        }
        require_finite(self.path, &format!("the variable {name:?}"), &values)?;
        Ok(row_major(dims, &values))
    }
}
