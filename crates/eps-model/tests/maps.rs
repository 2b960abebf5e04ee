//! Operators of one's own, a pair A, Aᵀ: what comes by iteration is what the eigenbasis says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::sync::Arc;

use eps_math::operator::{LinearMap, OperatorSpec, PreparedOperator};
use eps_math::pivot::pivot_gains;
use eps_math::rng::Stream;
use eps_math::{Level, Shape};
use eps_model::{Field, Measurement, TensorOperator, level_fields};
use eps_testing::{Own, assert_within, devices};
use tch::{Device, Kind, Tensor};

fn prepared(json: &str, shape: Shape) -> PreparedOperator {
    serde_json::from_str::<OperatorSpec>(json).unwrap().prepare(shape).unwrap()
}

fn image(name: &str, batch: i64, shape: Shape) -> Tensor {
    let values = Stream::named(0, name).normals(batch as usize * shape.len());
    let sides = [shape.channels, shape.height, shape.width].map(|side| side as i64);
    Tensor::from_slice(&values).view([batch, sides[0], sides[1], sides[2]])
}

fn gap(a: &Tensor, b: &Tensor) -> f64 {
    let norm = |x: &Tensor| x.square().sum(Kind::Double).sqrt().double_value(&[]);
    norm(&(a - b)) / norm(b)
}

const MASK: &str =
    r#"{"operator": "mask", "observed": [1,0,1,1,0,1,1,0,0,1,1,1,0,0,1,1,1,0,1,0,1,1,0,1,1]}"#;
const BLUR: &str = r#"{"operator": "motion-blur", "length": 5, "angle_degrees": 30}"#;

#[test]
fn what_comes_by_iteration_is_what_the_eigenbasis_says() {
    let shape = Shape::new(2, 5, 5).unwrap();
    for json in [MASK, BLUR] {
        let known = prepared(json, shape);
        let own: Arc<dyn LinearMap> = Arc::new(Own(known.clone()));
        let known = TensorOperator::new(vec![known], Device::Cpu).unwrap();
        let own = TensorOperator::of_maps(vec![own], Device::Cpu).unwrap();
        assert!(known.has_basis() && !own.has_basis());
        let x = image("x", 3, shape);
        let y = known.apply(&image("truth", 3, shape));
        // Transforms of two libraries.
        assert!(gap(&own.apply(&x), &known.apply(&x)) < 1e-14);
        assert!(gap(&own.adjoint(&y), &known.adjoint(&y)) < 1e-14);
        for sigma_t in [80.0, 2.0, 0.1] {
            let levels = [sigma_t, sigma_t / 3.0, sigma_t / 5.0].map(Level::edm);
            let fields = level_fields(&levels, Device::Cpu);
            let x_t = &x * &fields.beta.0;
            let of = |operator| Measurement::new(operator, &y, 0.05).unwrap();
            let again = || TensorOperator::new(vec![prepared(json, shape)], Device::Cpu).unwrap();
            let exact = of(again()).pivot(&x_t, &fields).unwrap();
            let map: Arc<dyn LinearMap> = Arc::new(Own(prepared(json, shape)));
            let iterated = of(TensorOperator::of_maps(vec![map], Device::Cpu).unwrap());
            let near = iterated.pivot(&x_t, &fields).unwrap();
            // A tenth of the noise Σ⋆, which in unmeasured directions is σ_t, as μ⋆ is.
            assert!(gap(&near.mu_star, &exact.mu_star) < 0.1, "{json} at {sigma_t}");
            let report = iterated.operator().krylov_report().unwrap();
            let pivots = report.pivots;
            assert!(
                pivots.runs == 3 && pivots.most > 0 && pivots.most <= pivots.steps,
                "{report:?}"
            );
            assert!(3.0 * pivots.mean() == pivots.steps as f64 && !report.time.is_zero());

            // c_in of the guarded preconditioning, as a function of AᵀA.
            let gains = |operator: &TensorOperator| {
                let sigma_star =
                    pivot_gains(operator.eigenvalues().clone(), &fields, 0.05).sigma_star;
                Field((sigma_star.0 + 0.25).rsqrt())
            };
            let (exact, near) =
                (known.spectral_map(&x_t, &gains(&known)), own.spectral_map(&x_t, &gains(&own)));
            // A per cent of Lanczos' method, and a tenth of it of the interpolation between nodes.
            assert!(gap(&near, &exact) < 0.015, "{json} at {sigma_t}: {}", gap(&near, &exact));
        }
    }
}

