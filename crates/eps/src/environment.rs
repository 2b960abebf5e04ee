//! What a result depends on beside its configuration: program, libraries, machine.

use std::sync::OnceLock;

pub use eps_results::Environment;
use tch::Device;

/// The version of libtorch that was linked, as its own files tell it, such as `2.13.0+cpu`; `unknown` where they do not.
pub const LIBTORCH: &str = env!("EPS_LIBTORCH");

/// Versions, revision of the sources, device, threads and the command line.
pub fn record(device: Device) -> Environment {
    Environment {
        eps: env!("CARGO_PKG_VERSION").to_owned(),
        libtorch: LIBTORCH.to_owned(),
        revision: revision().map(str::to_owned),
        device: eps_model::device_name(device),
        threads: tch::get_num_threads(),
        command: command_line(),
    }
}

/// The command line as a shell takes it, with `eps` for the path of the program.
pub fn command_line() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| quoted(&argument.to_string_lossy()));
    std::iter::once("eps".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// An argument in single quotes where a shell would read more into it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_=+:,./@%".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

static REVISION: OnceLock<&str> = OnceLock::new();

/// Tells the git revision of the program's sources, which the program alone knows; the first call counts.
pub fn set_revision(revision: &'static str) {
    // A second one is of a program that calls itself.
    let _ = REVISION.set(revision);
}

/// The git revision of the sources that this program was built from, `-dirty` where they differed from it;
/// none where the program has not told it.
pub fn revision() -> Option<&'static str> {
    REVISION.get().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_run_again() {
        assert_eq!(quoted("--out=runs/a-1"), "--out=runs/a-1");
        assert_eq!(quoted("two words"), "'two words'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
