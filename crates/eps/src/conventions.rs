//! What is commonly meant otherwise by the description of an operator: its units, its orders and its signs, by family.

use eps_math::operator::OperatorSpec;

use crate::format::number;

/// What is commonly another than described where an operator does not fit what was measured, the likeliest first, for a list.
///
/// Of operators that are made of others these are the causes of those that do more than choose, weigh or frame values, where there are any.
pub fn causes(spec: &OperatorSpec) -> Vec<&'static str> {
    use OperatorSpec as Spec;
    match spec {
        Spec::Mask { .. } => vec!["a mask that is inverted, shifted or turned"],
        Spec::RandomMask { .. } => vec!["the seed of a mask of another program"],
        Spec::Weights { .. } => vec!["weights in another order or of another scale"],
        Spec::AveragePool { factor: 1 } => vec!["pixels that were not measured (--mask)"],
        Spec::AveragePool { .. } => {
            vec!["another filter than the mean of each square (\"resize\" has others)"]
        }
        Spec::Resize { .. } => vec!["another filter, or one that does not widen as sizes shrink"],
        Spec::CircularBlur { .. }
        | Spec::GaussianBlur { .. }
        | Spec::MotionBlur { .. }
        | Spec::Convolution { .. }
        | Spec::ChannelConvolution { .. }
        | Spec::VaryingBlur { .. } => vec![
            "other borders of the blur (--border)",
            "a kernel that is turned by 180 degrees, off its centre or of another sum",
        ],
        Spec::Bayer { .. } => vec!["another pattern of colours, or values in linear light"],
        Spec::Radon { .. } => vec![
            "angles that are not in degrees, are counted from another axis or in the other sense",
            "another axis of rotation (\"axis\")",
        ],
        Spec::Fourier { .. } => vec![
            "frequencies in another order (0 comes first here)",
            "a transform of another scale than norm=\"ortho\", or conjugated",
        ],
        Spec::Coils { .. } => vec![
            "frequencies in another order (0 comes first here), or a transform of another scale than norm=\"ortho\"",
            "maps of other coils or of another scale",
        ],
        Spec::NonuniformFourier { .. } => vec![
            "points in other units than cycles a pixel, within ±0.5, or in another order than u, v",
            "a transform of another scale than 1/sqrt(H W), of another origin than the first pixel, or conjugated",
        ],
        Spec::GaussianMatrix { .. } | Spec::WalshHadamard { .. } => {
            vec!["the seed or the rows of another program"]
        }
        Spec::Crop { .. } | Spec::Pad { .. } => vec!["a rectangle at another place"],
        Spec::Separable { .. } | Spec::Dense { .. } => {
            vec!["a matrix of another order of pixels than row by row, or of another scale"]
        }
        // A grey picture is measured so by the program.
        Spec::Grey {} | Spec::Real {} => vec![],
        Spec::Scale { of, .. } => {
            let mut found = causes(of);
            found.insert(found.len().min(1), "another factor of the scale");
            found
        }
        Spec::Chain { of } | Spec::Sum { of } | Spec::Stack { of } => {
            let transforms = of.iter().any(|spec| !only_places(spec));
            let parts = of.iter().filter(|spec| !(transforms && only_places(spec)));
            let parts: Vec<Vec<&str>> = parts.map(causes).collect();
            // The likeliest of each part first.
            let most = parts.iter().map(Vec::len).max().unwrap_or(0);
            let mut found = Vec::new();
            for cause in (0..most).flat_map(|rank| parts.iter().filter_map(move |of| of.get(rank)))
            {
                if !found.contains(cause) {
                    found.push(*cause);
                }
            }
            found
        }
    }
}

/// Whether an operator only chooses, weighs or frames values, in the place of others that do more.
fn only_places(spec: &OperatorSpec) -> bool {
    use OperatorSpec as Spec;
    match spec {
        Spec::Mask { .. }
        | Spec::RandomMask { .. }
        | Spec::Weights { .. }
        | Spec::Crop { .. }
        | Spec::Pad { .. }
        | Spec::Grey {}
        | Spec::Real {} => true,
        Spec::Chain { of } | Spec::Sum { of } | Spec::Stack { of } => of.iter().all(only_places),
        _ => spec.is_identity(),
    }
}

