//! Reference values by scikit-image, SciPy and NumPy. `golden.py` wrote `golden.json`.

use std::iter::zip;

use approx::assert_relative_eq;
use eps_metrics::energy::{PairTerm, crps_coordinate, energy_score};
use eps_metrics::fidelity::{psnr, ssim};
use eps_metrics::frechet::frechet_distance;
use eps_metrics::mmd::mmd2;
use eps_metrics::{SampleShape, evaluate};
use serde_json::Value;

use crate::inputs::{image_pair, u01, u11};

/// The reference sums the same terms in another order: a few hundred roundings of 1e-16 of terms
/// no larger than about 10³ times the result (MMD², by cancellation).
const TOLERANCE: f64 = 1e-11;

struct Golden {
    salt: String,
    values: Value,
}

impl Golden {
    fn read() -> Self {
        let golden: Value = serde_json::from_str(include_str!("golden.json")).unwrap();
        let salt = golden["salt"].as_str().unwrap().to_owned();
        Self { salt, values: golden["values"].clone() }
    }

    fn value(&self, name: &str) -> f64 {
        self.values[name].as_f64().unwrap()
    }

    fn u01(&self, name: &str, n: usize) -> Vec<f64> {
        u01(&format!("{}{name}", self.salt), n)
    }

    fn u11(&self, name: &str, n: usize) -> Vec<f64> {
        u11(&format!("{}{name}", self.salt), n)
    }
}

#[test]
fn image_metrics() {
    let golden = Golden::read();
    let [a, b] = image_pair(&golden.salt);
    let value = psnr(&a, &b, 2.0).unwrap();
    assert_relative_eq!(value, golden.value("image_psnr"), max_relative = TOLERANCE);

    let unit = |image: &[f64]| -> Vec<f64> { image.iter().map(|x| (x + 1.0) / 2.0).collect() };
    let value = ssim(&unit(&a), &unit(&b), [3, 64, 64]).unwrap();
    assert_relative_eq!(value, golden.value("image_ssim"), max_relative = TOLERANCE);
}

#[test]
fn frechet() {
    let golden = Golden::read();
    let dim = 24;
    let x = golden.u11("X", 200 * dim);
    let z = golden.u11("Y", 200 * dim);
    let m = golden.u11("M", dim * dim);
    let mix = |i: usize, j: usize| 0.2 * m[i * dim + j] + f64::from(u8::from(i == j));
    let mixed = |at: usize| {
        let row = &z[at / dim * dim..][..dim];
        let product: f64 = row.iter().enumerate().map(|(i, z)| z * mix(i, at % dim)).sum();
        1.3 * product + 0.1
    };
    let y: Vec<f64> = (0..200 * dim).map(mixed).collect();
    let value = frechet_distance(&x, &y, dim).unwrap();
    // SciPy's root of the unsymmetric product is itself good to about 1e-13.
    assert_relative_eq!(value, golden.value("frechet_200x24"), max_relative = TOLERANCE);
}

#[test]
fn mmd() {
    let golden = Golden::read();
    let p = golden.u11("P", 60 * 12);
    let q: Vec<f64> = golden.u11("Q", 20 * 12).iter().map(|q| 1.1 * q + 0.05).collect();
    let mmd = mmd2(&p, &q, 12).unwrap();
    assert_relative_eq!(mmd.mmd2, golden.value("mmd2_u_60_20_12"), max_relative = TOLERANCE);
    let median = golden.value("mmd_median_d2");
    assert_relative_eq!(mmd.median_squared_distance, median, max_relative = TOLERANCE);
}

#[test]
fn energy() {
    let golden = Golden::read();
    let samples = golden.u01("S", 10 * 48);
    let truth = golden.u01("y", 48);
    for (value, name) in [
        (energy_score(&truth, &samples, PairTerm::VStatistic), "energy_score_v_10x48"),
        (energy_score(&truth, &samples, PairTerm::Fair), "energy_score_fair_10x48"),
        (crps_coordinate(&truth, &samples, PairTerm::Fair), "crps_mean_per_coordinate_fair_10x48"),
    ] {
        assert_relative_eq!(value.unwrap(), golden.value(name), max_relative = TOLERANCE);
    }
}

#[test]
fn whole_evaluation() {
    let golden = Golden::read();
    let shape = SampleShape { images: 3, samples: 4, channels: 1, height: 16, width: 20 };
    let dim = 16 * 20;
    let truth = golden.u11("T", 3 * dim);
    let samples: Vec<f64> = zip(0.., golden.u11("E", 3 * 4 * dim))
        .map(|(at, e): (usize, f64)| truth[at / (4 * dim) * dim + at % dim] + 0.5 * e)
        .collect();
    let scores = evaluate(&truth, &samples, shape).unwrap();
    let scores = serde_json::to_value(&scores).unwrap();
    for (name, expected) in golden.values["evaluate"].as_object().unwrap() {
        let (value, expected) = (scores[name].as_f64().unwrap(), expected.as_f64().unwrap());
        assert_relative_eq!(value, expected, max_relative = TOLERANCE);
    }
}
