//! One table of the rows of several runs.

use eps_math::Task;
use eps_results::{Config, Constant, Contender, FeatureFile, Method, Results, Scope, TaskResults};

use crate::InvalidRequest;
use crate::margins::margins;
use crate::plan::{Plan, Scopes};
use crate::profile::Profile;

/// The rows of two runs of one experiment on the same measurements: those of the first, and those of the second's methods that the
/// first does not have, in the order of the experiment's [`Plan`]. A method is added to a table without what was there being
/// computed again.
///
/// Rows of both are of the same images, measurements and numbers of samples; each run's environment is kept, and the precision of rows
/// that are in another than the first's.
///
/// # Errors
/// [`InvalidRequest`] names what differs: the experiment, the images, the measurements, seed and samples, the solver and its grid,
/// networks of one name, feature networks, a constant of one method and task.
pub fn join(first: Results, second: Results) -> Result<Results, InvalidRequest> {
    if let Some((what, values)) = difference(&first.config, &second.config) {
        let [first, second] = values.map(|value| shortened(&value));
        return Err(InvalidRequest(format!(
            "the runs differ in {what}: {first} and {second}; rows of one table are of the same measurements and the same networks"
        )));
    }
    let Results { mut config, environment, seconds, overhead, mut tasks, mut joined, .. } = first;
    // What the second has beside the first.
    let of_table = config.in_table;
    let (its_table, its_curve) = second.config.methods.split_at(second.config.in_table);
    let new = |methods: &[Method]| -> Vec<Method> {
        methods.iter().filter(|method| !config.methods.contains(method)).copied().collect()
    };
    let (of_its_table, of_its_curve) = (new(its_table), new(its_curve));
    for method in of_its_table.iter().chain(&of_its_curve) {
        let precision = second.config.precision_of(*method);
        config.set_precision(*method, precision);
    }
    config.in_table += of_its_table.len();
    config.methods.splice(of_table..of_table, of_its_table);
    config.methods.extend(of_its_curve);
    let order = Order::of(&config);
    let (in_table, in_curve) = config.methods.split_at_mut(config.in_table);
    for methods in [in_table, in_curve] {
        methods.sort_by_key(|method| order.place(*method));
    }
    for constant in second.config.constants {
        if config.constants.iter().all(|own| key(own) != key(&constant)) {
            config.constants.push(constant);
        }
    }
    for network in second.config.networks {
        if config.networks.iter().all(|own| own.name != network.name) {
            config.networks.push(network);
        }
    }
    config.moments = config.moments.or(second.config.moments);
    for (task, other) in tasks.iter_mut().zip(second.tasks) {
        add(task, other);
        for rows in [&mut task.table, &mut task.curve] {
            // Each method's own before those of its means.
            rows.sort_by_key(|row| (order.place(row.method), row.mean_of));
        }
    }
    joined.push(second.environment);
    joined.extend(second.joined);
    let overhead = overhead.or(second.overhead);
    let mut results = Results::new(config, environment, seconds + second.seconds, overhead, tasks);
    results.joined = joined;
    Ok(results)
}

/// The order of an experiment's methods.
struct Order(Vec<Method>);

impl Order {
    /// That of a run's profile, by whatever networks; without one where the profile is unknown.
    fn of(config: &Config) -> Self {
        let Ok(profile) = config.profile.parse::<Profile>() else { return Self(vec![]) };
        let tasks: Vec<Task> = config.settings.iter().map(|setting| setting.task).collect();
        let all = [Scope::PerTask, Scope::AllTasks];
        let methods = all.map(|palette| {
            let scopes = Scopes { eps: all.to_vec(), palette };
            Plan::new(config.experiment, &profile, &tasks, &scopes).methods
        });
        Self(methods.concat())
    }

    /// The place of a method; one that is not of the plan is last.
    fn place(&self, method: Method) -> usize {
        self.0.iter().position(|own| *own == method).unwrap_or(self.0.len())
    }
}

