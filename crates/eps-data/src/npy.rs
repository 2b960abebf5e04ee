//! NPY and NPZ, the array formats of NumPy.
//!
//! ```text
//! \x93NUMPY MAJOR MINOR   header length (u16, from version 2 on u32, little-endian)
//! {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   then the values
//! ```
//!
//! Versions 1 to 3; booleans, integers, floats and complex numbers of either byte order, in C or Fortran order, all
//! read as f64 (integers beyond 2⁵³ are rounded). Complex numbers are pairs of channels, real and imaginary part:
//! `[.., C, H, W]` is read as `[.., 2C, H, W]`, `[H, W]` as `[2, H, W]`, `[N]` as `[2, 1, N]`. NPZ is a ZIP archive of NPY files, stored or
//! deflated. The header's grammar is small, and reading it here lets every size be checked before
//! anything is allocated.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use eps_files::{require_regular, write_atomically};
use eps_math::{Shape, ShapeError};

use crate::array::{Array, Meant, Needed, checked_product, choose};
use crate::error::require_finite;
use crate::{DataError, memory};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
const SAVE_AGAIN: &str = "the file is damaged or of another format: save it again with numpy.save";
/// Far above any header of a plain array, far below what would hurt to allocate.
const LONGEST_HEADER: usize = 1 << 16;

/// The most characters of a header that an error shows.
const LONGEST_SHOWN: usize = 200;

/// Values to be written, by their type in the file.
#[derive(Clone, Copy, Debug)]
pub enum NpyValues<'a> {
    /// `<f4`
    F32(&'a [f32]),
    /// `<f8`
    F64(&'a [f64]),
    /// `|u1`
    U8(&'a [u8]),
}

/// Reads an NPY file.
///
/// # Errors
///
/// [`DataError::Io`] where the file cannot be read, [`DataError::Malformed`] where it is no NPY
/// file, is truncated, has bytes left over or holds a type that is no number, and
/// [`DataError::NonFinite`] where a value is NaN or infinite.
pub fn read_npy(path: &Path) -> Result<Array, DataError> {
    read_npy_with(path, Needed::Finite)
}

/// [`read_npy`], with what becomes of values that are not finite.
pub(crate) fn read_npy_with(path: &Path, needed: Needed) -> Result<Array, DataError> {
    require_regular(path)?;
    let file = File::open(path).map_err(DataError::io(path, "open"))?;
    parse(path, "the array", BufReader::new(file), needed)
}

/// Reads all arrays of an NPZ file, with their names, in the order of the file.
///
/// # Errors
///
/// As [`read_npy`], for every member.
pub fn read_npz(path: &Path) -> Result<Vec<(String, Array)>, DataError> {
    let mut archive = open_npz(path)?;
    (0..archive.len())
        .map(|index| {
            let member = archive.by_index(index).map_err(|error| damaged_npz(path, error))?;
            let name = name_of(member.name());
            let array = parse(path, &format!("the array {name:?}"), member, Needed::Finite)?;
            Ok((name, array))
        })
        .collect()
}

/// Reads one array of an NPZ file; what the others hold does not matter.
pub(crate) fn read_npz_array(
    path: &Path,
    meant: Meant<'_>,
    needed: Needed,
) -> Result<Array, DataError> {
    let mut archive = open_npz(path)?;
    let names = names_of(path, &mut archive)?;
    let index = choose(path, &names, meant)?;
    let member = archive.by_index(index).map_err(|error| damaged_npz(path, error))?;
    parse(path, &format!("the array {:?}", names[index]), member, needed)
}

/// Whether an NPZ file holds an array of this name.
pub(crate) fn npz_holds(path: &Path, name: &str) -> Result<bool, DataError> {
    Ok(names_of(path, &mut open_npz(path)?)?.iter().any(|found| found == name))
}

fn names_of(path: &Path, archive: &mut Npz) -> Result<Vec<String>, DataError> {
    (0..archive.len())
        .map(|index| {
            let member = archive.by_index_raw(index).map_err(|error| damaged_npz(path, error))?;
            Ok(name_of(member.name()))
        })
        .collect()
}

type Npz = zip::ZipArchive<BufReader<File>>;

fn open_npz(path: &Path) -> Result<Npz, DataError> {
    require_regular(path)?;
    let file = File::open(path).map_err(DataError::io(path, "open"))?;
    zip::ZipArchive::new(BufReader::new(file)).map_err(|error| damaged_npz(path, error))
}

/// The name of an array by that of its member.
fn name_of(member: &str) -> String {
    member.strip_suffix(".npy").unwrap_or(member).to_owned()
}

fn damaged_npz(path: &Path, error: zip::result::ZipError) -> DataError {
    DataError::stand_in_or(path, || {
        DataError::malformed(
            path,
            format!("the ZIP archive is unreadable ({error})"),
            "the file is damaged or of another format: save it again with numpy.savez",
        )
    })
}

/// Writes an NPY file, version 1, in C order.
///
/// # Errors
///
/// [`DataError::Invalid`] where the number of values is not the product of `dims`,
/// [`DataError::Io`] where the file cannot be written.
pub fn write_npy(path: &Path, dims: &[usize], values: NpyValues<'_>) -> Result<(), DataError> {
    let (descr, count) = match values {
        NpyValues::F32(v) => ("<f4", v.len()),
        NpyValues::F64(v) => ("<f8", v.len()),
        NpyValues::U8(v) => ("|u1", v.len()),
    };
    if checked_product(dims) != Some(count) {
        return Err(DataError::invalid(
            "the number of NPY values",
            count,
            format!("it must be the product of the dimensions {dims:?}"),
        ));
    }
    // As Python writes tuples: (), (2,), (2, 3).
    let joined = dims.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let comma = if dims.len() == 1 { "," } else { "" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({joined}{comma}), }}");
    // The format wants the values to start at a multiple of 64 bytes, after a newline.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(|_| {
        DataError::invalid("the number of dimensions", dims.len(), "NumPy reads at most 64")
    })?;

    Ok(write_atomically(path, |file| {
        file.write_all(MAGIC)?;
        file.write_all(&[1, 0])?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        match values {
            NpyValues::F32(v) => v.iter().try_for_each(|x| file.write_all(&x.to_le_bytes())),
            NpyValues::F64(v) => v.iter().try_for_each(|x| file.write_all(&x.to_le_bytes())),
            NpyValues::U8(v) => file.write_all(v),
        }
    })?)
}