/// The fewest angles whose unit is asked about.
const FEWEST_ANGLES: usize = 8;

/// The ranges of scans, as parts of π, that are asked about.
const RANGES: [f64; 5] = [0.5, 2.0 / 3.0, 1.0, 2.0, 4.0];

/// How far from these a range may be, of which rounding and steps that vary change the length.
const NEAR: f64 = 0.005;

/// How far points may reach beyond a period of frequencies, by an encoder's offset.
const BEYOND_PERIOD: f64 = 0.25;

/// Says so where numbers of a description are likely in another unit than the operator reads: angles in radians, and points that are no
/// cycles a pixel.
///
/// ```text
/// radon                 8 angles or more over π/2, 2π/3, π, 2π or 4π, with the last of them or without
/// nonuniform-fourier    u, or v, over a range of more than 1.25: frequencies have the period 1, so that ±0.5 and 0 to 1 hold all of them
/// ```
///
/// Of an operator that is made of others it is the first of which something is to be said.
pub fn unit_note(spec: &OperatorSpec) -> Option<String> {
    match spec {
        OperatorSpec::Radon { angles_degrees, .. } => angles_note(angles_degrees),
        OperatorSpec::NonuniformFourier { points, .. } => points_note(points),
        OperatorSpec::Scale { of, .. } => unit_note(of),
        OperatorSpec::Chain { of } | OperatorSpec::Sum { of } | OperatorSpec::Stack { of } => {
            of.iter().find_map(unit_note)
        }
        _ => None,
    }
}

fn angles_note(angles: &[f64]) -> Option<String> {
    let [low, high] = ends(angles.iter().copied());
    let range = high - low;
    let count = angles.len() as f64;
    let is_near = |range: f64| {
        RANGES.iter().any(|part| (range / (part * std::f64::consts::PI) - 1.0).abs() < NEAR)
    };
    let is_of_radians =
        angles.len() >= FEWEST_ANGLES && (is_near(range) || is_near(range * count / (count - 1.0)));
    is_of_radians.then(|| {
        format!(
            "all {} angles of \"radon\" lie from {} to {}, and are taken in degrees: if they are radians, multiply them by 180/pi",
            angles.len(),
            number(low),
            number(high)
        )
    })
}

fn points_note(points: &[[f64; 2]]) -> Option<String> {
    let is_beyond = [0, 1].iter().any(|axis| {
        let [low, high] = ends(points.iter().map(|point| point[*axis]));
        high - low > 1.0 + BEYOND_PERIOD
    });
    let farthest = points.iter().flatten().fold(0.0, |far: f64, at| far.max(at.abs()));
    is_beyond.then(|| {
        format!(
            "points of \"nonuniform-fourier\" reach {}, and are taken in cycles a pixel, which lie within ±0.5: divide by 2 pi if they are \
             radians a pixel, or by the number of pixels along each axis if they are cycles an image",
            number(farthest)
        )
    })
}

