use std::collections::BTreeSet;

use approx::assert_relative_eq;
use eps_metrics::energy::{PairTerm, energy_score};
use eps_metrics::{Evaluation, MetricsError, SampleShape, evaluate, scores_of_mean};

use crate::inputs::u11;

fn shape(images: usize, samples: usize, height: usize, width: usize) -> SampleShape {
    SampleShape { images, samples, channels: 1, height, width }
}

#[test]
fn clips_and_counts() {
    let truth = u11("clip truth", 3 * 144);
    let mut samples = u11("clip samples", 3 * 2 * 144);
    samples[5] = 1.5;
    samples[700] = -7.0;
    samples[9] = 1.0;
    let scores = evaluate(&truth, &samples, shape(3, 2, 12, 12)).unwrap();
    assert_eq!((scores.images, scores.samples, scores.clipped), (3, 2, 2));
    assert!(scores.undefined.is_empty());
    samples[5] = 1.0;
    samples[700] = -1.0;
    let clipped = evaluate(&truth, &samples, shape(3, 2, 12, 12)).unwrap();
    assert_eq!(Evaluation { clipped: 2, ..clipped }, scores);
}

#[test]
fn energy_is_on_unit_pixels() {
    // Half of the energy score on [-1, 1].
    let (truth, samples) = (u11("unit truth", 2 * 9), u11("unit samples", 2 * 3 * 9));
    let scores = evaluate(&truth, &samples, shape(2, 3, 3, 3)).unwrap();
    let signed: f64 = (0..2)
        .map(|n| {
            energy_score(&truth[9 * n..][..9], &samples[27 * n..][..27], PairTerm::VStatistic)
                .unwrap()
        })
        .sum();
    assert_relative_eq!(scores.energy_score.unwrap(), signed / 4.0, max_relative = 1e-13);
}

#[test]
fn undefined_metrics_say_why() {
    let truth = u11("one truth", 2 * 9);
    let samples = u11("one sample", 2 * 9);
    let scores = evaluate(&truth, &samples, shape(2, 1, 3, 3)).unwrap();
    assert!(scores.psnr_db.is_some() && scores.energy_score.is_some() && scores.mmd2.is_some());
    for (name, reason) in [
        ("energy_score_fair", "too few samples"),
        ("crps_coordinate", "too few samples"),
        ("ssim", "3x3"),
    ] {
        assert!(scores.undefined[name].contains(reason), "{:?}", scores.undefined);
    }
    assert_eq!(scores.undefined.len(), 3);
    let json = serde_json::to_value(&scores).unwrap();
    assert!(json["ssim"].is_null() && json["crps_coordinate"].is_null());

    // One image: MMD² has no pair of truths.
    let scores = evaluate(&truth[..9], &samples, shape(1, 2, 3, 3)).unwrap();
    assert!(scores.mmd2.is_none());
    assert!(scores.undefined["mmd2"].contains("too few samples"));
}

#[test]
fn perfect_samples() {
    let truth = u11("perfect", 3 * 144);
    let samples: Vec<f64> = truth.chunks(144).flat_map(|x| [x, x].concat()).collect();
    let scores = evaluate(&truth, &samples, shape(3, 2, 12, 12)).unwrap();
    assert_eq!(scores.psnr_db, None);
    assert!(scores.undefined["psnr_db"].contains("equals its truth"));
    assert_relative_eq!(scores.ssim.unwrap(), 1.0, max_relative = 1e-12);
    assert_eq!(scores.energy_score, Some(0.0));
    assert_eq!(scores.crps_coordinate, Some(0.0));
    assert!(scores.mmd2.unwrap() < 0.0);
}

#[test]
fn the_record_survives_json() {
    let scores =
        evaluate(&u11("json t", 2 * 144), &u11("json s", 4 * 144), shape(2, 2, 12, 12)).unwrap();
    let json = serde_json::to_string(&scores).unwrap();
    // serde_json reads floats to within an ulp unless asked for the exact ones.
    let read: Evaluation = serde_json::from_str(&json).unwrap();
    assert_relative_eq!(read.mmd2.unwrap(), scores.mmd2.unwrap(), max_relative = 1e-15);
    assert_eq!(read.conventions, scores.conventions);
    assert!(serde_json::from_str::<Evaluation>(&json.replacen('{', "{\"fid\":1,", 1)).is_err());

    // Every metric has its convention, and nothing else has.
    let json = serde_json::to_value(&scores).unwrap();
    let others = ["format_version", "images", "samples", "clipped", "undefined", "conventions"];
    let metrics: BTreeSet<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .filter(|name| !others.contains(name))
        .collect();
    assert_eq!(metrics, scores.conventions.keys().map(String::as_str).collect());
}

