//! A tournament in the plane, in seconds: who draws from a posterior that is known exactly?

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::path::Path;

use eps::tch::Device;
use eps_experiments::Silent;
use eps_experiments::tournament::Tournament;
use eps_results::tournament::{
    Distance, EXPERIMENT, FORMAT_VERSION, PriorLaw, SIGMA_Y, Space, TournamentConfig,
    TournamentMethod, TournamentSetting, TournamentSettingResults,
};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let folder = std::env::temp_dir().join(format!("eps-tournament-{}", std::process::id()));
    // The folder keeps finished cells: a run that is stopped goes on where it was.
    let results = play(&folder);
    std::fs::remove_dir_all(&folder)?;
    let results = results?;
    println!("sliced W2 to exact samples; between exact sets it is {:.3}", floor(&results));
    for method in &results.methods {
        let scores: Vec<String> = method
            .curve
            .iter()
            .map(|point| match point.over_measurements.get(&Distance::SlicedW2) {
                Some(distance) => format!("{:.3} with {} calls", distance.mean, point.nfe),
                None => "diverged".to_owned(),
            })
            .collect();
        println!("{}: {}", method.label, scores.join(", "));
    }
    Ok(())
}

/// EPS and the prior's own denoiser at the pivot, on one measurement of a mixture in the plane.
fn play(folder: &Path) -> Result<TournamentSettingResults, Error> {
    let setting = TournamentSetting {
        space: Space::Plane,
        law: PriorLaw::Mixture,
        task: None,
        sigma_y: SIGMA_Y,
        border: None,
    };
    let config = TournamentConfig {
        format_version: FORMAT_VERSION,
        experiment: EXPERIMENT.to_owned(),
        profile: "example".to_owned(),
        settings: vec![setting],
        methods: vec![TournamentMethod::EpsEuler, TournamentMethod::ZeroShot],
        seed: 0,
        measurements: 1,
        samples: 200,
        calls: vec![20],
        tuning_measurements: 1,
        tuning_samples: 20,
        floor_pairs: 5,
    };
    let environment = eps::environment::record(Device::Cpu);
    let computed = Tournament::open(&config, &environment, folder, &Silent)?.compute()?;
    let (results, _) = computed.into_iter().next().ok_or("a setting has no results")?;
    Ok(results)
}

fn floor(results: &TournamentSettingResults) -> f64 {
    results.floor[&Distance::SlicedW2].mean
}

#[test]
fn eps_is_close_to_exact_samples() {
    let folder = tempfile::tempdir().unwrap();
    let results = play(folder.path()).unwrap();
    let [eps, zero_shot] = [TournamentMethod::EpsEuler, TournamentMethod::ZeroShot].map(|method| {
        results.method(method).unwrap().curve[0].over_measurements[&Distance::SlicedW2].mean
    });
    assert!(eps < zero_shot, "{eps} {zero_shot}");
    main().unwrap();
}