/// Adds the rows of methods that a setting does not have.
fn add(task: &mut TaskResults, other: TaskResults) {
    let known: Vec<String> = task.rows().map(|row| row.cell.clone()).collect();
    let is_new = |cell: &String| !known.contains(cell);
    task.table.extend(other.table.into_iter().filter(|row| is_new(&row.cell)));
    task.curve.extend(other.curve.into_iter().filter(|row| is_new(&row.cell)));
    let spreads = &mut task.calibration;
    for spread in other.calibration {
        if spreads.iter().all(|own| own.method != spread.method) {
            spreads.push(spread);
        }
    }
    let rows: Vec<_> = task.rows().cloned().collect();
    task.margins = margins(&rows);
    task.neighbours = task.neighbours.take().or(other.neighbours);
    for method in other.diverged {
        if is_new(&method.cell) && !task.diverged.contains(&method) {
            task.diverged.push(method);
        }
    }
}

/// In what two runs differ whose rows cannot stand in one table, and what each has.
fn difference(first: &Config, second: &Config) -> Option<(String, [String; 2])> {
    let of = |what: &str, value: &dyn Fn(&Config) -> String| {
        (what.to_owned(), [value(first), value(second)])
    };
    // The archive that they are from: the file that is made of it may have changed its layout.
    let sources = |features: &[FeatureFile]| -> Vec<String> {
        features.iter().map(|file| file.source.clone()).collect()
    };
    let mut facts = vec![
        of("the experiment", &|config| config.experiment.name().to_owned()),
        of("the SHA-256 of the data set", &|config| config.dataset.sha256.clone()),
        of("the seed", &|config| config.seed.to_string()),
        of("the samples of an image", &|config| config.samples.to_string()),
        of("the images", &|config| format!("{:?}", config.images)),
        of("the measurements", &|config| format!("{:?}", config.settings)),
        of("the solver", &|config| format!("{:?}", config.solver)),
        of("the grid of noise levels", &|config| format!("{:?}", config.schedule)),
        of("the networks of features", &|config| format!("{:?}", sources(&config.features))),
    ];
    for own in &first.networks {
        if let Some(other) = second.networks.iter().find(|other| other.name == own.name) {
            let what = format!("the SHA-256 of the network {}", own.name);
            facts.push((
                what,
                [own, other]
                    .map(|network| network.digests().into_iter().cloned().collect::<String>()),
            ));
        }
    }
    for own in &first.constants {
        if let Some(other) = second.constants.iter().find(|other| key(other) == key(own)) {
            let what =
                format!("{} of {} for {}", own.symbol, own.contender.label(), own.task.name());
            facts.push((what, [own, other].map(|constant| constant.value.to_string())));
        }
    }
    facts.into_iter().find(|(_, [first, second])| first != second)
}

/// What a constant is of.
fn key(constant: &Constant) -> (Contender, Task) {
    (constant.contender, constant.task)
}

