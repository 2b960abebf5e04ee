//! Mean and spread of a number over seeds.

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
