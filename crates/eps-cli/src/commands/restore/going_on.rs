//! Drawing in parts that are kept, so that a restoration that was killed goes on.

use std::collections::BTreeMap;

use anyhow::Result;
use eps::restoration_config::RestorationConfig;
use eps::restore::Restoration;
use eps::workers;
use eps_cluster::{Group, bytes_of, facts_of, values_of};
use eps_data::MeasurementSet;
use eps_files::{Hasher, Unfinished};
use eps_math::rng::Stream;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
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
    /// All samples, image by image, on the first process, which keeps those of each batch as a part of a name; those that are kept of
    /// an earlier run, in batches of whatever size, are not drawn again. Nothing on the others.
    pub(super) fn draw(
        &self,
        unfinished: Option<&mut Unfinished>,
        name: &str,
        bar: &ProgressBar,
    ) -> Result<Vec<f32>> {
        let Self { group, restoration } = self;
        let (batches, size) = (restoration.batches(), group.size());
        let per_image = restoration.samples_per_image();
        let values = restoration.set().shape().len();
        let mut missing = vec![];
        let mut first = None;
        if let Some(unfinished) = unfinished {
            let mut drawn = Drawn { unfinished, name, per_image, values, samples: vec![] };
            let kept = drawn.read(restoration.set().len() * per_image)?;
            let is_there = |batch: &usize| restoration.samples_of(*batch).all(|index| kept[index]);
            let (there, rest): (Vec<_>, Vec<_>) = (0..batches).partition(is_there);
            bar.inc((restoration.calls() / batches * there.len()) as u64);
            missing = rest;
            first = Some(drawn);
        }
        let values_of = |batch: usize| restoration.samples_of(batch).len() * values;
        let round = match size {
            1 => missing.len(),
            _ => {
                size * (workers::threads() * BATCHES_A_ROUND)
                    .min(MOST_OF_A_ROUND / size / values_of(0).max(1))
                    .max(1)
            }
        };
        // Machines may have other numbers of cores: the first process decides.
        let told = group.all_gather(&serde_json::to_vec(&(missing, round))?).swap_remove(0);
        let (missing, round): (Vec<usize>, usize) = serde_json::from_slice(&told)?;
        for round in missing.chunks(round.max(1)) {
            let of = |rank: usize| round.iter().copied().skip(rank).step_by(size);
            let mine: Vec<usize> = of(group.rank()).collect();
            // What the first process is sent.
            let mut sent = BTreeMap::new();
            let mut keep = |batch: usize, drawn: Vec<f32>| -> Result<()> {
                match &mut first {
                    Some(first) => first.keep(restoration.samples_of(batch).start, &drawn)?,
                    None => drop(sent.insert(batch, drawn)),
                }
                Ok(())
            };
            restoration.draw_each(&mine, &mut progress::advance(bar, 1), &mut keep)?;
            if size == 1 {
                continue;
            }
            let is_first = group.rank() == 0;
            let counts: Vec<usize> = (0..size)
                .map(|rank| if is_first && rank > 0 { of(rank).map(values_of).sum() } else { 0 })
                .collect();
            let mut pieces = vec![Vec::new(); size];
            pieces[0] = sent.into_values().flatten().collect();
            let received = group.all_to_all(pieces, &counts);
            let Some(first) = &mut first else { continue };
            for (rank, sent) in received.into_iter().enumerate().skip(1) {
                let mut rest = &sent[..];
                for batch in of(rank) {
                    let (drawn, others) = rest.split_at(values_of(batch));
                    first.keep(restoration.samples_of(batch).start, drawn)?;
                    rest = others;
                }
            }
        }
        Ok(first.map(|drawn| drawn.samples).unwrap_or_default())
    }
}

/// The samples that the first process has, and keeps.
struct Drawn<'a> {
    unfinished: &'a mut Unfinished,
    name: &'a str,
    per_image: usize,
    /// The values of a sample.
    values: usize,
    /// Of all images; zeros where none are drawn yet.
    samples: Vec<f32>,
}

