//! What the tournament with exact denoisers leaves.

mod distance;
mod method;
mod results;
mod setting;

pub use distance::{Distance, Distances};
pub use method::TournamentMethod;
pub use results::{
    BEYOND, CLAIM_CALLS, CallsResults, ChosenConstant, EXPERIMENT, FLOOR_DEVIATIONS,
    FORMAT_VERSION, MethodResults, ReachClaim, TournamentConfig, TournamentResults,
    TournamentSettingResults,
};
pub use setting::{PriorLaw, SIGMA_Y, SIGMAS_Y, Space, TournamentSetting};
