//! Training-free posterior samplers: a frozen prior and a measurement, combined in other ways than
//! at the pivot.
//!
//! Every method is written in EDM's variable x = x₀ + σ ε, to which the published VP algorithms
//! translate exactly by x = x_vp/√ᾱ, σ² = (1 − ᾱ)/ᾱ. D is the prior's answer at x, asked as an
//! [`Estimator`](crate::Estimator) like [`Prior`](crate::Prior); images are on [-1, 1]. What stands
//! in a method's configuration are its constants; what is computed once for all levels is computed
//! before the first call.

pub mod daps;
pub mod ddnm;
pub mod ddrm;
pub mod dps;
pub mod mpgd;
pub mod pigdm;

/// ‖r‖ of every image, `[B, 1, 1, 1]`.
fn per_image_norm(r: &tch::Tensor) -> tch::Tensor {
    r.square().sum_dim_intlist([1i64, 2, 3].as_slice(), true, tch::Kind::Double).sqrt()
}