/// The decomposition of its matrix gives a map what closed forms give: gradients too, and the map's shapes.
#[test]
fn small_maps_have_the_eigenbasis_of_their_matrix() {
    let shape = Shape::new(1, 5, 5).unwrap();
    for json in [MASK, BLUR] {
        let exact = TensorOperator::new(vec![prepared(json, shape)], Device::Cpu).unwrap();
        let map: Arc<dyn LinearMap> = Arc::new(Own(prepared(json, shape)));
        let map = PreparedOperator::Map { family: "own", map }.decomposed().unwrap();
        let of = TensorOperator::new(vec![map], Device::Cpu).unwrap();
        assert!(of.has_basis() && of.range() == exact.range());
        let x = image("x", 3, shape);
        let y = exact.apply(&image("truth", 3, shape));
        assert!(gap(&of.apply(&x), &exact.apply(&x)) < 1e-14);
        assert!(gap(&of.adjoint(&y), &exact.adjoint(&y)) < 1e-14);
        assert!(of.lift(&y).size() == [3, 1, 5, 5]);
        let fields = level_fields(&[80.0, 2.0, 0.02].map(Level::edm), Device::Cpu);
        let x_t = &x * &fields.beta.0;
        let pivot = |operator| Measurement::new(operator, &y, 0.002).unwrap().pivot(&x_t, &fields);
        let (of, exact) = (pivot(of).unwrap(), pivot(exact).unwrap());
        // ε times the condition of AᵀA/σ_y² + I/σ_t², which is (80/0.002)² at most.
        assert!(gap(&of.mu_star, &exact.mu_star) < 1e-9, "{}", gap(&of.mu_star, &exact.mu_star));
    }

    // A convolution shows networks the blurred image itself, also beside its matrix.
    let json = r#"{"operator": "convolution", "kernel": [[0.2, 0.5, 0.3]], "border": "reflect"}"#;
    let map = prepared(json, shape);
    let y = image("y", 2, shape);
    let host = TensorOperator::new(vec![map.clone()], Device::Cpu).unwrap();
    let matrix = TensorOperator::new(vec![map.decomposed().unwrap()], Device::Cpu).unwrap();
    assert!(matrix.has_basis() && matrix.lift(&y).equal(&host.lift(&y)));
    // 48×48 values are too many.
    let large = prepared(json, Shape::new(1, 48, 48).unwrap()).decomposed().unwrap();
    assert!(large.map().range_basis().is_none());
}

/// Pivots begin at those of the level before, and a walk does not depend on the one before it.
#[test]
fn walks_are_the_same_again() {
    let shape = Shape::new(2, 5, 5).unwrap();
    let map: Arc<dyn LinearMap> = Arc::new(Own(prepared(BLUR, shape)));
    let operator = TensorOperator::of_maps(vec![map], Device::Cpu).unwrap();
    let y = operator.apply(&image("truth", 2, shape));
    let measurement = Measurement::new(operator, &y, 0.05).unwrap();
    let (x, truth) = (image("x", 2, shape), image("truth", 2, shape));
    let walk = || {
        [80.0, 10.0, 10.0, 1.0].map(|sigma_t| {
            let fields = level_fields(&[Level::edm(sigma_t)], Device::Cpu);
            measurement.pivot(&(&truth + &x * sigma_t), &fields).unwrap().mu_star
        })
    };
    let (first, again) = (walk(), walk());
    assert!(first.iter().zip(&again).all(|(a, b)| a.equal(b)));
}

