//! The free space of a disk, before something arrives that would fill it.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::process::output;

/// Checks that the disk of a folder has room for `what`, which takes so many megabytes at most on its
/// way; where the system does not tell, nothing is refused.
pub(crate) fn require(folder: &Path, megabytes: u64, what: &str) -> Result<()> {
    let Some(free) = free(folder) else { return Ok(()) };
    ensure!(
        free >= megabytes,
        "{what} takes up to {megabytes} MB on the way, and the disk of {} has {free} MB free: make room, or \
         make the folder a link to one on another disk",
        folder.display()
    );
    Ok(())
}

/// The megabytes that a user may still write to the disk of a folder.
fn free(folder: &Path) -> Option<u64> {
    let mut df = Command::new("df");
    // Other languages say the same in other words.
    df.env("LC_ALL", "C").arg("-Pk").arg(folder);
    parse(&output(&mut df).ok()?)
}

/// Reads what `df -Pk` prints of one folder: its second line ends in
/// `used available capacity% where-mounted`, in blocks of 1024 bytes.
fn parse(said: &str) -> Option<u64> {
    let words: Vec<&str> = said.lines().nth(1)?.split_whitespace().collect();
    let capacity = words.iter().rposition(|word| {
        word.strip_suffix('%').is_some_and(|number| number.parse::<u32>().is_ok())
    })?;
    let blocks: u64 = words.get(capacity.checked_sub(1)?)?.parse().ok()?;
    Some(blocks * 1024 / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_available_blocks_are_read_whatever_the_disk_is_called() {
        let head = "Filesystem     1024-blocks      Used Available Capacity Mounted on\n";
        let plain = format!("{head}/dev/sda1        102687672  50000000  52000000      50% /\n");
        assert_eq!(parse(&plain), Some(53_248));
        let spaces = format!("{head}a share 2 10 5 1000000 1% /mnt/50 %\n");
        assert_eq!(parse(&spaces), Some(1024));
        assert_eq!(parse(head), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse("a\n- - - - b"), None);
    }

    #[test]
    fn a_disk_that_is_too_small_is_named_with_both_numbers() {
        let folder = std::env::temp_dir();
        require(&folder, 0, "nothing").unwrap();
        let error = require(&folder, u64::MAX, "the moon").unwrap_err().to_string();
        assert!(error.starts_with(&format!("the moon takes up to {} MB", u64::MAX)), "{error}");
        assert!(
            error.contains(&folder.display().to_string()) && error.contains("make room"),
            "{error}"
        );
        // A folder that is not there is for those to name who write to it.
        require(Path::new("/no/such/folder"), u64::MAX, "the moon").unwrap();
    }
}
