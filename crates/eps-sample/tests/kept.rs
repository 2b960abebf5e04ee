//! Samples of every solver and contender on a small mixture, against numbers that were kept.
//!
//! They were printed by `kept_samples` itself at the revision before solvers and contenders shared one walk; the order of
//! operations is theirs. Their last bits belong to a processor's functions, so they are compared to a tolerance.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use eps_math::prior::{Gaussian, Mixture};
use eps_math::{Interpolant, Schedule};
use eps_model::Oracle;
use eps_sample::contenders::daps::{Daps, published_levels};
use eps_sample::contenders::ddnm::Ddnm;
use eps_sample::contenders::ddrm::Ddrm;
use eps_sample::contenders::dps::{Dps, Form};
use eps_sample::contenders::mpgd::Mpgd;
use eps_sample::contenders::pigdm::{PiGdm, PiGdmPublished};
use eps_sample::contenders::{self, ContenderStep, FrozenPrior};
use eps_sample::{Churn, Eps, Estimator, NoiseKeys, Palette, Prior, Sample as _, Solver, ZeroShot};
use faer::Mat;
use tch::Tensor;

mod common;

use common::{CPU, measure, measurement, operators, shape};

/// The first value of the first sample and the last of the last.
const KEPT: [(&str, [f64; 2]); 31] = [
    ("euler eps", [0.3821842654625882, -0.2506288678146819]),
    ("euler palette", [0.3821842654625882, -0.2506288678146819]),
    ("euler zero-shot", [0.3949875946299798, -0.23958779439593766]),
    ("euler prior", [0.6971399840057874, 0.276557724117056]),
    ("heun eps", [0.6411552664470649, -0.0025418041213163055]),
    ("heun palette", [0.6411552664470649, -0.0025418041213163055]),
    ("heun zero-shot", [0.6428615003519124, -0.0024744586537068783]),
    ("heun prior", [0.9743746574288897, 0.5843803293421916]),
    ("churn eps", [-0.24299552349422346, -0.13286074080348345]),
    ("churn palette", [-0.24299552349422346, -0.13286074080348345]),
    ("churn zero-shot", [-0.27098376736890145, -0.1648308608004918]),
    ("churn prior", [-0.15442505918480112, 0.42791491463144943]),
    ("ddim eps", [-0.23929070458010596, -0.3747160174957424]),
    ("ddim palette", [-0.23929070458010596, -0.3747160174957424]),
    ("ddim zero-shot", [-0.24999487541892834, -0.3889847328302489]),
    ("ddim prior", [-0.18836731236723886, 0.07624479697074876]),
    ("flow eps", [0.5437834386409204, -0.14520930615344968]),
    ("flow palette", [0.5437834386409206, -0.14520930615344965]),
    ("flow zero-shot", [0.5650165489963213, -0.12447138419948603]),
    ("flow prior", [0.8683988838927256, 0.4197491914753486]),
    ("ddrm", [-0.29087185482227956, -0.43840128949535645]),
    ("ddnm", [-0.23589659188842713, -0.3636742797793279]),
    ("ddnm-eps", [-0.22582993921721536, -0.3743996641247588]),
    ("mpgd", [-0.2503735710893852, -0.10006227741615488]),
    ("daps", [0.026289641063658383, -1.2248930670282172]),
    ("daps-exact", [1.5320759100981487, 2.739996454769231]),
    ("daps-published", [-0.48772750909429413, -1.0226381838866527]),
    ("dps", [0.6347467046860852, 0.1996273078733816]),
    ("dps-published", [-0.16476696805261976, -0.10641978234049317]),
    ("pigdm", [-0.2911646157845023, -0.521591774422015]),
    ("pigdm-published", [-0.27546940440458784, -0.4266243467393226]),
];

