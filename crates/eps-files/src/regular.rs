//! Files as against pipes and devices.

use std::fs;
use std::path::Path;

use crate::FilesError;

/// Fails where a path leads to a named pipe, a device or a socket, before it is opened: to open a pipe that nobody writes to waits for
/// ever, and a device may have no end. What is absent is left to whoever opens it, and so is what a shell hands over in `/dev/fd`, as by
/// `<(command)`: somebody writes to that.
///
/// # Errors
///
/// [`FilesError::Irregular`].
pub fn require_regular(path: &Path) -> Result<(), FilesError> {
    if path.starts_with("/dev/fd") || path == Path::new("/dev/stdin") {
        return Ok(());
    }
    match fs::metadata(path) {
        Ok(about) if !about.is_file() && !about.is_dir() => {
            Err(FilesError::Irregular(path.to_owned()))
        }
        _ => Ok(()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_and_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link.json");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        let error = crate::read_text(&link).unwrap_err().to_string();
        assert!(error.contains("link.json is no regular file"), "{error}");
        let file = dir.path().join("a.json");
        fs::write(&file, "").unwrap();
        for path in [&*file, dir.path(), &dir.path().join("absent")] {
            require_regular(path).unwrap();
        }
    }
}
