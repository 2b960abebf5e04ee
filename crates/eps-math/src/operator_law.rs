//! Laws from which the operators and the noise of measurements are drawn: what a network is trained for, as data.

use std::collections::BTreeSet;
use std::f64::consts::PI;
use std::fmt;
use std::sync::OnceLock;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::operator::{
    AveragePool, CircularBlur, Kernel, LinearMap, Mask, Operator, OperatorKind, OperatorSpec,
    PreparedOperator,
};
use crate::rng::Stream;
use crate::{Draw, MathError, SIGMA_Y, Shape, Task, whole};

/// A mixture of families of operators with their shares.
///
/// In JSON a list: of names of the paper's tasks, which are presets of equal shares, and of parts with a share.
///
/// ```json
/// ["motion-blur", {"share": 2, "of": {"family": "random-mask", "missing": [0.3, 0.95]}}]
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperatorLaw(Vec<Part>);

/// A part of a law.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "a law has a few parts")]
enum Part {
    Task(Task),
    Share(Share),
}

/// How a part is written.
const PART: &str = "a task's name, or {\"share\": NUMBER, \"of\": {\"family\": NAME, …}}";

/// By hand, as of an untagged enum the error would not say what is wrong.
impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(PART)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Part, E> {
        let task = Task::deserialize(StrDeserializer::<E>::new(name));
        task.map(Part::Task).map_err(|error| E::custom(format_args!("{error}: give {PART}")))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Part, A::Error> {
        Share::deserialize(MapAccessDeserializer::new(map)).map(Part::Share)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Share {
    share: f64,
    of: OperatorFamily,
}

/// A family of operators with the ranges of its parameters, both ends included.
///
/// # Units
/// Lengths in pixels, shares of an image in [0, 1].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "a law has a few parts")]
pub enum OperatorFamily {
    /// A task of the paper, by its law of training.
    Task {
        /// Its name.
        task: Task,
    },
    /// Every pixel is seen: noise alone.
    Denoise {},
    /// Each pixel missing with a probability that is uniform in a range.
    RandomMask {
        /// The range of the probability, in [0, 1).
        missing: [f64; 2],
    },
    /// A rectangle missing anywhere.
    BoxMask {
        /// The range of its sides as a share of the image's, in (0, 1).
        side: [f64; 2],
    },
    /// Straight strokes missing, as of scratches or of a pen: a number of them, between points uniform in the image.
    StrokesMask {
        /// The range of their number.
        strokes: [usize; 2],
        /// The range of their width, at least 1.
        width: [f64; 2],
    },
    /// Means of k×k blocks.
    AveragePool {
        /// The factors k; one is drawn for all images of a batch.
        factors: Vec<usize>,
    },
    /// A circular Gaussian blur.
    GaussianBlur {
        /// The range of its standard deviation.
        deviation: [f64; 2],
    },
    /// A circular blur by straight motion at any angle.
    MotionBlur {
        /// The range of its length; odd lengths are drawn.
        length: [usize; 2],
    },
    /// Frequencies of a real image measured at random, as a scanner samples k-space: those of a block in the middle, and of
    /// the others the more the lower they are; in whole columns for one half of the images, in single points for the other.
    /// Opposite frequencies are measured together. The measurement is an image, without the frequencies that are missing.
    RandomFrequencies {
        /// The range of the share of frequencies that are measured, the middle counted, in (0, 1].
        kept: [f64; 2],
        /// The sides of the block in the middle as a share of the image's, in (0, 1).
        middle: f64,
    },
    /// One operator, always the same.
    Fixed(FixedOperator),
}

/// One operator, which is made ready once.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedOperator {
    /// As `eps operator` and `--operator` read it.
    operator: OperatorSpec,
    /// Ready for images of the shape that was asked for first.
    #[serde(skip)]
    prepared: OnceLock<PreparedOperator>,
}

impl FixedOperator {
    /// The operator of a description.
    #[must_use]
    pub fn new(operator: OperatorSpec) -> Self {
        Self { operator, prepared: OnceLock::new() }
    }

    /// The operator for images of `shape`, [decomposed](PreparedOperator::decomposed) where these are small.
    fn prepare(&self, shape: Shape) -> Result<PreparedOperator, MathError> {
        if let Some(prepared) = self.prepared.get()
            && prepared.domain() == shape
        {
            return Ok(prepared.clone());
        }
        let prepared = self.operator.prepare(shape)?.decomposed()?;
        // Where another shape came first, this one is not kept.
        let _ = self.prepared.set(prepared.clone());
        Ok(prepared)
    }
}

impl PartialEq for FixedOperator {
    fn eq(&self, other: &Self) -> bool {
        self.operator == other.operator
    }
}

impl From<Vec<Task>> for OperatorLaw {
    fn from(tasks: Vec<Task>) -> Self {
        Self(tasks.into_iter().map(Part::Task).collect())
    }
}

impl Part {
    fn share(&self) -> f64 {
        match self {
            Self::Task(_) => 1.0,
            Self::Share(Share { share, .. }) => *share,
        }
    }

    fn task(&self) -> Option<Task> {
        match self {
            Self::Task(task) | Self::Share(Share { of: OperatorFamily::Task { task }, .. }) => {
                Some(*task)
            }
            Self::Share(_) => None,
        }
    }

    fn draw(
        &self,
        shape: Shape,
        batch: &Stream,
        image: &Stream,
    ) -> Result<PreparedOperator, MathError> {
        match self {
            Self::Task(task) => Ok(task.draw(Draw::Training, shape, image)?.into()),
            Self::Share(Share { of, .. }) => of.draw(shape, batch, image),
        }
    }
}

impl OperatorLaw {
    /// A law of families with their shares.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = (f64, OperatorFamily)>) -> Self {
        Self(parts.into_iter().map(|(share, of)| Part::Share(Share { share, of })).collect())
    }

    /// The number of its parts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no part, as that of a prior, which no measurement was drawn for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tasks of the paper among its parts, in their order.
    pub fn tasks(&self) -> impl Iterator<Item = Task> {
        self.0.iter().filter_map(Part::task)
    }

    /// Whether it draws operators of a task: as the task, or of its family.
    ///
    /// A law of tasks alone covers no other, though they be of one family.
    #[must_use]
    pub fn covers(&self, task: Task) -> bool {
        let of_family = |part: &Part| match part {
            Part::Share(Share { of, .. }) if part.task().is_none() => {
                of.family() == task_family(task)
            }
            _ => false,
        };
        self.tasks().any(|own| own == task) || self.0.iter().any(of_family)
    }

    /// What it draws, in words.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let name = |part: &Part| match part {
            Part::Task(task) => task.name(),
            Part::Share(Share { of, .. }) => of.name(),
        };
        self.0.iter().map(name).collect()
    }

    /// The families of the operators that it draws, as [`PreparedOperator::family`] names them.
    #[must_use]
    pub fn families(&self) -> BTreeSet<&'static str> {
        let family = |part: &Part| match part {
            Part::Task(task) => task_family(*task),
            Part::Share(Share { of, .. }) => of.family(),
        };
        self.0.iter().map(family).collect()
    }

    /// The kinds of the operators that it draws.
    #[must_use]
    pub fn kinds(&self) -> BTreeSet<OperatorKind> {
        let kind = |part: &Part| match part {
            Part::Task(task) => task_kind(*task),
            Part::Share(Share { of, .. }) => of.kind(),
        };
        self.0.iter().map(kind).collect()
    }

    /// Draws the part of a batch by its share; with equal shares the integer below their number at index 0.
    ///
    /// # Panics
    /// Without parts.
    #[must_use]
    pub fn draw_part(&self, stream: &Stream) -> usize {
        assert!(!self.0.is_empty(), "a law without parts");
        let first = self.0[0].share();
        if self.0.iter().all(|part| part.share() == first) {
            return stream.below(0, self.0.len());
        }
        let total: f64 = self.0.iter().map(Part::share).sum();
        let mut rest = stream.uniform(0) * total;
        for (index, part) in self.0.iter().enumerate() {
            rest -= part.share();
            if rest < 0.0 {
                return index;
            }
        }
        self.0.len() - 1
    }

    /// Whether a part has one operator only, the same for all images.
    ///
    /// # Panics
    /// If there is no such part.
    #[must_use]
    pub fn is_fixed(&self, part: usize) -> bool {
        matches!(&self.0[part], Part::Share(Share { of: OperatorFamily::Fixed(_), .. }))
    }

    /// Draws an operator of a part for one image of `shape`; what all images of a batch share comes from the stream
    /// `batch`, so that their measurements have one shape.
    ///
    /// # Errors
    /// [`MathError`] if an image of `shape` does not admit the operator.
    ///
    /// # Panics
    /// If there is no such part.
    pub fn draw(
        &self,
        part: usize,
        shape: Shape,
        batch: &Stream,
        image: &Stream,
    ) -> Result<PreparedOperator, MathError> {
        self.0[part].draw(shape, batch, image)
    }

    /// The description of an operator for one image of `shape`, as [`OperatorLaw::draw`] draws it.
    ///
    /// # Errors
    /// Those of [`OperatorLaw::draw`].
    ///
    /// # Panics
    /// If there is no such part.
    pub fn draw_spec(
        &self,
        part: usize,
        shape: Shape,
        batch: &Stream,
        image: &Stream,
    ) -> Result<OperatorSpec, MathError> {
        match &self.0[part] {
            Part::Task(task) => Ok(task.draw(Draw::Training, shape, image)?.spec()),
            Part::Share(Share { of, .. }) => of.draw_spec(shape, batch, image),
        }
    }

    /// The shares of its parts, which sum to 1.
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        let total: f64 = self.0.iter().map(Part::share).sum();
        self.0.iter().map(|part| part.share() / total).collect()
    }

    /// Checks shares and ranges, and that images of `shape` admit every operator.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`] names the first number that does not fit; the errors of operators that images of
    /// `shape` do not admit.
    pub fn validate(&self, shape: Shape) -> Result<(), MathError> {
        for part in &self.0 {
            let share = part.share();
            if !(share > 0.0 && share.is_finite()) {
                let range = "positive and finite";
                return Err(MathError::OutOfRange {
                    what: "the share of a part of the law",
                    value: share,
                    range,
                });
            }
            if let Part::Share(Share { of, .. }) = part {
                of.validate(shape)?;
            }
            part.draw(shape, &Stream::new(0, 0, 0, 0), &Stream::new(0, 0, 0, 0))?;
        }
        Ok(())
    }
}

