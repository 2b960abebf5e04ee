//! The `eps` command: training, measuring, restoring, evaluating, and the experiments.
//!
//! Exit codes: 0 for success, 1 for a failure, 2 for a command line that makes no sense.

#![cfg_attr(
    not(test),
    warn(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)
)]
#![expect(
    clippy::print_stdout,
    reason = "a command talks to whoever runs it; the crates below it never print"
)]

/// Standard error as `std::eprintln` writes it, but that nothing happens where it is full or closed: a note never ends
/// a run; nor where another process of a group says the same.
macro_rules! eprintln {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        if $crate::together::speaks() {
            // At once: what another process writes does not come between.
            let _ = std::io::stderr().write_all((format!($($arguments)*) + "\n").as_bytes());
        }
    }};
}

mod allocator;
mod chain;
mod commands;
mod experiment;
mod flags;
mod growth;
mod machine_images;
mod precision_comparison;
mod progress;
mod restoration_page;
mod sample_range;
mod sampler;
mod sampling_cost;
mod spins;
mod together;
mod training_plan;

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use chain::chain;
use clap::{Parser, Subcommand};
use together::Processes;

/// Exact posterior sampling for linear inverse problems with diffusion priors.
///
/// Images and measurements live on the scale [-1, 1] (8-bit pixels v are v / 127.5 - 1); a
/// measurement is y = A x + noise of standard deviation sigma_y on that scale.
#[derive(Debug, Parser)]
// Version, revision of the sources, libtorch's version.
#[command(name = "eps", version = env!("EPS_VERSION"))]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one")]
enum Command {
    Restore(commands::restore::Arguments),
    Measure(commands::measure::Arguments),
    Operator(commands::operator::Arguments),
    Evaluate(commands::evaluate::Arguments),
    Train(commands::train::Arguments),
    Model(commands::model::Arguments),
    Import(commands::import::Arguments),
    Data(commands::data::Arguments),
    Experiment(experiment::Arguments),
    Tune(experiment::tune::Arguments),
    Claims(experiment::claims::Arguments),
}

fn main() -> ExitCode {
    if let Some(revision) = option_env!("EPS_REVISION") {
        eps::environment::set_revision(revision);
    }
    say_nothing_of_a_full_output();
    let command = match Arguments::try_parse() {
        Ok(arguments) => arguments.command,
        Err(told) => together::refuse(&told),
    };
    if command.has_threads_inside() {
        spins::keep_short();
    }
    let processes = match Processes::join(&what(), command.is_shared()) {
        Ok(processes) => processes,
        Err(error) => {
            together::say(&chain(&error));
            return ExitCode::FAILURE;
        }
    };
    // What no border below made an error: tensors that a command handles itself, for which memory can be short.
    let run =
        || eps_model::attempt(|| command.run(&processes)).unwrap_or_else(|error| Err(error.into()));
    match std::panic::catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            let usage = error.downcast_ref::<flags::UsageError>().is_some();
            let code = if usage { 2 } else { 1 };
            processes.end(&error, &chain(&error), code);
            ExitCode::from(code)
        }
        Err(panic) => match of_output(&*panic) {
            // What a shell reports of a program that SIGPIPE ended.
            Some(reason) if reason.contains("Broken pipe") => {
                processes.abort(141);
                ExitCode::from(141)
            }
            Some(reason) => {
                eprintln!(
                    "error: cannot write to standard output: {reason}; free some space there, or send the output \
                     elsewhere"
                );
                processes.abort(1);
                ExitCode::FAILURE
            }
            None => {
                processes.abort(101);
                std::panic::resume_unwind(panic)
            }
        },
    }
}

/// What was asked for, as far as it decides about what processes wait for: the subcommand, and flags that only print.
fn what() -> String {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let prints = ["--dry-run", "--list-networks"];
    let flags = words.iter().filter(|word| prints.contains(&word.as_str()));
    let first = words.iter().take_while(|word| !word.starts_with('-')).take(2);
    // Of the second word only that of an experiment is a subcommand.
    let is_experiment = words.first().is_some_and(|word| word == "experiment");
    let first = first.take(if is_experiment { 2 } else { 1 });
    first.chain(flags).cloned().collect::<Vec<_>>().join(" ")
}

impl Command {
    /// Whether several processes share the work.
    fn is_shared(&self) -> bool {
        matches!(self, Self::Restore(_) | Self::Train(_) | Self::Experiment(_) | Self::Tune(_))
    }

    /// Whether operations of libtorch are computed by several threads each, and no batches beside each other.
    fn has_threads_inside(&self) -> bool {
        matches!(self, Self::Train(_) | Self::Evaluate(_) | Self::Experiment(_))
    }

    fn run(&self, processes: &Processes) -> anyhow::Result<()> {
        if !self.is_shared() {
            processes.require_one()?;
        }
        match self {
            Self::Restore(arguments) => arguments.run(processes),
            Self::Measure(arguments) => arguments.run(),
            Self::Operator(arguments) => arguments.run(),
            Self::Evaluate(arguments) => arguments.run(),
            Self::Train(arguments) => arguments.run(processes),
            Self::Model(arguments) => arguments.run(),
            Self::Import(arguments) => arguments.run(),
            Self::Data(arguments) => arguments.run(),
            Self::Experiment(arguments) => arguments.run(processes),
            Self::Tune(arguments) => arguments.run(processes),
            Self::Claims(arguments) => arguments.run(),
        }
    }
}

/// The system's answer, where a panic is that of printing to a standard output that is full or closed.
///
/// Printing panics there, deep inside of any command; the stack is unwound, so that temporary files are removed.
fn of_output(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<String>()?;
    text.strip_prefix("failed printing to stdout: ")
}

/// Keeps the usual message of a panic from standard error where [`main`] tells what happened.
fn say_nothing_of_a_full_output() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if of_output(panic.payload()).is_none() {
            usual(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
