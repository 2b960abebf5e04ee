//! What makes an operator: its adjoint, its eigenvalues, functions of AᵀA.

use eps_math::operator::{
    AveragePool, Border, CircularBlur, Dense, Kernel, LinearMap, Mask, OperatorSpec, Separable,
    Spectral, spectral_matrix, to_matrix,
};
use eps_math::rng::Stream;
use eps_math::{MathError, Shape, ShapeError};
use faer::{Mat, Side};

use crate::registry::{distance, norm, operators};

fn largest(matrix: &Mat<f64>) -> f64 {
    matrix.norm_max()
}

#[test]
fn adjoints() {
    for (name, a) in operators() {
        for trial in 0..4 {
            let x = Stream::new(trial, 0, 0, 0).normals(a.domain().len());
            let y = Stream::new(trial, 1, 0, 0).normals(a.range().len());
            let (ax, aty) = (a.apply(&x), a.adjoint(&y));
            let dot = |u: &[f64], v: &[f64]| u.iter().zip(v).map(|(u, v)| u * v).sum::<f64>();
            let gap = (dot(&ax, &y) - dot(&x, &aty)).abs();
            // Sums of at most 128 products on either side: ε √128 of their absolute sum, doubled.
            let scale = norm(&ax) * norm(&y) + norm(&x) * norm(&aty);
            assert!(gap <= 24.0 * f64::EPSILON * scale, "{name}: {gap:e} of {scale}");
        }
    }
}

#[test]
fn eigenvalues_and_functions_are_those_of_the_dense_matrix() {
    for (name, a) in operators() {
        let n = a.domain().len();
        let matrix = to_matrix(&a);
        let gram = matrix.transpose() * &matrix;
        let scale = largest(&gram).max(1.0);
        // n-term sums, and a backward-stable eigensolver.
        let tolerance = 16.0 * n as f64 * f64::EPSILON * scale;

        let mut lambda = a.eigenvalues();
        assert_eq!(lambda.len(), n, "{name}");
        lambda.sort_by(f64::total_cmp);
        let dense = gram.self_adjoint_eigen(Side::Lower).unwrap();
        for (ours, theirs) in lambda.iter().zip(dense.S().column_vector().iter()) {
            assert!((ours - theirs).abs() <= tolerance, "{name}: {ours} {theirs}");
        }
        let rank = dense.S().column_vector().iter().filter(|v| **v > tolerance).count();
        assert_eq!(lambda.iter().filter(|v| **v > 0.0).count(), rank, "{name}: exact null space");

        let (one, linear) = (spectral_matrix(&a, &|_| 1.0), spectral_matrix(&a, &|v| v));
        assert!(largest(&(one - Mat::<f64>::identity(n, n))) <= tolerance, "{name}: f = 1");
        assert!(largest(&(linear - &gram)) <= tolerance, "{name}: f = λ");
        let decay = spectral_matrix(&a, &|v| (-v).exp());
        let values = Mat::from_fn(n, n, |i, j| if i == j { (-dense.S()[i]).exp() } else { 0.0 });
        let expected = dense.U() * values * dense.U().transpose();
        assert!(largest(&(decay - expected)) <= tolerance, "{name}: f = exp(−λ)");
    }
}

#[test]
fn spectral_maps_are_symmetric_and_orthogonal() {
    for (name, a) in operators() {
        let n = a.domain().len();
        let (x, z) = (Stream::new(0, 0, 0, 1).normals(n), Stream::new(0, 0, 0, 2).normals(n));
        let f = |lambda: f64| (1.0 + 3.0 * lambda).recip();
        let (fx, fz) = (a.spectral_map(&x, &f), a.spectral_map(&z, &f));
        let dot = |u: &[f64], v: &[f64]| u.iter().zip(v).map(|(u, v)| u * v).sum::<f64>();
        let scale = norm(&x) * norm(&z);
        assert!((dot(&fx, &z) - dot(&x, &fz)).abs() <= 32.0 * f64::EPSILON * scale, "{name}");
        // A sign per eigenvalue is a reflection, which keeps lengths and undoes itself.
        let sign = |lambda: f64| if lambda > 0.0 { -1.0 } else { 1.0 };
        let reflected = a.spectral_map(&x, &sign);
        assert!((norm(&reflected) / norm(&x) - 1.0).abs() <= 32.0 * f64::EPSILON, "{name}");
        let back = a.spectral_map(&reflected, &sign);
        assert!(distance(&back, &x) <= 64.0 * f64::EPSILON * norm(&x), "{name}");
    }
}

