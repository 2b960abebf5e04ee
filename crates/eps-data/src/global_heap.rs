//! The global heaps of HDF5 files, in which texts of variable length lie.
//!
//! They carry no checksums, and the HDF5 library walks from object to object by their sizes: from an object 0,
//! the free space, of size 0 it never gets on. So the sizes are checked here before such a text is read.
//!
//! ```text
//! "GCOL", version 1, three bytes 0, size of the collection
//! object: index u16, references u16, four bytes, size, content up to a multiple of 8; index 0 is free space,
//!         whose size counts its header
//! ```
//!
//! See section III.E of the HDF5 file format specification, version 3.0.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};

use crate::partial_read::read_up_to;

const START: &[u8; 8] = b"GCOL\x01\0\0\0";

/// The first bytes of an HDF5 file, or of what follows a block of the user's.
const SUPERBLOCK: &[u8; 8] = b"\x89HDF\r\n\x1a\n";

/// In bytes: what is searched at a time.
const BLOCK: usize = 1 << 20;

/// The place of a heap in a file from which the library would never return, if there is one.
///
/// # Errors
///
/// Those of reading.
pub(crate) fn endless(file: &mut File) -> io::Result<Option<u64>> {
    let length = file.metadata()?.len();
    let width = width_of_sizes(file, length)?;
    let mut block = vec![0; BLOCK + START.len()];
    let mut first = 0;
    while first < length {
        file.seek(SeekFrom::Start(first))?;
        let read = read_up_to(file, &mut block)?;
        let found = block[..read].windows(START.len()).enumerate();
        let starts: Vec<u64> = found
            // The first byte alone rules nearly all places out.
            .filter(|(_, bytes)| bytes[0] == START[0] && bytes == START)
            .map(|(at, _)| first + at as u64)
            .collect();
        for start in starts {
            if !ends(file, start, width)? {
                return Ok(Some(start));
            }
        }
        first += BLOCK as u64;
    }
    Ok(None)
}

/// The bytes of a size, as the superblock tells; 8 where none is found.
fn width_of_sizes(file: &mut File, length: u64) -> io::Result<usize> {
    let places = std::iter::once(0).chain((9..).map(|power| 1 << power));
    for place in places.take_while(|&place: &u64| place < length) {
        file.seek(SeekFrom::Start(place))?;
        let mut start = [0; 16];
        let read = read_up_to(file, &mut start)?;
        if read == start.len() && start.starts_with(SUPERBLOCK) {
            // Versions 0 and 1 have it after the versions of five parts.
            let width = if start[8] < 2 { start[14] } else { start[10] };
            if let 2 | 4 | 8 = width {
                return Ok(usize::from(width));
            }
        }
    }
    Ok(8)
}

/// Whether a walk through the objects of a heap ends, be it in an error.
fn ends(file: &mut File, start: u64, width: usize) -> io::Result<bool> {
    file.seek(SeekFrom::Start(start + START.len() as u64))?;
    let mut reader = BufReader::new(file);
    let mut size = [0; 8];
    if read_up_to(&mut reader, &mut size[..width])? < width {
        return Ok(true);
    }
    let size = u64::from_le_bytes(size);
    let aligned = |size: u64| size.checked_next_multiple_of(8);
    let header_of_object = (8 + width as u64).next_multiple_of(8);
    let mut at = (START.len() as u64 + width as u64).next_multiple_of(8);
    while at.checked_add(header_of_object).is_some_and(|end| end <= size) {
        reader.seek(SeekFrom::Start(start.saturating_add(at)))?;
        let mut object = [0; 16];
        if read_up_to(&mut reader, &mut object[..8 + width])? < 8 + width {
            return Ok(true);
        }
        let index = u16::from_le_bytes([object[0], object[1]]);
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&object[8..8 + width]);
        let length = u64::from_le_bytes(bytes);
        let step = match index {
            0 => Some(length),
            _ => aligned(length).and_then(|length| length.checked_add(header_of_object)),
        };
        match step.and_then(|step| Some((step, at.checked_add(step)?))) {
            Some((0, _)) => return Ok(false),
            Some((_, next)) => at = next,
            None => return Ok(true),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A heap of 64 bytes with one object of 5 and the free space that is left.
    fn heap(free: u64) -> Vec<u8> {
        let size = |size: u64| size.to_le_bytes();
        let object = [&[1, 0, 1, 0, 0, 0, 0, 0][..], &size(5), b"hello\0\0\0"].concat();
        let rest = [&[0; 8][..], &size(free), &[0; 8]].concat();
        [&START[..], &size(64), &object, &rest].concat()
    }

    #[test]
    fn free_space_of_no_size_is_found_wherever_it_lies() {
        let found = |content: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content).unwrap();
            endless(&mut file).unwrap()
        };
        let place = (BLOCK - 3) as u64;
        let before = vec![7; BLOCK - 3];
        assert_eq!(found(&[&before[..], &heap(24)].concat()), None);
        assert_eq!(found(&[&before[..], &heap(0)].concat()), Some(place));
        // A step that leads out of the heap, or a file that ends in it, ends the walk.
        assert_eq!(found(&[&before[..], &heap(u64::MAX)].concat()), None);
        for cut in 0..heap(0).len() {
            found(&heap(0)[..cut]);
        }
    }
}