#[test]
fn batches_are_their_images() {
    let shape = Shape::new(1, 5, 5).unwrap();
    let maps =
        || [MASK, BLUR].map(|json| Arc::new(Own(prepared(json, shape))) as Arc<dyn LinearMap>);
    let both = TensorOperator::of_maps(maps().to_vec(), Device::Cpu).unwrap();
    let x = image("x", 2, shape);
    let y = both.apply(&x);
    for (i, map) in maps().into_iter().enumerate() {
        let one = TensorOperator::of_maps(vec![map], Device::Cpu).unwrap();
        let of = |x: &Tensor| x.narrow(0, i as i64, 1);
        assert!(of(&y).equal(&one.apply(&of(&x))));
        assert!(of(&both.gram(&x)).equal(&one.gram(&of(&x))));
    }
}

/// Diagonals of maps without structure are estimates, kept inside the values that the function takes.
#[test]
fn diagonals_are_estimated() {
    let shape = Shape::new(1, 5, 5).unwrap();
    let known = TensorOperator::new(vec![prepared(MASK, shape)], Device::Cpu).unwrap();
    let map: Arc<dyn LinearMap> = Arc::new(Own(prepared(MASK, shape)));
    let own = TensorOperator::of_maps(vec![map], Device::Cpu).unwrap();
    let gains = |operator: &TensorOperator| {
        Field((operator.eigenvalues().0.shallow_clone() + 0.1).reciprocal())
    };
    // A mask's matrix is diagonal: random signs leave no error.
    let (exact, estimate) =
        (known.pixel_diagonal(&gains(&known)), own.pixel_diagonal(&gains(&own)));
    assert!(gap(&estimate, &exact) < 0.01, "{}", gap(&estimate, &exact));
    assert!(estimate.max().double_value(&[]) <= 10.0);
}

/// On a GPU, maps that are written out are computed there: by the same steps as on the host.
#[test]
fn maps_on_a_device_are_those_of_the_host() {
    let families: Vec<(OperatorSpec, [usize; 3])> =
        serde_json::from_str(include_str!("families.json")).unwrap();
    for device in devices() {
        for (spec, [c, h, w]) in &families {
            let shape = Shape::new(*c, *h, *w).unwrap();
            let json = serde_json::to_string(spec).unwrap();
            let prepared = || spec.prepare(shape).unwrap();
            let of = |device| TensorOperator::new(vec![prepared()], device).unwrap();
            let (there, host) = (of(device), of(Device::Cpu));
            let x = image("x", 2, shape);
            let y = host.apply(&image("truth", 2, shape));
            let fields = |device| level_fields(&[Level::edm(2.0), Level::edm(0.3)], device);
            let pivot = |operator: TensorOperator, device| {
                let measurement = Measurement::new(operator, &y.to_device(device), 0.05).unwrap();
                let fields = fields(device);
                let x_t = x.to_device(device) * &fields.beta.0;
                measurement.pivot(&x_t, &fields).unwrap().mu_star
            };
            let function = |operator: &TensorOperator, device| {
                let lambda = &operator.eigenvalues().0;
                let gains = Field(((lambda + 0.01) / (lambda + 0.3)).sqrt());
                let mapped = operator.spectral_map(&x.to_device(device), &gains);
                (mapped, operator.pixel_diagonal(&gains))
            };
            let on_host = |of: &Tensor| of.to_device(Device::Cpu);
            let there_y = y.to_device(device);
            let (found, expected) = (function(&there, device), function(&host, Device::Cpu));
            for (what, found, expected, limit) in [
                ("A", there.apply(&x.to_device(device)), host.apply(&x), 1e-13),
                ("A^T", there.adjoint(&there_y), host.adjoint(&y), 1e-13),
                // The same steps, which make rounding larger; both are right to a tenth of the noise, and to a per cent.
                ("the pivot", pivot(of(device), device), pivot(of(Device::Cpu), Device::Cpu), 1e-2),
                ("f(A^T A)", found.0, expected.0, 1e-4),
                ("the diagonal", found.1, expected.1, 1e-4),
            ] {
                let difference = gap(&on_host(&found), &expected);
                assert_within(device, &format!("{what} of {json}"), difference, limit);
            }
        }
    }
}
