//! What a run tells of its progress.

use std::fmt::Debug;

/// The steps that a call with a backward pass takes: the time of [so many](eps_results::WITH_BACKWARD) calls, in whole ones.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few calls")]
pub const WITH_BACKWARD: u64 = eps_results::WITH_BACKWARD.round() as u64;

/// Who is told how far a run is.
///
/// Cells are computed side by side, so that it may be told from several threads.
pub trait Listener: Debug + Sync {
    /// A computation of so many steps begins; `unit` names them.
    fn begin(&self, steps: u64, unit: &'static str);
    /// What is being computed from here on.
    fn start(&self, what: &str);
    /// Further steps than were told at the beginning will come.
    fn lengthen(&self, steps: u64);
    /// Steps were made.
    fn advance(&self, steps: u64);
    /// A step was not needed, as its result was stored.
    fn skip(&self);
    /// Something is done.
    fn done(&self, what: &str);
    /// The computation is over.
    fn finish(&self);
    /// Something that the user should know.
    fn note(&self, text: &str);
}

/// Nobody is told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Listener for Silent {
    fn begin(&self, _: u64, _: &'static str) {}
    fn start(&self, _: &str) {}
    fn lengthen(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn skip(&self) {}
    fn done(&self, _: &str) {}
    fn finish(&self) {}
    fn note(&self, _: &str) {}
}
