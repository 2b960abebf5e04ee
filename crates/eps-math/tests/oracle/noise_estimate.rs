//! σ_y from the measurement: right on noise alone, and within its error on what is like a photograph.

use eps_math::noise_estimate::{SigmaEstimate, SigmaSource, estimate};
use eps_math::operator::{LinearMap, OperatorSpec};
use eps_math::rng::Stream;
use eps_math::{MathError, Shape};
use rustfft::{FftPlanner, num_complex::Complex};

/// Gaussian noise with the amplitude 1/f^decay, of standard deviation 0.4, on a plane that wraps around.
fn cloud(side: usize, decay: f64, stream: &Stream) -> Vec<f64> {
    let mut plane: Vec<Complex<f64>> =
        stream.normals(side * side).iter().map(|z| Complex::new(*z, 0.0)).collect();
    let near = |k: usize| k.min(side - k) as f64;
    let mut planner = FftPlanner::new();
    for forward in [true, false] {
        let plan =
            if forward { planner.plan_fft_forward(side) } else { planner.plan_fft_inverse(side) };
        for _ in 0..2 {
            plan.process(&mut plane);
            plane = (0..side * side).map(|i| plane[i % side * side + i / side]).collect();
        }
        if forward {
            for (i, value) in plane.iter_mut().enumerate() {
                let f = near(i / side).hypot(near(i % side));
                *value *= if f > 0.0 { f.powf(-decay) } else { 0.0 };
            }
        }
    }
    let values: Vec<f64> = plane.iter().map(|v| v.re).collect();
    let sd = (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
    values.iter().map(|v| 0.4 * v / sd).collect()
}

/// Discs of one brightness each that cover each other, radii from a power law, with a little texture: edges and flat
/// regions as a photograph has.
fn leaves(side: usize, stream: &Stream) -> Vec<f64> {
    let texture = Stream::named(stream.key(), "texture").normals(side * side);
    let mut values = vec![0.0; side * side];
    for leaf in 0..1500u64 {
        let u = |k: u64| stream.uniform(10 * leaf + k);
        let radius = 3.0 / (1.0 - 0.99 * u(0)).sqrt();
        let (row, column) = (u(1) * side as f64, u(2) * side as f64);
        let brightness = 1.6 * u(3) - 0.8;
        let slope = 0.01 * (u(4) - 0.5);
        let within = |at: f64| {
            let low = (at - radius).max(0.0) as usize;
            low..((at + radius) as usize + 1).min(side)
        };
        for r in within(row) {
            for c in within(column) {
                if (r as f64 - row).hypot(c as f64 - column) < radius {
                    values[r * side + c] =
                        brightness + slope * (r as f64 - row) + 0.003 * texture[r * side + c];
                }
            }
        }
    }
    values
}

fn measured(
    json: &str,
    shape: [usize; 3],
    x: &[f64],
    sigma_y: f64,
    seed: u64,
) -> Result<SigmaEstimate, MathError> {
    let spec: OperatorSpec = serde_json::from_str(json).unwrap();
    let operator = spec.prepare(Shape::new(shape[0], shape[1], shape[2]).unwrap()).unwrap();
    let noise = Stream::named(seed, "η").normals(operator.range().len());
    let y: Vec<f64> = operator.apply(x).iter().zip(noise).map(|(y, z)| y + sigma_y * z).collect();
    estimate(&spec, &operator, &y)
}

fn mask(side: usize, kept: f64) -> String {
    let stream = Stream::named(0, "mask");
    let observed: Vec<String> =
        (0..side * side).map(|i| u8::from(stream.uniform(i as u64) < kept).to_string()).collect();
    format!(r#"{{"operator": "mask", "observed": [{}]}}"#, observed.join(","))
}

const SIDE: usize = 128;

fn cases() -> Vec<(String, [usize; 3], SigmaSource)> {
    let plane = [1, SIDE, SIDE];
    vec![
        (mask(SIDE, 1.1), plane, SigmaSource::FinestDetails),
        (mask(SIDE, 0.6), plane, SigmaSource::FinestDetails),
        (mask(SIDE, 0.15), plane, SigmaSource::Neighbours),
        (r#"{"operator": "average-pool", "factor": 2}"#.into(), plane, SigmaSource::FinestDetails),
        (
            r#"{"operator": "gaussian-blur", "sigma_blur": 2.0, "taps": 15}"#.into(),
            plane,
            SigmaSource::SilentFrequencies,
        ),
        (
            r#"{"operator": "gaussian-blur", "sigma_blur": 2.0, "taps": 15, "border": "valid"}"#
                .into(),
            plane,
            SigmaSource::FinestDetails,
        ),
        (
            r#"{"operator": "motion-blur", "length": 9, "angle_degrees": 30}"#.into(),
            plane,
            SigmaSource::SilentFrequencies,
        ),
        (
            r#"{"operator": "resize", "height": 140, "width": 140, "filter": "bicubic"}"#.into(),
            plane,
            SigmaSource::OutsideOfRange,
        ),
    ]
}

#[test]
fn noise_alone_is_told_without_bias() {
    for (json, shape, source) in cases() {
        let x = vec![0.0; shape.iter().product()];
        let (mut sum, mut squares) = (0.0, 0.0);
        let what = &json[..60.min(json.len())];
        let runs = 12;
        for seed in 0..runs {
            let found = measured(&json, shape, &x, 0.05, seed).unwrap();
            assert_eq!(found.source, source, "{what}");
            let z = (found.sigma_y - 0.05) / found.standard_error;
            assert!(z.abs() < 4.0, "{what}: {found:?}");
            (sum, squares) = (sum + found.sigma_y / 0.05 - 1.0, squares + z * z);
        }
        let bias = sum / runs as f64;
        // Twelve runs of 1 to 8 % each; errors are stated from above.
        assert!(bias.abs() < 0.03, "{what}: {bias}");
        assert!(squares < 2.0 * runs as f64, "{what}: {squares}");
    }
}

/// Edges and flat regions: within three errors, and to a tenth where the whole picture was measured. Textures without edges:
/// within three errors, or an error in words.
#[test]
fn what_is_like_a_photograph_is_told_within_the_error() {
    let leaves = leaves(SIDE, &Stream::named(1, "leaves"));
    let clouds = [2.0, 1.5, 1.2].map(|decay| cloud(SIDE, decay, &Stream::named(2, "cloud")));
    let (mut refused, mut wrong) = (0, Vec::new());
    for (json, shape, source) in cases() {
        let what = &json[..60.min(json.len())];
        // Means of 2×2 pixels bring the edges twice as near to each other.
        let is_coarse = source == SigmaSource::Neighbours || what.contains("average-pool");
        for sigma_y in [0.02, 0.05, 0.2] {
            for x in std::iter::once(&leaves).chain(&clouds) {
                let is_rough = is_coarse || !std::ptr::eq(x, &leaves);
                let (told, right) = match measured(&json, shape, x, sigma_y, 5) {
                    Ok(found) => {
                        let gap = (found.sigma_y - sigma_y).abs();
                        let right =
                            gap < 3.0 * found.standard_error && (is_rough || gap < 0.15 * sigma_y);
                        (format!("{found:?}"), right)
                    }
                    Err(error) => {
                        refused += 1;
                        (error.to_string(), is_rough)
                    }
                };
                if !right {
                    wrong.push(format!("{what}, {sigma_y}, rough {is_rough}: {told}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!((1..40).contains(&refused), "{refused} of 96");
}

#[test]
fn what_does_not_tell_its_noise_is_named() {
    let error = |json: &str, shape: [usize; 3]| {
        let x = vec![0.0; shape.iter().product()];
        measured(json, shape, &x, 0.1, 0).unwrap_err().to_string()
    };
    let radon = r#"{"operator": "radon", "angles_degrees": [0, 45, 90]}"#;
    assert!(error(radon, [1, 16, 16]).contains("by radon: its measurement is no picture"));
    let few = error(&mask(8, 0.1), [1, 8, 8]);
    assert!(
        few.contains("too few of its values") && few.contains("give sigma_y as a number"),
        "{few}"
    );
}

#[test]
fn hidden_pixels_of_what_was_blurred_tell_nothing() {
    let side = 64;
    let mask: OperatorSpec = serde_json::from_str(&mask(side, 0.8)).unwrap();
    let blur = r#"{"operator": "convolution", "kernel": {"gaussian": {"sigma": 0.8}}, "border": "symmetric"}"#;
    let blur: OperatorSpec = serde_json::from_str(blur).unwrap();
    let spec = OperatorSpec::Chain { of: vec![blur, mask] };
    let operator = spec.prepare(Shape::new(1, side, side).unwrap()).unwrap();
    let seen = eps_math::operator::measured_entries(&operator);
    let x = leaves(side, &Stream::named(5, "leaves"));
    let noise = Stream::named(5, "η").normals(side * side);
    let sigma_y = 0.05;
    let told = |held: f64| {
        let clean = operator.apply(&x).into_iter().zip(&noise).zip(&seen);
        let y: Vec<f64> =
            clean.map(|((y, z), seen)| if *seen { y + sigma_y * z } else { held * z }).collect();
        estimate(&spec, &operator, &y).unwrap()
    };
    let (one, other) = (told(0.0), told(7.0));
    assert_eq!(one, other);
    assert!((one.sigma_y - sigma_y).abs() < 3.0 * one.standard_error, "{one:?}");
}
