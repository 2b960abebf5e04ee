//! The `eps` command: training, measuring, restoring, evaluating, and the experiments.
//!
//! Exit codes: 0 for success, 1 for a failure, 2 for a command line that makes no sense.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to whoever runs it; the crates below it never print"
)]

mod commands;
mod cost;
mod experiment;
mod flags;
mod precision;
mod progress;
mod report;
mod sample_range;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exact posterior sampling for linear inverse problems with diffusion priors.
///
/// Images and measurements live on the scale [-1, 1] (8-bit pixels v are v / 127.5 - 1); a
/// measurement is y = A x + noise of standard deviation sigma_y on that scale.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Restore(commands::restore::Arguments),
    Measure(commands::measure::Arguments),
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
    leave_quietly_when_nobody_reads();
    let command = Arguments::parse().command;
    // What no border below made an error: tensors that a command handles itself, for which memory can be short.
    let outcome = eps_model::attempt(|| match command {
        Command::Restore(arguments) => arguments.run(),
        Command::Measure(arguments) => arguments.run(),
        Command::Evaluate(arguments) => arguments.run(),
        Command::Train(arguments) => arguments.run(),
        Command::Model(arguments) => arguments.run(),
        Command::Import(arguments) => arguments.run(),
        Command::Data(arguments) => arguments.run(),
        Command::Experiment(arguments) => arguments.run(),
        Command::Tune(arguments) => arguments.run(),
        Command::Claims(arguments) => arguments.run(),
    })
    .unwrap_or_else(|error| Err(error.into()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            let usage = error.downcast_ref::<flags::UsageError>().is_some();
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

/// Makes printing to a pipe that was closed, as by `| head`, end the program without a message.
fn leave_quietly_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str().is_some_and(|text| text.contains("Broken pipe")) {
            // What a shell reports of a program that SIGPIPE ended.
            std::process::exit(141);
        }
        usual(panic);
    }));
}

/// An error and its causes on one line, without causes that the message before repeats.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let message = cause.to_string();
        if text.is_empty() {
            text = message;
        } else if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_chain_does_not_repeat_itself() {
        let cause = std::io::Error::other("the disk is full");
        let error = anyhow::Error::new(cause).context("a.png: the disk is full").context("writing");
        assert_eq!(chain(&error), "writing: a.png: the disk is full");
    }
}
