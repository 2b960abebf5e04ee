//! Drawing in parts that are kept, so that a restoration that was killed goes on.

use anyhow::Result;
use eps::restoration_config::RestorationConfig;
use eps::restore::Restoration;
use eps::workers;
use eps_cluster::{Group, bytes_of, values_of};
use eps_data::MeasurementSet;
use eps_files::{Hasher, Unfinished};
use eps_math::rng::Stream;
use indicatif::ProgressBar;
use serde_json::Value;

use crate::progress;

/// The batches that each worker of a process draws before they are sent to the first one: what is lost where all are
/// killed.
const BATCHES_A_ROUND: usize = 2;

/// The values that process 1 takes from the others in a round at most, where a batch has fewer.
const MOST_OF_A_ROUND: usize = 1 << 28;

/// The batches of a restoration, dealt out to the processes of a group.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    pub(super) group: &'a dyn Group,
    pub(super) restoration: &'a Restoration<'a>,
}

impl Shared<'_> {
    /// The samples of every batch, on the first process, which keeps each as part `NAME-BATCH`; those that are kept of an
    /// earlier run are not drawn again.
    pub(super) fn draw(
        &self,
        mut unfinished: Option<&mut Unfinished>,
        name: &str,
        bar: &ProgressBar,
    ) -> Result<Vec<Vec<f32>>> {
        let Self { group, restoration } = self;
        let part = |batch: usize| format!("{name}-{batch:06}");
        let batches = restoration.batches();
        let (mut samples, mut missing) = (vec![Vec::new(); batches], Vec::new());
        if let Some(unfinished) = &unfinished {
            for (batch, samples) in samples.iter_mut().enumerate() {
                let kept = unfinished.part(&part(batch))?.map(|bytes| values_of(&bytes));
                match kept.filter(|kept| kept.len() == restoration.values_of(batch)) {
                    Some(kept) => {
                        bar.inc((restoration.calls() / batches) as u64);
                        *samples = kept;
                    }
                    None => missing.push(batch),
                }
            }
        }
        let size = group.size();
        let round = match size {
            1 => missing.len(),
            _ => {
                let values = restoration.values_of(0).max(1);
                size * (workers::threads() * BATCHES_A_ROUND)
                    .min(MOST_OF_A_ROUND / size / values)
                    .max(1)
            }
        };
        // Machines may have other numbers of cores: the first process decides.
        let told = group.all_gather(&serde_json::to_vec(&(missing, round))?).swap_remove(0);
        let (missing, round): (Vec<usize>, usize) = serde_json::from_slice(&told)?;
        for round in missing.chunks(round.max(1)) {
            let of = |rank: usize| round.iter().copied().skip(rank).step_by(size);
            let mine: Vec<usize> = of(group.rank()).collect();
            let mut keep = |batch: usize, drawn: Vec<f32>| -> Result<()> {
                if let Some(unfinished) = &mut unfinished {
                    unfinished.keep(&part(batch), &bytes_of(&drawn))?;
                }
                samples[batch] = drawn;
                Ok(())
            };
            restoration.draw_each(&mine, &mut progress::advance(bar, 1), &mut keep)?;
            if size == 1 {
                continue;
            }
            let is_first = group.rank() == 0;
            let sent = |rank: usize| of(rank).map(|batch| restoration.values_of(batch)).sum();
            let counts: Vec<usize> =
                (0..size).map(|rank| if is_first && rank > 0 { sent(rank) } else { 0 }).collect();
            let mut pieces = vec![Vec::new(); size];
            if !is_first {
                pieces[0] = mine.iter().flat_map(|b| std::mem::take(&mut samples[*b])).collect();
            }
            let received = group.all_to_all(pieces, &counts);
            for (rank, values) in received.into_iter().enumerate().filter(|_| is_first).skip(1) {
                let mut rest = &values[..];
                for batch in of(rank) {
                    let (drawn, others) = rest.split_at(restoration.values_of(batch));
                    if let Some(unfinished) = &mut unfinished {
                        unfinished.keep(&part(batch), &bytes_of(drawn))?;
                    }
                    samples[batch] = drawn.to_vec();
                    rest = others;
                }
            }
        }
        Ok(samples)
    }
}

/// What of the configuration the samples depend on, as JSON whose fields are in the order of their names.
pub(super) fn decisive(config: &RestorationConfig) -> Result<Value> {
    Ok(serde_json::to_value(config.decisive())?)
}

/// The digest of what the samples depend on: of the configuration, and what was measured.
pub(super) fn key(decisive: &Value, set: &MeasurementSet) -> Result<String> {
    let mut hasher = Hasher::default();
    hasher.update(decisive.to_string().as_bytes());
    for value in set.y() {
        hasher.update(&value.to_le_bytes());
    }
    for index in 0..set.len() {
        hasher.update(serde_json::to_string(set.spec(index))?.as_bytes());
        if !set.is_white() {
            // W of values of all directions tells it from any other.
            let probe = Stream::named(0, "what tells noises apart").normals(set.range().len());
            for value in set.noise(index).whiten(&probe, 1.0) {
                hasher.update(&value.to_le_bytes());
            }
        }
    }
    Ok(hasher.finish())
}
