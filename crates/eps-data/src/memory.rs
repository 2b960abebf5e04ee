//! How much memory is there, so that what needs more is refused by name instead of ending the program.

use std::fs;
use std::path::Path;

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

/// What the control group leaves.
fn of_group() -> Option<u64> {
    of_groups(&fs::read_to_string("/proc/self/cgroup").ok()?, Path::new("/sys/fs/cgroup"))
}

/// What the control groups of a process leave, by its `/proc/self/cgroup` and the folder where they are mounted: the least
/// of its own and of all above it, as a container's limit is often that of a group further up. A group that is not
/// there is another namespace's.
fn of_groups(own: &str, mounted: &Path) -> Option<u64> {
    let groups = own.lines().filter_map(|line| {
        let (controllers, below) = line.split_once(':')?.1.split_once(':')?;
        let below = Path::new(below.trim().trim_start_matches('/'));
        let is_memory = controllers.split(',').any(|controller| controller == "memory");
        (controllers.is_empty() || is_memory).then_some((is_memory, below))
    });
    let left = groups.flat_map(|(is_version_1, below)| {
        let root = if is_version_1 { mounted.join("memory") } else { mounted.to_owned() };
        let left = move |group: &Path| left_of(&root.join(group), is_version_1);
        below.ancestors().filter_map(left).min()
    });
    left.min()
}

/// What a group leaves of its limit: its caches can be freed, what is anonymous cannot.
fn left_of(group: &Path, is_version_1: bool) -> Option<u64> {
    let [limit, used, cached] = if is_version_1 {
        ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "]
    } else {
        ["memory.max", "memory.current", "inactive_file "]
    };
    let read = |name: &str| fs::read_to_string(group.join(name)).ok();
    // "max" is no number, and no limit.
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    let (limit, used) = (number(limit)?, number(used)?);
    let about = read("memory.stat").unwrap_or_default();
    let cached = about.lines().find_map(|line| line.strip_prefix(cached)?.trim().parse().ok());
    Some(limit.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
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

    /// Writes the files of groups, each named by its folder with limit, use and caches in MiB.
    fn groups(names: [&str; 3], groups: &[(&str, [&str; 3])]) -> tempfile::TempDir {
        let mounted = tempfile::tempdir().unwrap();
        for (group, [limit, used, cached]) in groups {
            let folder = mounted.path().join(group);
            fs::create_dir_all(&folder).unwrap();
            let bytes = |mib: &str| mib.parse().map_or(mib.into(), |n: u64| (n << 20).to_string());
            fs::write(folder.join(names[0]), bytes(limit) + "\n").unwrap();
            fs::write(folder.join(names[1]), bytes(used) + "\n").unwrap();
            let stat = format!("anon 7\n{} {}\n", names[2], bytes(cached));
            fs::write(folder.join("memory.stat"), stat).unwrap();
        }
        mounted
    }

    #[test]
    fn the_least_that_a_group_or_one_above_it_leaves_is_there() {
        let names = ["memory.max", "memory.current", "inactive_file"];
        let all =
            [("", ["max", "9", "0"]), ("pod", ["8", "5", "1"]), ("pod/own", ["max", "2", "0"])];
        let mounted = groups(names, &all);
        let left = |own: &str| of_groups(own, mounted.path()).map(|bytes| bytes >> 20);
        assert_eq!(left("0::/pod/own\n"), Some(4));
        assert_eq!(left("0::/pod\n"), Some(4));
        assert_eq!((left("0::/\n"), left("0::/elsewhere\n"), left("")), (None, None, None));
        // In a container its own group is the root.
        let mounted = groups(names, &[("", ["6", "2", "0"])]);
        assert_eq!(of_groups("0::/pod/own\n", mounted.path()), Some(4 << 20));

        let names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"];
        let all = [("memory", ["8796093022207", "9", "0"]), ("memory/own", ["3", "2", "1"])];
        let mounted = groups(names, &all);
        let own = "12:cpu,cpuacct:/other\n4:memory:/own\n0::/\n";
        assert_eq!(of_groups(own, mounted.path()), Some(2 << 20));
    }
}
