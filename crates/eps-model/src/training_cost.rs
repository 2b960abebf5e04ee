//! What a network takes in memory and work, from its configuration alone.
//!
//! Activations are those that libtorch keeps for the backward pass: the inputs of convolutions,
//! normalisations and SiLUs, dropout masks, and of an attention its queries, keys, values and weights.
//! Left out are what lives for a moment only, and what the statistics of a normalisation take.

use tch::Device;

use crate::edm2_layers::{MpBlock, MpConv};
use crate::layers::{Attention, Conv2d, Resample, UNetBlock};
use crate::steps::{Layer, Step};
use crate::{DevicePrecision as _, ModelError, Precision, UNet, UNetConfig};

/// A multiplication by weights, or of the queries, keys and values of an attention, for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// A convolution by `kernel`² taps that returns `side`² pixels.
    Convolution {
        /// The channels that it reads.
        inputs: u64,
        /// The channels that it returns.
        outputs: u64,
        /// The side of the kernel.
        kernel: u64,
        /// The side of what it returns.
        side: u64,
        /// The pixels from one place of the kernel to the next.
        stride: u64,
    },
    /// The matrix of a layer of the embedding.
    Linear {
        /// The number of its weights.
        weights: u64,
    },
    /// q kᵀ and the product of its softmax with v.
    Attention {
        /// The heads.
        heads: u64,
        /// The channels of all heads.
        channels: u64,
        /// The pixels, which are the rows of q, k and v.
        pixels: u64,
    },
}

impl Product {
    /// Its multiply-adds; `u64::MAX` for more.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        match *self {
            Self::Convolution { inputs, outputs, kernel, side, .. } => {
                [inputs, outputs, kernel, kernel, side, side]
                    .into_iter()
                    .fold(1, u64::saturating_mul)
            }
            Self::Linear { weights } => weights,
            Self::Attention { channels, pixels, .. } => {
                [2, channels, pixels, pixels].into_iter().fold(1, u64::saturating_mul)
            }
        }
    }
}

/// What a network takes for images of its training resolution.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingCost {
    /// The number of trainable parameters.
    pub parameters: usize,
    /// Multiply-adds of convolutions, linear layers and attention in a forward pass of one image; `u64::MAX` for more.
    pub multiply_adds: u64,
    /// The elements of the network's input.
    input: u64,
    steps: Vec<StepCost>,
}

/// What one step takes for one image.
#[derive(Debug, Clone, Default, PartialEq)]
struct StepCost {
    products: Vec<Product>,
    /// Weights of convolutions, which are cast to the precision.
    weights: u64,
    /// The elements of the value that it computes.
    output: u64,
    /// The earlier values that it reads.
    reads: Vec<usize>,
    /// Those of them that its backward pass needs.
    needs: Vec<usize>,
    inside: Kept,
}

/// Elements that are kept inside a step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Kept {
    /// In the network's precision.
    same: u64,
    /// In f32, whatever the precision.
    wide: u64,
    /// In the precision, but only where it is not f32.
    cast: u64,
    /// In f32, but only where the precision is not f32.
    widened: u64,
    /// Booleans, a byte each.
    flags: u64,
}

impl Kept {
    fn bytes(self, precision: Precision) -> u64 {
        let size = size_of(precision);
        let (cast, widened) = if size < 4 { (self.cast, self.widened) } else { (0, 0) };
        let parts =
            [(self.same, size), (self.wide, 4), (cast, size), (widened, 4), (self.flags, 1)];
        let bytes = parts.map(|(elements, size)| elements.saturating_mul(size));
        bytes.into_iter().fold(0, u64::saturating_add)
    }
}

/// Bytes of an element.
fn size_of(precision: Precision) -> u64 {
    precision.kind().elt_size_in_bytes() as u64
}

/// The multiple of a forward pass's work that a training step takes: the backward pass is two more,
/// the recomputation of gradient checkpointing another.
#[must_use]
pub fn passes(gradient_checkpointing: bool) -> u64 {
    if gradient_checkpointing { 4 } else { 3 }
}

/// What a network takes for images of its training resolution, without building its weights.
///
/// # Errors
/// [`ModelError::Config`] when [`UNetConfig::validate`] refuses the configuration.
pub fn training_cost(config: &UNetConfig) -> Result<TrainingCost, ModelError> {
    cost_at(config, config.img_resolution())
}

