//! How processes find out that they are those of one start.
//!
//! torchrun starts processes anew where one has died, and its store may still have what the last ones left, of which nothing tells
//! that it is old. So each process makes up a number. Process 0 publishes the list of all; whoever finds its own number in it
//! confirms that list, by the name that process 0 gave it, and when all have, process 0 lets them go. A list with the number of a process that is no more is confirmed by none in its
//! place, and is published anew when the new one's number is there.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::store::Store;

/// How long the processes wait for each other.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long they sleep between questions.
const NAP: Duration = Duration::from_millis(50);

/// How long an answer may take of which the store said that it has it.
const ANSWER: Duration = Duration::from_secs(40);

/// A prefix of names that belongs to these processes alone.
///
/// # Errors
/// What the store says, or who has not come.
pub(crate) fn meet(store: &Store, (rank, size): (usize, usize)) -> Result<String, String> {
    // Its keys are random.
    let own = RandomState::new().hash_one((std::process::id(), rank));
    let own = format!("{own:016x}");
    let hello = |rank: usize| format!("eps/hello/{rank}");
    store.set(&hello(rank), own.as_bytes())?;
    let begin = Instant::now();
    let read = |name: &str| -> Result<Option<String>, String> {
        let value = if store.has(name)? { store.get(name, ANSWER)? } else { None };
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    };
    let prefix = |id: &str| format!("eps/{id}");
    let confirmed = |id: &str, rank: usize| format!("{}/confirmed/{rank}", prefix(id));
    let go = |id: &str| format!("{}/go", prefix(id));
    // Of process 0: the numbers that it has published, and how often.
    let (mut published, mut lists) = (vec![], 0);
    loop {
        let mut missing = None;
        if rank == 0 {
            let mut all = vec![own.clone()];
            for other in 1..size {
                match read(&hello(other))? {
                    Some(number) => all.push(number),
                    None => missing = missing.or(Some(other)),
                }
            }
            if missing.is_none() {
                let is_new = published != all;
                lists += u64::from(is_new);
                let id = format!("{own}-{lists}");
                if is_new {
                    store.set("eps/list", format!("{id} {}", all.join(" ")).as_bytes())?;
                    published = all;
                }
                for other in 1..size {
                    if missing.is_none() && !store.has(&confirmed(&id, other))? {
                        missing = Some(other);
                    }
                }
                if missing.is_none() {
                    store.set(&go(&id), &[])?;
                    return Ok(prefix(&id));
                }
            }
        } else if let Some(list) = read("eps/list")?
            && let Some((id, numbers)) = list.split_once(' ')
            && numbers.split(' ').nth(rank) == Some(&*own)
        {
            let count = numbers.split(' ').count();
            if count != size {
                return Err(format!(
                    "process 1 was started as one of {count}: start all with the same WORLD_SIZE"
                ));
            }
            store.set(&confirmed(id, rank), &[])?;
            if store.has(&go(id))? {
                return Ok(prefix(id));
            }
        }
        if begin.elapsed() > PATIENCE {
            let who = missing.map_or("the others have".to_owned(), |other| {
                format!("process {} of {size} has", other + 1)
            });
            return Err(format!(
                "{who} not come within {} minutes: are as many processes started as WORLD_SIZE says, on machines that reach MASTER_ADDR?",
                PATIENCE.as_secs() / 60
            ));
        }
        thread::sleep(NAP);
    }
}