fn parse(
    path: &Path,
    what: &str,
    mut reader: impl Read,
    needed: Needed,
) -> Result<Array, DataError> {
    let malformed = |problem: String| DataError::malformed(path, problem, SAVE_AGAIN);
    let mut exact = |part: &str, length: usize| -> Result<Vec<u8>, DataError> {
        let mut bytes = vec![0; length];
        match reader.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(malformed(format!("{what} ends inside its {part}")))
            }
            Err(e) => Err(malformed(format!("{what} is unreadable ({e})"))),
        }
    };

    let start = exact("first 8 bytes", 8)?;
    if start[..6] != MAGIC[..] {
        return Err(DataError::stand_in_or(path, || {
            malformed(format!(
                "{what} starts with the bytes {:02x?}, NPY with {MAGIC:02x?}",
                &start[..6]
            ))
        }));
    }
    let length = match start[6] {
        1 => exact("header length", 2)?.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)),
        2 | 3 => exact("header length", 4)?.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)),
        version => {
            return Err(malformed(format!("{what} is of NPY version {version}, known are 1 to 3")));
        }
    };
    if length > LONGEST_HEADER {
        return Err(malformed(format!(
            "{what} announces a header of {length} bytes, at most {LONGEST_HEADER} are read"
        )));
    }
    let text = String::from_utf8_lossy(&exact("header", length)?).into_owned();
    let header = Header::parse(&text).ok_or_else(|| {
        let shown: String = text.trim_end().chars().take(LONGEST_SHOWN).collect();
        malformed(format!("{what} has the unreadable header {shown:?}"))
    })?;
    let (real, is_complex) = match header.descr.strip_prefix(['<', '>']) {
        Some("c8") => (format!("{}f4", &header.descr[..1]), true),
        Some("c16") => (format!("{}f8", &header.descr[..1]), true),
        _ => (header.descr.to_owned(), false),
    };
    if is_complex {
        needed.check_complex(path, &format!("{what} of the type {:?}", header.descr))?;
    }
    let kind = Kind::parse(&real).ok_or_else(|| {
        DataError::malformed(
            path,
            format!("{what} is of the type {:?}, which is no number", header.descr),
            "convert it to float32, for example with numpy.asarray(a, dtype=\"f4\")",
        )
    })?;
    let parts = if is_complex { 2 } else { 1 };
    let Some((count, size)) = checked_product(&header.dims)
        .and_then(|count| count.checked_mul(parts))
        .and_then(|count| Some((count, count.checked_mul(kind.width())?)))
    else {
        return Err(malformed(format!("{what} has dimensions {:?} that overflow", header.dims)));
    };

    // Of a stack of images, whose memory is not taken before what they are is known to be too large.
    if let [_, .., channels, height, width] = header.dims[..]
        && let Err(error @ ShapeError::Large(_)) = Shape::new(channels, height, width)
    {
        let problem = format!("{what} has dimensions {:?}: {error}", header.dims);
        return Err(DataError::malformed(path, problem, "give smaller images"));
    }

    // As numbers, and in the other order; complex ones once more, taken apart, and once more in pairs.
    let copies = match (is_complex, header.fortran_order) {
        (true, _) => 3,
        (false, in_columns) => 1 + u64::from(in_columns),
    };
    let need = (count as u64).saturating_mul(8 * copies + kind.width() as u64);
    memory::require(
        &format!("{what} of dimensions {:?}", header.dims),
        need,
        "give fewer images at a time",
    )
    .map_err(|error| error.in_file(path))?;
    // The header is not trusted with an allocation; one byte more shows what is left over.
    let mut bytes = Vec::new();
    reader
        .take((size as u64).saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| malformed(format!("{what} is unreadable ({e})")))?;
    if bytes.len() != size {
        let found = bytes.len();
        let ends = if found < size {
            format!("ends after {found} of {size} bytes")
        } else {
            format!("has bytes left over after its {size}")
        };
        return Err(malformed(format!(
            "{what} of dimensions {:?} and type {:?} {ends}",
            header.dims, header.descr
        )));
    }

    let stored: Vec<f64> = bytes.chunks_exact(kind.width()).map(|b| kind.value(b)).collect();
    debug_assert_eq!(stored.len(), count);
    if needed != Needed::WithGaps {
        require_finite(path, what, &stored)?;
    }
    let ordered = |values: Vec<f64>| {
        if header.fortran_order { row_major(&header.dims, &values) } else { values }
    };
    if is_complex {
        let part = |part: usize| ordered(stored.iter().skip(part).step_by(2).copied().collect());
        return Ok(complex_pairs(&header.dims, &part(0), &part(1)));
    }
    let values = ordered(stored);
    Ok(Array { dims: header.dims, values })
}