/// What a network takes for images of `side`² pixels, a multiple of [`UNetConfig::size_multiple`], without building its
/// weights.
///
/// # Errors
/// [`ModelError::Config`] when [`UNetConfig::validate`] refuses the configuration.
pub fn cost_at(config: &UNetConfig, side: usize) -> Result<TrainingCost, ModelError> {
    let network = UNet::blank(config.clone(), Device::Cpu)?;
    let input = Size { channels: config.in_channels() as u64, side: side as u64 };
    let mut sizes = vec![input];
    let mut steps = Vec::new();
    for step in network.steps().iter() {
        let (output, cost) = step_cost(step, &sizes);
        sizes.push(output);
        steps.push(cost);
    }
    let mapping = network.mapping().weight_count();
    Ok(TrainingCost {
        parameters: network.parameter_count(),
        multiply_adds: products(&steps)
            .map(Product::multiply_adds)
            .fold(mapping, u64::saturating_add),
        input: input.elements(),
        steps,
    })
}

fn products(steps: &[StepCost]) -> impl Iterator<Item = &Product> {
    steps.iter().flat_map(|step| &step.products)
}

impl TrainingCost {
    /// The products of a forward pass of one image, in its order, without those that map the noise level to its embedding.
    pub fn products(&self) -> impl Iterator<Item = &Product> {
        products(&self.steps)
    }

    /// Bytes of the activations that a training step on `batch` images keeps for its backward pass,
    /// and of the weights that are cast to the precision for it.
    #[must_use]
    pub fn activation_bytes(
        &self,
        batch: usize,
        precision: Precision,
        gradient_checkpointing: bool,
    ) -> u64 {
        if gradient_checkpointing {
            self.recomputed_bytes(batch, precision)
        } else {
            self.kept_bytes(batch, precision)
        }
    }

    /// Bytes of the activations that a call on one image holds at once, at most: the values that later steps read, and
    /// all of the inside of one step, some of which is gone before the rest is there.
    #[must_use]
    pub fn call_bytes(&self, precision: Precision) -> u64 {
        let mut last_read = vec![0; self.steps.len() + 1];
        for (index, step) in self.steps.iter().enumerate() {
            step.reads.iter().for_each(|&read| last_read[read] = index);
        }
        let mut held = self.input;
        let mut most = 0;
        for (index, step) in self.steps.iter().enumerate() {
            held += step.output;
            let inside = step.inside.bytes(precision);
            most = most.max((held * size_of(precision)).saturating_add(inside));
            let mut read: Vec<usize> =
                step.reads.iter().copied().filter(|&read| last_read[read] == index).collect();
            read.sort_unstable();
            read.dedup();
            held -= read.into_iter().map(|read| self.value(read)).sum::<u64>();
        }
        most
    }

    /// The elements of a value; 0 is the network's input.
    fn value(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(self.input, |step| self.steps[step].output)
    }

    fn kept_bytes(&self, batch: usize, precision: Precision) -> u64 {
        let mut needed = vec![false; self.steps.len() + 1];
        self.steps.iter().flat_map(|step| &step.needs).for_each(|&index| needed[index] = true);
        let values: u64 =
            (0..needed.len()).filter(|&index| needed[index]).map(|index| self.value(index)).sum();
        let inside = self.steps.iter().map(|step| step.inside.bytes(precision));
        let of_image = inside.fold(values * size_of(precision), u64::saturating_add);
        let casts: u64 = self.steps.iter().map(|step| cast_bytes(step.weights, precision)).sum();
        of_image.saturating_mul(batch as u64).saturating_add(casts)
    }

    /// The most that the way back holds at once: the values that are left, the cotangents of those
    /// that were read on the way, and the inside of one step.
    fn recomputed_bytes(&self, batch: usize, precision: Precision) -> u64 {
        let mut left: u64 = (0..=self.steps.len()).map(|index| self.value(index)).sum();
        let mut has_cotangent = vec![false; self.steps.len() + 1];
        let mut cotangents = self.value(self.steps.len());
        has_cotangent[self.steps.len()] = true;
        let mut most = 0;
        for (index, step) in self.steps.iter().enumerate().rev() {
            // The value that the step computes goes, and comes again.
            let values = (left + cotangents) * size_of(precision);
            let held = step.inside.bytes(precision).saturating_add(values);
            let of_batch = held.saturating_mul(batch as u64);
            most = most.max(of_batch.saturating_add(cast_bytes(step.weights, precision)));
            left -= step.output;
            cotangents -= if has_cotangent[index + 1] { step.output } else { 0 };
            for &read in &step.reads {
                if !has_cotangent[read] {
                    has_cotangent[read] = true;
                    cotangents += self.value(read);
                }
            }
        }
        most
    }
}

