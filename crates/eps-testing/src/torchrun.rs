//! Processes as torchrun starts them.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// Starts processes with the variables that torchrun sets, where process 1 keeps the store, and one thread each; `command` is that of a rank. What they
/// say is kept for the caller.
///
/// # Panics
/// If no port is free, or a program cannot be started.
pub fn start_as_torchrun(size: usize, command: impl Fn(usize) -> Command) -> Vec<Child> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = listener.expect("a free port").port();
    let start = |rank: usize| {
        let mut command = command(rank);
        let numbers = [
            ("RANK", rank),
            ("WORLD_SIZE", size),
            ("LOCAL_RANK", rank),
            ("LOCAL_WORLD_SIZE", size),
            ("MASTER_PORT", usize::from(port)),
            ("OMP_NUM_THREADS", 1),
        ];
        command.envs(numbers.map(|(name, number)| (name, number.to_string())));
        command.env("MASTER_ADDR", "127.0.0.1").stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("a program that starts")
    };
    (0..size).map(start).collect()
}
