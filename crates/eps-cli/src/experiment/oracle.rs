//! `eps experiment oracle`: every posterior sampler with the exact denoiser of a prior whose posterior
//! is known.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use eps::environment;
use eps_experiments::tournament::{PlaneSamples, Tournament, TournamentProfile};
use eps_experiments::{check_folder, make_folder, write_json};
use eps_report::{Clouds, Report, tournament_summary, tournament_table};
use eps_results::TournamentResults;
use eps_results::tournament::{
    CLAIM_CALLS, EXPERIMENT, FLOOR_DEVIATIONS, FORMAT_VERSION, TournamentConfig, TournamentMethod,
    TournamentSetting,
};
use serde_json::json;
use tch::Device;

use super::output::write_report;
use crate::experiment::terminal::Terminal;
use crate::flags::{UsageError, count, seed};

/// Compares every method with samples of the exact posterior, on priors where it is known.
///
/// No networks and no data are needed: the denoiser is exact, so what remains is the method's own
/// error. Writes config.json, results.json, figures and report.html, and prints the tables. A run
/// that was cut off goes on where it was.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How much is computed: smoke (two settings; seconds), quick (a prior in the plane at three
    /// noise levels, five operators on 4×4 images, and one there whose pivots are iterated, for EPS alone;
    /// minutes), full (two priors in the plane, on 4×4 and on 8×8 images, at three noise levels)
    #[arg(long, value_name = "PROFILE", default_value = "quick")]
    profile: TournamentProfile,
    /// Some of the profile's settings, by the names of its figures and separated by commas, like
    /// 4x4-mixture-motion-blur-0.05
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    settings: Vec<String>,
    /// Folder of the results
    #[arg(long, value_name = "FOLDER", default_value = "target/reproduce/oracle")]
    out: PathBuf,
    /// Measurements of each setting, instead of the profile's
    #[arg(long, value_name = "M", value_parser = count)]
    measurements: Option<usize>,
    /// Samples of each measurement, at least 10, instead of the profile's
    #[arg(long, value_name = "N", value_parser = count)]
    samples: Option<usize>,
    /// Calls of the denoiser a sample, ascending and separated by commas, instead of the profile's
    #[arg(long, value_name = "CALLS", value_delimiter = ',', value_parser = count)]
    calls: Vec<usize>,
    /// Seed of measurements, exact samples and samples
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    /// Where the tournament runs: `cpu`, as the exact denoiser does
    #[arg(long, default_value = "cpu", value_parser = ["cpu"])]
    device: String,
}

/// The fewest samples that can be told from each other.
const FEWEST_SAMPLES: usize = 10;

impl Arguments {
    /// Runs the experiment.
    ///
    /// # Errors
    /// Flags that make no sense, and output that cannot be written.
    pub(crate) fn run(&self) -> Result<()> {
        let config = self.config()?;
        let environment = environment::record(Device::Cpu);
        check_folder(&self.out, &config.experiment)?;
        make_folder(&self.out)?;
        let resolved = json!({"config": config, "environment": environment});
        write_json(&self.out.join("config.json"), &resolved)?;
        let terminal = Terminal::default();
        let computed = Tournament::open(&config, &environment, &self.out, &terminal)?.compute()?;
        let (settings, samples): (Vec<_>, Vec<_>) = computed.into_iter().unzip();
        let results = TournamentResults::new(config, environment, settings);
        print(&results);
        let path = self.out.join("results.json");
        // By way of a value, whose fields are in the order of their names.
        write_json(&path, &serde_json::to_value(&results)?)?;
        let clouds: Vec<Option<Clouds>> =
            samples.into_iter().map(|samples| samples.map(clouds)).collect();
        let page = write_report(&Report::of_tournament(&results, &clouds)?, &self.out)?;
        println!("report: {}", page.display());
        println!("results: {}", path.display());
        Ok(())
    }

    /// Those of a profile's settings that --settings names; all without it.
    fn chosen(&self, settings: &[TournamentSetting]) -> Result<Vec<TournamentSetting>> {
        let known: Vec<String> = settings.iter().map(TournamentSetting::slug).collect();
        if let Some(unknown) = self.settings.iter().find(|name| !known.contains(name)) {
            let message = format!(
                "--settings {unknown}: the profile has none of this name: use {}",
                known.join(", ")
            );
            return Err(UsageError(message).into());
        }
        let is_chosen =
            |s: &&TournamentSetting| self.settings.is_empty() || self.settings.contains(&s.slug());
        Ok(settings.iter().filter(is_chosen).copied().collect())
    }

    /// The profile with what the flags override.
    fn config(&self) -> Result<TournamentConfig> {
        let profile = self.profile.clone();
        let calls = if self.calls.is_empty() { profile.calls } else { self.calls.clone() };
        if !calls.is_sorted_by(|a, b| a < b) {
            let message = format!("--calls {calls:?}: name each number once, ascending");
            return Err(UsageError(message).into());
        }
        let samples = self.samples.unwrap_or(profile.samples);
        if samples < FEWEST_SAMPLES {
            let message = format!("--samples {samples}: ask for at least {FEWEST_SAMPLES}");
            return Err(UsageError(message).into());
        }
        Ok(TournamentConfig {
            format_version: FORMAT_VERSION,
            experiment: EXPERIMENT.to_owned(),
            profile: profile.name.to_owned(),
            settings: self.chosen(&profile.settings)?,
            methods: TournamentMethod::ALL.to_vec(),
            seed: self.seed,
            measurements: self.measurements.unwrap_or(profile.measurements),
            samples,
            calls,
            tuning_measurements: profile.tuning_measurements,
            tuning_samples: profile.tuning_samples,
            floor_pairs: profile.floor_pairs,
        })
    }
}

/// Prints a table and the claim of every setting, then the table over all of them.
fn print(results: &TournamentResults) {
    let TournamentConfig { measurements, samples, .. } = results.config;
    for setting in &results.settings {
        println!(
            "\n{}: {measurements} measurements, samples of each: {samples}; mean ± standard deviation \
             over measurements",
            setting.label
        );
        print!("{}", tournament_table(results, setting).text());
        if let Some(claim) = &setting.claim {
            println!("  {}", claim.sentence());
        }
    }
    println!(
        "\nAll {} settings: mean of sliced W2, in deviations of the exact posterior",
        results.settings.len()
    );
    print!("{}", tournament_summary(results).text());
    let claims: Vec<_> =
        results.settings.iter().filter_map(|setting| setting.claim.as_ref()).collect();
    let held = claims.iter().filter(|claim| claim.holds).count();
    println!(
        "EPS, Heun, {CLAIM_CALLS} calls, is as close to exact samples as two sets of them are (mean + {} \
         standard deviations) in {held} of {} settings",
        FLOOR_DEVIATIONS,
        claims.len()
    );
}

/// Samples in the plane as a page shows them.
fn clouds(samples: PlaneSamples) -> Clouds {
    Clouds { exact: samples.exact, of_methods: samples.of_methods }
}
