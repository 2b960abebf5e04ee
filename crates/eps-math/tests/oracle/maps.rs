//! Operators that are a pair A, Aᵀ: the adjoint is the adjoint, and what is solved without an eigenbasis is what the
//! matrix says.

use std::sync::Arc;

use eps_math::operator::{
    LinearMap, OperatorKind, OperatorSpec, PreparedOperator, Spectral, check, measured_entries,
    to_matrix,
};
use eps_math::rng::Stream;
use eps_math::solve::{Cg, Lanczos, WithinNoise};
use eps_math::{Level, MathError, Route, Shape, exact_pivot, pivot};

use crate::registry::{distance, norm, operators};

/// Every family beside those of the registry, ready for its images.
fn families() -> Vec<(String, PreparedOperator)> {
    let prepared = |(name, spec, shape): (String, OperatorSpec, Shape)| {
        let map = spec.prepare(shape).unwrap();
        (name, map)
    };
    described().into_iter().map(prepared).collect()
}

/// Every family beside those of the registry, by its JSON, with the shape of its images.
fn described() -> Vec<(String, OperatorSpec, Shape)> {
    let skew = "[[0.4, 0.1], [0.3, -0.2], [0.05, 0.1]]";
    let mut list: Vec<(String, [usize; 3])> = Vec::new();
    for border in ["circular", "zero", "reflect", "symmetric", "replicate", "valid"] {
        let json =
            format!(r#"{{"operator": "convolution", "kernel": {skew}, "border": "{border}"}}"#);
        list.push((json.clone(), [1, 6, 5]));
        list.push((json, [3, 4, 7]));
        list.push((
            format!(
                r#"{{"operator": "motion-blur", "length": 5, "angle_degrees": 30, "border": "{border}"}}"#
            ),
            [2, 7, 6],
        ));
    }
    for filter in ["box", "bicubic", "lanczos"] {
        let resize = |h, w| {
            format!(
                r#"{{"operator": "resize", "height": {h}, "width": {w}, "filter": "{filter}"}}"#
            )
        };
        list.push((resize(3, 4), [1, 7, 6]));
        list.push((resize(9, 8), [2, 5, 4]));
    }
    list.push((
        r#"{"operator": "weights", "weights": [0.5, 0, 1, -2, 1, 0.25]}"#.into(),
        [1, 2, 3],
    ));
    list.push((r#"{"operator": "grey"}"#.into(), [3, 4, 5]));
    list.push((
        r#"{"operator": "fourier", "mask": [[1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 0]]}"#.into(),
        [2, 3, 4],
    ));
    for angles in ["[0, 45, 100.5]", "[0, 10, 20, 30, 40, 50, 60, 70, 80, 90]"] {
        let radon = format!(r#"{{"operator": "radon", "angles_degrees": {angles}}}"#);
        list.push((radon.clone(), [1, 6, 6]));
        list.push((radon, [2, 5, 5]));
        let axis = r#"{"operator": "radon", "angles_degrees": [10, 100.5], "axis": 2.75}"#;
        list.push((axis.to_owned(), [1, 6, 6]));
    }
    list.push((
        r#"{"operator": "crop", "top": 1, "left": 2, "height": 3, "width": 2}"#.into(),
        [2, 5, 4],
    ));
    list.push((
        format!(
            r#"{{"operator": "chain", "of": [{{"operator": "convolution", "kernel": {skew}, "border": "reflect"}},
                {{"operator": "average-pool", "factor": 2}}, {{"operator": "grey"}}]}}"#
        ),
        [3, 8, 6],
    ));
    list.push((
        format!(
            r#"{{"operator": "chain", "of": [{{"operator": "convolution", "kernel": {skew}, "border": "valid"}},
                {{"operator": "crop", "top": 1, "left": 2, "height": 3, "width": 2}}]}}"#
        ),
        [3, 8, 6],
    ));
    let moved = r#"{"motion": {"length": 3, "angle_degrees": 30}}"#;
    let out_of_focus = r#"{"disc": {"radius": 1.7}}"#;
    for border in ["circular", "reflect", "valid"] {
        list.push((
            format!(
                r#"{{"operator": "channel-convolution", "kernels": [{skew}, {moved}, [[1]]], "border": "{border}"}}"#
            ),
            [3, 5, 6],
        ));
        list.push((
            format!(
                r#"{{"operator": "varying-blur", "kernels": [{skew}, {moved}, {out_of_focus}, [[1]]],
                    "windows": {{"grid": [2, 2]}}, "border": "{border}"}}"#
            ),
            [1, 7, 6],
        ));
    }
    list.push((
        format!(
            r#"{{"operator": "varying-blur", "kernels": [{moved}, [[1]]], "border": "zero",
                "windows": [[[1, 0.5, 0], [1, 0.25, 0]], [[0, 0.5, 1], [0, 0.75, 1]]]}}"#
        ),
        [2, 2, 3],
    ));
    for pattern in ["rggb", "bggr", "grbg", "gbrg"] {
        list.push((format!(r#"{{"operator": "bayer", "pattern": "{pattern}"}}"#), [3, 5, 4]));
    }
    let pad = r#"{"operator": "pad", "top": 1, "bottom": 0, "left": 2, "right": 3}"#;
    let grey = r#"{"operator": "grey"}"#;
    let radon = r#"{"operator": "radon", "angles_degrees": [0, 45]}"#;
    let blur = format!(r#"{{"operator": "convolution", "kernel": {skew}, "border": "symmetric"}}"#);
    let turned = r#"{"operator": "scale", "factor": -0.5, "of": {"operator": "weights", "weights": [0.5, 0, 1, -2, 1, 0.25]}}"#;
    list.push((pad.into(), [2, 3, 4]));
    list.push((turned.into(), [1, 2, 3]));
    list.push((format!(r#"{{"operator": "scale", "factor": 3, "of": {blur}}}"#), [1, 6, 5]));
    for (list_of, shape) in [
        (format!("[{blur}, {turned}]"), [1, 2, 3]),
        (format!(r#"[{{"operator": "chain", "of": [{blur}, {grey}]}}, {grey}]"#), [3, 4, 4]),
    ] {
        list.push((format!(r#"{{"operator": "sum", "of": {list_of}}}"#), shape));
        list.push((format!(r#"{{"operator": "stack", "of": {list_of}}}"#), shape));
    }
    // Measurements of several sizes.
    list.push((format!(r#"{{"operator": "stack", "of": [{radon}, {pad}, {blur}]}}"#), [1, 4, 4]));
    let mask = "[[1, 0, 1, 1], [0, 0, 1, 0], [1, 0, 0, 1]]";
    let rows = |seed: u64| -> String {
        let values = Stream::named(seed, "coil").normals(12);
        serde_json::to_string(&values.chunks(4).map(<[f64]>::to_vec).collect::<Vec<_>>()).unwrap()
    };
    let maps: Vec<String> =
        (0..3).map(|coil| format!("[{}, {}]", rows(2 * coil), rows(2 * coil + 1))).collect();
    let coils =
        format!(r#"{{"operator": "coils", "maps": [{}], "mask": {mask}}}"#, maps.join(", "));
    list.push((coils.clone(), [2, 3, 4]));
    let real = r#"{"operator": "real"}"#;
    list.push((real.into(), [1, 3, 4]));
    list.push((format!(r#"{{"operator": "chain", "of": [{real}, {coils}]}}"#), [1, 3, 4]));
    let points =
        "[[0, 0], [0.25, 0], [-0.1, 0.37], [0.5, -0.5], [0.013, 1.2], [0.3, 0.1], [0.3, -0.1]]";
    for method in ["direct", "gridding"] {
        for shape in [[1, 4, 5], [2, 5, 3]] {
            list.push((
                format!(
                    r#"{{"operator": "nonuniform-fourier", "points": {points}, "method": "{method}"}}"#
                ),
                shape,
            ));
        }
    }
    list.push((format!(r#"{{"operator": "nonuniform-fourier", "points": {points}}}"#), [2, 3, 3]));
    for (rows, shape) in [(5, [1, 3, 4]), (20, [2, 2, 4]), (1, [1, 1, 1])] {
        list.push((
            format!(r#"{{"operator": "gaussian-matrix", "rows": {rows}, "seed": 7}}"#),
            shape,
        ));
    }
    for (rows, shape) in [(5, [1, 4, 4]), (16, [2, 2, 4]), (9, [3, 2, 2]), (1, [1, 1, 1])] {
        list.push((
            format!(r#"{{"operator": "walsh-hadamard", "rows": {rows}, "seed": 3}}"#),
            shape,
        ));
    }
    // A camera's lens, its pixels and its colours; super-resolution by 3/2 of what was blurred before.
    list.push((
        format!(
            r#"{{"operator": "chain", "of": [{{"operator": "convolution", "kernel": {out_of_focus}, "border": "symmetric"}},
                {{"operator": "bayer", "pattern": "rggb"}}]}}"#
        ),
        [3, 6, 5],
    ));
    list.push((
        r#"{"operator": "chain", "of": [
            {"operator": "convolution", "kernel": {"gaussian": {"sigma": 0.8}}, "border": "symmetric"},
            {"operator": "resize", "height": 4, "width": 6, "filter": "box"}]}"#
            .into(),
        [1, 6, 9],
    ));
    // Kernels larger than the image.
    for border in ["circular", "zero", "reflect", "symmetric", "replicate"] {
        list.push((
            format!(
                r#"{{"operator": "convolution", "kernel": [[0.3, 0.1, 0.2, 0.1, 0.05, 0.15, 0.1]], "border": "{border}"}}"#
            ),
            [1, 4, 5],
        ));
        list.push((
            format!(r#"{{"operator": "gaussian-blur", "sigma_blur": 1.5, "taps": 7, "border": "{border}"}}"#),
            [1, 4, 5],
        ));
        list.push((
            format!(r#"{{"operator": "motion-blur", "length": 7, "angle_degrees": 30, "border": "{border}"}}"#),
            [1, 4, 5],
        ));
    }
    list.into_iter()
        .map(|(json, [c, h, w])| {
            let spec: OperatorSpec = serde_json::from_str(&json).unwrap();
            // What is written down is read again.
            let again = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<OperatorSpec>(&again).unwrap(), spec);
            (format!("{json} on [{c}, {h}, {w}]"), spec, Shape::new(c, h, w).unwrap())
        })
        .collect()
}

#[test]
fn a_family_is_of_the_kind_that_its_description_says() {
    let of_registry = operators().into_iter().map(|(name, o)| (name, o.spec(), o.domain()));
    for (name, spec, shape) in described().into_iter().chain(of_registry) {
        let map = spec.prepare(shape).unwrap();
        // A resize that makes larger takes no means.
        if map.range().plane() <= shape.plane() || spec.kind() != OperatorKind::Means {
            assert_eq!(map.kind(), spec.kind(), "{name}");
        }
    }
}

#[test]
fn what_is_said_of_entries_is_what_the_matrix_says() {
    let mut bounded = 0;
    let of_registry = operators().into_iter().map(|(name, o)| (name, PreparedOperator::from(o)));
    for (name, map) in families().into_iter().chain(of_registry) {
        let matrix = to_matrix(&map);
        let row = |i: usize| matrix.row(i).iter().map(|entry| entry.abs()).sum::<f64>();
        let rows: Vec<f64> = (0..matrix.nrows()).map(row).collect();
        let largest = rows.iter().copied().fold(0.0, f64::max);
        if let Some(norm) = map.infinity_norm() {
            // Transforms leave rounding in every entry.
            assert!(largest <= norm * (1.0 + 1e-13), "{name}: {largest} {norm}");
            // Chains multiply the bounds of their links; an image may be smaller than a kernel.
            assert!(norm <= 4.0 * largest, "{name}: {norm} {largest}");
            bounded += 1;
        }
        let of_matrix: Vec<bool> = rows.iter().map(|row| *row > 1e-12 * largest).collect();
        assert_eq!(measured_entries(&map), of_matrix, "{name}");
    }
    assert!(bounded > 60, "{bounded}");
}

#[test]
fn families_are_linear_with_the_adjoint_that_they_say() {
    let all = families().into_iter().chain(
        operators().into_iter().map(|(name, operator)| (name, PreparedOperator::from(operator))),
    );
    for (name, map) in all {
        for seed in 0..3 {
            // Sums of at most 500 products, and transforms of as many values.
            assert!(check::adjoint_gap(&map, seed) < 1e-14, "{name}");
            assert!(check::linearity_gap(&map, seed) < 1e-14, "{name}");
        }
        let matrix = to_matrix(&map);
        let largest = matrix.singular_values().unwrap()[0];
        let estimate = check::norm_estimate(&map, 100, 0);
        assert!(estimate <= largest * (1.0 + 1e-12) && estimate > 0.9 * largest, "{name}");
    }
}

#[test]
fn a_wrong_adjoint_is_found() {
    #[derive(Debug)]
    struct Wrong(PreparedOperator);
    impl LinearMap for Wrong {
        fn domain(&self) -> Shape {
            self.0.domain()
        }
        fn range(&self) -> Shape {
            self.0.range()
        }
        fn apply(&self, x: &[f64]) -> Vec<f64> {
            self.0.apply(x)
        }
        fn adjoint(&self, y: &[f64]) -> Vec<f64> {
            // The kernel not turned.
            self.0.apply(y)
        }
    }
    let skew = r#"{"operator": "convolution", "kernel": [[0.5, 0.3, 0.2]], "border": "circular"}"#;
    let spec: OperatorSpec = serde_json::from_str(skew).unwrap();
    let map = Wrong(spec.prepare(Shape::new(1, 8, 8).unwrap()).unwrap());
    assert!(check::adjoint_gap(&map, 0) > 1e-3);
    assert!(check::linearity_gap(&map, 0) < 1e-15);
}

/// The dense route: the operator's matrix, decomposed.
fn dense(map: &dyn LinearMap) -> eps_math::operator::Dense {
    let (m, n) = (map.range().len(), map.domain().len());
    let matrix = to_matrix(map);
    let rows: Vec<f64> = (0..m * n).map(|i| matrix[(i / n, i % n)]).collect();
    eps_math::operator::Dense::new(map.domain(), m, &rows).unwrap()
}

#[test]
fn the_pivot_of_all_routes_is_one() {
    let spectral = operators().into_iter().map(|(name, o)| (name, PreparedOperator::from(o)));
    for (name, map) in families().into_iter().chain(spectral) {
        let dense = dense(&map);
        let draw = |what: &str, n| Stream::named(1, &format!("{what} of {name}")).normals(n);
        let x_0 = draw("x", map.domain().len());
        for (sigma_t, sigma_y) in [(80.0, 0.002), (80.0, 0.05), (1.0, 0.05), (0.002, 0.3)] {
            let y: Vec<f64> = map
                .apply(&x_0)
                .iter()
                .zip(draw("η", map.range().len()))
                .map(|(a, z)| a + sigma_y * z)
                .collect();
            let x_t: Vec<f64> =
                x_0.iter().zip(draw("ε", x_0.len())).map(|(x, z)| x + sigma_t * z).collect();
            let level = Level::edm(sigma_t);
            let expected = pivot::mu_star(&dense, &y, sigma_y, &x_t, &level);
            let solved = Cg::default().mu_star(&map, &y, sigma_y, &x_t, &level).unwrap();
            let gap = distance(&solved.x, &expected) / norm(&expected);
            assert!(
                gap < 1e-8,
                "{name} at {sigma_t}, {sigma_y}: {gap:e} in {} steps",
                solved.steps
            );
            if let Some(spectral) = map.as_spectral() {
                let closed = pivot::mu_star(spectral, &y, sigma_y, &x_t, &level);
                assert!(distance(&closed, &expected) < 1e-8 * norm(&expected), "{name}");
            }
        }
    }
}

/// What does the same to every channel is one channel after the other, in chains too.
#[test]
fn chains_of_colours_are_solved_channel_by_channel() {
    let shape = Shape::new(3, 40, 40).unwrap();
    let chain = r#"{"operator": "chain", "of": [
        {"operator": "convolution", "kernel": [[0.2, 0.5, 0.2], [0, 0.1, 0]], "border": "zero"},
        {"operator": "resize", "height": 20, "width": 20, "filter": "bicubic"}
    ]}"#;
    let map = serde_json::from_str::<OperatorSpec>(chain).unwrap().prepare(shape).unwrap();
    let one = map.one_channel().unwrap();
    let draw = |what: &str| Stream::named(16, what).normals(shape.len());
    let x = draw("x");
    let each: Vec<f64> = x.chunks_exact(1600).flat_map(|x| one.apply(x)).collect();
    // Products of matrices, whose sums may come in another order.
    assert!(distance(&map.apply(&x), &each) < 1e-12 * norm(&each));
    let level = Level::edm(80.0);
    let (y, x_t) = (map.apply(&x), draw("ε"));
    // 4800 values in all, 1600 a channel.
    let (found, route) = exact_pivot(&map, &y, 0.01, &x_t, &level, &Cg::default()).unwrap();
    assert!(!matches!(route, Route::ConjugateGradients { .. }), "{route:?}");
    let channel = |c: usize| (&y[400 * c..400 * (c + 1)], &x_t[1600 * c..1600 * (c + 1)]);
    for c in 0..3 {
        let (y, x_t) = channel(c);
        let alone = exact_pivot(&*one, y, 0.01, x_t, &level, &Cg::default()).unwrap().0;
        assert!(distance(&found[1600 * c..1600 * (c + 1)], &alone) < 1e-9 * norm(&alone));
    }
}

/// By whatever way, all digits that the numbers allow: with noise, without, and where κ is lost beside the squares of singular values.
#[test]
fn exact_pivots_are_those_of_the_matrix() {
    let spectral = operators().into_iter().map(|(name, o)| (name, PreparedOperator::from(o)));
    for (name, map) in families().into_iter().chain(spectral) {
        let dense = dense(&map);
        let draw = |what: &str, n| Stream::named(1, &format!("{what} of {name}")).normals(n);
        let x_0 = draw("x", map.domain().len());
        for (sigma_t, sigma_y) in [(80.0, 0.002), (1.0, 0.05), (0.002, 0.3)] {
            let noise = draw("η", map.range().len());
            let y: Vec<f64> =
                map.apply(&x_0).iter().zip(noise).map(|(a, z)| a + sigma_y * z).collect();
            let state = draw("ε", x_0.len());
            let x_t: Vec<f64> = x_0.iter().zip(state).map(|(x, z)| x + sigma_t * z).collect();
            let level = Level::edm(sigma_t);
            let expected = pivot::mu_star(&dense, &y, sigma_y, &x_t, &level);
            let (found, route) =
                exact_pivot(&map, &y, sigma_y, &x_t, &level, &Cg::default()).unwrap();
            let gap = distance(&found, &expected) / norm(&expected);
            assert!(gap < 1e-8, "{name} at {sigma_t}, {sigma_y}: {gap:e} {route:?}");
            assert_eq!(map.as_spectral().is_some(), route == Route::ClosedForm, "{name}");
            assert!(!matches!(route, Route::ConjugateGradients { .. }), "{name}");
        }
        // Without noise the measured part is known, to rounding over the least singular value.
        let x_t: Vec<f64> = draw("ε", x_0.len()).iter().map(|z| 80.0 * z).collect();
        let measured = |x: &[f64]| dense.spectral_map(x, &|lambda| f64::from(lambda > 0.0));
        let (of_image, of_state) = (measured(&x_0), measured(&x_t));
        let expected: Vec<f64> =
            (0..x_t.len()).map(|i| of_image[i] + x_t[i] - of_state[i]).collect();
        let (level, cg) = (Level::edm(80.0), Cg::default());
        let least = dense.eigenvalues().into_iter().filter(|l| *l > 0.0).fold(1.0, f64::min).sqrt();
        match exact_pivot(&map, &map.apply(&x_0), 0.0, &x_t, &level, &cg) {
            Ok((found, _)) => {
                let gap = distance(&found, &expected) / norm(&expected);
                assert!(gap < 1e-6, "{name} without noise: {gap:e}");
            }
            // Told where digits are lost, and there alone.
            Err(error) => assert!(least < 1e-8, "{name} without noise: {error}, {least:e}"),
        }
        // Where κ is lost beside squared singular values the formula of the matrix tells nothing: with y − A x_t = A Aᵀw + κ w the
        // correction is Aᵀw, to rounding of y over √κ.
        let kappa = (1e-5f64 / 80.0).powi(2);
        let (x_t, w) = (draw("ε", x_0.len()), draw("w", map.range().len()));
        let correction = map.adjoint(&w);
        let sum: Vec<f64> = x_t.iter().zip(&correction).map(|(x, z)| x + z).collect();
        let y: Vec<f64> =
            map.apply(&sum).iter().zip(&w).map(|(seen, w)| seen + kappa * w).collect();
        let found = exact_pivot(&map, &y, 1e-5, &x_t, &Level::edm(80.0), &Cg::default());
        let gap = distance(&found.unwrap().0, &sum) / norm(&sum);
        assert!(gap < 1e-7, "{name}: {gap:e}");
    }
    // In closed form, too, nothing is lost to squares of singular values, here down to 10⁻⁷ of the largest one.
    let shape = Shape::new(2, 24, 24).unwrap();
    let json = r#"{"operator": "gaussian-blur", "sigma_blur": 1.5, "taps": 9}"#;
    let map = serde_json::from_str::<OperatorSpec>(json).unwrap().prepare(shape).unwrap();
    let kappa = (1e-5f64 / 80.0).powi(2);
    let draw = |what: &str| Stream::named(15, what).normals(shape.len());
    let (x_t, w) = (draw("ε"), draw("w"));
    let sum: Vec<f64> = x_t.iter().zip(map.adjoint(&w)).map(|(x, z)| x + z).collect();
    let y: Vec<f64> = map.apply(&sum).iter().zip(&w).map(|(seen, w)| seen + kappa * w).collect();
    let found = exact_pivot(&map, &y, 1e-5, &x_t, &Level::edm(80.0), &Cg::default()).unwrap();
    let gap = distance(&found.0, &sum) / norm(&sum);
    assert!(gap < 1e-8 && found.1 == Route::ClosedForm, "{gap:e}");
    // What is too large for its matrix.
    let shape = Shape::new(1, 80, 80).unwrap();
    let json = r#"{"operator": "convolution", "kernel": {"disc": {"radius": 1.5}}, "border": "symmetric"}"#;
    let map = serde_json::from_str::<OperatorSpec>(json).unwrap().prepare(shape).unwrap();
    let (y, level) = (vec![0.1; shape.len()], Level::edm(1.0));
    let of = |sigma_y| exact_pivot(&map, &y, sigma_y, &y, &level, &Cg::default());
    assert!(matches!(of(0.1).unwrap().1, Route::ConjugateGradients { .. }));
    assert!(of(0.0).unwrap_err().to_string().contains("6400 x 6400"));
    // Where conjugate gradients would take more steps than there are pixels: by the sparse matrix.
    let kappa = (0.002f64 / 80.0).powi(2);
    let draw = |what: &str| Stream::named(17, what).normals(shape.len());
    let (x_t, w) = (draw("ε"), draw("w"));
    let sum: Vec<f64> = x_t.iter().zip(map.adjoint(&w)).map(|(x, z)| x + z).collect();
    let y: Vec<f64> = map.apply(&sum).iter().zip(&w).map(|(seen, w)| seen + kappa * w).collect();
    let found = exact_pivot(&map, &y, 0.002, &x_t, &Level::edm(80.0), &Cg::default()).unwrap();
    let gap = distance(&found.0, &sum) / norm(&sum);
    assert!(gap < 1e-8 && matches!(found.1, Route::Matrix { .. }), "{gap:e} {:?}", found.1);
}

/// As σ_y → 0 the pivot becomes x_t/α + A†(y − A x_t/α), at σ_y = 0 it is that.
#[test]
fn the_limit_without_noise_is_exact() {
    for (name, map) in families() {
        let dense = dense(&map);
        let draw = |what: &str, n| Stream::named(2, &format!("{what} of {name}")).normals(n);
        let (y, x_t) = (draw("y", map.range().len()), draw("x", map.domain().len()));
        let level = Level { alpha: 0.8, beta: 0.6 };
        let state: Vec<f64> = x_t.iter().map(|v| v / 0.8).collect();
        let missing: Vec<f64> = y.iter().zip(map.apply(&state)).map(|(y, seen)| y - seen).collect();
        let correction = dense.pseudo_inverse(&missing);
        let expected: Vec<f64> = state.iter().zip(&correction).map(|(a, b)| a + b).collect();
        let solved = Cg::default().mu_star(&map, &y, 0.0, &x_t, &level).unwrap();
        // Singular values of these families span up to 1e4: 1e4² ε √n of the residual, which is not small here.
        let gap = distance(&solved.x, &expected) / norm(&expected);
        assert!(gap < 1e-6, "{name}: {gap:e}");
    }
}

#[test]
fn functions_by_lanczos_are_those_of_the_matrix() {
    for (name, map) in families() {
        let dense = dense(&map);
        let v = Stream::named(3, &name).normals(map.domain().len());
        let scalar = |lambda: f64| ((lambda + 0.01) / (lambda + 0.3)).sqrt();
        let f = |lambdas: &[f64]| lambdas.iter().map(|l| scalar(*l)).collect::<Vec<_>>();
        let lanczos = Lanczos { rtol: 1e-12, max_steps: 1000 };
        let space = lanczos.space(&map, &v, &[&f]).unwrap();
        let expected = dense.spectral_map(&v, &scalar);
        let gap = distance(&space.evaluate(&map, &f), &expected) / norm(&expected);
        assert!(gap < 1e-9, "{name}: {gap:e} in {} steps", space.steps());
    }
}

/// What is seen of a larger scene is the crop of the whole, however it is computed.
#[test]
fn a_part_of_what_the_kernel_sees_whole() {
    use eps_math::operator::{Border, Chain, Convolution, Crop, Kernel};
    use std::sync::Arc;
    let shape = Shape::new(3, 9, 8).unwrap();
    let kernel = Kernel::new(3, 2, Stream::named(6, "taps").normals(6)).unwrap();
    let whole = Convolution::new(shape, kernel, Border::Valid).unwrap();
    let crop = Crop::new(whole.range(), (2, 1), (4, 5)).unwrap();
    let chain = Chain::new(vec![Arc::new(whole.clone()), Arc::new(crop)]).unwrap();
    let part = whole.cropped((2, 1), (4, 5)).unwrap();
    let x = Stream::named(6, "x").normals(shape.len());
    let y = Stream::named(6, "y").normals(part.range().len());
    // The same sums by the same transforms.
    assert_eq!(part.apply(&x), chain.apply(&x));
    assert_eq!(part.adjoint(&y), chain.adjoint(&y));
    // Pixel (0, 0) of y lies over the kernel's centre: 3 taps reach one row back, 2 taps none.
    assert_eq!(part.offset(), (3, 1));
    let placed = part.placed(&y).unwrap();
    assert_eq!(placed[3 * 8 + 1], y[0]);
}

/// So for blurs of several kernels, and those of a law: they are written as chains.
#[test]
fn parts_of_other_blurs_are_crops_too() {
    use eps_math::operator::{Chain, Crop};
    use std::sync::Arc;
    let moved = r#"{"motion": {"length": 3, "angle_degrees": 30}}"#;
    let skew = "[[0.4, 0.1], [0.3, -0.2], [0.05, 0.1]]";
    let shape = Shape::new(2, 9, 8).unwrap();
    let x = Stream::named(11, "x").normals(shape.len());
    for (blur, reach) in [
        (
            format!(
                r#"{{"operator": "channel-convolution", "kernels": [{skew}, {moved}], "border": "valid"}}"#
            ),
            (3, 3),
        ),
        (
            format!(
                r#"{{"operator": "varying-blur", "kernels": [{skew}, {moved}], "windows": {{"grid": [1, 2]}}, "border": "valid"}}"#
            ),
            (3, 3),
        ),
        (
            r#"{"operator": "gaussian-blur", "sigma_blur": 1, "taps": 5, "border": "valid"}"#
                .into(),
            (5, 5),
        ),
        (
            r#"{"operator": "motion-blur", "length": 3, "angle_degrees": 70, "border": "valid"}"#
                .into(),
            (3, 3),
        ),
    ] {
        let spec: OperatorSpec = serde_json::from_str(&blur).unwrap();
        assert_eq!(spec.reach(), Some(reach), "{blur}");
        let whole = spec.prepare(shape).unwrap();
        let crop = Crop::new(whole.range(), (1, 0), (3, 4)).unwrap();
        let links: Vec<Arc<dyn LinearMap>> = vec![Arc::new(whole), Arc::new(crop)];
        let chain = Chain::new(links).unwrap();
        let crop = OperatorSpec::Crop { top: 1, left: 0, height: 3, width: 4 };
        let part = OperatorSpec::Chain { of: vec![spec, crop] }.prepare(shape).unwrap();
        let y = Stream::named(11, "y").normals(part.range().len());
        // The same sums by the same transforms.
        assert_eq!(part.apply(&x), chain.apply(&x), "{blur}");
        assert_eq!(part.adjoint(&y), chain.adjoint(&y), "{blur}");
        assert!(part.placed(&y).is_some(), "{blur}");
    }
}

/// Equal kernels with any windows, and one kernel for all channels, are one convolution.
#[test]
fn equal_kernels_are_one_convolution() {
    let shape = Shape::new(2, 8, 7).unwrap();
    let prepared =
        |json: &str| serde_json::from_str::<OperatorSpec>(json).unwrap().prepare(shape).unwrap();
    for border in ["circular", "zero", "reflect", "symmetric", "replicate", "valid"] {
        let one = r#"{"gaussian": {"sigma": 0.7, "across": 0.4, "angle_degrees": 20}}"#;
        let end = format!(r#""border": "{border}""#);
        let whole = prepared(&format!(r#"{{"operator": "convolution", "kernel": {one}, {end}}}"#));
        let x = Stream::named(8, "x").normals(shape.len());
        for json in [
            format!(r#"{{"operator": "channel-convolution", "kernels": [{one}, {one}], {end}}}"#),
            format!(
                r#"{{"operator": "varying-blur", "kernels": [{one}, {one}, {one}], "windows": {{"grid": [3, 1]}}, {end}}}"#
            ),
        ] {
            let (found, expected) = (prepared(&json).apply(&x), whole.apply(&x));
            assert!(distance(&found, &expected) < 1e-14 * norm(&expected), "{json}");
        }
    }
}

/// The order in which a stack's values lie, and its shape.
#[test]
fn a_stack_has_the_values_of_its_operators() {
    let prepared = |json: &str, [c, h, w]: [usize; 3]| {
        let spec: OperatorSpec = serde_json::from_str(json).unwrap();
        spec.prepare(Shape::new(c, h, w).unwrap()).unwrap()
    };
    let json = r#"{"operator": "stack", "of": [{"operator": "bayer", "pattern": "rggb"},
        {"operator": "scale", "factor": 2, "of": {"operator": "weights", "weights": [1, 0, 1, 1, 1, 1]}}]}"#;
    let alike = prepared(json, [3, 1, 2]);
    assert_eq!(alike.range(), Shape::new(4, 1, 2).unwrap());
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    assert_eq!(alike.apply(&x), [1.0, 4.0, 2.0, 0.0, 6.0, 8.0, 10.0, 12.0]);
    let json = r#"{"operator": "stack", "of": [{"operator": "average-pool", "factor": 2},
        {"operator": "pad", "top": 0, "bottom": 1, "left": 0, "right": 0}]}"#;
    let several = prepared(json, [1, 2, 2]);
    assert_eq!(several.range(), Shape::new(1, 1, 7).unwrap());
    assert_eq!(several.apply(&[1.0, 2.0, 3.0, 6.0]), [3.0, 1.0, 2.0, 3.0, 6.0, 0.0, 0.0]);
}

/// Where an eigenbasis is known beside those of `Operator`, it is that of the matrix.
#[test]
fn the_spectral_route_is_that_of_the_matrix() {
    use eps_math::operator::{Bayer, BayerPattern, Grey, Scaled, WalshHadamard};
    let shape = |c, h, w| Shape::new(c, h, w).unwrap();
    for (name, map) in families() {
        if ["grey", "fourier", "bayer", "weights", "crop", "pad", "scale\", \"factor\": -0.5"]
            .iter()
            .any(|known| name.starts_with(&format!("{{\"operator\": \"{known}\"")))
        {
            assert!(map.as_spectral().is_some(), "{name}");
        }
    }
    let bayer = Bayer::new(shape(3, 4, 5), BayerPattern::Grbg).unwrap();
    let hadamard = WalshHadamard::new(shape(2, 4, 4), 11, 5).unwrap();
    let scaled = |map| Scaled::new(-0.3, map).unwrap();
    let grey = scaled(Arc::new(Grey::new(shape(3, 2, 3)).unwrap()));
    let rows = scaled(Arc::new(hadamard.clone()));
    let maps: [&dyn Spectral; 4] = [&bayer, &hadamard, &grey, &rows];
    for map in maps {
        let dense = dense(map);
        let n = map.domain().len();
        let (mut found, mut exact) = (map.eigenvalues(), dense.eigenvalues());
        found.sort_by(f64::total_cmp);
        exact.sort_by(f64::total_cmp);
        assert!(found.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-13), "{map:?}");
        let (x_t, y) =
            (Stream::named(9, "x").normals(n), Stream::named(9, "y").normals(map.range().len()));
        for (sigma_t, sigma_y) in [(80.0, 0.002), (1.0, 0.05), (0.002, 0.3)] {
            // (I/σ_t² + AᵀA/σ_y²)⁻¹ (x_t/σ_t² + Aᵀy/σ_y²)
            let (state, seen) = (sigma_t * sigma_t, sigma_y * sigma_y);
            let sum: Vec<f64> = x_t
                .iter()
                .zip(map.adjoint(&y))
                .map(|(x, back)| x / sigma_t + back / seen)
                .collect();
            let closed = map.spectral_map(&sum, &|lambda| 1.0 / (1.0 / state + lambda / seen));
            let scaled: Vec<f64> = x_t.iter().map(|x| sigma_t * x).collect();
            let expected = pivot::mu_star(&dense, &y, sigma_y, &scaled, &Level::edm(sigma_t));
            assert!(distance(&closed, &expected) < 1e-8 * norm(&expected), "{map:?}");
        }
    }
}

/// Diagonals are those of the matrix where structure gives them.
#[test]
fn diagonals_are_those_of_the_matrix() {
    let f = |lambda: f64| 1.0 / (0.1 + lambda);
    for (name, map) in families() {
        if name.contains("onvolution") || name.contains("motion") || name.contains("blur") {
            continue;
        }
        let Some(found) = map.map().diagonal(&f) else { continue };
        let exact = eps_math::operator::spectral_matrix(&dense(&map), &f);
        for (i, found) in found.iter().enumerate() {
            assert!((found - exact[(i, i)]).abs() < 1e-10 * exact[(i, i)], "{name} at {i}");
        }
    }
}

/// Links that only pick pixels leave what is known of the other one exact: the diagonal, the inverse and the basis.
#[test]
fn chains_of_picks_and_another_are_exact() {
    let crop = r#"{"operator": "crop", "top": 1, "left": 0, "height": 4, "width": 3}"#;
    let pad = r#"{"operator": "pad", "top": 0, "bottom": 2, "left": 1, "right": 0}"#;
    let bayer = r#"{"operator": "bayer", "pattern": "grbg"}"#;
    let blur = r#"{"operator": "circular-blur", "kernel": [[0.4, 0.1], [0.3, -0.2], [0.05, 0.1]]}"#;
    let pool = r#"{"operator": "average-pool", "factor": 2}"#;
    let small = r#"{"operator": "resize", "height": 3, "width": 2, "filter": "bicubic"}"#;
    let turned = |of: &str| format!(r#"{{"operator": "scale", "factor": -0.5, "of": {of}}}"#);
    let mask = r#"{"operator": "mask", "observed": [1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1]}"#;
    let weights = r#"{"operator": "weights", "weights": [1, 0.5, -2, 0, 1, 1, 3, 1, 1, 1, 1, -1]}"#;
    let f = |lambda: f64| 1.0 / (0.1 + lambda);
    for (links, shape, has_basis) in [
        (vec![crop.to_owned(), mask.into(), weights.into()], [1, 5, 4], true),
        (vec![bayer.to_owned(), crop.into(), pad.into(), turned(crop)], [3, 5, 4], true),
        (vec![crop.to_owned(), blur.into()], [2, 5, 4], false),
        (vec![turned(crop), blur.into(), turned(pad)], [2, 5, 4], false),
        (vec![bayer.to_owned(), small.into()], [3, 5, 4], false),
        (vec![pad.to_owned(), crop.into()], [1, 3, 2], true),
        (vec![crop.to_owned(), r#"{"operator": "grey"}"#.into(), pad.into()], [3, 5, 4], false),
        (
            vec![
                r#"{"operator": "crop", "top": 0, "left": 1, "height": 4, "width": 2}"#.into(),
                pool.to_owned(),
            ],
            [2, 5, 4],
            false,
        ),
    ] {
        let json = format!(r#"{{"operator": "chain", "of": [{}]}}"#, links.join(", "));
        let spec: OperatorSpec = serde_json::from_str(&json).unwrap();
        let [c, h, w] = shape;
        let map = spec.prepare(Shape::new(c, h, w).unwrap()).unwrap();
        let dense = dense(&map);
        let exact = eps_math::operator::spectral_matrix(&dense, &f);
        for (i, found) in map.diagonal(&f).unwrap().iter().enumerate() {
            assert!((found - exact[(i, i)]).abs() < 1e-12 * exact[(i, i)], "{json} at {i}");
        }
        let v = Stream::named(10, &json).normals(map.domain().len());
        let expected = dense.spectral_map(&v, &|lambda| 1.0 / (lambda + 0.02));
        let gap = distance(&map.approximate_inverse(&v, 0.02).unwrap(), &expected);
        assert!(gap < 1e-12 * norm(&expected), "{json}: {gap:e}");
        assert_eq!(map.as_spectral().is_some(), has_basis, "{json}");
        if let Some(spectral) = map.as_spectral() {
            let mapped = spectral.spectral_map(&v, &f);
            let expected = dense.spectral_map(&v, &f);
            assert!(distance(&mapped, &expected) < 1e-12 * norm(&expected), "{json}");
        }
    }
    // What leaves pixels out after a blur is no closed form, and a good preconditioner.
    let shape = Shape::new(1, 16, 16).unwrap();
    let kernel = r#"{"gaussian": {"sigma": 1.5}}"#;
    let json = format!(
        r#"{{"operator": "chain", "of": [{{"operator": "convolution", "kernel": {kernel}, "border": "circular"}},
            {{"operator": "crop", "top": 0, "left": 0, "height": 15, "width": 16}}]}}"#
    );
    let map = serde_json::from_str::<OperatorSpec>(&json).unwrap().prepare(shape).unwrap();
    assert!(map.diagonal(&f).is_none() && map.as_spectral().is_none());
    let y = Stream::named(10, "y").normals(240);
    let plain = Bare(map.clone());
    let within = WithinNoise { share: 0.01, cg: Cg::default() };
    let x_t: Vec<f64> = Stream::named(10, "x").normals(256).iter().map(|z| 5.0 * z).collect();
    let steps =
        |map: &dyn LinearMap| within.mu_star(map, &y, 0.05, &x_t, &Level::edm(5.0)).unwrap().steps;
    assert!(2 * steps(&map) < steps(&plain), "{} {}", steps(&map), steps(&plain));
}

/// By the cosines that a mirror border has, kernels that are their own mirror images are solved at once, others in far fewer steps than
/// without a preconditioner; with borders of no basis in hardly more, and commonly in fewer.
#[test]
fn preconditioners_fit_the_border() {
    let shape = Shape::new(2, 24, 20).unwrap();
    let blur = |kernel: &str, border: &str| {
        let json =
            format!(r#"{{"operator": "convolution", "kernel": {kernel}, "border": "{border}"}}"#);
        serde_json::from_str::<OperatorSpec>(&json).unwrap().prepare(shape).unwrap()
    };
    let disc = r#"{"disc": {"radius": 3.0}}"#;
    let motion = r#"{"motion": {"length": 9, "angle_degrees": 30}}"#;
    let symmetric = blur(disc, "symmetric");
    let v = Stream::named(14, "v").normals(shape.len());
    let expected = dense(&symmetric).spectral_map(&v, &|lambda| 1.0 / (lambda + 1e-3));
    let gap = distance(&symmetric.approximate_inverse(&v, 1e-3).unwrap(), &expected);
    assert!(gap < 1e-11 * norm(&expected), "{gap:e}");

    let within = WithinNoise { share: 0.1, cg: Cg { rtol: 1e-10, max_steps: 4000 } };
    let x_0 = Stream::named(14, "x").normals(shape.len());
    let steps = |map: &dyn LinearMap, sigma_t: f64| {
        let noise = Stream::named(14, "η").normals(shape.len());
        let y: Vec<f64> = map.apply(&x_0).iter().zip(noise).map(|(a, z)| a + 0.02 * z).collect();
        let state = Stream::named(14, "ε").normals(shape.len());
        let x_t: Vec<f64> = x_0.iter().zip(state).map(|(x, z)| x + sigma_t * z).collect();
        within.mu_star(map, &y, 0.02, &x_t, &Level::edm(sigma_t)).unwrap().steps
    };
    for (kernel, border, part) in [
        (disc, "symmetric", 0.05),
        (disc, "reflect", 0.05),
        (disc, "zero", 0.8),
        (disc, "replicate", 0.8),
        (motion, "symmetric", 0.5),
        (motion, "reflect", 0.5),
        (motion, "zero", 1.0),
        (motion, "replicate", 1.1),
    ] {
        let map = blur(kernel, border);
        let plain = Bare(map.clone());
        let (with, without) = (steps(&map, 80.0), steps(&plain, 80.0));
        println!("{kernel} {border}: {with} steps, {without} without a preconditioner");
        assert!(with as f64 <= part * without as f64, "{kernel} {border}: {with} {without}");
    }
}

/// A and Aᵀ alone.
#[derive(Debug)]
struct Bare(PreparedOperator);

impl LinearMap for Bare {
    fn domain(&self) -> Shape {
        self.0.domain()
    }
    fn range(&self) -> Shape {
        self.0.range()
    }
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        self.0.apply(x)
    }
    fn adjoint(&self, y: &[f64]) -> Vec<f64> {
        self.0.adjoint(y)
    }
}

/// Of a convolution they are exact where nothing was seen, right to a few per cent far from borders, and estimates
/// between.
#[test]
fn diagonals_of_convolutions() {
    let shape = Shape::new(1, 20, 18).unwrap();
    let json = r#"{"operator": "chain", "of": [
        {"operator": "convolution", "kernel": [[0.1, 0.2, 0.1], [0.2, 0.1, 0.1], [0.1, 0.05, 0.05]], "border": "valid"},
        {"operator": "crop", "top": 2, "left": 0, "height": 14, "width": 14}]}"#;
    let spec: OperatorSpec = serde_json::from_str(json).unwrap();
    let map = spec.prepare(shape).unwrap();
    let f = |lambda: f64| 1.0 / (0.1 + lambda);
    let found = map.map().diagonal(&f).unwrap();
    let exact = eps_math::operator::spectral_matrix(&dense(&map), &f);
    for (i, found) in found.iter().enumerate() {
        let (row, column) = (i / 18, i % 18);
        let gap = (found - exact[(i, i)]).abs() / exact[(i, i)];
        let bound = if !(2..=17).contains(&row) || column > 15 {
            1e-12
        } else if (6..14).contains(&row) && (4..12).contains(&column) {
            0.03
        } else {
            0.3
        };
        assert!(gap < bound, "{row}, {column}: {gap}");
    }
}

/// From the correction of the level before, a walk takes a part of the steps, and ends as near.
#[test]
fn pivots_from_those_of_the_level_before() {
    let shape = Shape::new(1, 24, 24).unwrap();
    let json =
        r#"{"operator": "motion-blur", "length": 7, "angle_degrees": 30, "border": "valid"}"#;
    let map = serde_json::from_str::<OperatorSpec>(json).unwrap().prepare(shape).unwrap();
    let draw = |what: &str, n| Stream::named(12, what).normals(n);
    let x_0: Vec<f64> = draw("x", shape.len()).iter().map(|z| 0.5 * z).collect();
    let noise = draw("η", map.range().len());
    let y: Vec<f64> = map.apply(&x_0).iter().zip(noise).map(|(a, z)| a + 0.05 * z).collect();
    let eps = draw("ε", shape.len());
    let within = WithinNoise { share: 0.1, cg: Cg::default() };
    let (mut cold, mut warm) = (0, 0);
    let mut last: Option<(f64, Vec<f64>)> = None;
    for sigma_t in [80.0, 40.0, 20.0, 10.0, 5.0, 2.5, 1.2, 0.6] {
        let x_t: Vec<f64> = x_0.iter().zip(&eps).map(|(x, z)| x + sigma_t * z).collect();
        let level = Level::edm(sigma_t);
        let start: Option<Vec<f64>> =
            last.as_ref().map(|(before, z)| z.iter().map(|z| z * sigma_t / before).collect());
        let found = within.mu_star_from(&map, (&y, 0.05), &x_t, &level, start.as_deref()).unwrap();
        let z: Vec<f64> = found.x.iter().zip(&x_t).map(|(mu, x)| mu - x).collect();
        last = Some((sigma_t, z));
        warm += found.steps;
        cold += within.mu_star(&map, &y, 0.05, &x_t, &level).unwrap().steps;
        let exact = pivot::mu_star(&dense(&map), &y, 0.05, &x_t, &level);
        let e: Vec<f64> = found.x.iter().zip(&exact).map(|(a, b)| a - b).collect();
        let energy = (norm(&map.apply(&e)) / 0.05).powi(2) + (norm(&e) / sigma_t).powi(2);
        let share = (energy / shape.len() as f64).sqrt();
        // The estimate is from below.
        assert!(share < 0.2, "σ_t = {sigma_t}: {share}");
    }
    assert!(2 * warm < cold, "{warm} {cold}");
    // A guess that is worse than none is not used.
    let (x_t, level) = (draw("state", shape.len()), Level::edm(1.0));
    let far = vec![1e3; shape.len()];
    let from = |start| within.mu_star_from(&map, (&y, 0.05), &x_t, &level, start).unwrap();
    assert_eq!(from(Some(&far[..])), from(None));
}

/// The error that is left is the share of the noise that was asked for, and costs fewer steps.
#[test]
fn a_pivot_within_the_noise() {
    let shape = Shape::new(1, 40, 40).unwrap();
    let json =
        r#"{"operator": "motion-blur", "length": 9, "angle_degrees": 30, "border": "valid"}"#;
    let spec: OperatorSpec = serde_json::from_str(json).unwrap();
    let map = spec.prepare(shape).unwrap();
    let x_0: Vec<f64> =
        Stream::named(7, "x").normals(shape.len()).iter().map(|z| 0.5 * z).collect();
    let noise = Stream::named(7, "η").normals(map.range().len());
    let y: Vec<f64> = map.apply(&x_0).iter().zip(noise).map(|(a, z)| a + 0.05 * z).collect();
    for sigma_t in [80.0, 5.0, 0.5] {
        let noise = Stream::named(7, "ε").normals(shape.len());
        let x_t: Vec<f64> = x_0.iter().zip(noise).map(|(x, z)| x + sigma_t * z).collect();
        let level = Level::edm(sigma_t);
        let exact = Cg::default().mu_star(&map, &y, 0.05, &x_t, &level).unwrap();
        let within = WithinNoise { share: 0.01, cg: Cg::default() };
        let near = within.mu_star(&map, &y, 0.05, &x_t, &level).unwrap();
        assert!(near.steps < exact.steps, "{} {}", near.steps, exact.steps);
        // eᵀ Σ⋆⁻¹ e = ‖A e‖²/σ_y² + ‖e‖²/σ_t².
        let e: Vec<f64> = near.x.iter().zip(&exact.x).map(|(a, b)| a - b).collect();
        let energy = (norm(&map.apply(&e)) / 0.05).powi(2) + (norm(&e) / sigma_t).powi(2);
        let share = (energy / shape.len() as f64).sqrt();
        // The estimate is from below, and lags behind by a quarter of the steps.
        assert!(
            share < 0.01,
            "σ_t = {sigma_t}: {share} in {} of {} steps",
            near.steps,
            exact.steps
        );
    }
}

#[test]
fn solvers_say_what_they_reached() {
    let (name, map) = families().swap_remove(0);
    let map = Bare(map);
    let r = Stream::named(4, &name).normals(map.range().len());
    let error = Cg { rtol: 1e-12, max_steps: 2 }.solve(&map, &r, 1e-6).unwrap_err();
    let MathError::NotSolved { steps: 2, residual, .. } = error else { panic!("{error}") };
    assert!(residual > 1e-12 && error.to_string().contains("2 steps"), "{error}");
    let f = |lambdas: &[f64]| lambdas.iter().map(|l| 1.0 / (l + 1e-6)).collect::<Vec<_>>();
    let v = Stream::named(5, &name).normals(map.domain().len());
    let error = Lanczos { rtol: 1e-9, max_steps: 4 }.space(&map, &v, &[&f]).unwrap_err();
    assert!(matches!(error, MathError::NotSolved { steps: 4, .. }), "{error}");
}

#[test]
fn conjugate_gradients_do_not_take_nan_for_solved() {
    let (name, map) = families().swap_remove(0);
    let map = Bare(map);
    let r = Stream::named(4, &name).normals(map.range().len());
    // The last squares beyond what f64 holds.
    for broken in [f64::NAN, f64::INFINITY, 1e200] {
        let mut r = r.clone();
        r[1] = broken;
        let error = Cg::default().solve(&map, &r, 0.1).unwrap_err();
        assert!(matches!(error, MathError::SolverNotFinite { steps: 0 }), "{broken}: {error}");
        assert!(Cg::default().nearest(&map, &r, 0.1).residual.is_nan(), "{broken}");
    }
    let x_t = vec![f64::NAN; map.domain().len()];
    let pivot = WithinNoise::OF_SAMPLERS.mu_star(&map, &r, 0.1, &x_t, &Level::edm(1.0));
    assert!(matches!(pivot, Err(MathError::SolverNotFinite { .. })), "{pivot:?}");
}

/// A kernel larger than the image does the same by its name and by its taps.
#[test]
fn large_kernels_are_those_of_convolution() {
    let shape = Shape::new(1, 4, 5).unwrap();
    let x = Stream::named(3, "x").normals(shape.len());
    for border in ["circular", "zero", "reflect", "symmetric", "replicate", "valid"] {
        let kernel = eps_math::operator::Kernel::motion(7, 0.5f64.to_radians()).unwrap();
        let rows: Vec<&[f64]> = kernel.taps().chunks(7).collect();
        let of = |json: String| {
            let spec: OperatorSpec = serde_json::from_str(&json).unwrap();
            spec.prepare(shape)
        };
        let named = of(format!(
            r#"{{"operator": "motion-blur", "length": 7, "angle_degrees": 0.5, "border": "{border}"}}"#
        ));
        let given = of(format!(
            r#"{{"operator": "convolution", "kernel": {rows:?}, "border": "{border}"}}"#
        ));
        match (named, given) {
            (Ok(named), Ok(given)) => assert_eq!(named.apply(&x), given.apply(&x), "{border}"),
            (named, given) => {
                assert_eq!(border, "valid");
                assert_eq!(named.unwrap_err(), given.unwrap_err());
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let refused = |json: &str, [c, h, w]: [usize; 3]| {
        let spec: OperatorSpec = serde_json::from_str(json).unwrap();
        spec.prepare(Shape::new(c, h, w).unwrap()).unwrap_err().to_string()
    };
    let chain = r#"{"operator": "chain", "of": [{"operator": "grey"}, {"operator": "grey"}]}"#;
    let error = refused(chain, [3, 4, 4]);
    assert_eq!(
        error,
        "operator 2 of the chain (from 1), grey, is given [1, 4, 4] (channels, height, width): the operator grey takes \
         images of 3 channels, not of 1"
    );
    let bytes = serde_json::from_str::<OperatorSpec>(
        r#"{"operator": "chain", "of": [{"operator": "average-pool", "factor": 3}, {"operator": "grey"}]}"#,
    );
    let error = bytes.unwrap().bytes(Shape::new(3, 4, 4).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("operator 1 of the chain (from 1), average-pool"), "{error}");
    let radon = r#"{"operator": "radon", "angles_degrees": [0, 90]}"#;
    assert!(refused(radon, [1, 4, 5]).contains("not 4×5"));
    let outside = r#"{"operator": "radon", "angles_degrees": [0], "axis": 3.5}"#;
    assert!(refused(outside, [1, 4, 4]).contains("3.5"));
    let fourier = r#"{"operator": "fourier", "mask": [[1, 1]]}"#;
    assert!(refused(fourier, [1, 1, 2]).contains("2 channels, not of 1"));
    assert!(refused(fourier, [2, 2, 2]).contains("2 values where 4"));
    assert!(
        refused(r#"{"operator": "weights", "weights": [0, 0]}"#, [1, 1, 2]).contains("all entries")
    );
    assert!(
        refused(r#"{"operator": "weights", "weights": [1]}"#, [1, 1, 2])
            .contains("1 values where 2")
    );
    let valid = r#"{"operator": "convolution", "kernel": [[1, 1, 1]], "border": "valid"}"#;
    assert!(refused(valid, [1, 2, 2]).contains("1×3"));
    let crop = r#"{"operator": "crop", "top": 1, "left": 0, "height": 2, "width": 2}"#;
    assert!(refused(crop, [1, 2, 2]).contains("row 1"));
    for (json, shape, words) in [
        (r#"{"operator": "sum", "of": []}"#, [1, 2, 2], "list of operators is empty"),
        (
            r#"{"operator": "sum", "of": [{"operator": "grey"}, {"operator": "weights", "weights": [1, 1, 1]}]}"#,
            [3, 1, 1],
            "operator 1 of the sum (from 0) gives [3, 1, 1], operator 0 [1, 1, 1]",
        ),
        (
            r#"{"operator": "coils", "maps": [[[[1, 1]], [[1, 1]]], [[[1, 1]], [[1], [1]]]], "mask": [[1, 1]]}"#,
            [2, 1, 2],
            "coil 1 (from 0) has 2×1 pixels, the image 1×2",
        ),
        (r#"{"operator": "coils", "maps": [], "mask": [[1, 1]]}"#, [2, 1, 2], "maps is empty"),
        (
            r#"{"operator": "nonuniform-fourier", "points": [[0, 0]]}"#,
            [3, 2, 2],
            "2 channels, not of 3",
        ),
        (r#"{"operator": "nonuniform-fourier", "points": []}"#, [1, 2, 2], "frequencies is empty"),
        (
            r#"{"operator": "random-mask", "missing": 1, "seed": 0}"#,
            [1, 2, 2],
            "is 1: it must be in [0, 1)",
        ),
        (r#"{"operator": "gaussian-matrix", "rows": 0, "seed": 0}"#, [1, 2, 2], "is empty"),
        (
            r#"{"operator": "gaussian-matrix", "rows": 65536, "seed": 0}"#,
            [3, 256, 256],
            "65536×196608 numbers takes 103.1 GB, at most 17.2 GB",
        ),
        // Rows of another length than the image's side, also where the number of values is a multiple of it.
        (
            r#"{"operator": "separable", "vertical": [[1, 2, 3], [4, 5, 6]], "horizontal": [[1, 1]]}"#,
            [1, 2, 2],
            "row 0 of the vertical matrix (from 0) has 3 values where 2 are needed",
        ),
        (
            r#"{"operator": "separable", "vertical": [[1, 1]], "horizontal": [[1, 1, 1], [1, 1, 1], [1, 1, 0]]}"#,
            [1, 2, 2],
            "row 0 of the horizontal matrix (from 0) has 3 values where 2 are needed",
        ),
        (
            r#"{"operator": "dense", "matrix": [[1, 2], [3]]}"#,
            [1, 1, 2],
            "row 1 of the matrix (from 0) has 1 values where 2 are needed",
        ),
        (r#"{"operator": "walsh-hadamard", "rows": 5, "seed": 0}"#, [1, 1, 3], "is 5: it must be"),
        (r#"{"operator": "scale", "factor": 0, "of": {"operator": "grey"}}"#, [3, 1, 1], "is 0"),
        (
            r#"{"operator": "pad", "top": 18446744073709551615, "bottom": 1, "left": 0, "right": 0}"#,
            [1, 2, 2],
            "more than",
        ),
        (r#"{"operator": "bayer", "pattern": "rggb"}"#, [1, 2, 2], "3 channels, not of 1"),
        (r#"{"operator": "convolution", "kernel": [[1, -1]]}"#, [1, 2, 2], "1×2 sum to 0"),
        (
            r#"{"operator": "channel-convolution", "kernels": [[[1]], [[1]]]}"#,
            [3, 2, 2],
            "2 values where 3",
        ),
        (
            r#"{"operator": "varying-blur", "kernels": [[[1]]], "windows": {"grid": [1, 2]}}"#,
            [1, 2, 2],
            "2 values where 1",
        ),
        (
            r#"{"operator": "varying-blur", "kernels": [[[1]]], "windows": {"grid": [0, 1]}}"#,
            [1, 2, 2],
            "grid of windows is empty",
        ),
        (
            r#"{"operator": "varying-blur", "kernels": [[[1]], [[1]]], "windows": [[[1, 0]], [[0, 0.5]]]}"#,
            [1, 1, 2],
            "sum to 0.5 at row 0, column 1",
        ),
    ] {
        let error = refused(json, shape);
        assert!(error.contains(words), "{error}");
    }
    // The same before anything is taken, wherever it stands.
    let json = r#"{"operator": "chain", "of": [{"operator": "average-pool", "factor": 2}, {"operator": "scale", "factor": 2,
        "of": {"operator": "gaussian-matrix", "rows": 10, "seed": 0}}]}"#;
    let spec: OperatorSpec = serde_json::from_str(json).unwrap();
    assert_eq!(spec.bytes(Shape::new(1, 4, 6).unwrap()), Ok(8 * 10 * 6));
    for (json, words) in [
        (r#"{"operator": "convolution", "kernel": {"disc": {"radius": -1}}}"#, "disc is -1"),
        (r#"{"operator": "convolution", "kernel": {"disk": {"radius": 1}}}"#, "motion-path"),
        (r#"{"operator": "convolution", "kernel": {"disc": {"radius": 1, "size": 2}}}"#, "size"),
        (r#"{"operator": "convolution", "kernel": "disc"}"#, "rows of taps"),
        (
            r#"{"operator": "convolution", "kernel": [[1, 2], [3.5, null]]}"#,
            "the kernel holds null at row 1, column 1 (from 0)",
        ),
        (
            r#"{"operator": "circular-blur", "kernel": [["NaN", 2]]}"#,
            "the kernel holds the text \"NaN\" at row 0, column 0 (from 0)",
        ),
        (r#"{"operator": "convolution", "kernel": [[1, [2]]]}"#, "a list at row 0, column 1"),
        (r#"{"operator": "convolution", "kernel": [1, 2]}"#, "row 0 of the kernel"),
        (r#"{"operator": "bayer", "pattern": "rgb"}"#, "rggb"),
        (
            r#"{"operator": "varying-blur", "kernels": [[[1]]], "windows": {"grid": 2}}"#,
            "[rows, columns]",
        ),
    ] {
        let error = serde_json::from_str::<OperatorSpec>(json).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    let spec: OperatorSpec = serde_json::from_str(radon).unwrap();
    let error = spec.build(Shape::new(1, 4, 4).unwrap()).unwrap_err().to_string();
    assert!(error.contains("radon is none of mask, "), "{error}");
}

/// An axis half a position before the middle: every position sees what lies half a pixel further.
#[test]
fn the_axis_of_rotation_may_lie_beside_the_middle() {
    let text = r#"{"operator": "radon", "angles_degrees": [0, 90], "axis": 1.5}"#;
    let spec: OperatorSpec = serde_json::from_str(text).unwrap();
    let radon = spec.prepare(Shape::new(1, 4, 4).unwrap()).unwrap();
    let x: Vec<f64> = (0..16).map(|i| f64::from(1 << i)).collect();
    let y = radon.apply(&x);
    let column = |c: usize| (0..4).map(|r| x[4 * r + c]).sum::<f64>();
    let row = |r: usize| x[4 * r..4 * r + 4].iter().sum::<f64>();
    // A turn by 90 degrees about pixel (2, 2) sees row 4 − p at position p.
    let halves = |value: [f64; 2]| (value[0] + value[1]) / 2.0;
    for p in 0..4 {
        let at = |values: &dyn Fn(usize) -> f64, i: usize| if i < 4 { values(i) } else { 0.0 };
        let along = halves([at(&column, p), at(&column, p + 1)]);
        let across = halves([at(&row, 4 - p), at(&row, 3 - p)]);
        assert!((y[2 * p] - along).abs() < 1e-10, "{p}: {} {along}", y[2 * p]);
        assert!((y[2 * p + 1] - across).abs() < 1e-10, "{p}: {} {across}", y[2 * p + 1]);
    }
}
