//! A UNet as a list of steps: each computes one value from earlier ones.
//!
//! The skip connections and side paths are wired once, when the network is built, so that the
//! forward pass, its recomputation on the way back and the estimate of its memory are loops.

use std::f64::consts::SQRT_2;

use tch::{Kind, Tensor};

use crate::edm2_layers::{MpBlock, MpConv, with_ones};
use crate::layers::{Conv2d, Filter, GroupNorm, Mode, StridePadding, UNetBlock, at_least_f32};

/// What a step does with the values that it reads.
#[derive(Debug)]
pub(crate) enum Layer {
    /// A convolution of one value.
    Conv(Conv2d),
    /// A residual block on one value, or on two beside each other: the activations and a skip.
    Block(Box<UNetBlock>),
    /// A convolution of one value that halves its resolution.
    Stride(Conv2d, StridePadding),
    /// Doubles the resolution of one value, then a convolution.
    Enlarge(Filter, Conv2d),
    /// 2x − 1 of an image in [0, 1].
    Centre,
    /// EDM2's first convolution, of one value beside a channel of ones.
    MpInput(MpConv),
    /// EDM2's block on one value, or on two joined.
    MpBlock(Box<MpBlock>),
    /// EDM2's last convolution.
    MpOutput(MpConv),
    /// Halves the resolution of a side path.
    Down(Filter),
    /// Doubles the resolution of a side path.
    Up(Filter),
    /// conv(aux) + x of (aux, x).
    AuxSkip(Conv2d),
    /// (conv(aux) + x)/√2 of (aux, x); the convolution is fused with halving.
    AuxResidual(Conv2d, Filter),
    /// conv(silu(norm(x))) of x, or with a second value added.
    Output(GroupNorm, Conv2d),
}

impl Layer {
    /// # Shapes
    /// inputs: `[B, ., ., .]` each; emb: `[B, E]` in f32
    fn forward(&self, mut inputs: Vec<Tensor>, emb: &Tensor, mode: Mode) -> Tensor {
        match self {
            Self::Conv(conv) => conv.forward(&inputs[0]),
            Self::Block(block) => {
                let x = match inputs.len() {
                    1 => inputs.remove(0),
                    _ => Tensor::cat(&inputs, 1),
                };
                drop(inputs);
                block.forward(&x, emb, mode)
            }
            Self::Stride(conv, padding) => conv.forward_strided(&inputs[0], *padding),
            Self::Enlarge(filter, conv) => conv.forward(&filter.up(&inputs[0])),
            Self::Centre => &inputs[0] * 2.0 - 1.0,
            Self::MpInput(conv) => conv.forward(&with_ones(&inputs[0])),
            Self::MpBlock(block) => block.forward(&inputs, emb, mode),
            Self::MpOutput(conv) => conv.forward(&inputs[0]),
            Self::Down(filter) => filter.down(&inputs[0]),
            Self::Up(filter) => filter.up(&inputs[0]),
            Self::AuxSkip(conv) => conv.forward(&inputs[0]) + &inputs[1],
            Self::AuxResidual(conv, filter) => {
                (conv.forward_fused(&inputs[0], filter) + &inputs[1]) / SQRT_2
            }
            Self::Output(norm, conv) => {
                let here = conv.forward(&norm.forward(&inputs[0]).silu());
                match inputs.get(1) {
                    Some(below) => here + below,
                    None => here,
                }
            }
        }
    }
}

/// An entry of the skip stack while a network is built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Skip {
    pub(crate) value: usize,
    pub(crate) channels: i64,
}

/// A layer with the values that it reads.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) layer: Layer,
    pub(crate) reads: Vec<usize>,
}

