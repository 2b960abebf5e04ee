//! What each experiment computes: which measurements, restored by which methods.

use std::ops::RangeInclusive;

use eps_math::Task;
use eps_results::{Contender, Experiment, Method, NetworkUse, OtherSolver, Scope, Setting};

use crate::profile::Profile;
use eps::contender::{nearest_calls, usual_calls};

/// Network calls of Palette in the paper's comparison.
const PALETTE_CALLS: usize = 100;

/// The contenders of the paper's comparison, in its order, and DDRM.
const CONTENDERS: [Contender; 6] = [
    Contender::Dps,
    Contender::Daps,
    Contender::Ddnm,
    Contender::Pigdm,
    Contender::Mpgd,
    Contender::Ddrm,
];

/// For which tasks the networks of a plan were trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Scopes {
    /// Those of EPS, one or more.
    pub eps: Vec<Scope>,
    /// That of Palette.
    pub palette: Scope,
}

/// What is measured and restored.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The measurements.
    pub settings: Vec<Setting>,
    /// The methods of the table in its order, then those that only the curve shows.
    pub methods: Vec<Method>,
    /// How many of the methods are in the table.
    pub in_table: usize,
}

impl Plan {
    /// The plan of an experiment on some tasks, with networks of some scopes; where one EPS network is
    /// enough, it is that of the first scope.
    ///
    /// # Panics
    /// Without a scope.
    pub fn new(experiment: Experiment, profile: &Profile, tasks: &[Task], scopes: &Scopes) -> Self {
        let settings = match experiment {
            Experiment::Ood => beyond_training(tasks),
            _ => tasks.iter().copied().map(Setting::of).collect(),
        };
        assert!(!scopes.eps.is_empty(), "a scope of EPS");
        let (table, curve) = match experiment {
            Experiment::Main => (main_table(profile, scopes), curve(profile, scopes)),
            Experiment::Steps => (vec![], steps(profile, scopes)),
            Experiment::ZeroShot => (zero_shot(profile, scopes), vec![]),
            Experiment::PosteriorMean => (posterior_mean(profile, scopes), vec![]),
            Experiment::Ood => (trained(profile, scopes), vec![]),
            Experiment::Calibration => {
                let mut methods = trained(profile, scopes);
                methods.extend(other_solvers(profile, scopes.eps[0]));
                (methods, vec![])
            }
            Experiment::Runtime => (runtime(profile, scopes), vec![]),
            Experiment::WarmStart => {
                // What both begin from.
                let calls = profile.limit(PALETTE_CALLS);
                let mut methods = vec![Method::ZeroShot { calls }, Method::Unconditional { calls }];
                methods.extend(variants(experiment, profile));
                (methods, vec![])
            }
            Experiment::Extreme => {
                let mut methods = estimates();
                methods.extend(contenders(profile));
                methods.extend(variants(experiment, profile).into_iter().skip(1));
                (methods, vec![])
            }
            Experiment::Inputs
            | Experiment::NoiseLaw
            | Experiment::Amortized
            | Experiment::Flow => (variants(experiment, profile), vec![]),
        };
        let in_table = table.len();
        let mut methods = table;
        for method in curve {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        Self { settings, methods, in_table }
    }

    /// The networks that the methods ask, each once, with the tasks that it is asked about.
    pub fn networks(&self) -> Vec<(String, NetworkUse, Vec<Task>)> {
        let mut found: Vec<(String, NetworkUse, Vec<Task>)> = Vec::new();
        for method in &self.methods {
            for Setting { task, .. } in &self.settings {
                let Some((name, network_use)) = method.network(*task) else {
                    continue;
                };
                let asked = if network_use == NetworkUse::Prior { vec![] } else { vec![*task] };
                match found.iter_mut().find(|(known, ..)| *known == name) {
                    Some((.., tasks)) => {
                        tasks.extend(
                            asked
                                .into_iter()
                                .filter(|task| !tasks.contains(task))
                                .collect::<Vec<_>>(),
                        );
                    }
                    None => found.push((name, network_use, asked)),
                }
            }
        }
        found
    }

    /// Adds the contenders of some names, the published forms among them, at their usual calls.
    pub fn add_contenders(&mut self, profile: &Profile, names: &[String]) {
        let all = Contender::ALL.into_iter().map(|contender| usual(contender, profile));
        for method in all.filter(|method| names.iter().any(|name| is_called(*method, name))) {
            if !self.methods.contains(&method) {
                self.methods.insert(self.in_table, method);
                self.in_table += 1;
            }
        }
    }

    /// Keeps the methods of some names alone.
    pub fn keep(&mut self, names: &[String]) {
        self.leave_out(|method| !names.iter().any(|name| is_called(*method, name)));
    }

    /// Leaves some methods out.
    pub fn leave_out(&mut self, left_out: impl Fn(&Method) -> bool) {
        self.in_table = self.methods[..self.in_table].iter().filter(|m| !left_out(m)).count();
        self.methods.retain(|method| !left_out(method));
    }
}

/// Whether a method is chosen by a name: its [name](Method::name), whatever its number of calls, or that with a number of calls, such
/// as `eps-ddim-20`.
pub(crate) fn is_called(method: Method, name: &str) -> bool {
    let of_method = method.name();
    let calls = name.strip_prefix(of_method.as_str()).and_then(|rest| rest.strip_prefix('-'));
    name == of_method || calls.is_some_and(|calls| calls == method.calls().to_string())
}

fn estimates() -> Vec<Method> {
    vec![Method::PseudoInverse, Method::Wiener, Method::LinearMmse]
}

/// The contenders at their usual numbers of calls.
fn contenders(profile: &Profile) -> impl Iterator<Item = Method> {
    CONTENDERS.into_iter().map(|contender| usual(contender, profile))
}

/// A contender at its usual number of calls, or the most that the profile allows.
fn usual(contender: Contender, profile: &Profile) -> Method {
    let calls = nearest_calls(contender, profile.limit(usual_calls(contender)));
    Method::Contender { contender, calls }
}

fn main_table(profile: &Profile, scopes: &Scopes) -> Vec<Method> {
    let mut methods = estimates();
    if profile.contenders {
        methods.extend(contenders(profile));
        // Its calls in the paper, and as few as EPS has.
        let mut calls = [profile.limit(20), profile.limit(PALETTE_CALLS)].to_vec();
        calls.dedup();
        let network = scopes.palette;
        methods.extend(calls.into_iter().map(|calls| Method::Palette { network, calls }));
    }
    for network in &scopes.eps {
        methods.extend(
            profile.calls.iter().map(|calls| Method::Eps { network: *network, calls: *calls }),
        );
    }
    methods
}

/// EPS by the first scope's network at the calls of the curve.
fn curve(profile: &Profile, scopes: &Scopes) -> Vec<Method> {
    let of = |network: &Scope| {
        let network = *network;
        profile.curve.iter().map(move |calls| Method::Eps { network, calls: *calls })
    };
    scopes.eps.first().map_or(vec![], |scope| of(scope).collect())
}

/// Calls of EPS by multistep solvers: one call is Euler's, and many need no better solver.
const FEW_CALLS: RangeInclusive<usize> = 2..=20;

/// Every method at every number of calls.
fn steps(profile: &Profile, scopes: &Scopes) -> Vec<Method> {
    let mut methods = estimates();
    for calls in &profile.steps {
        let calls = *calls;
        let network = scopes.eps[0];
        methods.push(Method::Eps { network, calls });
        if FEW_CALLS.contains(&calls) {
            methods.push(Method::EpsBy { network, by: OtherSolver::Multistep, calls });
            methods.push(Method::EpsBy { network, by: OtherSolver::HalfCorrected, calls });
        }
        methods.push(Method::Palette { network: scopes.palette, calls });
        methods.push(Method::ZeroShot { calls });
        for contender in CONTENDERS {
            if nearest_calls(contender, calls) == calls {
                methods.push(Method::Contender { contender, calls });
            }
        }
    }
    methods
}

fn zero_shot(profile: &Profile, scopes: &Scopes) -> Vec<Method> {
    let calls = profile.limit(PALETTE_CALLS);
    let mut methods = estimates();
    methods.extend([
        Method::ZeroShot { calls },
        Method::Palette { network: scopes.palette, calls },
        Method::Eps { network: scopes.eps[0], calls },
    ]);
    methods
}

/// One call, and samples whose mean it is compared with.
fn posterior_mean(profile: &Profile, scopes: &Scopes) -> Vec<Method> {
    let calls = profile.limit(20);
    let mut methods = vec![Method::LinearMmse];
    for scope in &scopes.eps {
        let network = *scope;
        methods.extend([Method::Eps { network, calls: 1 }, Method::Eps { network, calls }]);
    }
    let network = scopes.palette;
    methods.extend([Method::Palette { network, calls: 1 }, Method::Palette { network, calls }]);
    methods
}

/// The trained methods at the paper's numbers of calls.
fn trained(profile: &Profile, scopes: &Scopes) -> Vec<Method> {
    let (few, many) = (profile.limit(20), profile.limit(PALETTE_CALLS));
    let mut methods = vec![Method::LinearMmse];
    methods.extend([
        Method::Palette { network: scopes.palette, calls: many },
        Method::Eps { network: scopes.eps[0], calls: few },
        Method::Eps { network: scopes.eps[0], calls: many },
    ]);
    methods.dedup();
    methods
}

/// EPS by other solvers: without noise along the walk at the most calls that its own has, with it at these and at its fewest, and by
/// multistep solvers at half of those.
fn other_solvers(profile: &Profile, network: Scope) -> Vec<Method> {
    let (few, many) = (profile.limit(20), profile.limit(PALETTE_CALLS));
    let odd = |calls: usize| calls - (calls + 1) % 2;
    let by = |by, calls| Method::EpsBy { network, by, calls };
    let mut methods = vec![
        by(OtherSolver::Multistep, profile.limit(10)),
        by(OtherSolver::HalfCorrected, profile.limit(10)),
        by(OtherSolver::Heun, odd(many)),
        by(OtherSolver::Churn, odd(few)),
        by(OtherSolver::Churn, odd(many)),
        by(OtherSolver::Ddim, few),
        by(OtherSolver::Ddim, many),
    ];
    methods.dedup();
    methods
}

/// The networks of the experiment at the calls of the profile, beside the linear estimate.
fn variants(experiment: Experiment, profile: &Profile) -> Vec<Method> {
    let mut methods = vec![Method::LinearMmse];
    for variant in experiment.variants() {
        let of = |calls: &usize| Method::Variant { variant: *variant, calls: *calls };
        methods.extend(profile.calls.iter().map(of));
    }
    methods
}

/// Every method that calls a network, as often as it usually does, beside the bare denoiser.
fn runtime(profile: &Profile, scopes: &Scopes) -> Vec<Method> {
    let calls = profile.limit(PALETTE_CALLS);
    let mut methods = vec![
        Method::Unconditional { calls },
        Method::Palette { network: scopes.palette, calls },
        Method::Eps { network: scopes.eps[0], calls },
        Method::ZeroShot { calls },
    ];
    methods.extend(contenders(profile));
    methods
}

/// Masks of 50 to 90 % at the usual noise, and every task under less and more noise.
fn beyond_training(tasks: &[Task]) -> Vec<Setting> {
    let mut settings = Vec::new();
    if tasks.contains(&Task::RandomInpainting) {
        let mask =
            |missing| Setting { missing: Some(missing), ..Setting::of(Task::RandomInpainting) };
        settings.extend([0.5, 0.6, 0.7, 0.8, 0.9].map(mask));
    }
    for task in tasks {
        settings.extend([0.02, 0.1, 0.2].map(|sigma_y| Setting { sigma_y, ..Setting::of(*task) }));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_s_comparison_has_its_rows() {
        let profile: Profile = "full".parse().unwrap();
        let scopes = Scopes { eps: vec![Scope::PerTask, Scope::AllTasks], palette: Scope::PerTask };
        let plan = Plan::new(Experiment::Main, &profile, &Task::ALL, &scopes);
        let labels: Vec<String> =
            plan.methods[..plan.in_table].iter().map(|method| method.label()).collect();
        assert_eq!(
            labels,
            [
                "A†y",
                "Wiener filter",
                "linear MMSE",
                "DPS, 250 calls",
                "DAPS, 100 calls",
                "DDNM, 100 calls",
                "ΠGDM, 100 calls",
                "MPGD, 100 calls",
                "DDRM, 20 calls",
                "Palette, 20 calls",
                "Palette, 100 calls",
                "EPS, 1 call",
                "EPS, 20 calls",
                "EPS, 100 calls",
                "EPS for all tasks, 1 call",
                "EPS for all tasks, 20 calls",
                "EPS for all tasks, 100 calls",
            ]
        );
        // The curve adds 2, 5, 10 and 50 calls.
        assert_eq!(plan.methods.len() - plan.in_table, 4);
    }

    #[test]
    fn one_network_for_all_tasks_is_enough() {
        let profile: Profile = "full".parse().unwrap();
        let scopes = Scopes { eps: vec![Scope::AllTasks], palette: Scope::AllTasks };
        for experiment in [Experiment::Main, Experiment::Steps, Experiment::Calibration] {
            let plan = Plan::new(experiment, &profile, &Task::ALL, &scopes);
            let names: Vec<String> = plan.networks().into_iter().map(|(name, ..)| name).collect();
            assert!(
                names.iter().all(|n| ["prior", "all-tasks", "palette-all-tasks"].contains(&&**n))
            );
        }
    }

    #[test]
    fn methods_are_kept_by_their_names() {
        let profile: Profile = "quick".parse().unwrap();
        let scopes = Scopes { eps: vec![Scope::PerTask], palette: Scope::PerTask };
        let mut plan = Plan::new(Experiment::Main, &profile, &Task::ALL, &scopes);
        plan.keep(&["daps".to_owned(), "eps".to_owned()]);
        assert_eq!(plan.methods[0], Method::Contender { contender: Contender::Daps, calls: 100 });
        assert_eq!((plan.in_table, plan.methods.len()), (4, 8));
        // And with their numbers of calls.
        let mut plan = Plan::new(Experiment::Calibration, &profile, &Task::ALL, &scopes);
        plan.keep(&["eps-ddim-20".to_owned(), "eps-100".to_owned()]);
        let labels: Vec<String> = plan.methods.iter().map(|method| method.label()).collect();
        assert_eq!(labels, ["EPS, 100 calls", "EPS by DDIM, η = 1, 20 calls"]);
    }

    #[test]
    fn beyond_the_training_lie_masks_and_noise() {
        let all = beyond_training(&Task::ALL);
        assert_eq!(all.len(), 5 + 15);
        assert_eq!(all[4].name(), "random-inpainting-missing-0.9");
    }
}