/// A value as a message can have it.
fn shortened(value: &str) -> String {
    match value.char_indices().nth(80) {
        Some((end, _)) => format!("{} …", &value[..end]),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use eps_math::{Precision, Schedule, Shape, Solver};
    use eps_results::{DataSet, Environment, Experiment, Row, Setting};

    use super::*;
    use crate::restoration::Restored;
    use crate::scores::{Judge, score_samples};

    const SHAPE: Shape = Shape { channels: 1, height: 11, width: 11 };
    const EPS: Method = Method::Eps { network: Scope::PerTask, calls: 20 };
    const ONE_CALL: Method = Method::Eps { network: Scope::PerTask, calls: 1 };

    fn run(methods: &[(Method, f32)], command: &str) -> Results {
        let row = |(method, value): &(Method, f32)| -> Row {
            let samples = vec![*value; 121];
            let restoration =
                Restored { samples, per_image: 1, nfe: 20, backward_passes: 0, seconds: 6.0 };
            score_samples(*method, &[-1.0; 121], &restoration, SHAPE, &Judge::PIXELS).unwrap()
        };
        let setting = Setting::of(Task::MotionBlur);
        let task = TaskResults {
            setting,
            name: setting.name(),
            table: methods.iter().map(row).collect(),
            curve: vec![],
            calibration: vec![],
            margins: vec![],
            neighbours: None,
            diverged: vec![],
        };
        let config = Config {
            format_version: 2,
            experiment: Experiment::Main,
            profile: "quick".to_owned(),
            dataset: DataSet {
                name: "clothes".to_owned(),
                source: "made up".to_owned(),
                licence: "MIT".to_owned(),
                sha256: "0".to_owned(),
            },
            settings: vec![setting],
            seed: 0,
            samples: 1,
            solver: Solver::Euler,
            schedule: Schedule::karras(),
            methods: methods.iter().map(|(method, _)| *method).collect(),
            in_table: methods.len(),
            constants: vec![],
            batch: 32,
            precision: Precision::F32,
            other_precisions: vec![],
            moments: None,
            features: vec![],
            networks: vec![],
            images: vec![1],
        };
        let environment = Environment {
            eps: "0.1.0".to_owned(),
            libtorch: "2".to_owned(),
            revision: None,
            device: "cpu".to_owned(),
            threads: 1,
            command: command.to_owned(),
        };
        Results::new(config, environment, 2.0, None, vec![task])
    }

    #[test]
    fn a_method_is_added_to_a_table() {
        let first = run(&[(Method::LinearMmse, -0.8), (EPS, -0.8)], "first");
        // Its row of EPS is not taken, as the first has one.
        let second = run(&[(EPS, 0.0), (ONE_CALL, -0.9)], "second");
        let both = join(first.clone(), second).unwrap();
        // In the order of the experiment.
        assert_eq!(both.config.methods, [Method::LinearMmse, ONE_CALL, EPS]);
        let rows: Vec<Method> = both.tasks[0].table.iter().map(|row| row.method).collect();
        assert_eq!(rows, both.config.methods);
        assert_eq!((both.config.in_table, both.seconds), (3, 4.0));
        let task = &both.tasks[0];
        assert_eq!(task.table.len(), 3);
        assert_eq!(task.row(EPS, false), first.tasks[0].row(EPS, false));
        // What a run says of its own rows is said of both.
        assert_eq!(task.margins.len(), 1);
        assert_eq!((&*both.environment.command, &*both.joined[0].command), ("first", "second"));
        let text = serde_json::to_string(&both).unwrap();
        assert_eq!(serde_json::from_str::<Results>(&text).unwrap(), both);
        // One in another precision; a method that asks no network has none.
        let mut in_bf16 = run(&[(EPS, 0.0), (Method::Wiener, 0.0), (ONE_CALL, -0.9)], "bf16");
        in_bf16.config.precision = Precision::Bf16;
        let mixed = join(first.clone(), in_bf16.clone()).unwrap();
        assert_eq!(mixed.config.precisions(), "f32; bf16 for EPS, 1 call");
        // Joined the other way round, every method keeps its own.
        let mut turned = join(in_bf16, first.clone()).unwrap();
        assert_eq!(turned.config.precisions(), "bf16");
        turned.config.methods.retain(|method| *method != EPS);
        turned.tasks[0].table.retain(|row| row.method != EPS);
        turned.config.in_table -= 1;
        let turned = join(turned, first.clone()).unwrap();
        assert_eq!(turned.config.precisions(), "bf16; f32 for EPS, 20 calls");
        assert_eq!(join(first.clone(), turned).unwrap().config.precision_of(EPS), Precision::F32);
        // A third one.
        let third = run(&[(Method::Wiener, 0.0)], "third");
        assert_eq!(join(both, third).unwrap().joined.len(), 2);
    }

    #[test]
    fn runs_that_differ_are_named() {
        let first = run(&[(EPS, 0.0)], "first");
        let mut second = first.clone();
        second.config.images = (0..90).collect();
        let error = join(first.clone(), second.clone()).unwrap_err().to_string();
        assert!(error.contains("the images: [1] and [0, 1, 2") && error.contains(" …"), "{error}");
        second.config.seed = 7;
        let error = join(first, second).unwrap_err().to_string();
        assert!(error.contains("the seed: 0 and 7"), "{error}");
    }
}