const MASK: &str = "mask";
const AVERAGE_POOL: &str = "average-pool";
const CIRCULAR_BLUR: &str = "circular-blur";

/// What a task's operators do to an image.
fn task_kind(task: Task) -> OperatorKind {
    match task {
        Task::RandomInpainting | Task::BoxInpainting | Task::ExtremeInpainting => {
            OperatorKind::Pixels
        }
        Task::SuperResolution | Task::ExtremeSuperResolution => OperatorKind::Means,
        Task::GaussianBlur | Task::MotionBlur => OperatorKind::Blurs,
    }
}

/// The family of a task's operators.
fn task_family(task: Task) -> &'static str {
    match task_kind(task) {
        OperatorKind::Pixels => MASK,
        OperatorKind::Means => AVERAGE_POOL,
        OperatorKind::Blurs | OperatorKind::Others => CIRCULAR_BLUR,
    }
}

/// A number uniform in a range.
fn between([low, high]: [f64; 2], uniform: f64) -> f64 {
    low + (high - low) * uniform
}

/// The streams' first indices for pixels of a mask: parameters come before.
const PIXELS: u64 = 1;

impl OperatorFamily {
    /// Its name; of one operator, that of the operator's family.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Task { task } => task.name(),
            Self::Denoise {} => "denoise",
            Self::RandomMask { .. } => "random-mask",
            Self::BoxMask { .. } => "box-mask",
            Self::StrokesMask { .. } => "strokes-mask",
            Self::AveragePool { .. } => "average-pool",
            Self::GaussianBlur { .. } => "gaussian-blur",
            Self::MotionBlur { .. } => "motion-blur",
            Self::RandomFrequencies { .. } => "random-frequencies",
            Self::Fixed(fixed) => fixed.operator.family(),
        }
    }

    fn family(&self) -> &'static str {
        match self {
            Self::Task { task } => task_family(*task),
            Self::Denoise {}
            | Self::RandomMask { .. }
            | Self::BoxMask { .. }
            | Self::StrokesMask { .. } => MASK,
            Self::AveragePool { .. } => AVERAGE_POOL,
            Self::GaussianBlur { .. }
            | Self::MotionBlur { .. }
            | Self::RandomFrequencies { .. } => CIRCULAR_BLUR,
            Self::Fixed(fixed) => fixed.operator.family(),
        }
    }

    fn kind(&self) -> OperatorKind {
        match self {
            Self::Task { task } => task_kind(*task),
            Self::Denoise {}
            | Self::RandomMask { .. }
            | Self::BoxMask { .. }
            | Self::StrokesMask { .. } => OperatorKind::Pixels,
            Self::AveragePool { .. } => OperatorKind::Means,
            Self::GaussianBlur { .. }
            | Self::MotionBlur { .. }
            | Self::RandomFrequencies { .. } => OperatorKind::Blurs,
            Self::Fixed(fixed) => fixed.operator.kind(),
        }
    }

    fn draw(
        &self,
        shape: Shape,
        batch: &Stream,
        image: &Stream,
    ) -> Result<PreparedOperator, MathError> {
        let mask = |observed| Ok(Operator::Mask(Mask::new(shape, observed)?).into());
        let blur = |kernel| Ok(Operator::CircularBlur(CircularBlur::new(shape, kernel)?).into());
        match self {
            Self::Task { task } => Ok(task.draw(Draw::Training, shape, image)?.into()),
            Self::Denoise {} => mask(vec![true; shape.plane()]),
            Self::RandomMask { missing } => {
                let missing = between(*missing, image.uniform(0));
                mask(seen_at_random(shape, missing, image))
            }
            Self::BoxMask { side } => {
                let lines = |length: usize, at: u64| {
                    let longest = length.saturating_sub(1).max(1);
                    let size = between(*side, image.uniform(at)) * length as f64;
                    let size = whole(size.round()).clamp(1, longest);
                    let start = image.below(at + 1, length - size + 1);
                    start..start + size
                };
                let (rows, columns) = (lines(shape.height, 0), lines(shape.width, 2));
                let seen = |i| {
                    !(rows.contains(&(i / shape.width)) && columns.contains(&(i % shape.width)))
                };
                mask((0..shape.plane()).map(seen).collect())
            }
            Self::StrokesMask { strokes, width } => {
                mask(seen_between_strokes(shape, *strokes, *width, image))
            }
            Self::AveragePool { factors } => {
                let factor = factors[batch.below(1, factors.len())];
                Ok(Operator::AveragePool(AveragePool::new(shape, factor)?).into())
            }
            Self::GaussianBlur { deviation } => {
                let deviation = between(*deviation, image.uniform(0));
                // Four deviations on either side hold all but 6e-5 of a line.
                let reach = whole((4.0 * deviation).ceil()).min(largest_reach(shape));
                blur(Kernel::gaussian(deviation, 2 * reach + 1)?)
            }
            Self::MotionBlur { length: [shortest, longest] } => {
                let (first, last) = (shortest / 2, (longest - 1) / 2);
                let length = 2 * (first + image.below(0, last - first + 1)) + 1;
                blur(Kernel::motion(length, PI * image.uniform(1))?)
            }
            Self::RandomFrequencies { kept, middle } => {
                let kept = between(*kept, image.uniform(0));
                let measured = measured_at_random(shape, kept, *middle, image);
                Ok(Operator::CircularBlur(CircularBlur::of_frequencies(shape, &measured)?).into())
            }
            Self::Fixed(fixed) => fixed.prepare(shape),
        }
    }

    /// The description of an operator for one image of `shape`, as [`OperatorLaw::draw`] draws it.
    ///
    /// # Errors
    /// [`MathError`] if an image of `shape` does not admit the operator.
    pub fn draw_spec(
        &self,
        shape: Shape,
        batch: &Stream,
        image: &Stream,
    ) -> Result<OperatorSpec, MathError> {
        match self {
            Self::Fixed(fixed) => Ok(fixed.operator.clone()),
            _ => Ok(self.draw(shape, batch, image)?.into_basic()?.spec()),
        }
    }

    /// Checks the ranges.
    fn validate(&self, shape: Shape) -> Result<(), MathError> {
        let out = |what, value, range| Err(MathError::OutOfRange { what, value, range });
        let ordered = |what, [low, high]: [f64; 2]| {
            if low <= high { Ok(()) } else { out(what, low, "at most the upper end of its range") }
        };
        let numbers = |range: [usize; 2]| range.map(|number| number as f64);
        match self {
            Self::Task { .. } | Self::Denoise {} | Self::Fixed(_) => Ok(()),
            Self::RandomMask { missing } => {
                let what = "the share of missing pixels";
                match missing.iter().find(|share| !(0.0..1.0).contains(*share)) {
                    Some(value) => out(what, *value, "at least 0 and below 1"),
                    None => ordered(what, *missing),
                }
            }
            Self::BoxMask { side } => {
                let what = "the side of a missing rectangle as a share of the image's";
                match side.iter().find(|side| !(**side > 0.0 && **side < 1.0)) {
                    Some(value) => out(what, *value, "above 0 and below 1"),
                    None if shape.height < 2 || shape.width < 2 => {
                        out(what, side[0], "of an image of at least 2×2 pixels")
                    }
                    None => ordered(what, *side),
                }
            }
            Self::StrokesMask { strokes, width } => {
                ordered("the number of strokes", numbers(*strokes))?;
                if strokes[1] > 1000 {
                    return out("the number of strokes", strokes[1] as f64, "at most 1000");
                }
                match width.iter().find(|width| !(**width >= 1.0 && width.is_finite())) {
                    Some(value) => out("the width of a stroke", *value, "at least 1 pixel"),
                    None => ordered("the width of a stroke", *width),
                }
            }
            Self::AveragePool { factors } => {
                if factors.is_empty() {
                    return Err(MathError::Empty("the factors of average-pool"));
                }
                factors.iter().try_for_each(|factor| AveragePool::new(shape, *factor).map(drop))
            }
            Self::GaussianBlur { deviation } => {
                let what = "the deviation of a Gaussian blur";
                let most = 0.25 * shape.height.min(shape.width) as f64;
                match deviation.iter().find(|value| !(**value > 0.0 && **value <= most)) {
                    Some(value) => {
                        out(what, *value, "above 0 and at most a quarter of the image's side")
                    }
                    None => ordered(what, *deviation),
                }
            }
            Self::MotionBlur { length } => {
                let what = "the length of a motion";
                let side = shape.height.min(shape.width);
                match length.iter().find(|length| !(1..=side).contains(*length)) {
                    Some(value) => {
                        out(what, *value as f64, "at least 1 and at most the image's side")
                    }
                    None if length[0] / 2 > (length[1] - 1) / 2 => {
                        out(what, length[0] as f64, "a range with an odd number in it")
                    }
                    None => ordered(what, numbers(*length)),
                }
            }
            Self::RandomFrequencies { kept, middle } => {
                if !(*middle > 0.0 && *middle < 1.0) {
                    let what = "the middle of the frequencies as a share of the image's side";
                    return out(what, *middle, "above 0 and below 1");
                }
                let what = "the share of measured frequencies";
                match kept.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
                    Some(value) => out(what, *value, "above 0 and at most 1"),
                    None => ordered(what, *kept),
                }
            }
        }
    }
}

