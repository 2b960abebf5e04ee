//! DICOM files of scans, with the values of their modality, such as hounsfield units.

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::{Codec, TransferSyntax, TransferSyntaxIndex as _};
use dicom_object::{DefaultDicomObject, FileMetaTable, OpenFileOptions, Tag};
use dicom_parser::dataset::{LazyDataToken, lazy_read::LazyDataSetReader};
use dicom_pixeldata::PixelDecoder as _;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use eps_files::require_regular;

use crate::DataError;
use crate::array::{Array, Needed};
use crate::error::require_finite;
use crate::panics::without_panics;
use crate::picture_size::check_size;

const AS_NPY: &str = "save it as an NPY array by pydicom: ds = pydicom.dcmread(FILE); \
                      numpy.save(\"y.npy\", pydicom.pixels.apply_modality_lut(ds.pixel_array, ds))";

/// The bytes before the mark by which a file is known.
const PREAMBLE: usize = 128;

const MARK: &[u8; 4] = b"DICM";

/// Whether a file begins as DICOM files do, whose names often have no ending; not the index of a disk, DICOMDIR, which holds no scan.
pub(crate) fn is_dicom(path: &Path) -> bool {
    let mut start = [0; PREAMBLE + MARK.len()];
    let mut reads = || File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok();
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_uppercase();
    let is_index = name.starts_with("DICOMDIR");
    !is_index && path.is_file() && reads() && start.ends_with(MARK)
}

/// Reads the scan of a file, `[H, W]`, or `[N, 1, H, W]` of several frames, and what whoever measures with it should know.
///
/// Values are those of the modality: stored ones times `RescaleSlope` plus `RescaleIntercept`. No window is applied.
pub(crate) fn read_dicom(path: &Path, needed: Needed) -> Result<(Array, Vec<String>), DataError> {
    require_regular(path)?;
    let (array, notes) = without_panics(path, || decode(path))?;
    if needed != Needed::WithGaps {
        require_finite(path, "the scan", &array.values)?;
    }
    Ok((array, notes))
}

fn decode(path: &Path) -> Result<(Array, Vec<String>), DataError> {
    let bad = |problem: String| DataError::malformed(path, problem, AS_NPY);
    let unreadable = |error: &dyn Error| {
        let remedy = "the file is truncated, damaged or of another format: copy or export it again";
        DataError::stand_in_or(path, || {
            let problem = format!("the DICOM file is unreadable ({})", causes(error));
            DataError::malformed(path, problem, remedy)
        })
    };
    let content = File::open(path).map_err(DataError::io(path, "open"))?;
    check_lengths(content).map_err(|error| unreadable(&*error))?;
    let file = OpenFileOptions::new().open_file(path).map_err(|error| unreadable(&error))?;
    let has = |tag: Tag| file.element_opt(tag).is_ok_and(|element| element.is_some());
    let number = |tag: Tag| file.element_opt(tag).ok().flatten()?.to_int::<u32>().ok();
    let text = |tag: Tag| Some(file.element_opt(tag).ok()??.to_str().ok()?.trim().to_owned());
    let (Some(height), Some(width), true) =
        (number(tags::ROWS), number(tags::COLUMNS), has(tags::PIXEL_DATA))
    else {
        let problem = "the DICOM file holds no picture of whole numbers (PixelData)";
        return Err(DataError::malformed(path, problem, "give a file of a scan, or an NPY array"));
    };
    if let Some(bits) = number(tags::BITS_ALLOCATED).filter(|bits| ![8, 16].contains(bits)) {
        return Err(bad(format!("the DICOM file's values have {bits} bits, and 8 or 16 are read")));
    }
    let frames = number(tags::NUMBER_OF_FRAMES).unwrap_or(1) as usize;
    let (height, width) = (height as usize, width as usize);
    let colours = text(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default();
    if number(tags::SAMPLES_PER_PIXEL).unwrap_or(1) != 1 || !colours.starts_with("MONOCHROME") {
        return Err(DataError::malformed(
            path,
            format!("the DICOM file's pixels are {colours}, which are no values of a scan"),
            "export a picture of colours as PNG",
        ));
    }
    if has(tags::MODALITY_LUT_SEQUENCE) {
        return Err(bad("the DICOM file's values are of a table (ModalityLUTSequence)".to_owned()));
    }
    check_size(path, (width, height.saturating_mul(frames)), 1, size_of::<f64>() + 2)?;
    let values = pixels(path, &file)?;
    if values.len() != frames * height * width {
        let found = values.len();
        return Err(bad(format!(
            "the DICOM file has {found} values of {frames} frames of {width} x {height} pixels"
        )));
    }
    let shown = path.display();
    let inverted = (colours == "MONOCHROME1").then(|| {
        format!("larger values of {shown} are darker (MONOCHROME1), and are kept as they are")
    });
    let lossy = (text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01")).then(|| {
        format!(
            "{shown} was compressed with losses: what they changed is no Gaussian noise, and sigma_y has to cover it"
        )
    });
    let dims = if frames == 1 { vec![height, width] } else { vec![frames, 1, height, width] };
    Ok((Array { dims, values }, inverted.into_iter().chain(lossy).collect()))
}

