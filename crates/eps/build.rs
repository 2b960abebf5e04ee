//! This package's tests and programs find libtorch by themselves; the library knows its version.

fn main() {
    eps_link::libtorch();
    let lib = eps_link::directory();
    let version = lib.as_deref().and_then(eps_link::version);
    println!("cargo:rustc-env=EPS_LIBTORCH={}", version.as_deref().unwrap_or("unknown"));
    // Another libtorch may be put in the place of this one.
    if let Some(lib) = lib.filter(|_| version.is_some()) {
        println!("cargo:rerun-if-changed={}", lib.with_file_name("build-version").display());
    }
}
