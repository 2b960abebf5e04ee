//! Sums vectors over processes, on the host and by NCCL: `torchrun --no-python --nproc-per-node 4 target/release/examples/nccl-sum`; by NCCL on
//! GPUs where there are any. One process where nothing started several.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::ops::Range;

use eps_cluster::{Alone, Exchange, Group, TreeSum, all_reduce, all_reduce_by, launch, share};
use eps_nccl::{NcclError, NcclExchange, join};
use tch::{Device, Kind, Tensor};

const TERMS: usize = 10;
// More than a value of torchrun's store may have.
const LENGTH: i64 = 2_500_003;

/// Term k of the sum: numbers whose sum depends on its order.
fn term(k: usize) -> Tensor {
    (Tensor::arange(LENGTH, (Kind::Float, Device::Cpu)) * (k as f64 + 0.1)).sin() / (k as f64 + 1.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let group: Box<dyn Group> = match launch()? {
        None => Box::new(Alone),
        Some(launch) => join(launch)?,
    };
    let group = &*group;
    let sum_of = |terms: Range<usize>| {
        let mut sum = TreeSum::new();
        terms.for_each(|k| sum.push(k, term(k), |a, b| a + b));
        sum
    };
    let own = || sum_of(share(TERMS, group.rank(), group.size()));
    let on_host = own().try_map(Vec::<f32>::try_from)?;
    let by_host = all_reduce(group, TERMS, on_host, LENGTH as usize);
    let alone = sum_of(0..TERMS).finish(|a, b| a + b).expect("terms");
    let expected = Vec::<f32>::try_from(alone)?;
    assert_eq!(by_host, expected);
    println!("{}: the sum by the host is that of one process", group.description());
    if group.size() == 1 {
        return Ok(());
    }
    let place = group.machine().place;
    let device =
        if Device::cuda_if_available() == Device::Cpu { Device::Cpu } else { Device::Cuda(place) };
    match NcclExchange::connect(group, device) {
        Err(error @ NcclError::Connection { .. }) => {
            println!("{}: {error}", group.description());
            group.abort(1);
        }
        Err(error) => println!("{}: {error}", group.description()),
        Ok(exchange) => {
            let own = own().try_map(|sum| Ok::<_, tch::TchError>(sum.to_device(device)))?;
            let sum =
                all_reduce_by(&exchange as &dyn Exchange<Tensor>, TERMS, own, LENGTH as usize);
            assert_eq!(Vec::<f32>::try_from(sum.to_device(Device::Cpu))?, expected);
            println!("{}: so is the sum by NCCL on {device:?}", group.description());
            exchange.close();
        }
    }
    Ok(())
}

#[test]
fn runs() {
    main().expect("the example");
}