/// The reach of a kernel's centre to its edge, at most, in an image.
fn largest_reach(shape: Shape) -> usize {
    (shape.height.min(shape.width).saturating_sub(1) / 2).max(1)
}

/// Which pixels are seen where each is missing with a probability; one of them at least.
fn seen_at_random(shape: Shape, missing: f64, image: &Stream) -> Vec<bool> {
    let mut seen: Vec<bool> =
        (0..shape.plane()).map(|i| image.uniform(PIXELS + i as u64) >= missing).collect();
    if !seen.contains(&true) {
        seen[0] = true;
    }
    seen
}

/// Which frequencies are measured, those at opposite places together, frequency 0 at `[0][0]`: the block in the middle, and of the
/// others a part in columns or in points, about as many as make `kept` of all.
fn measured_at_random(shape: Shape, kept: f64, middle: f64, image: &Stream) -> Vec<bool> {
    let Shape { height, width, .. } = shape;
    let plane = shape.plane();
    let in_columns = image.uniform(1) < 0.5;
    // From 0 to 1 at the highest frequency of a side.
    let distance = |at: usize, side: usize| 2.0 * at.min(side - at) as f64 / side.max(2) as f64;
    let frequency = |i: usize| (distance(i / width, height), distance(i % width, width));
    let is_middle = |i: usize| {
        let (row, column) = frequency(i);
        column <= middle && (in_columns || row <= middle)
    };
    // How likely a frequency is measured, but for a factor; the least at the corner.
    let density = |i: usize| {
        let (row, column) = frequency(i);
        let distance = if in_columns { column } else { row.hypot(column) / 2f64.sqrt() };
        (1.0 - distance).max(0.0).powi(2) + 0.02
    };
    let share = |factor: f64| {
        let of = |i| if is_middle(i) { 1.0 } else { (factor * density(i)).min(1.0) };
        (0..plane).map(of).sum::<f64>() / plane as f64
    };
    // At the upper end all are measured.
    let (mut low, mut high) = (0.0, 50.0);
    for _ in 0..30 {
        let factor = 0.5 * (low + high);
        if share(factor) < kept { low = factor } else { high = factor }
    }
    // Of a frequency and the opposite one, the place that comes first: of columns, that in the first row.
    let opposite = |i: usize, length: usize| (length - i) % length;
    let draw = |i: usize| {
        let (row, column) = (i / width, i % width);
        let (other_row, other_column) = (opposite(row, height), opposite(column, width));
        if in_columns { column.min(other_column) } else { i.min(other_row * width + other_column) }
    };
    let is_measured =
        |i: usize| is_middle(i) || image.uniform(PIXELS + 1 + draw(i) as u64) < high * density(i);
    (0..plane).map(is_measured).collect()
}

