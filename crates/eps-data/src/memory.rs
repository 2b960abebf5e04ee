//! How much memory is there, so that what needs more is refused by name instead of ending the program.

use std::fs;

use crate::DataError;

/// The memory that this process may still take, in bytes; none where the system does not tell.
///
/// It is the least of what Linux tells: the memory that is free or can be freed, what the process's control
/// group may still take, and what its limit of address space (`ulimit -v`) leaves.
pub fn available() -> Option<u64> {
    [free(), of_group(), of_limit()].into_iter().flatten().min()
}

/// Fails where `what` needs more memory than there is.
///
/// # Errors
///
/// [`DataError::Invalid`] with both numbers.
pub fn require(what: &str, bytes: u64, remedy: &str) -> Result<(), DataError> {
    match available() {
        Some(there) if bytes > there => Err(DataError::invalid(
            format!("the memory that {what} needs"),
            size(bytes),
            format!("{} are available: {remedy}", size(there)),
        )),
        _ => Ok(()),
    }
}

/// A number of bytes in GB (10⁹) or MB (10⁶).
pub fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes >= 1e9 { format!("{:.1} GB", bytes / 1e9) } else { format!("{:.1} MB", bytes / 1e6) }
}

fn free() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    kibibytes(rest)
}

/// What the control group leaves: its caches can be freed, what is anonymous cannot.
fn of_group() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let number = |text: String| text.trim().parse::<u64>().ok();
    let own = read("/proc/self/cgroup")?;
    let below = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim();
    let folders = [format!("/sys/fs/cgroup{below}"), "/sys/fs/cgroup".to_owned()];
    let version_2 = folders.iter().filter_map(|folder| {
        let limit = number(read(&format!("{folder}/memory.max"))?)?;
        let used = number(read(&format!("{folder}/memory.current"))?)?;
        let about = read(&format!("{folder}/memory.stat")).unwrap_or_default();
        let cached = about.lines().find_map(|line| line.strip_prefix("inactive_file "));
        let cached = cached.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    });
    let version_1 = || {
        let folder = "/sys/fs/cgroup/memory";
        let limit = number(read(&format!("{folder}/memory.limit_in_bytes"))?)?;
        let used = number(read(&format!("{folder}/memory.usage_in_bytes"))?)?;
        let about = read(&format!("{folder}/memory.stat")).unwrap_or_default();
        let cached = about.lines().find_map(|line| line.strip_prefix("total_inactive_file "));
        let cached = cached.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    };
    version_2.min().or_else(version_1)
}

/// What the limit of address space leaves.
fn of_limit() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let rest = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: u64 = rest.split_whitespace().next()?.parse().ok()?;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let used = kibibytes(status.lines().find_map(|line| line.strip_prefix("VmSize:"))?)?;
    Some(limit.saturating_sub(used))
}

/// The bytes of a text as `  1234 kB`.
fn kibibytes(text: &str) -> Option<u64> {
    text.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_more_than_there_is_is_refused_with_both_numbers() {
        let there = available().unwrap();
        assert!(there > 1 << 20, "{there}");
        assert!(require("a test", 1, "rest").is_ok());
        let error = require("a test", u64::MAX, "make it smaller").unwrap_err().to_string();
        let words = ["memory that a test needs is 18446744073.7 GB", "available: make it smaller"];
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
        assert_eq!((size(7_200_000_000), size(1_500_000)), ("7.2 GB".into(), "1.5 MB".into()));
        assert_eq!(kibibytes("   2 kB"), Some(2048));
    }
}
