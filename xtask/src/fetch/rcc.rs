//! Resource files of Qt (`.rcc`): a tree of named files in one.
//!
//! ```text
//! "qres", version, offset of the tree, of the data, of the names   u32 each
//! node of the tree: offset of its name u32, flags u16, then
//!     of a folder: number of children u32, index of the first u32
//!     of a file:   territory u16, language u16, offset of its data u32
//!     from version 2 on: time of change u64
//! data: length u32, bytes
//! name: length u16, hash u32, UTF-16
//! ```
//!
//! All numbers have the most significant byte first (Qt, `qresource.cpp`).

use anyhow::{Context, Result, bail, ensure};

const COMPRESSED: [u16; 2] = [1, 4];
const FOLDER: u16 = 2;

/// The files of a resource file that are stored as they are, as pictures are, each with its path, in
/// the order of the tree; those that are compressed are left out.
///
/// # Errors
/// A content that is no such file, or is damaged.
pub(super) fn files(content: &[u8]) -> Result<Vec<(String, &[u8])>> {
    ensure!(content.starts_with(b"qres"), "it does not start with \"qres\"");
    let version = u32_at(content, 4)?;
    let node_length = match version {
        1 => 14,
        2 | 3 => 22,
        _ => bail!("its version is {version}, known are 1 to 3"),
    };
    let section = |at: usize| -> Result<&[u8]> {
        let start = u32_at(content, at)? as usize;
        content.get(start..).context("a section begins behind its end")
    };
    let (tree, data, names) = (section(8)?, section(12)?, section(16)?);
    let mut found = Vec::new();
    let mut rest = vec![(0, String::new())];
    // A tree has no more nodes than fit into the file; one that leads in circles would.
    let mut visits = content.len() / node_length;
    while let Some((node, folder)) = rest.pop() {
        visits = visits.checked_sub(1).context("its tree leads in circles")?;
        let at = node * node_length;
        let flags = u16_at(tree, at + 4)?;
        let path = match node {
            0 => String::new(),
            _ => format!("{folder}/{}", name(names, u32_at(tree, at)? as usize)?),
        };
        if flags & FOLDER != 0 {
            let (count, first) = (u32_at(tree, at + 6)? as usize, u32_at(tree, at + 10)? as usize);
            ensure!(count <= content.len() / node_length, "a folder has {count} children");
            rest.extend((first..first + count).rev().map(|child| (child, path.clone())));
        } else {
            if COMPRESSED.iter().any(|flag| flags & flag != 0) {
                continue;
            }
            let start = u32_at(tree, at + 10)? as usize;
            let length = u32_at(data, start)? as usize;
            let bytes = data.get(start + 4..).and_then(|rest| rest.get(..length));
            found.push((path, bytes.context("a file ends behind its end")?));
        }
    }
    Ok(found)
}

fn name(names: &[u8], at: usize) -> Result<String> {
    let length = usize::from(u16_at(names, at)?);
    let units: Vec<u16> =
        (0..length).map(|i| u16_at(names, at + 6 + 2 * i)).collect::<Result<_>>()?;
    let name = String::from_utf16(&units).context("a name is no UTF-16")?;
    ensure!(
        !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\']),
        "{name:?} is no name of a file"
    );
    Ok(name)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    Ok(u32::from_be_bytes(*found.context("it is truncated")?))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    Ok(u16::from_be_bytes(*found.context("it is truncated")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resource file of version 3 with `a/b` = "hello", its file with `flags`.
    fn resource(flags: u16) -> Vec<u8> {
        let node = |name: u32, flags: u16, first: u32, second: u32| {
            let mut node = name.to_be_bytes().to_vec();
            node.extend(flags.to_be_bytes());
            node.extend(first.to_be_bytes());
            node.extend(second.to_be_bytes());
            node.extend([0; 8]);
            node
        };
        let tree = [node(0, FOLDER, 1, 1), node(0, FOLDER, 1, 2), node(8, flags, 0, 0)].concat();
        let data = b"\0\0\0\x05hello";
        let names = b"\0\x01\0\0\0\0\0a\0\x01\0\0\0\0\0b";
        let mut content = b"qres\0\0\0\x03".to_vec();
        let offsets = [20, 20 + tree.len(), 20 + tree.len() + data.len(), 0];
        offsets[..3].iter().for_each(|&offset| content.extend((offset as u32).to_be_bytes()));
        content.extend([&tree[..], data, names].concat());
        content
    }

    #[test]
    fn a_file_has_its_path_and_its_bytes() {
        assert_eq!(files(&resource(0)).unwrap(), [("/a/b".to_owned(), &b"hello"[..])]);
    }

    #[test]
    fn damage_is_an_error() {
        let whole = resource(0);
        // The last two bytes are a name's, whose loss is noticed like that of any other byte.
        for length in 0..whole.len() {
            assert!(files(&whole[..length]).is_err(), "{length} bytes");
        }
        assert!(files(&resource(1)).unwrap().is_empty(), "a compressed file is left out");
        let mut circle = whole;
        circle[20 + 22 + 10..20 + 22 + 14].copy_from_slice(&0_u32.to_be_bytes());
        assert!(files(&circle).is_err());
    }
}