fn cast_bytes(weights: u64, precision: Precision) -> u64 {
    Kept { cast: weights, ..Kept::default() }.bytes(precision)
}

/// The size of a value of one image.
#[derive(Debug, Clone, Copy)]
struct Size {
    channels: u64,
    side: u64,
}

impl Size {
    fn elements(self) -> u64 {
        self.channels * self.pixels()
    }

    fn pixels(self) -> u64 {
        self.side * self.side
    }

    fn resampled(self, resample: &Resample) -> Self {
        let side = match resample {
            Resample::Keep => self.side,
            Resample::Down(_) => self.side / 2,
            Resample::Up(_) => self.side * 2,
        };
        Self { side, ..self }
    }
}

impl StepCost {
    /// Adds a convolution that returns `side`² pixels; the size of its value.
    fn convolve(&mut self, conv: &Conv2d, side: u64) -> Size {
        self.multiply(conv.dims(), side, 1)
    }

    /// Adds a convolution by weights `[Cout, Cin, k, k]` that returns `side`² pixels; the size of its value.
    fn multiply(&mut self, dims: [i64; 4], side: u64, stride: u64) -> Size {
        let [outputs, inputs, kernel, _] = dims.map(i64::unsigned_abs);
        self.weights += outputs * inputs * kernel * kernel;
        self.products.push(Product::Convolution { inputs, outputs, kernel, side, stride });
        Size { channels: outputs, side }
    }

    fn embed(&mut self, weights: u64) {
        self.products.push(Product::Linear { weights });
    }

    fn attention(&mut self, heads: i64, x: Size) {
        let heads = heads.unsigned_abs();
        self.products.push(Product::Attention { heads, channels: x.channels, pixels: x.pixels() });
    }

    /// Keeps the weights of the softmax, of every pair of pixels.
    fn weigh(&mut self, heads: i64, x: Size) {
        let weights = heads.unsigned_abs().saturating_mul(x.pixels()).saturating_mul(x.pixels());
        self.inside.wide = self.inside.wide.saturating_add(weights);
        self.inside.cast = self.inside.cast.saturating_add(weights);
    }

    fn attend(&mut self, attention: &Attention, x: Size) {
        for conv in attention.convolutions() {
            self.convolve(conv, x.side);
        }
        self.attention(attention.heads, x);
        // Its input, normalised; queries, keys and values in one; what the projection reads.
        self.inside.same += 6 * x.elements();
        // Scaled keys, queries.
        self.inside.wide += x.elements();
        self.inside.widened += x.elements();
        self.weigh(attention.heads, x);
    }

    /// A residual block on `x`, which is kept by the caller.
    fn block(&mut self, block: &UNetBlock, x: Size) -> Size {
        let narrow = x.resampled(&block.resample);
        // What SiLU and the first convolution read.
        self.inside.same += x.elements() + narrow.elements();
        if resampling_keeps_input(&block.resample) {
            self.inside.same += x.elements();
        }
        let h = self.convolve(&block.conv0, narrow.side);
        self.embed(block.affine.weight_count());
        // What norm1, SiLU and the second convolution read; the scaled activations; the mask.
        self.inside.same += 3 * h.elements();
        self.inside.same += if block.style.adaptive_scale { h.elements() } else { 0 };
        self.inside.flags += if block.style.dropout > 0.0 { h.elements() } else { 0 };
        self.convolve(&block.conv1, h.side);
        if let Some(skip) = &block.skip {
            if !matches!(block.resample, Resample::Keep) {
                self.inside.same += narrow.elements();
            }
            self.convolve(skip, narrow.side);
        }
        if let Some(attention) = &block.attention {
            self.attend(attention, h);
        }
        h
    }
}

impl StepCost {
    /// Adds a layer of EDM2's that returns `side`² pixels, whose effective weight is kept beside the stored one; the
    /// size of its value.
    fn convolve_scaled(&mut self, conv: &MpConv, side: u64) -> Size {
        self.multiply(conv.dims(), side, 1)
    }