/// Which pixels are seen beside strokes: those whose centres are further from all of them than half a width; one at
/// least.
fn seen_between_strokes(
    shape: Shape,
    [fewest, most]: [usize; 2],
    width: [f64; 2],
    image: &Stream,
) -> Vec<bool> {
    let strokes = fewest + image.below(0, most - fewest + 1);
    let mut seen = vec![true; shape.plane()];
    for stroke in 0..strokes as u64 {
        let number = |k: u64| image.uniform(PIXELS + 5 * stroke + k);
        let point = |k| [number(k) * shape.height as f64, number(k + 1) * shape.width as f64];
        let ([r0, c0], [r1, c1]) = (point(0), point(2));
        let half = 0.5 * between(width, number(4));
        let (dr, dc) = (r1 - r0, c1 - c0);
        let squared = (dr * dr + dc * dc).max(f64::MIN_POSITIVE);
        for (i, seen) in seen.iter_mut().enumerate() {
            let row = (i / shape.width) as f64 + 0.5;
            let column = (i % shape.width) as f64 + 0.5;
            // The nearest point of the stroke.
            let along = (((row - r0) * dr + (column - c0) * dc) / squared).clamp(0.0, 1.0);
            let distance = (row - r0 - along * dr).hypot(column - c0 - along * dc);
            *seen &= distance > half;
        }
    }
    if !seen.contains(&true) {
        seen[0] = true;
    }
    seen
}

