//! Sums the numbers 0 to 9 over the processes of a group: `mpirun -n 4 target/release/examples/sum`; one process where
//! nothing started several.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use eps_cluster::{ClusterError, TreeSum, all_reduce, launch, share};
use eps_mpi::join;

fn main() -> Result<(), ClusterError> {
    let group = join(launch()?)?;
    let mut own = TreeSum::new();
    for term in share(10, group.rank(), group.size()) {
        own.push(term, vec![term as f32], |a: Vec<f32>, b: Vec<f32>| vec![a[0] + b[0]]);
    }
    let sum = all_reduce(&*group, 10, own, 1);
    println!("{}: the sum is {}", group.description(), sum[0]);
    assert_eq!(sum, [45.0]);
    Ok(())
}

#[test]
fn runs() {
    main().expect("the example");
}
