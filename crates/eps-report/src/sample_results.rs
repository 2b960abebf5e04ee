//! Small results for the tests.

use std::collections::BTreeMap;

use eps_math::{Precision, Schedule, Solver, Task};
use eps_metrics::summary::Spread;
use eps_results::tournament::{
    CallsResults, Distance, MethodResults, PriorLaw, ReachClaim, Space, TournamentConfig,
    TournamentMethod, TournamentSetting, TournamentSettingResults,
};
use eps_results::{
    Config, Contender, DataSet, Diverged, Environment, Experiment, Method, Metric, Results, Row,
    Scope, Setting, TaskResults, TournamentResults,
};

use crate::verdicts::CONTENDERS;

/// A row of samples with a PSNR of spread 0.1 over seeds and no other score.
pub(crate) fn row_of(method: Method, psnr: f64) -> Row {
    Row {
        label: method.label(),
        cell: method.slug(),
        method,
        mean_of: None,
        nfe: method.calls(),
        backward_passes: 0,
        seconds: 0.0,
        psnr_db: Spread { mean: psnr, standard_deviation: Some(0.1), n: 2 },
        ssim: Spread { mean: 0.5, standard_deviation: None, n: 1 },
        energy_score: None,
        energy_score_fair: None,
        crps_coordinate: None,
        mmd2: None,
        features: BTreeMap::new(),
        sources: None,
        of_images: BTreeMap::new(),
        of_seeds: BTreeMap::new(),
        left_out: BTreeMap::new(),
        undefined: BTreeMap::new(),
        cautions: BTreeMap::new(),
    }
}

/// Motion blur with the rows of a table.
pub(crate) fn setting_of(table: Vec<Row>) -> TaskResults {
    let setting = Setting::of(Task::MotionBlur);
    TaskResults {
        setting,
        name: setting.name(),
        table,
        curve: vec![],
        calibration: vec![],
        margins: vec![],
        neighbours: None,
        diverged: vec![],
    }
}

/// Results of an experiment, with two images and three samples of each.
pub(crate) fn results_of(experiment: Experiment, tasks: Vec<TaskResults>) -> Results {
    let config = Config {
        format_version: 2,
        experiment,
        profile: "quick".to_owned(),
        dataset: DataSet {
            name: "clothes".to_owned(),
            source: "made up".to_owned(),
            licence: "MIT".to_owned(),
            sha256: "0".to_owned(),
        },
        settings: tasks.iter().map(|task| task.setting).collect(),
        seed: 0,
        samples: 3,
        solver: Solver::Euler,
        schedule: Schedule::karras(),
        methods: vec![],
        in_table: 0,
        constants: vec![],
        batch: 32,
        precision: Precision::F32,
        other_precisions: vec![],
        moments: None,
        features: vec![],
        networks: vec![],
        images: vec![1, 2],
    };
    Results::new(config, environment(), 1.0, None, tasks)
}

pub(crate) fn environment() -> Environment {
    Environment {
        eps: "0.1.0".to_owned(),
        libtorch: "2".to_owned(),
        revision: Some("0123456789abcdef".to_owned()),
        device: "cpu".to_owned(),
        threads: 1,
        command: "eps".to_owned(),
    }
}

/// A row with a PSNR and a fair energy score of three images.
fn scored(method: Method, psnr: f64, energy: f64) -> Row {
    let mut row = row_of(method, psnr);
    // Differences between EPS and others vary by 0.46: their mean is known to ±1.1.
    let is_eps = matches!(method, Method::Eps { .. });
    let of_images = if is_eps { [-0.5, 0.9, -0.4] } else { [-1.0, 1.0, 0.0] };
    row.energy_score_fair = Some(energy);
    row.of_images = BTreeMap::from([
        (Metric::PsnrDb, of_images.map(|of_image| psnr + of_image).to_vec()),
        (Metric::EnergyScoreFair, of_images.map(|of_image| energy + 0.1 * of_image).to_vec()),
    ]);
    // In these tests SSIM is no score.
    row.cautions.insert(Metric::Ssim, "made up".to_owned());
    row
}

/// The comparison on one task: EPS of a PSNR and a fair energy score, Palette of 20 and 2, the first five
/// contenders of 18 and 3, and DDRM, which diverged.
pub(crate) fn main_results((psnr, energy): (f64, f64)) -> Results {
    let eps = Method::Eps { network: Scope::PerTask, calls: 20 };
    let palette = Method::Palette { network: Scope::PerTask, calls: 100 };
    let mut rows = vec![scored(eps, psnr, energy), scored(palette, 20.0, 2.0)];
    rows.extend(CONTENDERS[..5].iter().map(|method| scored(*method, 18.0, 3.0)));
    let ddrm = Method::Contender { contender: Contender::Ddrm, calls: 20 };
    let mut setting = setting_of(rows);
    let (label, cell, reason) = (ddrm.label(), ddrm.slug(), "at step 3".to_owned());
    setting.diverged = vec![Diverged { label, cell, reason }];
    results_of(Experiment::Main, vec![setting])
}

/// A tournament of two measurements in two settings, of which EPS by Euler's method, DPS and DDRM have 100 and
/// 200 calls, EPS by Heun's also 1,000.
pub(crate) fn tournament_of_two() -> TournamentResults {
    let settings =
        [(Space::Plane, None), (Space::Four, Some(Task::SuperResolution))].map(|(space, task)| {
            TournamentSetting { space, law: PriorLaw::Mixture, task, sigma_y: 0.2, border: None }
        });
    let at = |nfe: usize, w2: f64| CallsResults {
        nfe,
        constant: None,
        diverged: 0,
        over_measurements: BTreeMap::from([(
            Distance::SlicedW2,
            Spread { mean: w2, standard_deviation: Some(0.01), n: 2 },
        )]),
        scores: vec![None, None],
    };
    let method = |method: TournamentMethod, curve: Vec<CallsResults>| MethodResults {
        method,
        label: method.label().to_owned(),
        tuned: None,
        tuning: vec![],
        curve,
    };
    let [dps, ddrm] = [Contender::Dps, Contender::Ddrm].map(TournamentMethod::Contender);
    let of_setting = |setting: TournamentSetting| TournamentSettingResults {
        setting,
        label: setting.label(),
        floor: BTreeMap::from([(
            Distance::SlicedW2,
            Spread { mean: 0.13, standard_deviation: Some(0.02), n: 20 },
        )]),
        methods: vec![
            method(TournamentMethod::EpsEuler, vec![at(100, 9.0), at(200, 0.2)]),
            method(TournamentMethod::EpsHeun, vec![at(99, 9.0), at(199, 0.5), at(999, 0.14)]),
            method(dps, vec![at(100, 9.0), at(200, 0.8)]),
            // It is best with fewer calls.
            method(ddrm, vec![at(100, 0.2), at(200, 9.0)]),
        ],
        claim: Some(ReachClaim {
            nfe: 999,
            sliced_w2: Some(0.14),
            floor: 0.13,
            bound: 0.3,
            holds: true,
        }),
    };
    let config = TournamentConfig {
        format_version: 1,
        experiment: "oracle".to_owned(),
        profile: "quick".to_owned(),
        settings: settings.to_vec(),
        methods: vec![TournamentMethod::EpsEuler, TournamentMethod::EpsHeun, dps, ddrm],
        seed: 0,
        measurements: 2,
        samples: 500,
        calls: vec![100, 200],
        tuning_measurements: 2,
        tuning_samples: 128,
        floor_pairs: 10,
    };
    TournamentResults::new(config, environment(), settings.map(of_setting).to_vec())
}
