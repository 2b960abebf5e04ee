//! Scores of posterior samples: of the truth's own law, and of one that is too sure of itself.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use eps_metrics::{Evaluation, MetricsError, SampleShape, evaluate};

fn main() -> Result<(), MetricsError> {
    for (name, spread) in [("calibrated", 1.0), ("too sure", 0.1)] {
        let scores = scores(spread)?;
        println!(
            "{name}: energy score {:.4}, PSNR {:.2} dB, MMD² {:.4}",
            scores.energy_score_fair.unwrap_or(f64::NAN),
            scores.psnr_db.unwrap_or(f64::NAN),
            scores.mmd2.unwrap_or(f64::NAN)
        );
    }
    Ok(())
}

/// The scores of samples that lie around what was measured, `spread` times as far as the truths do.
fn scores(spread: f64) -> Result<Evaluation, MetricsError> {
    let shape = SampleShape { images: 200, samples: 8, channels: 1, height: 1, width: 2 };
    // Numbers in [-0.5, 0.5] that fill the range evenly (multiples of the golden ratio).
    let even = |index: usize| (index as f64 * 0.618_033_988_749_895).fract() - 0.5;
    let known = |image: usize| 0.5 * even(7 * image);
    let (mut truths, mut samples) = (Vec::new(), Vec::new());
    for image in 0..shape.images {
        truths.extend((0..2).map(|pixel| known(image) + 0.5 * even(1 + 31 * image + pixel)));
        for sample in 0..shape.samples {
            let draw = |pixel: usize| even(3 + 17 * image + 5 * sample + 101 * pixel);
            samples.extend((0..2).map(|pixel| known(image) + 0.5 * spread * draw(pixel)));
        }
    }
    evaluate(&truths, &samples, shape)
}

#[test]
fn samples_that_are_too_sure_score_worse_though_they_are_nearer() {
    main().unwrap();
    let (calibrated, sure) = (scores(1.0).unwrap(), scores(0.1).unwrap());
    // The mean is nearer to the truth than any draw, and the energy score is proper.
    assert!(sure.psnr_db.unwrap() > calibrated.psnr_db.unwrap() + 1.0);
    assert!(sure.energy_score_fair.unwrap() > 1.05 * calibrated.energy_score_fair.unwrap());
}