#[test]
fn kept_samples() {
    let near = |c: f64| {
        let mean = (0..16).map(|i| c - 0.04 * f64::from(i)).collect();
        Gaussian::new(mean, Mat::from_fn(16, 16, |i, j| if i == j { 0.25 } else { 0.02 })).unwrap()
    };
    let prior = Mixture::new(&[0.6, 0.4], vec![near(0.3), near(-0.3)]).unwrap();
    let oracle = Oracle::new(&prior);
    let (_, operator) = operators().remove(1);
    let measurement = &measurement(&operator, &measure(&prior, &operator, 0.1), 0.1, 3);
    let keys = NoiseKeys::image_major(1, 0..1, 3);
    let sigmas = Schedule::karras().sigmas(12).unwrap();
    let mut found: Vec<(String, Tensor)> = Vec::new();

    let estimators: [(&str, &dyn Estimator); 4] = [
        ("eps", &Eps { denoiser: &oracle, measurement }),
        ("palette", &Palette { denoiser: &oracle, measurement }),
        ("zero-shot", &ZeroShot { denoiser: &oracle, measurement }),
        ("prior", &Prior { denoiser: &oracle }),
    ];
    let churn = Churn { s_churn: 4.0, s_min: 0.05, s_max: 50.0, s_noise: 1.003 };
    for (solver_name, solver) in [
        ("euler", Solver::Euler),
        ("heun", Solver::Heun),
        ("churn", Solver::Churn(churn)),
        ("ddim", Solver::Ddim { eta: 0.85 }),
        ("flow", Solver::Flow { interpolant: Interpolant::VpCosine { offset: 0.008 } }),
    ] {
        for (name, estimator) in estimators {
            let samples = solver.sample(estimator, &sigmas, &keys, shape(), CPU).unwrap();
            found.push((format!("{solver_name} {name}"), samples));
        }
    }

    let asked: FrozenPrior<'_> = FrozenPrior { denoiser: &oracle };
    let annealing = Schedule::annealing(80.0).sigmas(4).unwrap();
    let published = published_levels(4, 80.0).unwrap();
    let methods: [(&str, &dyn ContenderStep, &[f64]); 11] = [
        ("ddrm", &Ddrm::default(), &sigmas),
        ("ddnm", &Ddnm { eta: 0.85, regularisation: 0.0 }, &sigmas),
        ("ddnm-eps", &Ddnm { eta: 0.85, regularisation: 1e-3 }, &sigmas),
        ("mpgd", &Mpgd { scale: 0.2, eta: 0.85 }, &sigmas),
        ("daps", &Daps::langevin(1e-4), &annealing),
        ("daps-exact", &Daps::exact(), &annealing),
        ("daps-published", &Daps::published(1e-5, 0.1), &published),
        ("dps", &Dps { scale: 0.1, form: Form::Euler }, &sigmas),
        ("dps-published", &Dps { scale: 0.02, form: Form::Ancestral }, &sigmas),
        ("pigdm", &PiGdm { scale: 1.0, eta: 1.0 }, &sigmas),
        ("pigdm-published", &PiGdmPublished { eta: 0.9 }, &sigmas),
    ];
    for (name, contender, sigmas) in methods {
        let noise = keys.on(shape(), CPU);
        let outcome =
            contenders::sample(contender, &asked, measurement, sigmas, &noise, &mut ()).unwrap();
        found.push((name.to_owned(), outcome.finished().unwrap()));
    }

    assert_eq!(found.len(), KEPT.len());
    for ((name, samples), (kept_name, kept)) in found.iter().zip(KEPT) {
        let values = samples.flatten(0, -1);
        let ends = [0, values.size()[0] - 1].map(|i| values.double_value(&[i]));
        assert_eq!(name, kept_name);
        for (found, kept) in ends.iter().zip(kept) {
            // States begin at 80 · 4 and their roundings, of 2⁻⁵² each, shrink with them; the chain of DAPS has 400 steps.
            assert!((found - kept).abs() < 1e-10, "{name}: {ends:?}, kept {kept}");
        }
    }
}
