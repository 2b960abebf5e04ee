//! The tensor operators against those of `eps-math`: same numbers, on every device there is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use eps_math::operator::{
    AveragePool, CircularBlur, Dense, Kernel, LinearMap, Mask, Operator, OperatorSpec, Separable,
    Spectral, Weights, lifted,
};
use eps_math::pivot::pivot_gains;
use eps_math::rng::Stream;
use eps_math::{Level, Shape};
use eps_model::{Measurement, ModelError, TensorOperator, level_fields};
use eps_testing::devices;
use tch::{Device, Kind, Tensor};

/// One batch of three operators for every family.
fn families() -> Vec<(&'static str, Vec<Operator>)> {
    let shape = Shape::new(2, 8, 12).unwrap();
    let normals = |image: u64, n: usize| Stream::new(11, image, 0, 0).normals(n);
    let each = |make: &dyn Fn(u64) -> Operator| (0..3).map(make).collect::<Vec<_>>();
    vec![
        (
            "mask",
            each(&|i| {
                let observed = normals(i, 96).iter().map(|v| *v > 0.3).collect();
                Operator::Mask(Mask::new(shape, observed).unwrap())
            }),
        ),
        ("pool", each(&|_| Operator::AveragePool(AveragePool::new(shape, 4).unwrap()))),
        ("pool by 1", each(&|_| Operator::AveragePool(AveragePool::new(shape, 1).unwrap()))),
        (
            "blur",
            each(&|i| {
                let kernel = Kernel::new(3, 5, normals(i, 15)).unwrap();
                Operator::CircularBlur(CircularBlur::new(shape, kernel).unwrap())
            }),
        ),
        (
            "blur with a null space",
            each(&|_| {
                let kernel = Kernel::new(2, 4, vec![0.125; 8]).unwrap();
                Operator::CircularBlur(CircularBlur::new(shape, kernel).unwrap())
            }),
        ),
        (
            "separable",
            each(&|i| {
                let (rows, columns) = (normals(i, 5 * 8), normals(i + 9, 7 * 12));
                Operator::Separable(Separable::new(shape, &rows, &columns).unwrap())
            }),
        ),
        ("weights", each(&|i| Operator::Weights(Weights::new(shape, normals(i, 192)).unwrap()))),
        (
            "dense",
            each(&|i| Operator::Dense(Dense::new(shape, 20, &normals(i, 20 * 192)).unwrap())),
        ),
    ]
}

fn tensor(rows: &[Vec<f64>], shape: Shape, device: Device) -> Tensor {
    let Shape { channels, height, width } = shape;
    Tensor::from_slice(&rows.concat())
        .view([-1, channels as i64, height as i64, width as i64])
        .to_device(device)
}

/// Asserts agreement to `ulps` of the largest value, `ulps` counting the sums behind each.
fn assert_close(name: &str, found: &Tensor, expected: &[Vec<f64>], ulps: f64) {
    let found: Vec<f64> = Vec::try_from(found.to_device(Device::Cpu).flatten(0, -1)).unwrap();
    let expected = expected.concat();
    assert_eq!(found.len(), expected.len(), "{name}");
    let scale = expected.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() <= ulps * f64::EPSILON * scale, "{name}: {a} for {b}");
    }
}

