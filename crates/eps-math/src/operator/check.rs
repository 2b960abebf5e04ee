//! What an operator must be, checked: linear, with the adjoint that it says.

use super::LinearMap;
use crate::cholesky::dot;
use crate::rng::Stream;

/// |⟨A x, y⟩ − ⟨x, Aᵀy⟩| over ‖A x‖ ‖y‖ + ‖x‖ ‖Aᵀy‖ for an x and a y of standard normal numbers.
///
/// Of the order of the precision, some 1e-16 to 1e-14, where the adjoint is right; of order 1/√n where it is not.
#[must_use]
pub fn adjoint_gap(map: &dyn LinearMap, seed: u64) -> f64 {
    let x = Stream::named(seed, "x of the adjoint gap").normals(map.domain().len());
    let y = Stream::named(seed, "y of the adjoint gap").normals(map.range().len());
    let (seen, back) = (map.apply(&x), map.adjoint(&y));
    let scale = norm(&seen) * norm(&y) + norm(&x) * norm(&back);
    ratio((dot(&seen, &y) - dot(&x, &back)).abs(), scale)
}

/// ‖A (a x + b z) − a A x − b A z‖ over the sum of the norms of its terms, for random x and z.
#[must_use]
pub fn linearity_gap(map: &dyn LinearMap, seed: u64) -> f64 {
    let n = map.domain().len();
    let x = Stream::named(seed, "x of the linearity gap").normals(n);
    let z = Stream::named(seed, "z of the linearity gap").normals(n);
    let (a, b) = (0.7, -1.9);
    let sum: Vec<f64> = x.iter().zip(&z).map(|(x, z)| a * x + b * z).collect();
    let (whole, of_x, of_z) = (map.apply(&sum), map.apply(&x), map.apply(&z));
    let gap: Vec<f64> =
        whole.iter().zip(&of_x).zip(&of_z).map(|((w, x), z)| w - a * x - b * z).collect();
    ratio(norm(&gap), norm(&whole) + a.abs() * norm(&of_x) + b.abs() * norm(&of_z))
}

/// ‖A‖, the largest singular value, from below: `steps` steps of the power method on AᵀA.
#[must_use]
pub fn norm_estimate(map: &dyn LinearMap, steps: usize, seed: u64) -> f64 {
    let mut x = Stream::named(seed, "x of the norm").normals(map.domain().len());
    let mut largest = 0.0;
    for _ in 0..steps {
        let length = norm(&x);
        if length == 0.0 {
            break;
        }
        x.iter_mut().for_each(|v| *v /= length);
        let seen = map.apply(&x);
        largest = norm(&seen);
        x = map.adjoint(&seen);
    }
    largest
}

fn ratio(gap: f64, scale: f64) -> f64 {
    if scale > 0.0 { gap / scale } else { gap }
}

pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
