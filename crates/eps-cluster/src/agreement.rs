//! What processes must have in common before they begin.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{ClusterError, Group};

/// How long a file may take to be seen on other machines.
const PATIENCE: Duration = Duration::from_secs(20);

/// Checks that all processes have the same of every fact, each a name and a value.
///
/// # Errors
/// [`ClusterError::Differs`] on every process, with the first fact of the first process that differs from process 0.
pub fn agree(group: &dyn Group, facts: &[(String, String)]) -> Result<(), ClusterError> {
    if group.size() == 1 {
        return Ok(());
    }
    let text: Vec<String> =
        facts.iter().flat_map(|(name, value)| [escaped(name), escaped(value)]).collect();
    let all = group.all_gather(text.join("\n").as_bytes());
    let of = |bytes: &[u8]| -> Vec<String> {
        String::from_utf8_lossy(bytes).split('\n').map(str::to_owned).collect()
    };
    let first = of(&all[0]);
    for (rank, found) in all.iter().enumerate().skip(1) {
        let found = of(found);
        let pairs = found.chunks(2).zip(first.chunks(2));
        let differs = pairs.into_iter().find(|(found, first)| found != first);
        if let Some(([name, value], [.., of_first])) = differs {
            let (field, value, first) = (name.clone(), value.clone(), of_first.clone());
            return Err(ClusterError::Differs { rank, field, value, first });
        }
        if found.len() != first.len() {
            let [value, first] = [found.len(), first.len()].map(|len| (len / 2).to_string());
            let field = "a number of settings of".to_owned();
            return Err(ClusterError::Differs { rank, field, value, first });
        }
    }
    Ok(())
}

/// Checks that the processes of each machine have the same value of a field.
///
/// # Errors
/// [`ClusterError::Differs`] on every process, with the first process that has another than the first of its machine.
pub fn agree_on_machine(group: &dyn Group, field: &str, value: &str) -> Result<(), ClusterError> {
    if group.size() == 1 {
        return Ok(());
    }
    let own = format!("{}\n{}", group.machine().leader, escaped(value));
    let all = group.all_gather(own.as_bytes());
    let of = |bytes: &[u8]| -> Option<(usize, String)> {
        let text = String::from_utf8_lossy(bytes);
        let (leader, value) = text.split_once('\n')?;
        Some((leader.parse().ok()?, value.to_owned()))
    };
    for (rank, found) in all.iter().enumerate() {
        let Some((leader, value)) = of(found) else { continue };
        let Some((_, first)) = all.get(leader).and_then(|found| of(found)) else { continue };
        if value != first {
            let first = match leader {
                0 => first,
                _ => format!(
                    "nothing to do with it: process {} of the same machine has {first}",
                    leader + 1
                ),
            };
            return Err(ClusterError::Differs { rank, field: field.to_owned(), value, first });
        }
    }
    Ok(())
}

/// The fields of a JSON value as facts for [`agree`], those of objects in it by their own.
#[must_use]
pub fn facts_of(value: &Value) -> Vec<(String, String)> {
    let mut facts = vec![];
    fields("", value, &mut facts);
    facts
}

fn fields(name: &str, value: &Value, found: &mut Vec<(String, String)>) {
    let Value::Object(object) = value else {
        found.push((name.to_owned(), value.to_string()));
        return;
    };
    for (key, value) in object {
        let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        fields(&below, value, found);
    }
}

/// A text in one line.
fn escaped(text: &str) -> String {
    text.replace('\n', " ")
}

/// Checks that all processes see what process 0 writes in a folder that is there.
///
/// # Errors
/// [`ClusterError::NotShared`] on every process, with the first that does not, after some seconds;
/// [`ClusterError::Folder`] where nothing can be written.
pub fn sees_the_same_folder(group: &dyn Group, folder: &Path) -> Result<(), ClusterError> {
    if group.size() == 1 {
        return Ok(());
    }
    let mut number = u64::from(std::process::id()).to_le_bytes();
    group.broadcast(&mut number);
    let name = format!(".eps-together-{}", u64::from_le_bytes(number));
    let path = folder.join(&name);
    let written = if group.rank() == 0 {
        let made = fs::create_dir_all(folder).and_then(|()| fs::write(&path, []));
        made.map_err(|source| ClusterError::Folder { path: path.clone(), source })
    } else {
        Ok(())
    };
    let mut is_written = [u8::from(written.is_ok())];
    group.broadcast(&mut is_written);
    written?;
    if is_written == [0] {
        // Process 0 knows why, and tells it.
        let (rank, host, folder) = (0, host(), folder.to_owned());
        return Err(ClusterError::NotShared { rank, host, folder });
    }
    let begin = Instant::now();
    let mut is_there = path.exists();
    while !is_there && begin.elapsed() < PATIENCE && folder.exists() {
        thread::sleep(Duration::from_millis(200));
        // A listing makes a network's file system look again.
        is_there = fs::read_dir(folder)
            .is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(|e| e.file_name() == *name)));
    }
    let answer = if is_there { String::new() } else { host() };
    let all = group.all_gather(answer.as_bytes());
    if group.rank() == 0 {
        let _ = fs::remove_file(&path);
    }
    match all.iter().position(|answer| !answer.is_empty()) {
        Some(rank) => {
            let host = String::from_utf8_lossy(&all[rank]).into_owned();
            Err(ClusterError::NotShared { rank, host, folder: folder.to_owned() })
        }
        None => Ok(()),
    }
}

/// The name of this machine, for messages.
#[must_use]
pub fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "a machine without a name".to_owned(),
        name => name.to_owned(),
    }
}

/// How many processes of this machine may use the same cores as this one, itself included: all of them, where the
/// launcher binds none to cores of its own.
pub fn cores_are_shared_by(group: &dyn Group) -> usize {
    if group.size() == 1 {
        return 1;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let own = format!("{} {}", group.machine().leader, mask.unwrap_or_default().trim());
    let all = group.all_gather(own.as_bytes());
    all.iter().filter(|other| **other == own.as_bytes()).count().max(1)
}