    /// EDM2's block on `x`, which is kept by the caller.
    fn scaled_block(&mut self, block: &MpBlock, x: Size) -> Size {
        let mut x = x.resampled(&block.resample);
        let skip = block.conv_skip.as_ref();
        let wide = skip.map_or(x, |conv| self.convolve_scaled(conv, x.side));
        // What the normalisation of pixels or the skip, SiLU and the first convolution read.
        self.inside.same += 2 * x.elements() + wide.elements();
        x = self.convolve_scaled(&block.conv_res0, x.side);
        self.embed(block.emb_linear.weight_count());
        // What the scale, SiLU and the second convolution read; the mask.
        self.inside.same += 3 * x.elements();
        self.inside.flags += if block.style.dropout > 0.0 { x.elements() } else { 0 };
        x = self.convolve_scaled(&block.conv_res1, x.side);
        // The sum, where it is clipped.
        self.inside.same += x.elements();
        if let Some(attention) = &block.attention {
            self.convolve_scaled(&attention.qkv, x.side);
            self.convolve_scaled(&attention.proj, x.side);
            self.attention(attention.heads, x);
            // Its input; queries, keys and values before and after their normalisation; what the projection reads.
            self.inside.same += 8 * x.elements();
            self.inside.wide += x.elements();
            self.inside.widened += x.elements();
            self.weigh(attention.heads, x);
        }
        x
    }
}

/// Whether the backward pass of a resampling needs what it read.
fn resampling_keeps_input(resample: &Resample) -> bool {
    match resample {
        Resample::Keep => false,
        Resample::Down(_) => true,
        Resample::Up(filter) => !filter.is_box(),
    }
}

