//! What the metrics cost that grow faster than their input.
//!
//! `cargo bench -p eps-metrics`. The Fréchet distance is timed at the 2,048 features of Inception, MMD² and the energy
//! score at numbers of points from which the 50,000 of a published evaluation follow by their square.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use eps_metrics::energy::{PairTerm, energy_score};
use eps_metrics::frechet::frechet_distance;
use eps_metrics::mmd::mmd2;
use eps_metrics::{SampleShape, evaluate};

/// Numbers between -1 and 1 in no order.
fn values(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        // Knuth's linear congruential generator; its upper bits.
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn frechet(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frechet_distance");
    group.sample_size(10);
    for dim in [256, 2048] {
        let (a, b) = (values(2 * dim * dim, 1), values(2 * dim * dim, 2));
        group.bench_function(format!("{dim} features, twice as many images"), |bencher| {
            bencher.iter(|| frechet_distance(black_box(&a), black_box(&b), dim));
        });
    }
    group.finish();
}

fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pairs");
    group.sample_size(10);
    let dim = 784;
    // Kept, and in blocks.
    for images in [1000, 5000] {
        let (samples, truths) = (values(2 * images * dim, 3), values(images * dim, 4));
        group.bench_function(format!("mmd2 of {} points", 3 * images), |bencher| {
            bencher.iter(|| mmd2(black_box(&samples), black_box(&truths), dim));
        });
    }
    for samples in [1000, 5000] {
        let (truth, of_image) = (values(dim, 5), values(samples * dim, 6));
        group.bench_function(format!("energy_score of {samples} samples"), |bencher| {
            bencher.iter(|| energy_score(black_box(&truth), black_box(&of_image), PairTerm::Fair));
        });
    }
    group.finish();
}

fn evaluation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evaluate");
    group.sample_size(10);
    let shape = SampleShape { images: 1000, samples: 4, channels: 1, height: 28, width: 28 };
    let dim = 784;
    group.bench_function("1000 images, 4 samples", |bencher| {
        bencher.iter_batched(
            || (values(1000 * dim, 7), values(4000 * dim, 8)),
            |(truth, samples)| evaluate(&truth, &samples, shape),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, frechet, pairs, evaluation);
criterion_main!(benches);
