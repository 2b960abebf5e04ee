//! What a result depends on beside its configuration: program, libraries, machine.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tch::Device;

/// The one version of libtorch that tch 0.26 builds with.
const LIBTORCH: &str = "2.13.0";

/// Versions, revision of the sources, device, threads and the command line.
pub(crate) fn environment(device: Device) -> Value {
    json!({
        "eps": env!("CARGO_PKG_VERSION"),
        "libtorch": LIBTORCH,
        "revision": revision(),
        "device": eps_model::device_name(device),
        "threads": tch::get_num_threads(),
        "command": command(),
    })
}

/// The command line, with `eps` for the path of the program.
pub(crate) fn command() -> String {
    std::iter::once("eps".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}

/// The git revision of the repository that this program was built from, `-dirty` where its files
/// differ from it; none without git or repository.
fn revision() -> Option<String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(["describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
