use eps_metrics::MetricsError;
use eps_metrics::summary::Spread;

#[test]
fn by_hand() {
    // 1, 3, 8: mean 4, squares 9 + 1 + 16 = 26 over 2.
    let spread = Spread::of(&[1.0, 3.0, 8.0]).unwrap();
    assert_eq!(spread, Spread { mean: 4.0, standard_deviation: Some(13.0_f64.sqrt()), n: 3 });
    assert_eq!(format!("{spread:.2}"), "4.00 ± 3.61");
    assert_eq!(format!("{:.1}", Spread::of(&[2.0, 2.0]).unwrap()), "2.0 ± 0.0");
}

#[test]
fn one_value_has_no_spread() {
    let spread = Spread::of(&[26.125]).unwrap();
    assert_eq!(spread.standard_deviation, None);
    assert_eq!(format!("{spread:.1}"), "26.1");
}

#[test]
fn bad_input_is_named() {
    assert_eq!(Spread::of(&[]).unwrap_err(), MetricsError::Empty { what: "values" });
    assert!(matches!(
        Spread::of(&[1.0, f64::NAN]).unwrap_err(),
        MetricsError::NotFinite { what: "values", index: 1, .. }
    ));
}
