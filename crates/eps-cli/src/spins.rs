//! How long libgomp's threads wait for each other in a loop before they sleep.
//!
//! By default they keep their cores for some milliseconds at the end of each operation. Where other programs compute too, the thread that all the
//! others wait for gets no core meanwhile: a training then took four times as long with two threads as with one
//! (`docs/decisions/0010-workers.md`).

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The number of turns of the loop, as libgomp reads it.
const TURNS: &str = "GOMP_SPINCOUNT";

/// As many as cost nothing on idle cores: some microseconds.
const FEW: &str = "1000";

/// Lets threads sleep after a short loop, unless the environment says how they wait, or that there is one.
///
/// libgomp reads its variables when the program is loaded, so that the program begins anew with them, as the same process. Where that is not
/// possible, and where a loader was given the program, it goes on as it is.
pub(crate) fn keep_short() {
    let is_set = |name| env::var_os(name).is_some();
    let is_alone = env::var_os("OMP_NUM_THREADS").is_some_and(|threads| threads == "1");
    if is_alone || is_set(TURNS) || is_set("OMP_WAIT_POLICY") {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    if program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld")) {
        return;
    }
    let mut words = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = words.next() {
        again.arg0(name);
    }
    // It returns where it failed.
    let _ = again.args(words).env(TURNS, FEW).exec();
}
