//! The unit in which an instrument measures, and the network's range.

use eps_math::operator::LinearMap;
use serde::{Deserialize, Serialize};

use crate::DataError;

/// An affine map between an instrument's unit and the range [-1, 1] of images.
///
/// ```text
/// v = offset + scale · x      x = (v − offset)/scale
/// ```
///
/// A measurement of v is A v + η = scale · A x + offset · A 1 + η, so that of x is y = (A v + η − offset · A 1)/scale, with
/// noise of σ/scale. A need not map constants to constants, as projections do not.
///
/// # Example
///
/// ```
/// use eps_data::Unit;
///
/// let unit = Unit { name: "HU".to_owned(), offset: 0.0, scale: 1000.0 };
/// assert_eq!((unit.to_image(-500.0), unit.of_image(0.25)), (-0.5, 250.0));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// Its name, for readers.
    pub name: String,
    /// The value of x = 0.
    pub offset: f64,
    /// Half of the range: the values of x = ±1 are offset ± scale.
    pub scale: f64,
}

impl Unit {
    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] unless the scale is positive and both are finite.
    pub fn validate(&self) -> Result<(), DataError> {
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return Err(DataError::invalid(
                "the scale of the unit",
                self.scale,
                "give half of the range of the images in the instrument's unit, a positive number",
            ));
        }
        if !self.offset.is_finite() {
            return Err(DataError::invalid(
                "the offset of the unit",
                self.offset,
                "give the middle of the range of the images in the instrument's unit",
            ));
        }
        Ok(())
    }

    /// The value on [-1, 1] of one in the instrument's unit.
    #[must_use]
    pub fn to_image(&self, value: f64) -> f64 {
        (value - self.offset) / self.scale
    }

    /// The value in the instrument's unit of one on [-1, 1].
    #[must_use]
    pub fn of_image(&self, value: f64) -> f64 {
        self.offset + self.scale * value
    }

    /// What the operator makes of an image that is 1 everywhere.
    fn of_ones(operator: &dyn LinearMap) -> Vec<f64> {
        operator.apply(&vec![1.0; operator.domain().len()])
    }

    /// A measurement in the instrument's unit as one of an image on [-1, 1].
    ///
    /// # Panics
    ///
    /// If y has another length than the operator's range.
    #[must_use]
    pub fn measurement_to_image(&self, operator: &dyn LinearMap, y: &[f64]) -> Vec<f64> {
        assert_eq!(y.len(), operator.range().len(), "values of the measurement");
        let ones = Self::of_ones(operator);
        y.iter().zip(ones).map(|(y, one)| (y - self.offset * one) / self.scale).collect()
    }

    /// A measurement of an image on [-1, 1] in the instrument's unit.
    ///
    /// # Panics
    ///
    /// If y has another length than the operator's range.
    #[must_use]
    pub fn measurement_of_image(&self, operator: &dyn LinearMap, y: &[f64]) -> Vec<f64> {
        assert_eq!(y.len(), operator.range().len(), "values of the measurement");
        let ones = Self::of_ones(operator);
        y.iter().zip(ones).map(|(y, one)| self.scale * y + self.offset * one).collect()
    }

    /// The unit in which the images behind measurements that look like them fill [-1, 1], but for 1 % of their values: of
    /// pictures, where A leaves a constant a constant nearly everywhere.
    ///
    /// # Shapes
    ///
    /// `y: [N, ..range]`, NaN where nothing was measured.
    ///
    /// # Errors
    ///
    /// [`DataError::Invalid`] where A makes less than half of its values of a constant alike, or all values of y are one.
    pub fn estimated(name: &str, operator: &dyn LinearMap, y: &[f64]) -> Result<Self, DataError> {
        let ones = Self::of_ones(operator);
        let largest = ones.iter().fold(0.0f64, |largest, one| largest.max(*one));
        let is_alike = |one: f64| one > 0.0 && one >= 0.99 * largest;
        let seen = ones.iter().filter(|one| **one != 0.0).count();
        let alike = ones.iter().filter(|one| is_alike(**one)).count();
        if 2 * alike < seen || alike == 0 {
            return Err(DataError::invalid(
                "the unit",
                "auto",
                "the values of y are no values of the image by this operator, so that y does not tell the range: give \
                 the offset and the scale",
            ));
        }
        let mut values: Vec<f64> = y
            .iter()
            .zip(ones.iter().cycle())
            .filter(|(y, one)| y.is_finite() && is_alike(**one))
            .map(|(y, one)| y / one)
            .collect();
        values.sort_by(f64::total_cmp);
        // Half a per cent of the values at either end.
        let beyond = values.len() / 200;
        let (low, high) = match values.get(beyond..values.len() - beyond) {
            Some([low, .., high]) => (*low, *high),
            _ => (f64::NAN, f64::NAN),
        };
        let unit =
            Self { name: name.to_owned(), offset: 0.5 * (low + high), scale: 0.5 * (high - low) };
        unit.validate()?;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use eps_math::Shape;
    use eps_math::operator::{Mask, OperatorSpec, PreparedOperator};

    use super::*;

    fn unit() -> Unit {
        Unit { name: "counts".to_owned(), offset: 300.0, scale: 200.0 }
    }

    fn prepared(json: &str, shape: Shape) -> PreparedOperator {
        serde_json::from_str::<OperatorSpec>(json).unwrap().prepare(shape).unwrap()
    }

    /// A of the image in its unit is what the measurement of x becomes, also where A makes other numbers of a constant.
    #[test]
    fn the_unit_is_undone_through_the_operator() {
        let shape = Shape::new(1, 6, 6).unwrap();
        let x: Vec<f64> = (0..36).map(|i| f64::from(i) / 18.0 - 1.0).collect();
        let v: Vec<f64> = x.iter().map(|x| unit().of_image(*x)).collect();
        for json in [
            r#"{"operator": "radon", "angles_degrees": [0, 40, 90]}"#,
            r#"{"operator": "convolution", "kernel": [[1, 2, 3]], "border": "zero"}"#,
            r#"{"operator": "average-pool", "factor": 2}"#,
        ] {
            let a = prepared(json, shape);
            let y = unit().measurement_to_image(&a, &a.apply(&v));
            // A of up to 500 · 6 in rounding, over the scale.
            for (found, expected) in y.iter().zip(a.apply(&x)) {
                assert!((found - expected).abs() < 1e-12, "{json}: {found} for {expected}");
            }
            for (found, expected) in unit().measurement_of_image(&a, &y).iter().zip(a.apply(&v)) {
                assert!((found - expected).abs() < 1e-10, "{json}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn the_range_of_a_picture_is_told() {
        let shape = Shape::new(1, 10, 100).unwrap();
        let mask = Mask::new(shape, (0..1000).map(|i| i % 4 != 0).collect()).unwrap();
        // From 100 to 500, evenly; what is hidden does not count.
        let y: Vec<f64> =
            (0..1000).map(|i| if i % 4 == 0 { 1e9 } else { 100.0 + 0.4 * f64::from(i) }).collect();
        let found = Unit::estimated("counts", &mask, &y).unwrap();
        assert!(
            (found.offset - 300.0).abs() < 1.0 && (found.scale - 198.0).abs() < 1.0,
            "{found:?}"
        );
        let radon = prepared(
            r#"{"operator": "radon", "angles_degrees": [20, 40, 70]}"#,
            Shape::new(1, 16, 16).unwrap(),
        );
        let error = Unit::estimated("1/cm", &radon, &[1.0; 48]).unwrap_err().to_string();
        assert!(error.contains("give the offset and the scale"), "{error}");
        let error = Unit::estimated("counts", &mask, &[7.0; 1000]).unwrap_err().to_string();
        assert!(error.contains("scale of the unit is 0"), "{error}");
    }
}