/// Of 10 A and 10 y a network reads what it reads of A and y.
#[test]
fn the_lifted_measurement_has_no_scale() {
    let shape = Shape::new(1, 4, 6).unwrap();
    let normals = |image: u64, n: usize| Stream::new(11, image, 0, 0).normals(n);
    let scaled = |values: Vec<f64>, by: f64| values.iter().map(|v| by * v).collect::<Vec<_>>();
    let dense = |by: f64| {
        let matrix = scaled(normals(0, 5 * 24), by);
        Operator::Dense(Dense::new(shape, 5, &matrix).unwrap())
    };
    let separable = |by: f64| {
        let rows = scaled(normals(1, 3 * 4), by);
        Operator::Separable(Separable::new(shape, &rows, &normals(2, 4 * 6)).unwrap())
    };
    let of = |operator: Operator, by: f64| {
        let (domain, range) = (operator.domain(), operator.range());
        let operator = TensorOperator::new(vec![operator], Device::Cpu).unwrap();
        let y = tensor(&[scaled(normals(3, range.len()), by)], range, Device::Cpu);
        let lifted = operator.lift(&y);
        assert_eq!(lifted.size()[1..], [domain.channels as i64, 4, 6]);
        lifted
    };
    for (plain, tenfold) in [(dense(1.0), dense(10.0)), (separable(1.0), separable(10.0))] {
        let difference = (of(plain, 1.0) - of(tenfold, 10.0)).abs().max().double_value(&[]);
        assert!(difference < 1e-12, "{difference}");
    }
}

#[test]
fn every_transform_equals_the_hosts() {
    for device in devices() {
        for (name, operators) in families() {
            let (domain, range) = (operators[0].domain(), operators[0].range());
            let on_device = TensorOperator::new(operators.clone(), device).unwrap();
            let draw = |sample: u64, shape: Shape| -> Vec<Vec<f64>> {
                (0..3).map(|i| Stream::new(5, i, sample, 0).normals(shape.len())).collect()
            };
            let (x, y) = (draw(0, domain), draw(1, range));
            let (x_t, y_t) = (tensor(&x, domain, device), tensor(&y, range, device));
            // Sums of at most 192 products of order-one numbers, several in a row.
            let ulps = 2000.0;
            let host = |f: &dyn Fn(&Operator, usize) -> Vec<f64>| -> Vec<Vec<f64>> {
                operators.iter().enumerate().map(|(i, o)| f(o, i)).collect()
            };
            assert_close(name, &on_device.apply(&x_t), &host(&|o, i| o.apply(&x[i])), ulps);
            assert_close(name, &on_device.adjoint(&y_t), &host(&|o, i| o.adjoint(&y[i])), ulps);
            // Pictures show what networks read.
            assert_close(name, &on_device.lift(&y_t), &host(&|o, i| lifted(o, &y[i])), ulps);
            let gram = host(&|o, i| o.adjoint(&o.apply(&x[i])));
            assert_close(name, &on_device.gram(&x_t), &gram, ulps);
            let measurement = Measurement::new(
                TensorOperator::new(operators.clone(), device).unwrap(),
                &y_t,
                0.1,
            );
            let pull = host(&|o, i| {
                let residual = y[i].iter().zip(o.apply(&x[i])).map(|(y, ax)| y - ax);
                o.adjoint(&residual.collect::<Vec<_>>())
            });
            assert_close(name, &measurement.unwrap().pull(&x_t), &pull, ulps);

            // One level an image, as in training; the pivot's gains as the function of AᵀA.
            let levels = [0.02, 0.7, 30.0].map(Level::edm);
            let fields = level_fields(&levels, device);
            let gains = pivot_gains(on_device.eigenvalues().clone(), &fields, 0.05);
            let expected =
                host(&|o, i| o.spectral_map(&x[i], &|l| pivot_gains(l, &levels[i], 0.05).state));
            assert_close(name, &on_device.spectral_map(&x_t, &gains.state), &expected, ulps);

            let diagonal = on_device.pixel_diagonal(&gains.sigma_star);
            let channels = diagonal.size()[1] as usize;
            let unit = |index: usize| {
                let mut e = vec![0.0; domain.len()];
                e[index] = 1.0;
                e
            };
            let expected = host(&|o, i| {
                (0..channels * domain.plane())
                    .map(|p| {
                        o.spectral_map(&unit(p), &|l| pivot_gains(l, &levels[i], 0.05).sigma_star)
                            [p]
                    })
                    .collect()
            });
            assert_close(
                name,
                &diagonal.expand([3, -1, -1, -1], false).contiguous(),
                &expected,
                ulps * 900.0,
            );

            // The pivot itself, with its amplification of at most 1/σ_y² of Aᵀy.
            let measurement = Measurement::new(on_device, &y_t, 0.05).unwrap();
            let pivot = measurement.pivot(&x_t, &fields).unwrap().mu_star;
            let expected = host(&|o, i| {
                let state = o.spectral_map(&x[i], &|l| pivot_gains(l, &levels[i], 0.05).state);
                let data = o.spectral_map(&o.adjoint(&y[i]), &|l| {
                    pivot_gains(l, &levels[i], 0.05).observation
                });
                state.iter().zip(data).map(|(a, b)| a + b).collect()
            });
            assert_close(name, &pivot, &expected, ulps * 400.0);
        }
    }
}

