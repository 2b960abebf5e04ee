//! Kernels by their names, in JSON and on command lines.

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::kernel::Kernel;
use crate::MathError;
use crate::rng::Stream;

/// A kernel that parameters describe, each a constructor of [`Kernel`]: in JSON `{"disc": {"radius": 3.5}}`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum KernelShape {
    /// [`Kernel::disc`].
    Disc {
        /// In pixels.
        radius: f64,
    },
    /// [`Kernel::gaussian_along`].
    Gaussian {
        /// The width in pixels, that along the angle where there are two.
        sigma: f64,
        /// The width across, in pixels; the same, where it is not given.
        across: Option<f64>,
        /// In degrees, anticlockwise from the columns' axis.
        #[serde(default)]
        angle_degrees: f64,
    },
    /// [`Kernel::motion`].
    Motion {
        /// In pixels, odd.
        length: usize,
        /// In degrees, anticlockwise from the columns' axis.
        #[serde(default)]
        angle_degrees: f64,
    },
    /// [`Kernel::motion_path`].
    MotionPath {
        /// In pixels, odd.
        side: usize,
        /// From 0, a straight line, to 1.
        #[serde(default = "usual_intensity")]
        intensity: f64,
        /// What the path is drawn by.
        #[serde(default)]
        seed: u64,
    },
}

/// That of the publications that use the generator.
fn usual_intensity() -> f64 {
    0.5
}

impl KernelShape {
    /// How kernels are named on command lines.
    pub const USAGE: &str = "disc:RADIUS, gaussian:SIGMA, gaussian:SIGMA,ACROSS,DEGREES, motion:LENGTH,DEGREES or \
                             motion-path:SIDE,INTENSITY,SEED";

    /// The kernel.
    ///
    /// # Errors
    /// Those of the constructor.
    pub fn kernel(self) -> Result<Kernel, MathError> {
        match self {
            Self::Disc { radius } => Kernel::disc(radius),
            Self::Gaussian { sigma, across, angle_degrees } => {
                Kernel::gaussian_along(sigma, across.unwrap_or(sigma), angle_degrees.to_radians())
            }
            Self::Motion { length, angle_degrees } => {
                Kernel::motion(length, angle_degrees.to_radians())
            }
            Self::MotionPath { side, intensity, seed } => {
                Kernel::motion_path(side, intensity, &Stream::named(seed, "motion path"))
            }
        }
    }

    /// The kernel that a command line names, as `disc:3.5`: [`KernelShape::USAGE`]. None where the text is no known name, with a colon or
    /// without.
    ///
    /// # Errors
    /// What the numbers should be.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Result<Self, String>> {
        let (name, list) = text.split_once(':').unwrap_or((text, ""));
        if !["disc", "gaussian", "motion", "motion-path"].contains(&name) {
            return None;
        }
        let words: Vec<&str> = list.split(',').map(str::trim).collect();
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<f64>().ok());
        let count = |index: usize| words.get(index).and_then(|word| word.parse::<usize>().ok());
        let shape = match (name, words.len()) {
            ("disc", 1) => number(0).map(|radius| Self::Disc { radius }),
            ("gaussian", 1) => {
                number(0).map(|sigma| Self::Gaussian { sigma, across: None, angle_degrees: 0.0 })
            }
            ("gaussian", 3) => number(0).zip(number(2)).and_then(|(sigma, angle_degrees)| {
                Some(Self::Gaussian { sigma, across: Some(number(1)?), angle_degrees })
            }),
            ("motion", 2) => count(0)
                .zip(number(1))
                .map(|(length, angle_degrees)| Self::Motion { length, angle_degrees }),
            ("motion-path", 3) => count(0).zip(number(1)).and_then(|(side, intensity)| {
                Some(Self::MotionPath { side, intensity, seed: words[2].parse().ok()? })
            }),
            _ => None,
        };
        Some(shape.ok_or_else(|| format!("{text:?} names no kernel: write {}", Self::USAGE)))
    }
}

