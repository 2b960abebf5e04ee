//! Programs find MPI's library by themselves.

fn main() {
    if std::env::var_os("CARGO_FEATURE_MPI").is_some() {
        eps_link::mpi();
    }
}
