//! The paper's restoration tasks: laws from which operators are drawn, for training and for tests.

use serde::{Deserialize, Serialize};

use crate::operator::{AveragePool, CircularBlur, Kernel, Mask, Operator};
use crate::rng::Stream;
use crate::{MathError, Shape};

/// A restoration task of arXiv 2606.17048, Section 4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Pixels missing at random.
    RandomInpainting,
    /// A rectangle missing.
    BoxInpainting,
    /// 4×4 average pooling.
    SuperResolution,
    /// Gaussian blur of width 0.75 px on 11 taps, circular.
    GaussianBlur,
    /// Straight motion of 7 to 15 px, circular.
    MotionBlur,
    /// Nearly all pixels missing at random.
    ExtremeInpainting,
    /// 7×7 average pooling.
    ExtremeSuperResolution,
}

/// Which law an operator is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// The law of training.
    Training,
    /// The law of validation and test.
    Test,
}

impl Task {
    /// The five tasks in the order of the paper's tables.
    pub const ALL: [Self; 5] = [
        Self::RandomInpainting,
        Self::BoxInpainting,
        Self::SuperResolution,
        Self::GaussianBlur,
        Self::MotionBlur,
    ];

    /// The two tasks beyond these, where little is measured (the paper's Table 7).
    pub const EXTREME: [Self; 2] = [Self::ExtremeInpainting, Self::ExtremeSuperResolution];

    /// The name in configurations, files and commands.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RandomInpainting => "random-inpainting",
            Self::BoxInpainting => "box-inpainting",
            Self::SuperResolution => "super-resolution",
            Self::GaussianBlur => "gaussian-blur",
            Self::MotionBlur => "motion-blur",
            Self::ExtremeInpainting => "extreme-inpainting",
            Self::ExtremeSuperResolution => "extreme-super-resolution",
        }
    }

    /// The task of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::EXTREME).find(|task| task.name() == name)
    }

    /// Checks that every operator of the task's test law is one of images of `shape`.
    ///
    /// # Errors
    /// What [`Task::draw`] says of one that is not.
    pub fn admits(self, shape: Shape) -> Result<(), MathError> {
        if self == Self::MotionBlur {
            // The longest; others may fit where it does not.
            return CircularBlur::new(shape, Kernel::motion(15, 0.0)?).map(|_| ());
        }
        let stream = Stream::named(0, "an operator to see whether the task fits");
        self.draw(Draw::Test, shape, &stream).map(|_| ())
    }

    /// Draws an operator for one image of `shape` from a stream.
    ///
    /// | task | test | training |
    /// |---|---|---|
    /// | random inpainting | 70 % of the pixels missing, exactly | each missing with a probability uniform in [50 %, 70 %] |
    /// | box | half of each side s missing, corner uniform in [m, s/2 − m] | sides uniform in [s/4, s/2], inside the same margin m |
    /// | super-resolution | 4×4 means | the same |
    /// | Gaussian blur | width 0.75 px, 11 taps | the same |
    /// | motion blur | length from {7, 9, 11, 13, 15}, angle uniform in [0°, 180°) | the same |
    /// | extreme inpainting | 95 % of the pixels missing, exactly | the same |
    /// | extreme super-resolution | 7×7 means | the same |
    ///
    /// The margin m of a box is s/16 as in the paper, but 2 along a side of 28: there the box is 14×14 with its
    /// corner in [2, 12].
    ///
    /// # Errors
    /// [`MathError`] if an image of `shape` does not admit the operator.
    pub fn draw(self, draw: Draw, shape: Shape, stream: &Stream) -> Result<Operator, MathError> {
        Ok(match self {
            Self::RandomInpainting => Operator::Mask(match draw {
                Draw::Test => Mask::random(shape, 0.7, stream)?,
                Draw::Training => {
                    let missing = 0.5 + 0.2 * stream.uniform(0);
                    let observed = |i| stream.uniform(1 + i as u64) >= missing;
                    Mask::new(shape, (0..shape.plane()).map(observed).collect())?
                }
            }),
            Self::BoxInpainting => Operator::Mask(Mask::new(shape, box_mask(draw, shape, stream))?),
            Self::SuperResolution => Operator::AveragePool(AveragePool::new(shape, 4)?),
            Self::ExtremeInpainting => Operator::Mask(Mask::random(shape, 0.95, stream)?),
            Self::ExtremeSuperResolution => Operator::AveragePool(AveragePool::new(shape, 7)?),
            Self::GaussianBlur => {
                Operator::CircularBlur(CircularBlur::new(shape, Kernel::gaussian(0.75, 11)?)?)
            }
            Self::MotionBlur => {
                let length = 7 + 2 * stream.below(0, 5);
                let kernel = Kernel::motion(length, std::f64::consts::PI * stream.uniform(1))?;
                Operator::CircularBlur(CircularBlur::new(shape, kernel)?)
            }
        })
    }
}

fn box_mask(draw: Draw, shape: Shape, stream: &Stream) -> Vec<bool> {
    let side = |length: usize, index: u64| {
        let margin = if length == 28 { 2 } else { length / 16 };
        let (shortest, longest) = (length / 4, length / 2);
        let size = match draw {
            Draw::Test => longest,
            Draw::Training => shortest + stream.below(index, longest - shortest + 1),
        };
        let start = margin + stream.below(index + 1, length - 2 * margin - size + 1);
        start..start + size
    };
    let (rows, columns) = (side(shape.height, 0), side(shape.width, 2));
    (0..shape.plane())
        .map(|i| !(rows.contains(&(i / shape.width)) && columns.contains(&(i % shape.width))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{LinearMap, Spectral};

    #[test]
    fn tasks_admit_images_of_some_sizes() {
        let admits = |side| {
            let shape = Shape::new(3, side, side).unwrap();
            let all = Task::ALL.into_iter().chain(Task::EXTREME);
            all.filter(|task| task.admits(shape).is_err()).collect::<Vec<_>>()
        };
        assert_eq!(admits(28), []);
        assert_eq!(admits(64), [Task::ExtremeSuperResolution]);
        assert_eq!(admits(14), [Task::SuperResolution, Task::MotionBlur]);
    }

    #[test]
    fn tasks_draw_what_they_say() {
        let shape = Shape::new(1, 28, 28).unwrap();
        let rank = |o: &Operator| o.eigenvalues().iter().filter(|v| **v > 0.0).count();
        for image in 0..200 {
            let stream = Stream::new(0, image, 0, 0);
            let random = Task::RandomInpainting.draw(Draw::Test, shape, &stream).unwrap();
            assert_eq!(rank(&random), 784 - 548);
            let square = Task::BoxInpainting.draw(Draw::Test, shape, &stream).unwrap();
            assert_eq!(rank(&square), 784 - 196);
            let Operator::Mask(mask) = &square else { panic!("a box is a mask") };
            let first = mask.observed().iter().position(|seen| !seen).unwrap();
            assert!((2..=12).contains(&(first / 28)) && (2..=12).contains(&(first % 28)));
            let extreme = Task::ExtremeInpainting.draw(Draw::Test, shape, &stream).unwrap();
            assert_eq!(rank(&extreme), 784 - 744);
            for draw in [Draw::Training, Draw::Test] {
                for task in Task::ALL.into_iter().chain(Task::EXTREME) {
                    let operator = task.draw(draw, shape, &stream).unwrap();
                    assert_eq!(operator.domain(), shape);
                }
            }
        }
        for task in Task::ALL.into_iter().chain(Task::EXTREME) {
            assert_eq!(Task::from_name(task.name()), Some(task));
        }
    }
}
