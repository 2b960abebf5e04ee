//! Tells which libtorch a folder holds, as a build script may before it links it: `cargo run --example libtorch -- .deps/libtorch/lib`.

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use std::path::Path;

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".deps/libtorch/lib".to_owned());
    match eps_link::version(Path::new(&folder)) {
        Some(version) => println!("{folder}: libtorch {version}"),
        None => println!("{folder} tells no version of libtorch"),
    }
}

#[test]
fn runs() {
    main();
}
