//! What is asked of a run, and what follows of it.

use std::path::PathBuf;

use eps::dataset;
use eps_data::Split;
use eps_math::Task;
use eps_results::{ALL_TASKS, Contender, Experiment, Method, RANKED_SAMPLES, Scope};

use crate::error::{InvalidRequest, Result};
use crate::networks;
use crate::plan::{Plan, Scopes, is_called};
use crate::profile::Profile;

/// Where `cargo xtask reproduce` trains the networks of the experiments that have their own.
const OWN_NETWORKS: &str = "target/reproduce/networks";

/// What the experiments on networks have in common.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which experiment.
    pub experiment: Experiment,
    /// How much is computed.
    pub profile: Profile,
    /// The data set: its name, or a file.
    pub dataset: String,
    /// Folder or file of the data set; none for where the repository keeps it.
    pub data: Option<PathBuf>,
    /// Folder of the networks; none for that of the repository, or for where experiments that train networks of
    /// their own keep these.
    pub networks: Option<PathBuf>,
    /// The prior of the methods that ask one, in place of that of the networks' folder.
    pub prior: Option<PathBuf>,
    /// The contenders' constants; none for those of the repository.
    pub constants: Option<PathBuf>,
    /// The tasks; empty for all.
    pub tasks: Vec<Task>,
    /// The methods by name; empty for those of the experiment.
    pub methods: Vec<String>,
    /// The networks of EPS; none for both kinds, as far as there are any.
    pub scope: Option<Scope>,
    /// The split that the images are taken from.
    pub split: Split,
    /// Images, instead of the profile's.
    pub images: Option<usize>,
    /// Samples of each image, instead of the profile's.
    pub samples: Option<usize>,
    /// Network calls a sample, ascending, instead of the profile's; empty for these.
    pub calls: Vec<usize>,
    /// Samples that are drawn at once; none for what the device allows.
    pub batch: Option<usize>,
    /// Seed of operators, measurement noise and samples.
    pub seed: u64,
    /// Whether samples count whichever build of the program drew them.
    pub keep_samples: bool,
    /// The FID network, where its values are wanted.
    pub inception: Option<PathBuf>,
}

impl Request {
    /// What is run where: the request, checked, on the networks that there are.
    ///
    /// # Errors
    /// [`InvalidRequest`].
    pub fn choose(&self) -> Result<Chosen> {
        let experiment = self.experiment;
        let profile = self.sizes()?;
        self.check()?;
        let wanted = |task: &Task| self.tasks.is_empty() || self.tasks.contains(task);
        let tasks: Vec<Task> = experiment.tasks().into_iter().filter(wanted).collect();
        if tasks.is_empty() {
            let known: Vec<&str> = experiment.tasks().iter().map(|task| task.name()).collect();
            let message = format!("--tasks: {} is about {}", experiment.name(), known.join(", "));
            return Err(InvalidRequest(message).into());
        }
        let folder = self.networks.clone().unwrap_or_else(|| {
            if experiment.variants().is_empty() {
                dataset::networks(&self.dataset)
            } else {
                PathBuf::from(OWN_NETWORKS)
            }
        });
        // One network for all tasks stands in where no task has its own.
        let own = |kind: &str| {
            let has = |name: &str| networks::find(&folder, &format!("{kind}{name}")).is_ok();
            tasks.iter().any(|task| has(task.name())) || !has(ALL_TASKS)
        };
        let scopes = Scopes {
            eps: match self.scope {
                Some(scope) => vec![scope],
                None if own("") => vec![Scope::PerTask, Scope::AllTasks],
                None => vec![Scope::AllTasks],
            },
            palette: if own("palette-") { Scope::PerTask } else { Scope::AllTasks },
        };
        let plan = self.plan(&profile, &tasks, &scopes)?;
        Ok(Chosen { profile, folder, plan })
    }

    /// The plan of an experiment with the methods that are asked for.
    fn plan(&self, profile: &Profile, tasks: &[Task], scopes: &Scopes) -> Result<Plan> {
        let experiment = self.experiment;
        let mut plan = Plan::new(experiment, profile, tasks, scopes);
        if self.methods.is_empty() {
            return Ok(plan);
        }
        if experiment == Experiment::Main {
            plan.add_contenders(profile, &self.methods);
        }
        let mut known: Vec<String> = plan.methods.iter().map(|method| method.name()).collect();
        known.dedup();
        let is_known = |name: &&String| plan.methods.iter().any(|method| is_called(*method, name));
        if let Some(unknown) = self.methods.iter().find(|name| !is_known(name)) {
            let mut message = format!(
                "--methods {unknown}: here the methods are {} (with a number of calls, such as eps-20, those alone)",
                known.join(", ")
            );
            if experiment == Experiment::Main {
                let all = Contender::ALL.map(|contender| contender.name().to_owned()).into_iter();
                let further: Vec<String> = all.filter(|name| !known.contains(name)).collect();
                message += &format!(", and where they are named {}", further.join(", "));
            }
            return Err(InvalidRequest(message).into());
        }
        plan.keep(&self.methods);
        let is_palette = |method: &Method| matches!(method, Method::Palette { .. });
        let has_own = |method: &Method| is_palette(method) && !self.calls.contains(&method.calls());
        if !self.calls.is_empty()
            && plan.methods.iter().any(has_own)
            && plan.methods.iter().all(|method| method.calls() == 0 || has_own(method))
        {
            let message =
                "--calls: the methods that are named have their own numbers of calls: leave it out";
            return Err(InvalidRequest(message.to_owned()).into());
        }
        Ok(plan)
    }