/// Fails where an element announces more bytes than the file has: its reader would take memory for them.
fn check_lengths(file: File) -> Result<(), Box<dyn Error>> {
    let length = file.metadata()?.len();
    let mut file = BufReader::new(file);
    file.seek(SeekFrom::Start(PREAMBLE as u64))?;
    let mut mark = [0; MARK.len()];
    file.read_exact(&mut mark)?;
    if mark != *MARK {
        return Err(format!("its bytes from {PREAMBLE} on are not DICM").into());
    }
    let syntax = |name: &str| TransferSyntaxRegistry.get(name);
    let of_meta = syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN).ok_or("no syntax of its beginning")?;
    let is_meta = |tag: Tag| tag.group() == META;
    check_elements(&mut file, of_meta, length, is_meta)?;
    file.seek(SeekFrom::Start(PREAMBLE as u64))?;
    let meta = FileMetaTable::from_reader(&mut file)?;
    match syntax(meta.transfer_syntax()) {
        // Of a compressed file the lengths are not those of its bytes; an unknown syntax is refused where it is read.
        Some(found) if !matches!(found.codec(), Codec::Dataset(_)) => {
            check_elements(&mut file, found, length, |_| true)
        }
        _ => Ok(()),
    }
}

/// The group of the elements that say how the others are encoded.
const META: u16 = 2;

/// Fails where one of the next elements is longer than the file, up to the first that does not belong to them.
fn check_elements(
    file: &mut BufReader<File>,
    syntax: &TransferSyntax,
    length: u64,
    belongs: impl Fn(Tag) -> bool,
) -> Result<(), Box<dyn Error>> {
    let mut elements = LazyDataSetReader::new_with_ts(file, syntax)?;
    while let Some(token) = elements.advance() {
        let token = token?;
        let announced = match &token {
            LazyDataToken::ElementHeader(header) if !belongs(header.tag) => break,
            LazyDataToken::LazyValue { header, .. } => header.len.0,
            LazyDataToken::LazyItemValue { len, .. } => *len,
            _ => 0,
        };
        if u64::from(announced) > length {
            return Err(format!(
                "an element announces {announced} bytes, and the file has {length}"
            )
            .into());
        }
        token.skip()?;
    }
    Ok(())
}

fn pixels(path: &Path, file: &DefaultDicomObject) -> Result<Vec<f64>, DataError> {
    let pixels = file.decode_pixel_data().and_then(|pixels| pixels.to_vec::<f64>());
    pixels.map_err(|error| {
        let uid = file.meta().transfer_syntax();
        let syntax = TransferSyntaxRegistry.get(uid).map_or(uid, |syntax| syntax.name());
        DataError::malformed(
            path,
            format!(
                "the DICOM file's pixels are not decoded ({}; transfer syntax {syntax})",
                causes(&error)
            ),
            "decompress it, as `gdcmconv --raw FILE NEW.dcm` or `dcmdjpeg` does, or give an NPY array",
        )
    })
}

/// An error with its causes.
fn causes(error: &dyn Error) -> String {
    let mut told = vec![error.to_string()];
    let mut rest = error.source();
    while let Some(cause) = rest {
        let cause_told = cause.to_string();
        // Some tell their cause themselves.
        if !told.iter().any(|known| known.contains(&cause_told)) {
            told.push(cause_told);
        }
        rest = cause.source();
    }
    told.join(": ")
}
