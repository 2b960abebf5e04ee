//! Compiles what calls libtorch's store of torchrun.

fn main() {
    #[cfg(feature = "nccl")]
    {
        println!("cargo:rerun-if-changed=src/store.cpp");
        eps_link::libtorch();
        let lib = eps_link::directory().expect("torch-sys tells where libtorch lies");
        let include = lib.parent().expect("libtorch's folder").join("include");
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .warnings(false)
            .include(include)
            .file("src/store.cpp")
            .compile("eps_store");
    }
}
