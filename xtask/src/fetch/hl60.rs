//! Projections of a living HL60 cell by light (M. Schürmann et al. 2017, CC0), out of the source archive of ODTbrain.

use std::fs;
use std::io::{BufReader, Read as _};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

use super::source_archive::SourceArchive;
use crate::process::deps;
use crate::{folder, space};

const ARCHIVE: SourceArchive = SourceArchive {
    package: "odtbrain",
    version: "0.4.12",
    file: "odtbrain-0.4.12.tar.gz",
    sha256: "46270c8c06b81e6969799beb62d6369551855453426e7ce10afd2b9e78a489e3",
    megabytes: 9,
    item: "hl60",
};

/// What it is called in the archive.
const MEMBER: &str = "odtbrain-0.4.12/examples/data/qlsi_3d_hl60-cell_A140.tar.lzma";

/// The archive, and its content twice.
const MEGABYTES: u64 = 60;

/// The projections, and their angles in radians.
const FILES: [&str; 2] = ["series.h5", "angles.txt"];

/// Brings the projections into `.deps/hl60/`, from the user's `archive` where one is given.
pub(crate) fn fetch(archive: Option<&Path>) -> Result<()> {
    let target = deps().join("hl60");
    if FILES.iter().all(|file| target.join(file).exists()) {
        println!("the projections of the cell are in {}", target.display());
        return Ok(());
    }
    let arriving = deps().join("hl60.part");
    folder::create_empty(&arriving)?;
    space::require(&arriving, MEGABYTES, "fetching the projections of a cell")?;
    let unpacked = arriving.join("unpacked");
    let outcome = ARCHIVE
        .bring(&arriving, archive)
        .and_then(|archive| unpack(&archive, &unpacked))
        .and_then(|()| {
            folder::remove(&target)?;
            fs::rename(&unpacked, &target)
                .with_context(|| format!("could not move the projections to {}", target.display()))
        });
    folder::remove(&arriving)?;
    outcome?;
    println!("the projections of the cell are in {}", target.display());
    Ok(())
}

/// Unpacks the files of the archive in the archive into the new folder `out`.
fn unpack(archive: &Path, out: &Path) -> Result<()> {
    let inner = member(archive)?;
    let mut files = Vec::new();
    lzma_rs::lzma_decompress(&mut &inner[..], &mut files)
        .with_context(|| format!("could not decompress {MEMBER}"))?;
    fs::create_dir(out).with_context(|| format!("could not make {}", out.display()))?;
    tar::Archive::new(&files[..])
        .unpack(out)
        .with_context(|| format!("could not unpack {MEMBER} into {}", out.display()))?;
    for file in FILES {
        ensure!(out.join(file).exists(), "{MEMBER} holds no {file}");
    }
    Ok(())
}

/// The bytes of the archive in the archive.
fn member(archive: &Path) -> Result<Vec<u8>> {
    let file =
        fs::File::open(archive).with_context(|| format!("could not open {}", archive.display()))?;
    let mut outer = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
    let damaged = || format!("{} is no gzipped tar archive", archive.display());
    for entry in outer.entries().with_context(damaged)? {
        let mut entry = entry.with_context(damaged)?;
        if entry.path().with_context(damaged)?.as_ref() == Path::new(MEMBER) {
            let mut inner = Vec::new();
            entry.read_to_end(&mut inner).with_context(damaged)?;
            return Ok(inner);
        }
    }
    anyhow::bail!("{} holds no {MEMBER}", archive.display())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// An archive of named contents.
    fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, name, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn the_archive_in_the_archive_is_unpacked() {
        let here = std::env::temp_dir().join(format!("xtask-hl60-{}", std::process::id()));
        folder::create_empty(&here).unwrap();
        let inner = tar_of(&[("series.h5", b"frames"), ("angles.txt", b"0.5")]);
        let mut compressed = Vec::new();
        lzma_rs::lzma_compress(&mut &inner[..], &mut compressed).unwrap();
        let write = |name: &str, files: &[(&str, &[u8])]| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(&tar_of(files)).unwrap();
            fs::write(here.join(name), gzip.finish().unwrap()).unwrap();
            here.join(name)
        };
        let whole = write("whole.tar.gz", &[("other", b""), (MEMBER, &compressed)]);
        unpack(&whole, &here.join("out")).unwrap();
        assert_eq!(fs::read(here.join("out/series.h5")).unwrap(), b"frames");
        let other = write("other.tar.gz", &[("other", b"")]);
        let error = unpack(&other, &here.join("none")).unwrap_err().to_string();
        folder::remove(&here).unwrap();
        assert!(error.contains(MEMBER), "{error}");
    }
}