#[test]
fn bad_input_is_named() {
    let ok = u11("bad", 2 * 9);
    let two = shape(2, 1, 3, 3);
    assert_eq!(
        evaluate(&ok[1..], &ok, two).unwrap_err(),
        MetricsError::Length { what: "truth", expected: 18, got: 17 }
    );
    assert_eq!(
        evaluate(&ok, &ok, shape(2, 3, 3, 3)).unwrap_err(),
        MetricsError::Length { what: "samples", expected: 54, got: 18 }
    );
    assert!(matches!(evaluate(&[], &[], shape(0, 1, 3, 3)), Err(MetricsError::Empty { .. })));
    let with = |index: usize, value: f64| {
        let mut values = ok.clone();
        values[index] = value;
        values
    };
    assert!(matches!(
        evaluate(&ok, &with(3, f64::NAN), two).unwrap_err(),
        MetricsError::NotFinite { what: "samples", index: 3, .. }
    ));
    assert!(matches!(
        evaluate(&with(4, f64::INFINITY), &ok, two).unwrap_err(),
        MetricsError::NotFinite { what: "truth", index: 4, .. }
    ));
    let error = evaluate(&with(2, 255.0), &ok, two).unwrap_err();
    assert_eq!(error, MetricsError::Range { index: 2, value: 255.0 });
    assert!(error.to_string().contains("127.5"));
    // The rounding of f32 is no reason to refuse a truth.
    assert!(evaluate(&with(2, 1.0 + f64::from(f32::EPSILON)), &ok, two).is_ok());
}

#[test]
fn results_do_not_depend_on_threads() {
    let (truth, samples) = (u11("threads t", 40 * 144), u11("threads s", 40 * 5 * 144));
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| evaluate(&truth, &samples, shape(40, 5, 12, 12)).unwrap())
    };
    assert_eq!(run(1), run(3));
}

/// The mean of two samples that are off by as much on either side is the truth but for what one adds.
#[test]
fn the_mean_of_samples_is_scored() {
    let truth = vec![0.0; 2 * 144];
    let off = |by: f64| vec![by; 144];
    let samples = [off(0.5), off(-0.3), off(0.25), off(-0.05)].concat();
    let [psnr, ssim] = scores_of_mean(&truth, &samples, shape(2, 2, 12, 12));
    // Both means are off by 0.1 on a range of 2.
    assert!((psnr.unwrap() - 20.0 * 20f64.log10()).abs() < 1e-12);
    // Both images are flat, 0.5 and 0.55 on [0, 1]: what is left is SSIM's ratio of means.
    let of_means = (2.0 * 0.5 * 0.55 + 1e-4) / (0.5f64.powi(2) + 0.55f64.powi(2) + 1e-4);
    assert!((ssim.unwrap() - of_means).abs() < 1e-12);
    let small = scores_of_mean(&truth[..18], &samples[..36], shape(2, 2, 3, 3));
    assert!(small[0].is_ok() && small[1].is_err());
    assert!(scores_of_mean(&truth[..17], &samples[..36], shape(2, 2, 3, 3))[0].is_err());

    // Samples are clipped before their mean is taken: 1.5 and -0.8 are 1 and -0.8, and the mean is off by 0.1.
    let beyond = [off(1.5), off(-0.8), off(-1.5), off(0.8)].concat();
    let [psnr, _] = scores_of_mean(&truth, &beyond, shape(2, 2, 12, 12));
    assert!((psnr.unwrap() - 20.0 * 20f64.log10()).abs() < 1e-12);
    let bright = vec![1.1; 2 * 144];
    for score in scores_of_mean(&bright, &samples, shape(2, 2, 12, 12)) {
        assert!(matches!(score, Err(MetricsError::Range { index: 0, .. })));
    }
}