/// The law of a measurement's σ_y, on the scale [-1, 1].
///
/// In JSON a number, or `{"log-uniform": [0.002, 0.5]}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number, or {\"log-uniform\": [LOWEST, HIGHEST]}")]
pub enum SigmaYLaw {
    /// Always the same.
    Fixed(f64),
    /// ln σ_y uniform between the logarithms of two ends.
    LogUniform(LogUniform),
}

/// A range of σ_y.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogUniform {
    /// Lowest and highest.
    #[serde(rename = "log-uniform")]
    pub range: [f64; 2],
}

impl From<f64> for SigmaYLaw {
    fn from(sigma_y: f64) -> Self {
        Self::Fixed(sigma_y)
    }
}

impl SigmaYLaw {
    /// Draws that of a batch.
    #[must_use]
    pub fn draw(self, stream: &Stream) -> f64 {
        match self {
            Self::Fixed(sigma_y) => sigma_y,
            Self::LogUniform(LogUniform { range }) => {
                between(range.map(f64::ln), stream.uniform(2)).exp()
            }
        }
    }

    /// The lowest and the highest.
    #[must_use]
    pub fn ends(self) -> [f64; 2] {
        match self {
            Self::Fixed(sigma_y) => [sigma_y; 2],
            Self::LogUniform(LogUniform { range }) => range,
        }
    }