    /// Refuses what the experiment has no use for.
    fn check(&self) -> Result<()> {
        let experiment = self.experiment;
        let fixed_calls = matches!(
            experiment,
            Experiment::ZeroShot
                | Experiment::PosteriorMean
                | Experiment::Ood
                | Experiment::Calibration
                | Experiment::Runtime
        );
        let wrong_samples = |samples| match experiment {
            Experiment::Calibration => samples != RANKED_SAMPLES,
            Experiment::Runtime => samples != 1,
            _ => false,
        };
        let message = match self.samples {
            _ if fixed_calls && !self.calls.is_empty() => {
                "--calls: its methods have their own numbers of calls".to_owned()
            }
            _ if !experiment.variants().is_empty() && self.scope.is_some() => {
                "--network: its networks are given".to_owned()
            }
            _ if self.inception.is_some() && !self.profile.report => {
                format!("--inception: the profile {} scores pixels alone", self.profile.name)
            }
            Some(samples) if wrong_samples(samples) => {
                format!("--samples {samples}: its number of samples is given")
            }
            _ => return Ok(()),
        };
        let message = format!("{message} in {}: leave the flag out", experiment.name());
        Err(InvalidRequest(message).into())
    }

    /// The profile with what the request overrides.
    fn sizes(&self) -> Result<Profile> {
        let experiment = self.experiment;
        let mut profile = self.profile.clone();
        if experiment != Experiment::Main {
            (profile.images, profile.samples) = profile.others;
        }
        match experiment {
            Experiment::Calibration => profile.samples = RANKED_SAMPLES,
            Experiment::Runtime => profile.samples = 1,
            Experiment::PosteriorMean => profile.samples = profile.mean_of,
            _ => {}
        }
        profile.images = self.images.unwrap_or(profile.images);
        profile.samples = self.samples.unwrap_or(profile.samples);
        if !self.calls.is_empty() {
            profile.calls.clone_from(&self.calls);
            profile.steps.clone_from(&self.calls);
            profile.curve.clear();
        }
        if !profile.calls.is_sorted_by(|a, b| a < b) {
            let message = format!("--calls {:?}: name each number once, ascending", self.calls);
            return Err(InvalidRequest(message).into());
        }
        Ok(profile)
    }
}

/// Where an experiment's results go unless a flag says otherwise.
#[must_use]
pub fn folder_of(experiment: Experiment, dataset: &str) -> PathBuf {
    let folder = PathBuf::from("target/reproduce");
    match (dataset::short_name(dataset), experiment) {
        (fashion @ "fashion", Experiment::Main) => folder.join(fashion),
        ("fashion", _) => folder.join(experiment.name()),
        (other, _) => folder.join(other).join(experiment.name()),
    }
}

/// What is run where.
#[derive(Debug)]
pub struct Chosen {
    /// How much is computed.
    pub profile: Profile,
    /// The folder of the networks.
    pub folder: PathBuf,
    /// The measurements and methods.
    pub plan: Plan,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ExperimentError;

    fn request(profile: &str) -> Request {
        Request {
            experiment: Experiment::Main,
            profile: profile.parse().unwrap(),
            dataset: "fashion-mnist".to_owned(),
            data: None,
            networks: None,
            prior: None,
            constants: None,
            tasks: vec![],
            methods: vec![],
            scope: None,
            split: Split::Test,
            images: None,
            samples: None,
            calls: vec![],
            batch: None,
            seed: 0,
            keep_samples: false,
            inception: None,
        }
    }

    #[test]
    fn a_request_overrides_the_profile() {
        let asked = Request { images: Some(50), calls: vec![1, 5], ..request("verify") };
        let profile = asked.sizes().unwrap();
        assert_eq!((profile.name, profile.images, profile.samples), ("verify", 50, 10));
        assert_eq!((profile.calls, profile.curve), (vec![1, 5], vec![]));
        assert_eq!(request("quick").sizes().unwrap().images, 6);
        let asked = Request { calls: vec![20, 1], ..request("quick") };
        let error = asked.sizes().unwrap_err();
        assert!(matches!(error, ExperimentError::Request(_)), "{error}");
        let error = error.to_string();
        assert!(error.contains("[20, 1]") && error.contains("ascending"), "{error}");
    }

    #[test]
    fn what_an_experiment_has_no_use_for_is_refused() {
        let runtime = Experiment::Runtime;
        let asked = Request { experiment: runtime, samples: Some(3), ..request("quick") };
        let error = asked.check().unwrap_err().to_string();
        assert!(error.contains("--samples 3") && error.contains("leave the flag out"), "{error}");
        let asked = Request { experiment: runtime, calls: vec![3], ..request("quick") };
        assert!(asked.check().unwrap_err().to_string().contains("--calls"));
        let ends = |experiment, dataset| folder_of(experiment, dataset).display().to_string();
        assert_eq!(ends(Experiment::Main, "fashion-mnist"), "target/reproduce/fashion");
        assert_eq!(ends(runtime, "fashion-mnist"), "target/reproduce/runtime");
        assert_eq!(ends(runtime, "photos-32"), "target/reproduce/photos-32/runtime");
    }
}
