//! The page of a restoration, `page.html`: before and after under a slider, the samples, where they differ.
//!
//! It shows the pictures beside it, and needs no network and no server.

use eps::residual::Residual;
use serde::Serialize;

/// The page, but for its data.
const TEMPLATE: &str = include_str!("restoration_page.html");

/// What the page says.
#[derive(Debug, Serialize)]
pub(crate) struct RestorationPage {
    /// The heading.
    pub(crate) title: String,
    /// What was done, in a sentence or two.
    pub(crate) lead: String,
    /// What was noted.
    pub(crate) notes: Vec<String>,
    /// The images, in order.
    pub(crate) images: Vec<ImageOnPage>,
}

/// An image and all of its pictures.
#[derive(Debug, Serialize)]
pub(crate) struct ImageOnPage {
    /// Its name.
    pub(crate) title: String,
    /// Pixels of a row.
    pub(crate) width: usize,
    /// Rows.
    pub(crate) height: usize,
    /// How well the samples agree with what was measured.
    pub(crate) residual: String,
    /// The name of the picture that is compared with the measurement first.
    pub(crate) after: &'static str,
    /// Its pictures.
    pub(crate) pictures: Vec<PictureOnPage>,
}

/// A picture beside the page.
#[derive(Debug, Serialize)]
pub(crate) struct PictureOnPage {
    /// Its name.
    pub(crate) name: String,
    /// The file, from the page's folder.
    pub(crate) file: String,
    /// What it shows.
    pub(crate) about: &'static str,
}

impl PictureOnPage {
    /// The picture NAME.png in a folder.
    pub(crate) fn of(folder: &str, name: &str) -> Self {
        let about = match name {
            "truth" => "the image before it was measured",
            "measurement" => "what was measured",
            "one-call" => "the posterior mean by one network call",
            "mean" => {
                "the mean of the samples: smoother than an image, and the answer of least error where the network has learnt its pictures well"
            }
            "standard-deviation" => {
                "where the samples differ: black is 0, white 0.5 on the scale [-1, 1]"
            }
            "residual" => {
                "A x - y of the mean in standard deviations: black is -3, white 3; structure that is no noise says that the \
                 measurement is not what it was said to be"
            }
            "quantile-05" => "one sample in twenty is darker than this",
            "quantile-95" => "one sample in twenty is brighter than this",
            "calibrated-05" => "of held-out pictures one true value in twenty was darker than this",
            "calibrated-95" => {
                "of held-out pictures one true value in twenty was brighter than this"
            }
            _ => "an image that explains the measurement, as likely as the other samples",
        };
        Self { name: name.replace('-', " "), file: format!("{folder}/{name}.png"), about }
    }
}

/// How well the samples of an image agree with what was measured, in a sentence; an exact measurement has no σ_y.
pub(crate) fn residual_sentence(residual: &Residual, is_exact: bool) -> String {
    if is_exact {
        return format!(
            "The residual rms(A x - y) of the samples is {:.1e}, where 0 is right; that of their mean is {:.1e}.",
            residual.samples, residual.mean
        );
    }
    format!(
        "The residual rms(A x - y)/sigma_y of the samples is {:.2}, where 1 is right; that of their mean is {:.2}.",
        residual.samples, residual.mean
    )
}

impl RestorationPage {
    /// The page.
    ///
    /// # Errors
    /// None in fact: its data are strings and numbers.
    pub(crate) fn html(&self) -> Result<String, serde_json::Error> {
        // Inside a script, "<" could end it.
        let data = serde_json::to_string(self)?.replace('<', "\\u003c");
        Ok(TEMPLATE.replacen("DATA", &data, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_cannot_end_the_script() {
        let page = RestorationPage {
            title: "a</script><b>.png".to_owned(),
            lead: "DATA".to_owned(),
            notes: vec![],
            images: vec![ImageOnPage {
                title: "image 0".to_owned(),
                width: 8,
                height: 6,
                residual: residual_sentence(
                    &Residual { samples: 1.0, mean: 0.75, values: 4 },
                    false,
                ),
                after: "mean",
                pictures: vec![PictureOnPage::of("image-0000", "standard-deviation")],
            }],
        };
        let html = page.html().unwrap();
        assert_eq!(html.matches("</script>").count(), TEMPLATE.matches("</script>").count());
        assert!(html.contains(r"a\u003c/script>\u003cb>.png"), "{html}");
        assert!(html.contains(r#""file":"image-0000/standard-deviation.png""#));
        assert!(html.contains("is 1.00, where 1 is right; that of their mean is 0.75."));
    }
}
