//! Mean and spread of a number over seeds, and how well images determine a number.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::MetricsError;
use crate::input::check_finite;

/// Mean and standard deviation over repetitions with different seeds.
///
/// `{}` prints `mean ± standard deviation`, `{:.2}` with two digits; a single repetition prints
/// its mean alone.
///
/// The standard deviation is that of a repetition, not the standard error of the mean (which is
/// smaller by √n).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Mean over repetitions.
    pub mean: f64,
    /// Standard deviation with n − 1; none for a single repetition.
    pub standard_deviation: Option<f64>,
    /// Number of repetitions.
    pub n: usize,
}

impl Spread {
    /// The spread of one value per seed.
    ///
    /// ```text
    /// mean = Σ v / n,   standard deviation = √( Σ (v − mean)² / (n − 1) )
    /// ```
    ///
    /// # Errors
    /// No values, or values that are not finite.
    pub fn of(values: &[f64]) -> Result<Self, MetricsError> {
        check_finite("values", values)?;
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        let standard_deviation = (n > 1).then(|| (squares / (n - 1) as f64).sqrt());
        Ok(Self { mean, standard_deviation, n })
    }

    /// Half of the width of the 95 % confidence interval of the mean, by Student's t; none for a single
    /// repetition.
    ///
    /// ```text
    /// t_{0.975, n−1} s/√n
    /// ```
    ///
    /// t is exact for two and three repetitions; for more it is the Cornish–Fisher expansion about the
    /// normal quantile (Abramowitz and Stegun, 26.7.5), within 0.3 %.
    #[must_use]
    pub fn half_width_95(&self) -> Option<f64> {
        let error = self.standard_deviation? / (self.n as f64).sqrt();
        Some(error * student_975((self.n - 1) as f64))
    }
}

/// A number that images determine together, with its uncertainty.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// The number, of all images.
    pub value: f64,
    /// Half of the width of its 95 % confidence interval over images; none for a single image, and where
    /// the number is undefined without one of them.
    pub half_width_95: Option<f64>,
}

impl Estimate {
    /// A statistic of the sums of `K` terms over images, with the interval of the jackknife: those of
    /// [`Self::of_left_out`].
    ///
    /// ```text
    /// θ = f(Σ terms),   θ_i = f(Σ terms − terms_i)
    /// ```
    ///
    /// For the mean of one term of images that do not depend on each other it is [`Spread::half_width_95`].
    ///
    /// # Errors
    /// No images, or a statistic of all of them that is not finite.
    pub fn of_sums<const K: usize>(
        terms: &[[f64; K]],
        statistic: impl Fn([f64; K]) -> f64,
        groups: Option<&[u32]>,
    ) -> Result<Self, MetricsError> {
        if terms.is_empty() {
            return Err(MetricsError::Empty { what: "terms of images" });
        }
        let sum_without = |left_out: Option<usize>| {
            let kept = terms.iter().enumerate().filter(|(i, _)| Some(*i) != left_out);
            kept.fold([0.0; K], |mut sum, (_, term)| {
                sum.iter_mut().zip(term).for_each(|(sum, term)| *sum += term);
                sum
            })
        };
        let value = statistic(sum_without(None));
        check_finite("a statistic of images", &[value])?;
        let without: Vec<f64> =
            (0..terms.len()).map(|image| statistic(sum_without(Some(image)))).collect();
        Ok(Self::of_left_out(value, &without, groups))
    }

    /// A number of all images, with the interval of the delete-one jackknife (Efron and Stein, 1981) from the
    /// numbers of all images but one: `without[i]` is that without image i.
    ///
    /// ```text
    /// s² = ((n − 1)/n)² G/(G − 1) Σ_g (Σ_{i in g} (θ_i − θ̄))²,   half width t_{0.975, G−1} s
    /// ```
    ///
    /// `groups` names the group of each image where images of one group depend on each other, as pieces of one
    /// photograph do; without it each is its own, and s² = (n − 1)/n Σ_i (θ_i − θ̄)².
    ///
    /// It has no interval with fewer than two groups, or where a number is not finite.
    ///
    /// # Panics
    /// If there are groups, but not one for each image.
    #[must_use]
    pub fn of_left_out(value: f64, without: &[f64], groups: Option<&[u32]>) -> Self {
        let n = without.len() as f64;
        let mean = without.iter().sum::<f64>() / n;
        let moved = without.iter().map(|without| without - mean);
        let sums: Vec<f64> = match groups {
            None => moved.collect(),
            Some(groups) => {
                assert_eq!(groups.len(), without.len(), "the group of each image");
                let mut sums = BTreeMap::new();
                for (group, moved) in groups.iter().zip(moved) {
                    *sums.entry(group).or_insert(0.0) += moved;
                }
                sums.into_values().collect()
            }
        };
        let count = sums.len() as f64;
        let squares: f64 = sums.iter().map(|sum| sum * sum).sum();
        let half_width = student_975(count - 1.0)
            * ((n - 1.0) / n * squares.sqrt() * (count / (count - 1.0)).sqrt());
        let has_interval = sums.len() > 1 && half_width.is_finite();
        Self { value, half_width_95: has_interval.then_some(half_width) }
    }
}

