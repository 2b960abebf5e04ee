//! What a program that restores images needs, in one import.
//!
//! ```
//! use eps::prelude::*;
//!
//! let settings = Settings { samples: 4, ..Settings::default() };
//! assert_eq!((settings.calls, settings.device), (10, Device::Cpu));
//! ```

pub use eps_data::{ImageSet, MeasurementSet, SampleArchive, Split};
pub use eps_math::operator::{LinearMap, Operator, OperatorSpec, PreparedOperator, Spectral};
pub use eps_math::{Schedule, Shape, Task};
pub use eps_model::{Denoiser, Precision};
pub use eps_sample::{Estimator, Observer, Progress, Sample, Solver};
pub use tch::{Device, Tensor};

pub use crate::measurement::simulate;
pub use crate::network::Network;
pub use crate::restore::{Restoration, Settings, restore, restore_watched};
pub use crate::{Error, dataset};