#[test]
fn one_operator_serves_all_measurements() {
    for (name, operators) in families() {
        let one = operators[0].clone();
        let of = |count| TensorOperator::new(vec![one.clone(); count], Device::Cpu).unwrap();
        let of_batch = |shape: Shape, seed: f64| {
            let sides = [3, shape.channels, shape.height, shape.width].map(|side| side as i64);
            let count: i64 = sides.iter().product();
            let steps = Tensor::arange(count, (Kind::Double, Device::Cpu));
            (steps * seed).sin().view(sides)
        };
        let (y, x) = (of_batch(one.range(), 1.7), of_batch(one.domain(), 2.3));
        let level = level_fields(&[Level { alpha: 0.8, beta: 0.6 }], Device::Cpu);
        let pivot =
            |count| Measurement::new(of(count), &y, 0.05).unwrap().pivot(&x, &level).unwrap();
        let (shared, each) = (pivot(1), pivot(3));
        assert!((shared.mu_star - each.mu_star).abs().max().double_value(&[]) <= 1e-12, "{name}");
        assert!(shared.sigma_star.0.expand_as(&each.sigma_star.0).equal(&each.sigma_star.0));
    }
}

#[test]
fn bad_measurements_are_refused() {
    let make = || TensorOperator::new(families().swap_remove(0).1, Device::Cpu).unwrap();
    let y = Tensor::zeros([3, 2, 8, 12], (Kind::Double, Device::Cpu));
    for sigma_y in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(matches!(Measurement::new(make(), &y, sigma_y), Err(ModelError::SigmaY(_))));
    }
    // An exact measurement has a limit where a basis is known.
    assert!(Measurement::new(make(), &y, 0.0).is_ok());
    let json = r#"{"operator": "convolution", "kernel": [[0.2, 0.5, 0.3]], "border": "zero"}"#;
    let blur = serde_json::from_str::<OperatorSpec>(json).unwrap();
    let blur = blur.prepare(Shape::new(1, 2, 2).unwrap()).unwrap();
    let blur = TensorOperator::new(vec![blur], Device::Cpu).unwrap();
    assert!(!blur.is_closed());
    let blurred = Tensor::zeros([1, 1, 2, 2], (Kind::Double, Device::Cpu));
    let error = Measurement::new(blur, &blurred, 0.0).unwrap_err();
    assert!(matches!(error, ModelError::Exact), "{error}");
    assert!(error.to_string().contains("sigma_y = 0.01"), "{error}");
    let narrow = y.narrow(3, 0, 11);
    let error = Measurement::new(make(), &narrow, 0.05).unwrap_err();
    assert!(matches!(error, ModelError::MeasurementShape { .. }), "{error}");
    let error = Measurement::new(make(), &(&y / 0.0), 0.05).unwrap_err();
    assert!(matches!(error, ModelError::NotFinite(_)), "{error}");
    let mut mixed = families().swap_remove(0).1;
    mixed.extend(families().swap_remove(1).1);
    assert!(matches!(TensorOperator::new(mixed, Device::Cpu), Err(ModelError::MixedOperators(_))));
    assert!(matches!(
        TensorOperator::new(Vec::<Operator>::new(), Device::Cpu),
        Err(ModelError::MixedOperators(_))
    ));
}