#[test]
fn pseudo_inverses_meet_the_penrose_conditions() {
    for (name, a) in operators() {
        let positive = || a.eigenvalues().into_iter().filter(|v| *v > 0.0);
        let (top, bottom) = (positive().fold(0.0, f64::max), positive().fold(f64::MAX, f64::min));
        let matrix = to_matrix(&a);
        let m = a.range().len();
        let mut pseudo = Mat::zeros(a.domain().len(), m);
        for j in 0..m {
            let unit: Vec<f64> = (0..m).map(|i| f64::from(i == j)).collect();
            pseudo.col_as_slice_mut(j).copy_from_slice(&a.pseudo_inverse(&unit));
        }
        let (ap, pa) = (&matrix * &pseudo, &pseudo * &matrix);
        // A† = (AᵀA)† Aᵀ: rounding is amplified by the condition number of AᵀA.
        let tolerance = 16.0 * a.domain().len() as f64 * f64::EPSILON * top / bottom;
        assert!(largest(&(&ap * &matrix - &matrix)) <= tolerance * top.sqrt(), "{name}: A A† A");
        assert!(
            largest(&(&pa * &pseudo - &pseudo)) <= tolerance / bottom.sqrt(),
            "{name}: A† A A†"
        );
        assert!(largest(&(&ap - ap.transpose())) <= tolerance, "{name}: A A†");
        assert!(largest(&(&pa - pa.transpose())) <= tolerance, "{name}: A† A");
    }
}

#[test]
fn circular_blur_is_the_naive_convolution() {
    for (h, w) in [(8, 8), (7, 9), (5, 16)] {
        let shape = Shape::new(2, h, w).unwrap();
        let random = Kernel::new(4, 5, Stream::named(1, "kernel").normals(20)).unwrap();
        let gaussian = Kernel::gaussian(0.75, 5).unwrap();
        let motion = Kernel::motion(5, 2.5).unwrap();
        for kernel in [random, gaussian, motion] {
            let blur = CircularBlur::new(shape, kernel.clone()).unwrap();
            let x = Stream::named(1, "image").normals(shape.len());
            let wrap = |at: usize, tap: usize, centre: usize, side: usize| {
                (at + side + centre - tap) % side
            };
            let naive: Vec<f64> = (0..shape.len())
                .map(|i| {
                    let (channel, row, column) = (i / (h * w), i / w % h, i % w);
                    (0..kernel.rows() * kernel.columns())
                        .map(|tap| {
                            let (p, q) = (tap / kernel.columns(), tap % kernel.columns());
                            let r = wrap(row, p, kernel.rows() / 2, h);
                            let c = wrap(column, q, kernel.columns() / 2, w);
                            kernel.taps()[tap] * x[channel * h * w + r * w + c]
                        })
                        .sum()
                })
                .collect();
            // The transforms' rounding, ε log₂(h w) of the norm, with room for odd lengths.
            let bound = 64.0 * f64::EPSILON * norm(&naive).max(norm(&x));
            assert!(distance(&blur.apply(&x), &naive) <= bound, "{shape}");
        }
    }
}

#[test]
fn specifications_rebuild_the_operator() {
    for (name, a) in operators() {
        let text = serde_json::to_string(&a.spec()).unwrap();
        let spec: OperatorSpec = serde_json::from_str(&text).unwrap();
        let rebuilt = spec.build(a.domain()).unwrap();
        let x = Stream::named(2, "image").normals(a.domain().len());
        let (expected, found) = (a.apply(&x), rebuilt.apply(&x));
        // A rank-deficient matrix is decomposed anew; the others are the same to the last bit.
        assert!(distance(&expected, &found) <= 64.0 * f64::EPSILON * norm(&expected), "{name}");
    }
}