impl Drawn<'_> {
    /// Reads what is kept of so many samples of all images; gives which these are.
    ///
    /// A part is `NAME-PER_IMAGE-FIRST`: sample FIRST and those after it, of images that had PER_IMAGE samples then.
    fn read(&mut self, count: usize) -> Result<Vec<bool>> {
        self.samples = vec![0.0; count * self.values];
        let mut is_kept = vec![false; count];
        for part in self.unfinished.parts()? {
            let numbers = part.to_str().and_then(|part| part.strip_prefix(self.name));
            let numbers = numbers.and_then(|rest| rest.strip_prefix('-')?.split_once('-'));
            let numbers = numbers.map(|(per_image, first)| (per_image.parse(), first.parse()));
            let Some((Ok(per_image @ 1..), Ok(first))): Option<(
                Result<usize, _>,
                Result<usize, _>,
            )> = numbers
            else {
                continue;
            };
            let Some(bytes) = self.unfinished.part(&part)? else { continue };
            let kept = values_of(&bytes);
            for (number, sample) in (first..).zip(kept.chunks_exact(self.values)) {
                let (image, of_image) = (number / per_image, number % per_image);
                let index = image * self.per_image + of_image;
                if of_image < self.per_image && index < count {
                    self.samples[index * self.values..][..self.values].copy_from_slice(sample);
                    is_kept[index] = true;
                }
            }
        }
        Ok(is_kept)
    }

    /// Keeps the samples from one on.
    fn keep(&mut self, first: usize, drawn: &[f32]) -> Result<()> {
        let part = format!("{}-{}-{first:06}", self.name, self.per_image);
        self.unfinished.keep(&part, &bytes_of(drawn))?;
        self.samples[first * self.values..][..drawn.len()].copy_from_slice(drawn);
        Ok(())
    }
}

/// What samples depend on: the configuration but for [what decides nothing](RestorationConfig::decisive), and what was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Key {
    settings: Value,
    measurement: String,
}

impl Key {
    pub(super) fn of(config: &RestorationConfig, set: &MeasurementSet) -> Result<Self> {
        let settings = serde_json::to_value(config.decisive())?;
        Ok(Self { settings, measurement: digest(set)? })
    }

    /// What processes that work together must agree on, of a configuration.
    pub(super) fn facts(&self, config: &RestorationConfig) -> Vec<(String, String)> {
        let mut facts = facts_of(&self.settings);
        facts.retain(|(name, _)| !["samples", "batch"].contains(&&**name));
        facts.extend([
            ("samples".to_owned(), config.samples.to_string()),
            ("batch".to_owned(), config.batch.to_string()),
            ("a measurement of SHA-256".to_owned(), self.measurement.clone()),
        ]);
        facts
    }

    /// As it is kept beside parts.
    pub(super) fn text(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// Where another key, as it was kept, differs: names with both values; none where it cannot be read.
    pub(super) fn differing(&self, kept: &str) -> Option<String> {
        /// So many are named.
        const MOST: usize = 4;
        let kept: Self = serde_json::from_str(kept).ok()?;
        let (then, now) = (facts_of(&kept.settings), facts_of(&self.settings));
        let value = |facts: &[(String, String)], name: &str| {
            let found = facts.iter().find(|fact| fact.0 == name);
            found.map_or("none", |fact| &fact.1).to_owned()
        };
        let of_then = then.iter().filter(|fact| !now.iter().any(|other| other.0 == fact.0));
        let mut differing: Vec<String> = now
            .iter()
            .chain(of_then)
            .map(|(name, _)| (name, value(&then, name), value(&now, name)))
            .filter(|(_, then, now)| then != now)
            .map(|(name, then, now)| format!("{name} was {then} and is {now}"))
            .collect();
        if differing.is_empty() && kept.measurement != self.measurement {
            differing.push("another measurement was read".to_owned());
        }
        let more = differing.len().saturating_sub(MOST);
        differing.truncate(MOST);
        if more > 0 {
            differing.push(format!("and {more} more"));
        }
        Some(differing.join(", ")).filter(|all| !all.is_empty())
    }
}

/// The digest of what was measured.
fn digest(set: &MeasurementSet) -> Result<String> {
    let mut hasher = Hasher::default();
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