/// The steps of a network. Value 0 is its input, value i + 1 what step i computes.
#[derive(Debug, Default)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    /// The network's input.
    pub(crate) const INPUT: usize = 0;

    /// Appends a step and returns the number of the value that it computes.
    pub(crate) fn push(&mut self, layer: Layer, reads: &[usize]) -> usize {
        self.0.push(Step { layer, reads: reads.to_vec() });
        self.0.len()
    }

    /// The steps in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Step> {
        self.0.iter()
    }

    /// The last step that reads each value; `usize::MAX` for the output.
    fn last_readers(&self) -> Vec<usize> {
        let mut last = vec![usize::MAX; self.0.len() + 1];
        for (index, step) in self.0.iter().enumerate() {
            for &read in &step.reads {
                last[read] = index;
            }
        }
        last
    }

    /// The last value. Each other one is dropped when nothing reads it any more.
    pub(crate) fn forward(&self, x: &Tensor, emb: &Tensor, mode: Mode) -> Tensor {
        let last = self.last_readers();
        let mut values = vec![Some(x.contiguous())];
        for (index, step) in self.0.iter().enumerate() {
            let take = |&read: &usize| {
                let value: &mut Option<Tensor> = &mut values[read];
                let value = if last[read] == index {
                    value.take()
                } else {
                    value.as_ref().map(Tensor::shallow_clone)
                };
                value.expect("a value lives until its last reader")
            };
            let inputs = step.reads.iter().map(take).collect();
            values.push(Some(step.layer.forward(inputs, emb, mode)));
        }
        values.pop().flatten().expect("the output is the last value")
    }

    /// All values, without the graph that leads to them.
    pub(crate) fn values(&self, x: &Tensor, emb: &Tensor, mode: Mode) -> Vec<Tensor> {
        let _guard = tch::no_grad_guard();
        let mut values = vec![x.contiguous()];
        for step in &self.0 {
            let inputs = step.reads.iter().map(|&read| values[read].shallow_clone()).collect();
            values.push(step.layer.forward(inputs, emb, mode));
        }
        values
    }

    /// Adds ∂(output·cotangent) to the gradients of the parameters and of the leaf `emb`, computing
    /// each step again from the values that it reads.
    pub(crate) fn backward(
        &self,
        mut values: Vec<Tensor>,
        cotangent: Tensor,
        emb: &Tensor,
        mode: Mode,
    ) {
        let mut cotangents: Vec<Option<Tensor>> = values.iter().map(|_| None).collect();
        cotangents[self.0.len()] = Some(cotangent);
        for step in self.0.iter().rev() {
            values.pop();
            let cotangent = cotangents.pop().flatten().expect("every value is read");
            let leaf = |&read: &usize| values[read].detach().set_requires_grad(true);
            let inputs: Vec<Tensor> = step.reads.iter().map(leaf).collect();
            let again = inputs.iter().map(Tensor::shallow_clone).collect();
            let value = step.layer.forward(again, emb, mode);
            // The gradient of this sum at the value is the cotangent, whatever its kind and size.
            (&value * cotangent).sum(at_least_f32(value.kind())).backward();
            for (&read, input) in step.reads.iter().zip(&inputs) {
                let here = input.grad();
                cotangents[read] = Some(match cotangents[read].take() {
                    Some(sum) => sum + here,
                    None => here,
                });
            }
        }
    }
}

/// A forward pass that kept the values between its steps alone: the way back computes the rest of the
/// activations again, one step at a time (gradient checkpointing, Chen et al. 2016).
#[derive(Debug)]
pub struct Recomputed<'a> {
    steps: &'a Steps,
    values: Vec<Tensor>,
    /// The whole output, a leaf.
    leaf: Tensor,
    /// What of it is asked for.
    output: Tensor,
    emb: Tensor,
    mode: Mode,
}

impl<'a> Recomputed<'a> {
    /// `emb` with its graph.
    pub(crate) fn new(steps: &'a Steps, x: &Tensor, emb: Tensor, mode: Mode) -> Self {
        let values = steps.values(x, &emb.detach(), mode);
        let leaf = values.last().expect("the input at least").detach().set_requires_grad(true);
        let output = leaf.shallow_clone();
        Self { steps, values, leaf, output, emb, mode }
    }

    /// The same with the first channels of the output alone.
    pub(crate) fn first_channels(self, channels: i64) -> Self {
        let output = self.leaf.narrow(1, 0, channels);
        Self { output, ..self }
    }

    /// The output of the network, of which a loss is made: its gradient is collected here.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// Carries the gradient of the output on to the parameters, where it is added to theirs.
    ///
    /// The same gradients as without recomputation, to rounding: sums are taken in another order.
    ///
    /// # Panics
    /// If the output has no gradient: a loss of it goes backward first.
    pub fn backward(self) {
        let cotangent = self.leaf.grad();
        assert!(cotangent.defined(), "the loss of a recomputed pass goes backward first");
        tch::with_grad(|| {
            let leaf = self.emb.detach().set_requires_grad(true);
            self.steps.backward(self.values, cotangent, &leaf, self.mode);
            (self.emb * leaf.grad()).sum(Kind::Float).backward();
        });
    }
}
