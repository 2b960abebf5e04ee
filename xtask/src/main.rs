//! `cargo xtask`: set-up, tests, guards, reproduction and benches of EPS.
//!
//! A plain binary that runs programs and reads files. It links neither libtorch nor HDF5, so
//! that it can bring the first and the tools that build the second.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its user")]

mod compare;
mod demo;
mod digest;
mod fetch;
mod folder;
mod gpu_pack;
mod paper_scale;
mod performance;
mod process;
mod recipe;
mod reproduce;
mod setup;
mod smoke_results;
mod space;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Set-up, tests and reproduction of EPS.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring libtorch and CMake into .deps/, so that plain cargo works.
    Setup {
        /// Bring libtorch with CUDA (3.7 GB unpacked) instead of the CPU's.
        #[arg(long)]
        cuda: bool,
        /// Bring an MPI too, for a program of `--features mpi` (docs/cluster.md).
        #[arg(long)]
        mpi: bool,
    },
    /// Fetch data that only training needs, or networks that only metrics need.
    Fetch {
        /// What to fetch.
        #[arg(value_enum)]
        item: fetch::Item,
        /// Take this file, or the folder of several, instead of fetching; SHA-256 is checked all the same.
        #[arg(long, value_name = "PATH")]
        from: Option<PathBuf>,
    },
    /// Set up, then run every check: format, lints, tests, documentation, guards, benches, smoke run.
    Test,
    /// Check dependencies, licences and committed files against the rules of the project.
    Tidy,
    /// Set up, build, run an experiment and print the path of its report.
    Reproduce(reproduce::Options),
    /// Fetch a real measurement, restore it and print the path of the page.
    Demo(demo::Options),
    /// Run the experiments that need no training in the profile smoke, to compare two revisions.
    SmokeResults {
        /// The folder of the results; each experiment has a folder in it.
        #[arg(value_name = "FOLDER")]
        out: PathBuf,
        /// An `eps` of another revision [default: that of this repository, built where it has to be].
        #[arg(long, value_name = "PATH")]
        program: Option<PathBuf>,
    },
    /// Compare the values of two results, or of all in two folders; times are left out.
    CompareResults {
        /// A results.json, or a folder of some.
        before: PathBuf,
        /// The same of another revision.
        after: PathBuf,
        /// The relative difference that two numbers may have.
        #[arg(long, value_name = "X", default_value_t = 0.0)]
        tolerance: f64,
    },
    /// Make what a machine with a GPU needs that has neither Rust nor a network, in .gpu/pack (docs/gpu.md).
    ///
    /// Fetches torch 2.11.0 with CUDA (530 MB) and compiles everything for it once: 20 minutes on two cores.
    GpuPack {
        /// Make the pack of this machine's libtorch instead, in .gpu/rehearsal, and run every entry of its script on the
        /// CPU, for two steps.
        #[arg(long)]
        rehearse: bool,
    },
    /// Run the benches of every crate, or make docs/performance.md.
    Bench {
        /// Measure what calls, steps, pivots, gradients and workers cost, some minutes, and write docs/performance.md.
        #[arg(long)]
        report: bool,
        /// One round of the smallest measurements, to see that everything works; needs --out.
        #[arg(long, requires = "report", requires = "out")]
        quick: bool,
        /// A Python with torch and deepinv, beside which calls, gradients, walks and pivots are measured.
        #[arg(long, value_name = "PYTHON", requires = "report")]
        pytorch: Option<PathBuf>,
        /// The file of the page [default: docs/performance.md].
        #[arg(long, value_name = "FILE.md", requires = "report")]
        out: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Setup { cuda, mpi } => {
            let done = setup::setup(cuda);
            if mpi { done.and_then(|()| setup::setup_mpi()) } else { done }
        }
        Command::Fetch { item, from } => fetch::fetch(item, from.as_deref()),
        Command::Test => test::test(),
        Command::Tidy => tidy::tidy(),
        Command::Reproduce(options) => reproduce::reproduce(&options),
        Command::Demo(options) => demo::demo(&options),
        Command::SmokeResults { out, program } => {
            smoke_results::smoke_results(&out, program.as_deref())
        }
        Command::CompareResults { before, after, tolerance } => {
            compare::compare(&before, &after, tolerance)
        }
        Command::GpuPack { rehearse } => gpu_pack::gpu_pack(rehearse),
        Command::Bench { report: true, quick, pytorch, out } => {
            performance::report(quick, pytorch.as_deref(), out.as_deref())
        }
        Command::Bench { .. } => bench(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A backtrace would tell the user nothing.
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<()> {
    setup::setup(false)?;
    process::run(process::cargo().args(["bench", "--workspace"]))
}