/// Rows of taps, written as such or by a [`KernelShape`].
struct Rows(Vec<Vec<f64>>);

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RowsVisitor)
    }
}

struct RowsVisitor;

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = Rows;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a kernel, as rows of taps or as {\"disc\": {\"radius\": 3.5}}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Rows, A::Error> {
        let mut read = Vec::new();
        while let Some(row) = rows.next_element_seed(Row(read.len()))? {
            read.push(row);
        }
        Ok(Rows(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rows, A::Error> {
        let shape = KernelShape::deserialize(MapAccessDeserializer::new(map))?;
        let kernel = shape.kernel().map_err(A::Error::custom)?;
        let rows = kernel.taps().chunks_exact(kernel.columns());
        Ok(Rows(rows.map(<[f64]>::to_vec).collect()))
    }
}

/// One row of taps, by its number.
struct Row(usize);

impl<'de> DeserializeSeed<'de> for Row {
    type Value = Vec<f64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<f64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Row {
    type Value = Vec<f64>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the taps of row {} of the kernel (from 0)", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut taps: A) -> Result<Vec<f64>, A::Error> {
        let mut read = Vec::new();
        while let Some(Tap(tap)) = taps.next_element()? {
            read.push(tap.map_err(|found| {
                A::Error::custom(format!(
                    "the kernel holds {found} at row {}, column {} (from 0): all taps must be finite numbers",
                    self.0,
                    read.len()
                ))
            })?);
        }
        Ok(read)
    }
}

/// A finite number, or what stands in its place.
struct Tap(Result<f64, String>);

impl<'de> Deserialize<'de> for Tap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TapVisitor)
    }
}

struct TapVisitor;

impl<'de> Visitor<'de> for TapVisitor {
    type Value = Tap;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a tap of the kernel, a number")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tap, E> {
        Ok(Tap(if value.is_finite() { Ok(value) } else { Err(value.to_string()) }))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tap, E> {
        Ok(Tap(Ok(value as f64)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tap, E> {
        Ok(Tap(Ok(value as f64)))
    }

    fn visit_unit<E>(self) -> Result<Tap, E> {
        Ok(Tap(Err("null".to_owned())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tap, E> {
        Ok(Tap(Err(value.to_string())))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tap, E> {
        Ok(Tap(Err(format!("the text {text:?}"))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Tap, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Tap(Err("a list".to_owned())))
    }
}

/// Reads the rows of a kernel's taps.
pub(super) fn rows<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<f64>>, D::Error> {
    Ok(Rows::deserialize(deserializer)?.0)
}

/// Reads the rows of several kernels.
pub(super) fn list_of_rows<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Vec<Vec<f64>>>, D::Error> {
    Ok(Vec::<Rows>::deserialize(deserializer)?.into_iter().map(|Rows(rows)| rows).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_name_kernels() {
        let named = |text: &str| KernelShape::from_text(text).unwrap().unwrap();
        assert_eq!(named("disc:3.5"), KernelShape::Disc { radius: 3.5 });
        let gaussian =
            |across, angle_degrees| KernelShape::Gaussian { sigma: 3.0, across, angle_degrees };
        assert_eq!(named("gaussian:3"), gaussian(None, 0.0));
        assert_eq!(named("gaussian:3,1,30"), gaussian(Some(1.0), 30.0));
        assert_eq!(named("motion:9,30"), KernelShape::Motion { length: 9, angle_degrees: 30.0 });
        assert_eq!(
            named("motion-path:61,0.5,7"),
            KernelShape::MotionPath { side: 61, intensity: 0.5, seed: 7 }
        );
        assert_eq!(KernelShape::from_text("a.npy"), None);
        assert_eq!(KernelShape::from_text("C:a.npy"), None);
        for text in
            ["disc:", "disc:a", "disc:1,2", "gaussian:1,2", "motion:9.5,0", "motion-path:61,0.5,-1"]
        {
            let error = KernelShape::from_text(text).unwrap().unwrap_err();
            assert!(error.contains(text) && error.contains("disc:RADIUS"), "{error}");
        }
    }
}