fn step_cost(step: &Step, sizes: &[Size]) -> (Size, StepCost) {
    let mut cost = StepCost { reads: step.reads.clone(), ..StepCost::default() };
    let first = sizes[step.reads[0]];
    let output = match &step.layer {
        Layer::Conv(conv) => {
            cost.needs.push(step.reads[0]);
            cost.convolve(conv, first.side)
        }
        Layer::Block(block) => {
            let channels = step.reads.iter().map(|&read| sizes[read].channels).sum();
            let x = Size { channels, ..first };
            match step.reads[..] {
                [only] => cost.needs.push(only),
                _ => cost.inside.same += x.elements(),
            }
            cost.block(block, x)
        }
        Layer::Stride(conv, _) => {
            cost.needs.push(step.reads[0]);
            cost.multiply(conv.dims(), first.side / 2, 2)
        }
        Layer::Enlarge(_, conv) => {
            let wide = Size { side: first.side * 2, ..first };
            cost.inside.same += wide.elements();
            cost.convolve(conv, wide.side)
        }
        Layer::Centre => first,
        Layer::MpInput(conv) => {
            cost.inside.same += first.elements() + first.pixels();
            cost.convolve_scaled(conv, first.side)
        }
        Layer::MpBlock(block) => {
            let channels = step.reads.iter().map(|&read| sizes[read].channels).sum();
            let x = Size { channels, ..first };
            match step.reads[..] {
                [only] => cost.needs.push(only),
                _ => cost.inside.same += x.elements(),
            }
            cost.scaled_block(block, x)
        }
        Layer::MpOutput(conv) => {
            cost.needs.push(step.reads[0]);
            cost.convolve_scaled(conv, first.side)
        }
        Layer::Down(_) => {
            cost.needs.push(step.reads[0]);
            Size { side: first.side / 2, ..first }
        }
        Layer::Up(filter) => {
            if !filter.is_box() {
                cost.needs.push(step.reads[0]);
            }
            Size { side: first.side * 2, ..first }
        }
        Layer::AuxSkip(conv) => {
            cost.needs.push(step.reads[0]);
            cost.convolve(conv, first.side)
        }
        Layer::AuxResidual(conv, filter) => {
            cost.needs.push(step.reads[0]);
            let wide = cost.convolve(conv, first.side + 2 * filter.padding().unsigned_abs());
            cost.inside.same += wide.elements();
            Size { side: first.side / 2, ..wide }
        }
        Layer::Output(_, conv) => {
            cost.needs.push(step.reads[0]);
            cost.inside.same += 2 * first.elements();
            cost.convolve(conv, first.side)
        }
    };
    cost.output = output.elements();
    (output, cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DhariwalUNetConfig, SongUNetConfig, published};

    /// One level of 8x8 pixels with one block of 8 channels, without attention but in0's.
    fn tiny() -> SongUNetConfig {
        SongUNetConfig {
            model_channels: 8,
            channel_mult: vec![1],
            num_blocks: 1,
            attn_resolutions: vec![],
            dropout: 0.0,
            ..SongUNetConfig::ddpmpp(8, 2, 1)
        }
    }

    #[test]
    fn a_network_of_one_level_is_counted_by_hand() {
        let found = training_cost(&tiny().into()).unwrap();
        // Pixels, channels, embedding.
        let (n, c, e) = (64, 8, 32);
        // conv; block0, in0, in1 with two convolutions and a linear layer; qkv, proj and the products
        // of in0; block0 and block1 of the decoder with 2c channels and a skip; the output; the
        // mapping.
        let plain = 2 * 9 * c * c * n + e * c;
        let attention = 4 * c * c * n + 2 * c * n * n;
        let concat = 3 * 9 * c * c * n + 2 * c * c * n + e * c;
        let mapping = c * e + e * e;
        let first = 9 * 2 * c * n;
        let last = 9 * c * n;
        assert_eq!(
            found.multiply_adds,
            first + 3 * plain + attention + 2 * concat + last + mapping
        );
        // In units of c·n elements: a block keeps 5 inside; with two inputs the two normalised and
        // activated are twice as wide, and so is their joint: 3 + 2·3. Attention keeps 6, keys and
        // 64·64 weights. The output keeps 2. Values that are read by more than a joint: the input (2
        // of 8 channels), the outputs of conv, block0, in0, and that of block1.
        let unit = c * n;
        let inside = 3 * 5 + 2 * 9 + (6 + 1 + 8) + 2;
        let values = 4 * unit + 2 * n;
        let bytes = 4 * (inside * unit + values);
        assert_eq!(found.activation_bytes(1, Precision::F32, false), bytes);
        assert_eq!(found.activation_bytes(3, Precision::F32, false), 3 * bytes);
        // In bf16 also the queries in f32, the weights of the softmax in both, and all weights of
        // convolutions.
        let weights = 3 * 2 * 9 * c * c + 4 * c * c + 2 * (27 + 2) * c * c + 9 * 3 * c;
        let low = 2 * ((inside - 9) * unit + values) + 4 * (2 + 8) * unit + 2 * 8 * unit;
        assert_eq!(found.activation_bytes(1, Precision::Bf16, false), low + 2 * weights);
    }

    #[test]
    fn a_call_holds_less_than_a_training_step_and_grows_with_the_image() {
        let config = UNetConfig::from(tiny());
        let multiple = config.size_multiple();
        let bytes = |side| cost_at(&config, side).unwrap().call_bytes(Precision::F32);
        let step = training_cost(&config).unwrap().activation_bytes(1, Precision::F32, false);
        assert!(bytes(config.img_resolution()) < step);
        // The weights of attention grow with the square of the pixels, everything else with them.
        let growth = bytes(32 * multiple) as f64 / bytes(16 * multiple) as f64;
        assert!((4.0..=16.0).contains(&growth), "{growth}");
        assert_eq!(
            cost_at(&config, config.img_resolution()).unwrap(),
            training_cost(&config).unwrap()
        );
    }

    #[test]
    fn what_no_machine_holds_is_counted_as_the_most_that_a_number_tells() {
        let config = UNetConfig::from(tiny());
        // Attention to all of 2³² pixels.
        let found = cost_at(&config, 1 << 16).unwrap();
        assert_eq!(found.multiply_adds, u64::MAX);
        for precision in [Precision::F32, Precision::Bf16] {
            assert_eq!(found.call_bytes(precision), u64::MAX);
            for recomputed in [false, true] {
                assert_eq!(found.activation_bytes(16, precision, recomputed), u64::MAX);
            }
        }
    }

    #[test]
    fn dropout_keeps_its_masks() {
        let keeps = |dropout| {
            let config = SongUNetConfig { dropout, ..tiny() };
            training_cost(&config.into()).unwrap().activation_bytes(1, Precision::F32, false)
        };
        assert_eq!(keeps(0.1) - keeps(0.0), 5 * 8 * 64);
    }

    #[test]
    fn recomputation_keeps_less_in_every_architecture() {
        for name in crate::PUBLISHED {
            let found = training_cost(&published(name).unwrap()).unwrap();
            for precision in [Precision::F32, Precision::Bf16] {
                let [kept, recomputed] =
                    [false, true].map(|on| found.activation_bytes(16, precision, on));
                assert!(3 * recomputed < kept, "{name}: {recomputed} of {kept}");
            }
        }
        let config = DhariwalUNetConfig { img_resolution: 12, ..DhariwalUNetConfig::adm(64, 3, 3) };
        assert!(training_cost(&config.into()).is_err());
    }
}