/// The least and the largest of some values.
fn ends(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
        [low.min(value), high.max(value)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> OperatorSpec {
        serde_json::from_str(json).unwrap()
    }

    fn radon(angles: &[f64]) -> OperatorSpec {
        OperatorSpec::Radon { angles_degrees: angles.to_vec(), axis: None }
    }

    fn scan(count: usize, from: f64, to: f64) -> Vec<f64> {
        (0..count).map(|i| from + (to - from) * i as f64 / count as f64).collect()
    }

    #[test]
    fn angles_in_radians_are_told() {
        let pi = std::f64::consts::PI;
        for (count, from, to) in [
            (12, 0.0, pi),
            (180, 0.0, pi),
            (90, 0.0, 2.0 * pi),
            (30, -pi / 2.0, pi / 2.0),
            (41, -pi / 3.0, pi / 3.0),
            (8, 0.0, -pi),
            (64, 0.0, 4.0 * pi),
        ] {
            let note = unit_note(&radon(&scan(count, from, to)));
            assert!(note.is_some_and(|note| note.contains("180/pi")), "{count} {from} {to}");
        }
        // With the last one, and rounded.
        let with_last = |i: usize| (100.0 * pi * i as f64 / 59.0).round() / 100.0;
        assert!(unit_note(&radon(&(0..60).map(with_last).collect::<Vec<_>>())).is_some());
        // Encoders of narrow scans in degrees.
        let encoded = |i: usize| -6.0 + 12.0 * i as f64 / 14.0 + 1e-3 * (7.0 * i as f64).sin();
        for right in [
            (0..15).map(encoded).collect(),
            (0..151).map(|i| i as f64 / 30.0).collect(),
            scan(12, 0.0, 180.0),
            scan(60, -60.0, 60.0),
            // Few degrees, in round steps, and by way of radians.
            scan(12, 0.0, 6.0),
            scan(40, -2.0, 2.0),
            scan(12, 0.0, 6.0).iter().map(|a| a.to_radians().to_degrees()).collect(),
            // Few angles, and a narrow wedge.
            scan(4, 0.0, pi),
            scan(30, 0.0, 0.7),
            vec![0.0; 20],
        ] {
            assert_eq!(unit_note(&radon(&right)), None, "{right:?}");
        }
    }

    #[test]
    fn points_in_other_units_are_told() {
        let pi = std::f64::consts::PI;
        let of = |from: f64, to: f64| {
            let points = scan(28, from, to).iter().map(|at| [*at, 0.1 * at]).collect();
            OperatorSpec::NonuniformFourier { points, method: None }
        };
        for (from, to) in [(-0.5, 0.5), (0.0, 1.0), (-1e-5, 2e-5), (-0.505, 0.505), (0.0, -1.0)] {
            assert_eq!(unit_note(&of(from, to)), None, "{from} {to}");
        }
        for (from, to, reach) in [(-pi, pi, "3.142"), (-14.0, 14.0, "14"), (-1.0, 1.0, "1")] {
            let chain = OperatorSpec::Chain { of: vec![OperatorSpec::Real {}, of(from, to)] };
            let note = unit_note(&chain).unwrap();
            assert!(note.contains(&format!("reach {reach}, ")), "{note}");
        }
    }

    /// Every family but those of real and grey images has causes, each of them short.
    #[test]
    fn causes_are_those_of_the_family() {
        let fourier = r#"{"operator": "fourier", "mask": [[1]]}"#;
        let real = format!(r#"{{"operator": "chain", "of": [{{"operator": "real"}}, {fourier}]}}"#);
        let blur = r#"{"operator": "motion-blur", "length": 3, "angle_degrees": 0}"#;
        let crop = r#"{"operator": "crop", "top": 0, "left": 0, "height": 4, "width": 4}"#;
        let seen = format!(r#"{{"operator": "chain", "of": [{blur}, {crop}]}}"#);
        let pool = r#"{"operator": "average-pool", "factor": 2}"#;
        let smaller = format!(r#"{{"operator": "chain", "of": [{blur}, {pool}]}}"#);
        let scaled = format!(r#"{{"operator": "scale", "factor": 3, "of": {pool}}}"#);
        for (json, first) in [
            (r#"{"operator": "mask", "observed": [1, 0]}"#, "mask"),
            (r#"{"operator": "radon", "angles_degrees": [0]}"#, "degrees"),
            (r#"{"operator": "nonuniform-fourier", "points": [[0, 0]]}"#, "±0.5"),
            (&real, "0 comes first"),
            (&seen, "--border"),
            (&smaller, "--border"),
            (&scaled, "filter"),
            (r#"{"operator": "average-pool", "factor": 1}"#, "not measured"),
            (r#"{"operator": "bayer", "pattern": "rggb"}"#, "pattern"),
        ] {
            let found = causes(&spec(json));
            assert!(found[0].contains(first), "{json}: {found:?}");
            assert!(found.iter().all(|cause| cause.len() < 130), "{found:?}");
        }
        assert!(causes(&spec(&seen)).iter().all(|cause| !cause.contains("rectangle")));
        assert!(causes(&spec(&smaller))[1].contains("filter"));
        assert!(causes(&spec(&scaled))[1].contains("factor"));
        assert_eq!(causes(&OperatorSpec::Real {}).len(), 0);
    }
}
