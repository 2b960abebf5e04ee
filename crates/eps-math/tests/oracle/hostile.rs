//! Descriptions that no operator has: each is an error that says what is wrong, none a panic.

use eps_math::Shape;
use eps_math::operator::OperatorSpec;

fn refusal(json: &str, [channels, height, width]: [usize; 3]) -> String {
    match serde_json::from_str::<OperatorSpec>(json) {
        Ok(spec) => {
            let prepared = spec.prepare(Shape::new(channels, height, width).unwrap());
            prepared.err().unwrap_or_else(|| panic!("{json} is accepted")).to_string()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn impossible_operators_are_refused() {
    let large = usize::MAX;
    for (json, said) in [
        (r#"{"operator": "gaussian-blur", "sigma_blur": -1, "taps": 5}"#.to_owned(), "is -1"),
        (
            format!(r#"{{"operator": "gaussian-blur", "sigma_blur": 1, "taps": {large}}}"#),
            "at most 4095",
        ),
        (r#"{"operator": "gaussian-blur", "sigma_blur": 1, "taps": 0}"#.to_owned(), "is 0"),
        (
            format!(r#"{{"operator": "motion-blur", "length": {large}, "angle_degrees": 1e300}}"#),
            "at most 4095",
        ),
        (r#"{"operator": "convolution", "kernel": []}"#.to_owned(), "empty"),
        (r#"{"operator": "convolution", "kernel": [[]]}"#.to_owned(), "empty"),
        (r#"{"operator": "convolution", "kernel": [[1, 2], [3]]}"#.to_owned(), "1 values where 2"),
        (
            r#"{"operator": "convolution", "kernel": [[1e308, 1e308]]}"#.to_owned(),
            "range of numbers",
        ),
        (
            r#"{"operator": "convolution", "kernel": {"disc": {"radius": 1e300}}}"#.to_owned(),
            "2047",
        ),
        (r#"{"operator": "average-pool", "factor": 0}"#.to_owned(), "factor of 0"),
        (format!(r#"{{"operator": "average-pool", "factor": {large}}}"#), "does not divide"),
        (
            format!(
                r#"{{"operator": "resize", "height": {large}, "width": {large}, "filter": "box"}}"#
            ),
            "more than",
        ),
        (
            r#"{"operator": "resize", "height": 0, "width": 5, "filter": "bicubic"}"#.to_owned(),
            "no pixels",
        ),
        (
            format!(
                r#"{{"operator": "crop", "top": {large}, "left": 1, "height": 2, "width": 2}}"#
            ),
            "at row",
        ),
        (
            r#"{"operator": "crop", "top": 0, "left": 0, "height": 0, "width": 0}"#.to_owned(),
            "no pixels",
        ),
        (
            format!(
                r#"{{"operator": "pad", "top": {large}, "bottom": {large}, "left": 1, "right": 1}}"#
            ),
            "more than",
        ),
        (r#"{"operator": "gaussian-matrix", "rows": 0, "seed": 1}"#.to_owned(), "empty"),
        (
            format!(r#"{{"operator": "walsh-hadamard", "rows": {large}, "seed": 1}}"#),
            "number of rows",
        ),
        (r#"{"operator": "radon", "angles_degrees": []}"#.to_owned(), "empty"),
        (r#"{"operator": "chain", "of": []}"#.to_owned(), "empty"),
        (r#"{"operator": "sum", "of": []}"#.to_owned(), "empty"),
        (r#"{"operator": "stack", "of": []}"#.to_owned(), "empty"),
        (
            r#"{"operator": "scale", "factor": 1e200, "of": {"operator": "grey"}}"#.to_owned(),
            "grey",
        ),
        (
            r#"{"operator": "separable", "vertical": [[]], "horizontal": []}"#.to_owned(),
            "has 0 values where",
        ),
        (r#"{"operator": "dense", "matrix": []}"#.to_owned(), "empty"),
        (r#"{"operator": "mask", "observed": [300]}"#.to_owned(), "300"),
        (
            r#"{"operator": "varying-blur", "kernels": [], "windows": {"grid": [0, 0]}}"#
                .to_owned(),
            "empty",
        ),
        (
            format!(
                r#"{{"operator": "varying-blur", "kernels": [], "windows": {{"grid": [{large}, {large}]}}}}"#
            ),
            "more than",
        ),
        (r#"{"operator": "fourier", "mask": [[1]]}"#.to_owned(), "2 channels"),
    ] {
        let found = refusal(&json, [1, 28, 28]);
        assert!(found.contains(said), "{json}: {found}");
    }
    assert!(
        refusal(r#"{"operator": "nonuniform-fourier", "points": []}"#, [2, 4, 4]).contains("empty")
    );
    assert!(
        refusal(r#"{"operator": "fourier", "mask": [[1, 0], [1]]}"#, [2, 2, 2])
            .contains("values where")
    );
}

#[test]
fn numbers_of_a_description_do_not_overflow() {
    // 8193 points times 16,384 factors, each of two numbers, are more than 2²⁸.
    let points = vec![[0.1, 0.2]; 8193];
    let direct =
        serde_json::json!({"operator": "nonuniform-fourier", "points": points, "method": "direct"});
    assert!(refusal(&direct.to_string(), [1, 8192, 8192]).contains("more than"));
    let taps = usize::MAX;
    let blur = serde_json::json!({"operator": "gaussian-blur", "sigma_blur": 1, "taps": taps, "border": "valid"});
    let blur: OperatorSpec = serde_json::from_value(blur).unwrap();
    let scene = blur.domain_of(Shape::new(1, 2, 3).unwrap()).unwrap();
    assert!(Shape::new(scene.channels, scene.height, scene.width).is_err());
}

/// λ is a square: 1e200 makes it infinite and 1e-200 makes it 0, and every formula NaN or deaf.
#[test]
fn numbers_whose_squares_are_none_are_refused() {
    for extreme in ["1e200", "-1e200", "1e-200"] {
        for json in [
            format!(r#"{{"operator": "weights", "weights": [{extreme}, 0]}}"#),
            format!(r#"{{"operator": "dense", "matrix": [[{extreme}, 0]]}}"#),
            format!(
                r#"{{"operator": "separable", "vertical": [[{extreme}]], "horizontal": [[1, 0]]}}"#
            ),
            format!(r#"{{"operator": "convolution", "kernel": [[{extreme}]]}}"#),
            format!(
                r#"{{"operator": "scale", "factor": {extreme}, "of": {{"operator": "average-pool", "factor": 1}}}}"#
            ),
        ] {
            let found = refusal(&json, [1, 1, 2]);
            assert!(found.contains("between 1e-100 and 1e100"), "{json}: {found}");
        }
    }
}