    /// Checks that both ends are of a size that [measurements](SIGMA_Y) admit, and in their order.
    ///
    /// # Errors
    /// [`MathError::OutOfRange`]
    pub fn validate(self) -> Result<(), MathError> {
        let [low, high] = self.ends();
        let out = |value, range| Err(MathError::OutOfRange { what: "sigma_y", value, range });
        match [low, high].into_iter().find(|value| !SIGMA_Y.contains(value)) {
            Some(value) => out(value, "from 1e-6 to 1000, on the scale [-1, 1] of images"),
            None if low > high => out(low, "at most the upper end of its range"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law(json: &str) -> OperatorLaw {
        serde_json::from_str(json).unwrap()
    }

    /// All families, within an image of 16×16.
    const BROAD: &str = r#"[
        "box-inpainting",
        {"share": 2.0, "of": {"family": "task", "task": "motion-blur"}},
        {"share": 1.0, "of": {"family": "denoise"}},
        {"share": 1.0, "of": {"family": "random-mask", "missing": [0.2, 0.9]}},
        {"share": 1.0, "of": {"family": "box-mask", "side": [0.1, 0.6]}},
        {"share": 1.0, "of": {"family": "strokes-mask", "strokes": [2, 6], "width": [1.0, 3.0]}},
        {"share": 1.0, "of": {"family": "average-pool", "factors": [2, 4]}},
        {"share": 1.0, "of": {"family": "gaussian-blur", "deviation": [0.4, 2.0]}},
        {"share": 1.0, "of": {"family": "motion-blur", "length": [4, 11]}},
        {"share": 3.0, "of": {"family": "fixed", "operator": {"operator": "grey"}}},
        {"share": 1.0, "of": {"family": "random-frequencies", "kept": [0.2, 0.6], "middle": 0.25}}
    ]"#;

    #[test]
    fn tasks_are_presets_and_written_as_their_names() {
        let tasks = OperatorLaw::from(Task::ALL.to_vec());
        let text = serde_json::to_string(&tasks).unwrap();
        assert_eq!(
            text,
            r#"["random-inpainting","box-inpainting","super-resolution","gaussian-blur","motion-blur"]"#
        );
        assert_eq!(law(&text), tasks);
        assert_eq!(tasks.tasks().collect::<Vec<_>>(), Task::ALL);
        assert_eq!(
            tasks.families().into_iter().collect::<Vec<_>>(),
            ["average-pool", "circular-blur", "mask"]
        );
        let blurs = law(
            r#"["super-resolution", {"share": 1, "of": {"family": "gaussian-blur", "deviation": [1, 2]}}]"#,
        );
        let covered = |task: &&Task| blurs.covers(**task);
        assert_eq!(
            Task::ALL.iter().filter(covered).collect::<Vec<_>>(),
            [&Task::SuperResolution, &Task::GaussianBlur, &Task::MotionBlur]
        );
        // Equal shares are drawn as one of five, and a task draws what it draws by itself.
        let shape = Shape::new(1, 16, 16).unwrap();
        for seed in 0..50 {
            let stream = Stream::new(seed, 1, 2, 3);
            let part = tasks.draw_part(&stream);
            assert_eq!(part, stream.below(0, 5));
            let drawn = tasks.draw(part, shape, &stream, &stream).unwrap();
            let own = Task::ALL[part].draw(Draw::Training, shape, &stream).unwrap();
            let ones = vec![1.0; 256];
            assert_eq!(drawn.apply(&ones), own.apply(&ones));
        }
    }

    #[test]
    fn a_law_comes_back_from_its_json_and_draws_by_its_shares() {
        let broad = law(BROAD);
        assert_eq!(law(&serde_json::to_string(&broad).unwrap()), broad);
        let shape = Shape::new(3, 16, 16).unwrap();
        broad.validate(shape).unwrap();
        assert_eq!(broad.names()[9], "grey");
        let mut counts = vec![0i32; broad.len()];
        for seed in 0..14_000 {
            counts[broad.draw_part(&Stream::new(seed, 0, 0, 0))] += 1;
        }
        // Of 14,000 draws 1,000 a share of 1, with a standard deviation of 30; that of 3 has 48.
        for (count, share) in counts.iter().zip([1, 2, 1, 1, 1, 1, 1, 1, 1, 3, 1]) {
            assert!((*count - 1000 * share).abs() < 250, "{counts:?}");
        }
    }

    #[test]
    fn operators_keep_to_their_ranges() {
        let broad = law(BROAD);
        let shape = Shape::new(3, 16, 16).unwrap();
        let missing = |operator: &PreparedOperator| {
            let seen = operator.apply(&vec![1.0; shape.len()]);
            seen[..shape.plane()].iter().filter(|v| **v == 0.0).count()
        };
        for part in 0..broad.len() {
            let stream = Stream::new(0, 0, 0, 0);
            let drawn = broad.draw(part, shape, &stream, &stream).unwrap();
            assert!(broad.families().contains(drawn.family()), "{}", drawn.family());
        }
        let mut of_strokes = 0;
        for seed in 0..200 {
            let image = Stream::new(seed, 0, 0, 0);
            let batch = Stream::new(seed / 10, 1, 0, 0);
            let draw = |part| broad.draw(part, shape, &batch, &image).unwrap();
            assert_eq!(missing(&draw(2)), 0);
            assert!((20..=250).contains(&missing(&draw(3))), "{}", missing(&draw(3)));
            let hole = missing(&draw(4));
            assert!((4..=100).contains(&hole), "{hole}");
            of_strokes += missing(&draw(5));
            let pooled = draw(6).range();
            assert_eq!(pooled.height, if batch.below(1, 2) == 0 { 8 } else { 4 });
            for part in [7, 8] {
                // Blurs keep the mean.
                let blurred = draw(part).apply(&vec![1.0; shape.len()]);
                assert!(blurred.iter().all(|v| (v - 1.0).abs() < 1e-12));
            }
        }
        assert!((200 * 20..200 * 160).contains(&of_strokes), "{of_strokes}");
    }

    #[test]
    fn frequencies_are_measured_or_missing_and_real_images_stay_real() {
        let shape = Shape::new(1, 24, 32).unwrap();
        let law = law(
            r#"[{"share": 1, "of": {"family": "random-frequencies", "kept": [0.1, 1.0], "middle": 0.2}}]"#,
        );
        law.validate(shape).unwrap();
        let mut shares = [0.0, 0.0];
        for seed in 0..300 {
            let stream = Stream::new(seed, 0, 0, 0);
            let drawn = law.draw(0, shape, &stream, &stream).unwrap();
            let Operator::CircularBlur(blur) = drawn.into_basic().unwrap() else { panic!() };
            let measured: Vec<bool> = blur
                .transfer()
                .into_iter()
                .map(|(re, im)| {
                    assert!(im == 0.0 && (re == 0.0 || re == 1.0));
                    re == 1.0
                })
                .collect();
            let expected = between([0.1, 1.0], stream.uniform(0));
            let share = measured.iter().filter(|m| **m).count() as f64 / 768.0;
            shares = [shares[0] + share, shares[1] + expected];
            // The middle, up to a fifth of the highest frequency each way.
            let middle = [0, 1, 2, 3, 29, 30, 31];
            assert!(middle.iter().all(|column| measured[*column] && measured[22 * 32 + column]));
            let is_column =
                |column: usize| (0..24).all(|row| measured[row * 32 + column] == measured[column]);
            assert_eq!((0..32).all(is_column), stream.uniform(1) < 0.5 || share == 1.0);
            let x = stream.normals(768);
            let y = blur.apply(&x);
            // A projection: what is measured of what is measured is all of it.
            for (once, twice) in y.iter().zip(blur.apply(&y)) {
                assert!((once - twice).abs() < 1e-13);
            }
        }
        // The middle alone is more than a tenth: columns of it are a fifth of all.
        let [found, expected] = shares.map(|sum| sum / 300.0);
        assert!((found - expected).abs() < 0.03, "{found} for {expected}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let shape = Shape::new(1, 16, 16).unwrap();
        let error = |part: &str| {
            law(&format!(r#"[{{"share": 1.0, "of": {part}}}]"#))
                .validate(shape)
                .unwrap_err()
                .to_string()
        };
        for (part, found) in [
            (r#"{"family": "random-mask", "missing": [0.2, 1.0]}"#, "share of missing pixels"),
            (r#"{"family": "random-mask", "missing": [0.9, 0.2]}"#, "upper end"),
            (r#"{"family": "box-mask", "side": [0.0, 0.5]}"#, "rectangle"),
            (r#"{"family": "strokes-mask", "strokes": [1, 2000], "width": [1, 2]}"#, "2000"),
            (r#"{"family": "strokes-mask", "strokes": [1, 2], "width": [0.5, 2]}"#, "0.5"),
            (r#"{"family": "average-pool", "factors": []}"#, "factors"),
            (r#"{"family": "average-pool", "factors": [3]}"#, "3"),
            (r#"{"family": "gaussian-blur", "deviation": [0.5, 9]}"#, "quarter"),
            (r#"{"family": "motion-blur", "length": [5, 33]}"#, "33"),
            (r#"{"family": "motion-blur", "length": [4, 4]}"#, "odd"),
            (r#"{"family": "random-frequencies", "kept": [0.0, 1], "middle": 0.2}"#, "frequencies"),
            (r#"{"family": "random-frequencies", "kept": [0.5, 0.4], "middle": 0.2}"#, "upper end"),
            (r#"{"family": "random-frequencies", "kept": [0.5, 1], "middle": 1}"#, "middle"),
            (r#"{"family": "fixed", "operator": {"operator": "weights", "weights": [1]}}"#, "256"),
        ] {
            assert!(error(part).contains(found), "{part}: {}", error(part));
        }
        let zero = law(r#"[{"share": 0, "of": {"family": "denoise"}}]"#).validate(shape);
        assert!(zero.unwrap_err().to_string().contains("share"));
        let unknown = serde_json::from_str::<OperatorLaw>(r#"["haze"]"#).unwrap_err().to_string();
        assert!(unknown.contains("`haze`") && unknown.contains("a task's name, or"), "{unknown}");
        for (of, found) in [
            (r#"{"family": "motion-blur", "length": [1.0, 15.0]}"#, "1.0"),
            (r#"{"family": "gaussian-blur", "deviation": [1, 2], "border": 0}"#, "`border`"),
            (r#"{"family": "foo"}"#, "`foo`"),
        ] {
            let text = format!(r#"[{{"share": 1, "of": {of}}}]"#);
            let wrong = serde_json::from_str::<OperatorLaw>(&text).unwrap_err().to_string();
            assert!(wrong.contains(found), "{wrong}");
        }
    }

    #[test]
    fn a_range_of_sigma_y_is_log_uniform() {
        let read = |text: &str| serde_json::from_str::<SigmaYLaw>(text);
        assert_eq!(read("0.05").unwrap(), SigmaYLaw::Fixed(0.05));
        let range = read(r#"{"log-uniform": [0.002, 0.5]}"#).unwrap();
        assert_eq!(serde_json::to_string(&range).unwrap(), r#"{"log-uniform":[0.002,0.5]}"#);
        range.validate().unwrap();
        let draws: Vec<f64> =
            (0..4000).map(|seed| range.draw(&Stream::new(seed, 0, 0, 0))).collect();
        assert!(draws.iter().all(|sigma| (0.002..=0.5).contains(sigma)));
        // The median is the geometric mean, √0.001; its share has a standard deviation of 0.8 %.
        let below = draws.iter().filter(|sigma| **sigma < 0.001f64.sqrt()).count();
        assert!((1880..2120).contains(&below), "{below}");
        for (text, found) in [
            ("0.0", "from 1e-6 to 1000"),
            ("1e-320", "sigma_y is 1e-320:"),
            (r#"{"log-uniform": [0.1, 1e4]}"#, "10000"),
            (r#"{"log-uniform": [0.5, 0.1]}"#, "upper end"),
            (r#"{"log-uniform": [-1, 0.1]}"#, "-1"),
        ] {
            let error = read(text).unwrap().validate().unwrap_err().to_string();
            assert!(error.contains(found), "{error}");
        }
        assert!(read(r#""loud""#).unwrap_err().to_string().contains("log-uniform"));
    }
}