/// Of operators beside the families of `Operator`, too.
#[test]
fn an_exact_measurement_is_met_where_an_eigenbasis_is_known() {
    let shape = Shape::new(3, 2, 2).unwrap();
    for json in [
        r#"{"operator": "grey"}"#,
        r#"{"operator": "scale", "factor": 2, "of": {"operator": "bayer", "pattern": "rggb"}}"#,
        r#"{"operator": "crop", "top": 0, "left": 1, "height": 2, "width": 1}"#,
    ] {
        let spec: OperatorSpec = serde_json::from_str(json).unwrap();
        let operator =
            TensorOperator::new(vec![spec.prepare(shape).unwrap()], Device::Cpu).unwrap();
        assert!(operator.is_closed() && !operator.has_basis(), "{json}");
        let image = |name: &str| {
            let values = Stream::named(0, name).normals(shape.len());
            Tensor::from_slice(&values).view([1, 3, 2, 2])
        };
        let y = operator.apply(&image("truth"));
        let measurement = Measurement::new(operator, &y, 0.0).unwrap();
        let level = level_fields(&[Level::edm(3.0)], Device::Cpu);
        let pivot = measurement.pivot(&(3.0 * image("x_t")), &level).unwrap();
        let gap = (measurement.operator().apply(&pivot.mu_star) - &y).abs().max().double_value(&[]);
        // Some roundings of values up to 10.
        assert!(gap < 1e-13, "{json}: {gap:e}");
    }
}

/// A blur of which one measurement has a missing value, so that its basis is gone, and the other has not.
#[test]
fn one_without_a_basis_goes_with_those_that_have_one() {
    let shape = Shape::new(1, 6, 5).unwrap();
    let json = r#"{"operator": "gaussian-blur", "sigma_blur": 0.8, "taps": 5}"#;
    let blur = serde_json::from_str::<OperatorSpec>(json).unwrap().prepare(shape).unwrap();
    let whole = eps_math::Noise::uniform(0.05).unwrap();
    let missing: Vec<bool> = (0..shape.len()).map(|i| i == 7).collect();
    let part = whole.clone().with_missing(&missing).unwrap();
    let operators = [part, whole].map(|noise| {
        eps_math::operator::Whitened::prepare(&blur, &std::sync::Arc::new(noise), 0.05).unwrap()
    });
    assert!(operators[0].basic().is_none() && operators[1].basic().is_some());
    let both = TensorOperator::new(operators.to_vec(), Device::Cpu).unwrap();
    assert!(!both.has_basis());
    let x: Vec<f64> = (0..shape.len()).map(|i| (i % 7) as f64).collect();
    let found = both.apply(&Tensor::from_slice(&x).view([1, 1, 6, 5]));
    let found: Vec<f64> = Vec::try_from(found.view([-1])).unwrap();
    let expected = [operators[0].apply(&x), operators[1].apply(&x)].concat();
    // The same maps on the host: their own rounding.
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
}

#[test]
#[should_panic(expected = "a batch of 3 images for 2 operators")]
fn a_batch_of_another_size_is_named() {
    let shape = Shape::new(1, 2, 2).unwrap();
    let mask = Operator::Mask(Mask::new(shape, vec![true; 4]).unwrap());
    let operator = TensorOperator::new(vec![mask.clone(), mask], Device::Cpu).unwrap();
    let image = |count: i64| Tensor::zeros([count, 1, 2, 2], (Kind::Double, Device::Cpu));
    // One image goes with all operators.
    assert_eq!(operator.apply(&image(1)).size(), [2, 1, 2, 2]);
    let _ = operator.apply(&image(3));
}
