//! NIfTI-1 files of scans, `.nii` and `.nii.gz`.
//!
//! The format: *NIfTI-1 Data Format* (NIMH, 2003); `nifti` parses its header.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use eps_files::require_regular;
use flate2::read::MultiGzDecoder;
use nifti::{Endianness, NiftiError, NiftiHeader, NiftiType};

use crate::array::{Array, Needed, checked_product};
use crate::error::require_finite;
use crate::npy::{Kind, complex_pairs};
use crate::{DataError, memory};

const AS_NPY: &str =
    "save it as an NPY array: numpy.save(\"y.npy\", nibabel.load(FILE).get_fdata().T)";

/// The bytes of a header, at the start of a file.
const HEADER: usize = 348;

/// The header and four bytes that tell whether extensions follow: values come no earlier.
const FIRST_VALUE: f32 = 352.0;

/// The magic of the header of values in another file.
const VALUES_ELSEWHERE: &[u8; 4] = b"ni1\0";

/// Reads the scan of a file: `[H, W]`, or `[N, 1, H, W]` of a volume's slices, those of a series one volume after the other.
///
/// The first axis of the file, x, is that of columns, as in `nibabel.load(FILE).get_fdata().T`; values are those of its scale,
/// `scl_slope` and `scl_inter`.
pub(crate) fn read_nifti(path: &Path, needed: Needed) -> Result<Array, DataError> {
    require_regular(path)?;
    let open = || File::open(path).map_err(DataError::io(path, "open"));
    let mut start = [0; 2];
    // Whatever its ending.
    let is_compressed = open()?.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b];
    let file = BufReader::new(open()?);
    match is_compressed {
        true => parse(path, MultiGzDecoder::new(file), needed),
        false => parse(path, file, needed),
    }
}

fn parse(path: &Path, mut reader: impl Read, needed: Needed) -> Result<Array, DataError> {
    let bad = |problem: String, remedy| DataError::malformed(path, problem, remedy);
    let unreadable = |error: &dyn std::fmt::Display| {
        let remedy = "the file is truncated, damaged or of another format: copy or save it again";
        DataError::stand_in_or(path, || {
            bad(format!("the NIfTI file is unreadable ({error})"), remedy)
        })
    };
    let mut start = [0; HEADER];
    reader.read_exact(&mut start).map_err(|error| unreadable(&error))?;
    let inconsistent = |error: NiftiError| match start[..4] {
        [0x1c, 2, 0, 0] | [0, 0, 2, 0x1c] => bad("the file is of NIfTI-2".to_owned(), AS_NPY),
        _ => unreadable(&error),
    };
    let header = NiftiHeader::from_reader(&start[..]).map_err(inconsistent)?;
    if header.magic == *VALUES_ELSEWHERE {
        let problem = "the values of the NIfTI file are in one of their own (.img)";
        return Err(bad(problem.to_owned(), AS_NPY));
    }
    let dims = dimensions(header.dim().map_err(inconsistent)?);
    let kind = header.data_type().map_err(inconsistent)?;
    let order = if header.endianness == Endianness::Little { '<' } else { '>' };
    let (name, is_complex) = number(kind).ok_or_else(|| {
        bad(format!("the NIfTI file's values are {kind:?}, which are no numbers"), AS_NPY)
    })?;
    if is_complex {
        needed.check_complex(path, &format!("{kind:?}"))?;
    }
    let kind = Kind::parse(&format!("{order}{name}")).expect("a number of NumPy");

    let parts = if is_complex { 2 } else { 1 };
    let count = checked_product(&dims).and_then(|count| count.checked_mul(parts));
    let size = count.and_then(|count| count.checked_mul(kind.width()));
    let (Some(count), Some(size)) = (count, size) else {
        return Err(bad(format!("the NIfTI file's dimensions {dims:?} overflow"), AS_NPY));
    };
    let copies = if is_complex { 3 } else { 1 };
    let need = (count as u64).saturating_mul(8 * copies + kind.width() as u64);
    memory::require(&format!("the scan of dimensions {dims:?}"), need, "give fewer slices")
        .map_err(|error| error.in_file(path))?;

    let offset = header.vox_offset;
    if !(offset.is_finite() && offset < 1e9) {
        return Err(unreadable(&format!("its values begin at byte {offset}")));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 352 on, below 1e9"
    )]
    let before = offset.max(FIRST_VALUE) as u64 - HEADER as u64;
    io::copy(&mut (&mut reader).take(before), &mut io::sink()).map_err(|e| unreadable(&e))?;
    // The header is not trusted with an allocation.
    let mut bytes = Vec::new();
    reader.take(size as u64).read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
    if bytes.len() != size {
        return Err(unreadable(&format!(
            "it ends after {} of {size} bytes of values",
            bytes.len()
        )));
    }
    let (slope, inter) = scale(&header);
    // Of a complex number the real part alone is shifted.
    let shift = |index: usize| if is_complex && index % 2 == 1 { 0.0 } else { inter };
    let stored = bytes.chunks_exact(kind.width()).map(|bytes| kind.value(bytes));
    let values: Vec<f64> =
        stored.enumerate().map(|(index, value)| slope * value + shift(index)).collect();
    if needed != Needed::WithGaps {
        require_finite(path, "the scan", &values)?;
    }
    if is_complex {
        let part = |part: usize| values.iter().skip(part).step_by(2).copied().collect::<Vec<_>>();
        return Ok(complex_pairs(&dims, &part(0), &part(1)));
    }
    Ok(Array { dims, values })
}

/// Those of an image, or of a stack of slices, from the sides that a header has, the fastest first.
fn dimensions(sides: &[u16]) -> Vec<usize> {
    let side = |axis: usize| sides.get(axis).map_or(1, |&side| usize::from(side));
    let slices = sides.iter().skip(2).map(|&side| usize::from(side)).fold(1, usize::saturating_mul);
    match slices {
        1 => vec![side(1), side(0)],
        slices => vec![slices, 1, side(1), side(0)],
    }
}

/// NumPy's name of a type, without its order of bytes, or that of both parts of complex numbers.
fn number(kind: NiftiType) -> Option<(&'static str, bool)> {
    Some(match kind {
        NiftiType::Uint8 => ("u1", false),
        NiftiType::Int8 => ("i1", false),
        NiftiType::Uint16 => ("u2", false),
        NiftiType::Int16 => ("i2", false),
        NiftiType::Uint32 => ("u4", false),
        NiftiType::Int32 => ("i4", false),
        NiftiType::Uint64 => ("u8", false),
        NiftiType::Int64 => ("i8", false),
        NiftiType::Float32 => ("f4", false),
        NiftiType::Float64 => ("f8", false),
        NiftiType::Complex64 => ("f4", true),
        NiftiType::Complex128 => ("f8", true),
        _ => return None,
    })
}

/// The slope and the offset by which stored values become those of the scan: a slope of 0 says that they are.
fn scale(header: &NiftiHeader) -> (f64, f64) {
    let (slope, inter) = (f64::from(header.scl_slope), f64::from(header.scl_inter));
    let is_scaled = slope != 0.0 && slope.is_finite() && inter.is_finite();
    if is_scaled { (slope, inter) } else { (1.0, 0.0) }
}
