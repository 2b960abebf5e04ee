//! This package's tests and programs find libtorch by themselves.

fn main() {
    eps_link::libtorch();
}
