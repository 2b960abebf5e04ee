//! Tensors as fields of real numbers, so that the formulas of `eps-math` run on any device.

use std::ops::{Add, Div, Mul, Sub};

use eps_math::{Level, Real};
use tch::{Device, Kind, Tensor};

/// An f64 tensor with element-wise arithmetic and broadcasting.
#[derive(Debug)]
pub struct Field(pub Tensor);

impl Field {
    /// One value an image, `[B, 1, 1, 1]` on `device`; a single value is filled in there.
    #[must_use]
    pub fn per_image(values: &[f64], device: Device) -> Self {
        if let [value] = values {
            return Self(Tensor::full([1, 1, 1, 1], *value, (Kind::Double, device)));
        }
        Self(Tensor::from_slice(values).view([-1, 1, 1, 1]).to_device(device))
    }
}

/// The levels of a batch, one an image, as fields of `[B, 1, 1, 1]`.
#[must_use]
pub fn level_fields(levels: &[Level], device: Device) -> Level<Field> {
    let alpha: Vec<f64> = levels.iter().map(|level| level.alpha).collect();
    let beta: Vec<f64> = levels.iter().map(|level| level.beta).collect();
    Level { alpha: Field::per_image(&alpha, device), beta: Field::per_image(&beta, device) }
}

impl Clone for Field {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl Add for Field {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Field {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Mul for Field {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }
}

impl Div for Field {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        Self(self.0 / other.0)
    }
}

impl Add<f64> for Field {
    type Output = Self;
    fn add(self, other: f64) -> Self {
        Self(self.0 + other)
    }
}

impl Mul<f64> for Field {
    type Output = Self;
    fn mul(self, other: f64) -> Self {
        Self(self.0 * other)
    }
}

impl Real for Field {
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }

    fn ln(self) -> Self {
        Self(self.0.log())
    }

    fn recip(self) -> Self {
        Self(self.0.reciprocal())
    }

    fn where_positive(self, condition: &Self) -> Self {
        let zero = Tensor::zeros([1], (Kind::Double, self.0.device()));
        Self(self.0.where_self(&condition.0.gt(0.0), &zero))
    }
}