#[test]
fn bad_operators_are_named() {
    let shape = Shape::new(1, 4, 6).unwrap();
    assert_eq!(Shape::new(1, 0, 6).unwrap_err().to_string().lines().count(), 1);
    assert!(serde_json::from_str::<Shape>(r#"{"channels": 0, "height": 4, "width": 6}"#).is_err());

    let message = |error: MathError| error.to_string();
    let mask = |n, seen| Mask::new(shape, vec![seen; n]).unwrap_err();
    assert_eq!(
        message(mask(24, false)),
        "the mask hides all 24 pixels: at least one must be observed"
    );
    assert_eq!(message(mask(23, true)), "the mask has 23 values where 24 are needed");
    for factor in [0, 4, 5] {
        let error = AveragePool::new(shape, factor).unwrap_err();
        assert_eq!(error, MathError::PoolingFactor { factor, height: 4, width: 6 });
    }
    let error = CircularBlur::new(shape, Kernel::gaussian(1.0, 5).unwrap()).unwrap_err();
    assert!(message(error).starts_with("a kernel of 5×5 taps is larger than the image of 4×6"));
    for (rows, taps) in [(1, vec![0.0, 0.0]), (1, vec![1.0]), (0, vec![]), (1, vec![1.0, f64::NAN])]
    {
        assert!(Kernel::new(rows, 2, taps).is_err());
    }
    assert!(Kernel::gaussian(0.0, 5).is_err() && Kernel::gaussian(1.0, 4).is_err());
    assert!(Kernel::motion(6, 0.0).is_err() && Kernel::motion(7, f64::INFINITY).is_err());
    for (rows, matrix, words) in [
        (1, vec![0.0; 24], "all entries of the matrix are 0"),
        (0, vec![], "the matrix is empty"),
        (2, vec![1.0; 24], "the matrix has 24 values where 48"),
    ] {
        let message = message(Dense::new(shape, rows, &matrix).unwrap_err());
        assert!(message.contains(words), "{message}");
    }
    let wide = Shape::new(1, 1, 1 << 17).unwrap();
    let error = Dense::new(wide, 1, &vec![1.0; 1 << 17]).unwrap_err();
    assert!(message(error).contains("1×131072 entries: at most 16384"));
    for missing in [-0.1, 1.0, f64::NAN] {
        let error = Mask::random(shape, missing, &Stream::named(0, "mask")).unwrap_err();
        assert!(message(error).contains("in [0, 1)"), "{missing}");
    }
    assert!(Separable::new(shape, &[1.0; 8], &[1.0; 13]).is_err());
    let error = Separable::new(shape, &[], &[1.0; 6]).unwrap_err();
    assert!(message(error).starts_with("the vertical matrix is empty"));

    // Too large for memory: refused before any is taken.
    for (channels, height, width) in [(1, 1 << 40, 8), (usize::MAX, 2, 2), (3, 1 << 14, 1 << 14)] {
        let unchecked = Shape { channels, height, width };
        let error = Shape::new(channels, height, width).unwrap_err();
        assert_eq!(error, ShapeError::Large(unchecked));
        assert!(error.to_string().contains("268435456"));
        let blur = OperatorSpec::CircularBlur { kernel: vec![vec![1.0]] };
        assert!(matches!(blur.build(unchecked), Err(MathError::Shape(ShapeError::Large(_)))));
    }
    for spec in [
        OperatorSpec::GaussianBlur {
            sigma_blur: 1.0,
            taps: 1_000_000_001,
            border: Border::Circular,
        },
        OperatorSpec::MotionBlur {
            length: usize::MAX,
            angle_degrees: 0.0,
            border: Border::Circular,
        },
    ] {
        assert!(message(spec.build(shape).unwrap_err()).contains("odd and at most 4095"));
    }

    let spec = |text: &str| serde_json::from_str::<OperatorSpec>(text);
    let grey = r#"{"operator": "mask", "observed": [0, 2]}"#;
    let error = spec(grey).unwrap().build(Shape::new(1, 1, 2).unwrap()).unwrap_err();
    assert_eq!(message(error), "an entry of the mask is 2: it must be 0 (hidden) or 1 (observed)");
    let ragged = r#"{"operator": "dense", "matrix": [[1, 2], [3]]}"#;
    assert!(spec(ragged).unwrap().build(Shape::new(1, 1, 2).unwrap()).is_err());
    assert!(spec(r#"{"operator": "average-pool", "factor": 2, "stride": 2}"#).is_err());
    for family in ["grey", "real"] {
        let bare = spec(&format!(r#"{{"operator": "{family}"}}"#)).unwrap();
        assert_eq!(bare.family(), family);
        assert_eq!(serde_json::to_value(&bare).unwrap(), serde_json::json!({"operator": family}));
        let error = spec(&format!(r#"{{"operator": "{family}", "nonsense": 1}}"#)).unwrap_err();
        assert!(error.to_string().contains("nonsense"), "{error}");
    }
}
