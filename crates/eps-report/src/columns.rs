//! What the columns of tables mean: said on hover and in one place of a page.

use crate::chart::escape;

/// Headings with what they mean.
const COLUMNS: [(&str, &str); 31] = [
    (
        "method",
        "The method and its network calls a sample; mean of J: the mean of J samples, scored as one image.",
    ),
    (
        "NFE",
        "Network evaluations as counted, for each sample; for all of its samples where the row is a mean.",
    ),
    (
        "PSNR (dB)",
        "Peak signal-to-noise ratio, data range 2. Higher is better. Mean ± standard deviation over seeds, \
         where a seed is one sample of every image and its value the mean over images.",
    ),
    (
        "SSIM",
        "Structural similarity on [0, 1]. Higher is better. Mean ± standard deviation over seeds, as for PSNR.",
    ),
    (
        "energy score [0,1]",
        "The paper’s CRPS: all samples of an image together, pixels in [0, 1], pair term 1/(2J²) for J \
         samples. Lower is better. No spread over seeds.",
    ),
    (
        "fair energy score [0,1]",
        "The energy score with pair term 1/(2J(J − 1)), comparable between different J. Pixels in [0, 1]. \
         Lower is better.",
    ),
    (
        "CRPS [0,1]",
        "Mean CRPS of a pixel, fair, on pixels in [0, 1]. Lower is better. No spread over seeds.",
    ),
    (
        "MMD²",
        "Unbiased estimate between all samples and all truths; may be negative. Lower is better.",
    ),
    (
        "LPIPS (AlexNet)",
        "LPIPS v0.1. Lower is better. Images smaller than 64 pixels are upsampled to that for the network, \
         grey ones repeated to three channels.",
    ),
    (
        "LPIPS",
        "LPIPS in the tables of the paper, which does not name its network. Lower is better.",
    ),
    (
        "FD-AlexNet",
        "Squared Fréchet distance on AlexNet’s features; no FID, which has another network. Lower is better.",
    ),
    ("MMD² (AlexNet)", "MMD² on AlexNet’s features. Lower is better."),
    ("energy score (AlexNet)", "Energy score on AlexNet’s features. Lower is better."),
    ("FID", "Fréchet distance on the features of the FID network. Lower is better."),
    ("MMD² (Inception)", "MMD² on the features of the FID network. Lower is better."),
    (
        "energy score (Inception)",
        "Energy score on the features of the FID network. Lower is better.",
    ),
    (
        "time (s)",
        "Wall clock in batches, for each sample; for all of its samples where the row is a mean.",
    ),
    ("backward passes", "Backward passes through the network, for each sample."),
    (
        "× bare call on the same image",
        "Time of a call over that of the bare denoiser on the same image: the median over images.",
    ),
    (
        "energy ratio",
        "The energy score of ten samples over the distance of their mean from the truth.",
    ),
    (
        "with an 11th sample",
        "The same ratio with an eleventh sample in the truth’s place: what a calibrated sampler has \
         (0.7416 for a Gaussian posterior of many dimensions).",
    ),
    (
        "difference",
        "The energy ratio minus that with an eleventh sample; ± is a 95 % interval over images. 0 if calibrated.",
    ),
    (
        "in 50 % interval (%)",
        "How often the truth of a ranked pixel lies in the central 50 % interval of the samples.",
    ),
    (
        "in 80 % interval (%)",
        "How often the truth of a ranked pixel lies in the central 80 % interval of the samples.",
    ),
    (
        "in 90 % interval (%)",
        "How often the truth of a ranked pixel lies in the central 90 % interval of the samples.",
    ),
    (
        "pixels ranked (%)",
        "The share of pixels whose samples have a standard deviation above 1/255.",
    ),
    (
        "in 90 % interval of all pixels (%)",
        "The same for the 90 % interval over all pixels, ranked or not.",
    ),
    ("estimate", "What is compared with the linear MMSE estimate."),
    ("claimed (dB)", "The least PSNR above that of the linear MMSE estimate that is claimed."),
    ("SHA-256 of its file", "The digest of the file with the network’s weights."),
    ("training", "Steps and batch size of each training of the network, in order."),
];

/// What a column means, where its heading does not say it.
pub(crate) fn meaning(heading: &str) -> Option<&'static str> {
    COLUMNS.iter().find(|(known, _)| *known == heading).map(|(_, said)| *said)
}

/// All columns with what they mean, as HTML.
pub(crate) fn list() -> String {
    let item = |(heading, said): &(&str, &str)| {
        format!("<dt>{}</dt><dd>{}</dd>", escape(heading), escape(said))
    };
    format!("<dl>{}</dl>", COLUMNS.iter().map(item).collect::<String>())
}

#[cfg(test)]
mod tests {
    use eps_results::{Method, Metric};

    use super::*;
    use crate::sample_results::row_of;
    use crate::table::{Table, calibration_table};

    #[test]
    fn every_column_of_a_task_s_tables_is_explained() {
        let mut row = row_of(Method::Unconditional { calls: 4 }, 20.0);
        row.features = Metric::ALL.map(|metric| (metric, Some(1.0))).into();
        row.of_images.insert(Metric::SecondsACall, vec![1.0]);
        let headings = Table::new(&[row], true).headings;
        assert_eq!(headings.len(), 18);
        for heading in headings.iter().chain(&calibration_table(&[]).headings) {
            assert!(meaning(heading).is_some(), "{heading}");
            assert!(list().contains(&format!("<dt>{}</dt>", escape(heading))), "{heading}");
        }
    }
}
