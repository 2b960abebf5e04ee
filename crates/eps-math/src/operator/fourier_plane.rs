//! The 2-D DFT of one plane.

use std::sync::Arc;

use rustfft::{Fft, FftPlanner, num_complex::Complex};

use crate::cholesky::transposed;

/// The 2-D DFT of one [height, width] plane.
#[derive(Clone)]
pub(crate) struct FourierPlane {
    width: usize,
    height: usize,
    /// Forward plans of rows and columns, then inverse plans of rows and columns.
    plans: [Arc<dyn Fft<f64>>; 4],
}

impl FourierPlane {
    pub(crate) fn new(height: usize, width: usize) -> Self {
        let mut planner = FftPlanner::new();
        let plans = [
            planner.plan_fft_forward(width),
            planner.plan_fft_forward(height),
            planner.plan_fft_inverse(width),
            planner.plan_fft_inverse(height),
        ];
        Self { width, height, plans }
    }

    /// The forward transform, unnormalised.
    pub(crate) fn forward(&self, plane: &mut Vec<Complex<f64>>) {
        self.run(plane, &self.plans[0], &self.plans[1]);
    }

    /// The inverse, normalised by 1/(height · width).
    pub(crate) fn inverse(&self, plane: &mut Vec<Complex<f64>>) {
        self.run(plane, &self.plans[2], &self.plans[3]);
        let scale = ((self.width * self.height) as f64).recip();
        plane.iter_mut().for_each(|v| *v *= scale);
    }

    /// The place of −k for the frequency k at place i, frequency 0 at place 0.
    pub(crate) fn opposite(&self, i: usize) -> usize {
        let Self { width, height, .. } = *self;
        (height - i / width) % height * width + (width - i % width) % width
    }

    fn run(
        &self,
        plane: &mut Vec<Complex<f64>>,
        rows: &Arc<dyn Fft<f64>>,
        columns: &Arc<dyn Fft<f64>>,
    ) {
        rows.process(plane);
        let mut across = transposed(plane, self.width);
        columns.process(&mut across);
        *plane = transposed(&across, self.height);
    }
}

impl std::fmt::Debug for FourierPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FourierPlane")
            .field("height", &self.height)
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}
