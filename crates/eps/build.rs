//! Writes the directory of libtorch into this package's executables, so that they run by themselves,
//! and keeps its CUDA library, of which no symbol is named, from being dropped by the linker.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    let cuda = Path::new(&lib).join("libtorch_cuda.so");
    if cuda.exists() {
        let cuda = cuda.display();
        println!("cargo:rustc-link-arg=-Wl,--push-state,--no-as-needed,{cuda},--pop-state");
    }
}
