//! Sums the numbers 0 to 9 over the processes of a group, here of one; the example of `eps-mpi` makes one of several.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use eps_cluster::{Alone, ClusterError, Group, TreeSum, all_reduce, launch, share};

fn main() -> Result<(), ClusterError> {
    // What mpirun or srun told this process; nothing here.
    println!("started together: {:?}", launch()?);
    let group: &dyn Group = &Alone;
    let mut own = TreeSum::new();
    for term in share(10, group.rank(), group.size()) {
        own.push(term, vec![term as f32], |a: Vec<f32>, b: Vec<f32>| vec![a[0] + b[0]]);
    }
    let sum = all_reduce(group, 10, own, 1);
    println!("{}: the sum is {}", group.description(), sum[0]);
    assert_eq!(sum, [45.0]);
    Ok(())
}

#[test]
fn runs() {
    main().expect("the example");
}
