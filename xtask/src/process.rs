//! Running programs: where the repository is, how cargo is called, what a failure says.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The folder of everything that is fetched, ignored by git.
pub(crate) fn deps() -> PathBuf {
    root().join(".deps")
}

/// The variables with which programs that know MPI are compiled, where they are.
static MPI: OnceLock<[(&str, String); 3]> = OnceLock::new();

/// Compiles all programs from here on with MPI, and with NCCL, which needs no more: with the feature or without it cargo chooses other features of their
/// dependencies, and what is compiled once with it should not be compiled again without.
pub(crate) fn compile_with_mpi(variables: [(&'static str, String); 3]) {
    let _ = MPI.set(variables);
}

/// A call of cargo in the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// A call of a command of cargo that compiles programs of the workspace, in release mode, as benches are anyhow.
pub(crate) fn compile(subcommand: &str) -> Command {
    let mut command = cargo();
    command.arg(subcommand);
    if subcommand != "bench" {
        command.arg("--release");
    }
    if let Some(variables) = MPI.get() {
        command.args(["--features", "eps-cli/mpi,eps-cli/nccl"]);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
    }
    command
}

/// A call of the `eps` command, built where it has to be, in the root of the repository.
pub(crate) fn eps() -> Command {
    let mut command = compile("run");
    command.args(["--quiet", "--bin", "eps", "--"]);
    command
}

/// A call of pip that fetches and installs nothing, and so needs no virtual environment where
/// `PIP_REQUIRE_VIRTUALENV` or pip's own configuration ask for one.
pub(crate) fn pip() -> Command {
    let mut command = Command::new("python3");
    command.args(["-m", "pip"]).env("PIP_REQUIRE_VIRTUALENV", "0");
    command
}

/// Runs `command`, which talks to the terminal itself.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status =
        command.status().with_context(|| format!("could not start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status}); what it said is above", line(command));
    }
    Ok(())
}

/// Runs `command` and returns its standard output; its standard error goes into the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start `{}`", line(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", line(command), output.status, said.trim());
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something that is not UTF-8", line(command)))
}

/// Whether `program` can be started and its `--version` succeeds.
pub(crate) fn runs(program: impl AsRef<OsStr>) -> bool {
    output(Command::new(program).arg("--version")).is_ok()
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