/// Complex numbers as pairs of channels: channel c as the channels 2c, its real part, and 2c + 1, its imaginary part.
pub(crate) fn complex_pairs(dims: &[usize], re: &[f64], im: &[f64]) -> Array {
    let mut all: Vec<usize> = vec![1; 3_usize.saturating_sub(dims.len())];
    all.extend(dims);
    let channel = all.len() - 3;
    // Where one is 0, the product of all says nothing about the others.
    all[channel] = all[channel].saturating_mul(2);
    let plane = all[channel + 1].saturating_mul(all[channel + 2]).max(1);
    let planes = re.chunks_exact(plane).zip(im.chunks_exact(plane));
    let values = planes.flat_map(|(re, im)| re.iter().chain(im)).copied().collect();
    Array { dims: all, values }
}

/// Column-major values in row-major order.
pub(crate) fn row_major(dims: &[usize], column_major: &[f64]) -> Vec<f64> {
    (0..column_major.len())
        .map(|flat| {
            // From the last axis, the fastest of the row-major index and the slowest of the other.
            let mut rest = flat;
            let mut stride = column_major.len();
            let mut source = 0;
            for &dim in dims.iter().rev() {
                stride /= dim;
                source += (rest % dim) * stride;
                rest /= dim;
            }
            column_major[source]
        })
        .collect()
}

