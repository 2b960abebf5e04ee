//! The memory that workers need who ask networks at once.

use eps::network::Network;
use eps::workers::{suited, threads};
use eps_data::memory;
use eps_math::{Precision, Shape};
use tch::Device;

use crate::error::Result;

/// What the calls of a worker are.
#[derive(Debug)]
pub(crate) struct Calls<'a> {
    /// The networks that are asked, each with whether its calls are differentiated.
    pub(crate) networks: Vec<(&'a Network, bool)>,
    /// The shape of the images.
    pub(crate) shape: Shape,
    /// The precision of the networks.
    pub(crate) precision: Precision,
    /// Images in one call.
    pub(crate) batch: usize,
}

impl Calls<'_> {
    /// The bytes that so many workers take beside the weights that all share; a module's calls cannot be counted.
    fn bytes(&self, workers: usize) -> Result<u64> {
        let (mut activations, mut copies) = (0, 0u64);
        for (network, gradients) in &self.networks {
            let cost = network.call_cost(self.shape, self.precision, *gradients)?;
            activations = cost.map_or(0, |(_, bytes)| bytes).max(activations);
            let of = |precision| network.weight_bytes(precision, workers);
            copies = copies.saturating_add(of(self.precision) - of(Precision::F32));
        }
        let calls = (self.batch as u64).saturating_mul(workers as u64);
        Ok(activations.saturating_mul(calls).saturating_add(copies))
    }
}

/// The number of threads that [suits](suited) a device, or that of the cores that are used where the memory has no room for more.
///
/// # Errors
/// On the CPU, where it has no room for the calls of a worker on each core.
pub(crate) fn threads_that_fit(device: Device, calls: &Calls<'_>) -> Result<usize> {
    let suited = suited(device);
    if device != Device::Cpu {
        return Ok(suited);
    }
    let needed = calls.bytes(suited)?;
    if memory::available().is_none_or(|there| needed <= there) {
        return Ok(suited);
    }
    let threads = threads();
    let what = format!("{threads} network calls at once about {} images each", calls.batch);
    let remedy = "give fewer --threads or, where the command has it, a smaller --batch";
    memory::require(&what, calls.bytes(threads)?, remedy)?;
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use eps::dataset::in_repository;

    use super::*;

    #[test]
    fn calls_that_do_not_fit_are_refused_before_they_are_made() {
        let path = in_repository("data/networks/fashion/prior.safetensors");
        let network = Network::load(&path, None, Device::Cpu, Precision::F32).unwrap();
        let of = |batch, gradients| Calls {
            networks: vec![(&network, gradients)],
            shape: network.image_shape(),
            precision: Precision::F32,
            batch,
        };
        let bytes = |batch, workers| of(batch, false).bytes(workers).unwrap();
        assert_eq!(bytes(32, 4), 32 * 4 * bytes(1, 1));
        assert!(of(1, true).bytes(1).unwrap() > bytes(1, 1));
        // A copy of the weights for every worker.
        let lower = Calls { precision: Precision::Bf16, ..of(0, false) };
        assert_eq!(lower.bytes(3).unwrap(), 3 * lower.bytes(1).unwrap());
        assert!(threads_that_fit(Device::Cpu, &of(1, false)).unwrap() >= threads());
        let error = threads_that_fit(Device::Cpu, &of(1 << 40, false)).unwrap_err().chain();
        assert!(error.contains("images each") && error.contains("--batch"), "{error}");
    }
}
