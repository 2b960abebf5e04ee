//! The tournament: every posterior sampler with the exact denoiser of a prior whose posterior is known.
//!
//! A [`TournamentProfile`] becomes a configuration; each setting draws its measurements with their exact
//! posteriors; the [`Tournament`] lets every method draw samples, cell by cell of a store, and a judge
//! compares them with exact samples.

mod judge;
mod posed;
mod profile;
mod question;
mod run;
mod scored;

pub use profile::TournamentProfile;
pub use run::{PlaneSamples, Tournament};