struct Header<'a> {
    descr: &'a str,
    fortran_order: bool,
    dims: Vec<usize>,
}

impl<'a> Header<'a> {
    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`, keys in any order.
    fn parse(text: &'a str) -> Option<Self> {
        let mut rest = Scanner(text);
        let (mut descr, mut fortran_order, mut dims) = (None, None, None);
        rest.take('{')?;
        while rest.take('}').is_none() {
            let key = rest.quoted()?;
            rest.take(':')?;
            match key {
                "descr" => descr = Some(rest.quoted()?),
                "fortran_order" => {
                    fortran_order = Some(match rest.word() {
                        "True" => true,
                        "False" => false,
                        _ => return None,
                    });
                }
                "shape" => dims = Some(rest.tuple()?),
                _ => return None,
            }
            if rest.take(',').is_none() {
                rest.take('}')?;
                break;
            }
        }
        rest.0.trim().is_empty().then_some(())?;
        Some(Header { descr: descr?, fortran_order: fortran_order?, dims: dims? })
    }
}

/// The part of a header that is yet to be read; every step skips leading space.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    fn take(&mut self, symbol: char) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(symbol)?;
        Some(())
    }

    fn word(&mut self) -> &'a str {
        let text = self.0.trim_start();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        self.0 = rest;
        word
    }

    fn quoted(&mut self) -> Option<&'a str> {
        let quote = if self.take('\'').is_some() { '\'' } else { self.take('"').map(|()| '"')? };
        let (inside, rest) = self.0.split_once(quote)?;
        self.0 = rest;
        Some(inside)
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut numbers = Vec::new();
        self.take('(')?;
        while self.take(')').is_none() {
            // Python 2 wrote long integers as 3L.
            let word = self.word();
            numbers.push(word.strip_suffix('L').unwrap_or(word).parse().ok()?);
            if self.take(',').is_none() {
                self.take(')')?;
                break;
            }
        }
        Some(numbers)
    }
}

/// A number type of NumPy.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    letter: u8,
    width: usize,
    big_endian: bool,
}

impl Kind {
    pub(crate) fn parse(descr: &str) -> Option<Self> {
        let &[order, letter, width] = descr.as_bytes() else {
            return None;
        };
        let big_endian = match order {
            b'<' | b'|' => false,
            b'>' => true,
            _ => return None,
        };
        match (letter, width) {
            (b'b', b'1')
            | (b'u' | b'i', b'1' | b'2' | b'4' | b'8')
            | (b'f', b'2' | b'4' | b'8') => {
                Some(Kind { letter, width: usize::from(width - b'0'), big_endian })
            }
            _ => None,
        }
    }

    pub(crate) fn width(self) -> usize {
        self.width
    }

    /// The value of `width` bytes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "the upper bytes are 0, and the lower ones are what they are read as"
    )]
    pub(crate) fn value(self, bytes: &[u8]) -> f64 {
        let mut little = [0; 8];
        little[..self.width].copy_from_slice(bytes);
        if self.big_endian {
            little[..self.width].reverse();
        }
        let bits = u64::from_le_bytes(little);
        match (self.letter, self.width) {
            (b'f', 2) => half::f16::from_bits(bits as u16).to_f64(),
            (b'f', 4) => f64::from(f32::from_bits(bits as u32)),
            (b'f', _) => f64::from_bits(bits),
            (b'i', 1) => f64::from(bits as i8),
            (b'i', 2) => f64::from(bits as i16),
            (b'i', 4) => f64::from(bits as i32),
            (b'i', _) => bits as i64 as f64,
            _ => bits as f64,
        }
    }
}