/// The 97.5 % quantile of Student's t.
fn student_975(freedom: f64) -> f64 {
    if freedom == 1.0 {
        return (0.475 * std::f64::consts::PI).tan();
    }
    if freedom == 2.0 {
        return 0.95 * (2.0 / (1.0 - 0.95f64.powi(2))).sqrt();
    }
    let z = 1.959_963_984_540_054_f64;
    // The Cornish-Fisher expansion in 1/ν.
    let terms = [
        (z.powi(3) + z) / 4.0,
        (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
        (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
        (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5)
            - 1920.0 * z.powi(3)
            - 945.0 * z)
            / 92160.0,
    ];
    terms.iter().rev().fold(0.0, |sum, term| (sum + term) / freedom) + z
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mean.fmt(f)?;
        if let Some(standard_deviation) = self.standard_deviation {
            f.write_str(" ± ")?;
            standard_deviation.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_student_s() {
        // Tables of the distribution.
        for (freedom, t) in [
            (1.0, 12.7062),
            (2.0, 4.30265),
            (3.0, 3.18245),
            (5.0, 2.57058),
            (9.0, 2.26216),
            (30.0, 2.04227),
        ] {
            assert!((student_975(freedom) / t - 1.0).abs() < 3e-3, "{freedom}");
        }
        let spread = Spread::of(&[1.0, 2.0, 3.0]).unwrap();
        assert!((spread.half_width_95().unwrap() - 4.30265 / 3f64.sqrt()).abs() < 1e-4);
        assert_eq!(Spread::of(&[1.0]).unwrap().half_width_95(), None);
    }

    #[test]
    fn a_group_counts_as_one_image() {
        let mean = |[sum, n]: [f64; 2]| sum / n;
        let of = |values: &[f64], groups: Option<&[u32]>| {
            let terms: Vec<[f64; 2]> = values.iter().map(|value| [*value, 1.0]).collect();
            Estimate::of_sums(&terms, mean, groups).unwrap().half_width_95
        };
        let (once, twice) = ([1.0, 4.0, 2.0], [1.0, 1.0, 4.0, 4.0, 2.0, 2.0]);
        let alone = of(&once, None).unwrap();
        assert!((of(&once, Some(&[7, 3, 9])).unwrap() / alone - 1.0).abs() < 1e-14);
        // The same values twice tell no more than once.
        let grouped = of(&twice, Some(&[1, 1, 0, 0, 2, 2])).unwrap();
        assert!((grouped / alone - 1.0).abs() < 1e-14, "{grouped} {alone}");
        assert!(of(&twice, None).unwrap() < 0.7 * alone);
        assert_eq!(of(&once, Some(&[4, 4, 4])), None);
    }

    #[test]
    fn the_jackknife_of_a_mean_is_its_interval() {
        let values = [1.0, 4.0, 2.0, 7.0];
        let mean = |[sum, n]: [f64; 2]| sum / n;
        let terms = values.map(|value| [value, 1.0]);
        let estimate = Estimate::of_sums(&terms, mean, None).unwrap();
        let spread = Spread::of(&values).unwrap();
        assert!((estimate.value - spread.mean).abs() < 1e-15);
        let (found, expected) = (estimate.half_width_95.unwrap(), spread.half_width_95().unwrap());
        assert!((found / expected - 1.0).abs() < 1e-14, "{found} {expected}");
        let one = Estimate::of_sums(&[[3.0, 1.0]], mean, None).unwrap();
        assert_eq!((one.value, one.half_width_95), (3.0, None));
        // Without the first image nothing is left to divide by.
        let some = Estimate::of_sums(&[[3.0, 1.0], [0.0, 0.0]], mean, None).unwrap();
        assert_eq!((some.value, some.half_width_95), (3.0, None));
        assert!(Estimate::of_sums(&[], mean, None).is_err());
        assert!(Estimate::of_sums(&[[0.0, 0.0]], mean, None).is_err());
    }
}
