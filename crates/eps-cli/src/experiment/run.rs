//! The experiments on networks: their flags, and what they print and write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use eps::dataset;
use eps_cluster::{agree, facts_of, sees_the_same_folder};
use eps_data::Split;
use eps_data::png::{Picture, encode_png};
use eps_experiments::pictures::{COLOURS, SD_LABEL, SD_MAX, columns, write_mosaic};
use eps_experiments::{
    Chosen, Computed, Profile, Request, Run, RunOutcome, Shard, folder_of, make_folder,
    other_settings, passes_a_call, pictures,
};
use eps_files::WriteLock;
use eps_math::Task;
use eps_report::{ColourScale, Column, Gallery, Report, Table, calibration_table};
use eps_results::{Experiment, MarginVerdict, Method, Scope, TaskResults};

use super::output::{usage, write_report};
use crate::experiment::terminal::Terminal;
use crate::flags::{NetworkFlags, UsageError, count, seed};
use crate::sampling_cost::CostFlags;
use crate::together::{Processes, speaks};

/// What the experiments on networks have in common.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How much is computed: smoke (2 images, 1 sample each; under a minute), quick (6 × 3; minutes),
    /// full (main 100 × 10, the paper's numbers, the others 32 × 4; hours on a CPU), verify (1000 × 10: checks by how much
    /// one call and the mean of the samples are better than linear MMSE, and fails where a claim does)
    #[arg(long, value_name = "PROFILE", default_value = "quick")]
    profile: Profile,
    #[command(flatten)]
    network_flags: NetworkFlags,
    /// The data set: its name, or a file that `eps data` wrote
    #[arg(long, value_name = "NAME", default_value = "fashion-mnist", value_parser = dataset::name)]
    dataset: String,
    /// Folder of the networks: TASK, all-tasks, palette-TASK and prior, each .safetensors [default:
    /// that of the repository; target/reproduce/networks for experiments that train networks of their
    /// own]
    #[arg(long, value_name = "FOLDER")]
    networks: Option<PathBuf>,
    /// Print the names of the networks that are needed, one a line, and end
    #[arg(long)]
    list_networks: bool,
    /// The prior of the methods that ask one, in place of that of the networks' folder: a network, or
    /// the description of a TorchScript module (docs/priors.md)
    #[arg(long, value_name = "NET.safetensors|PRIOR.json")]
    prior: Option<PathBuf>,
    /// The contenders' constants, as `eps tune` writes them [default: that of the repository]
    #[arg(long, value_name = "FILE")]
    constants: Option<PathBuf>,
    /// Folder or file of the data set [default: where the repository keeps it]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Folder of the results [default: target/reproduce/fashion for main, else
    /// target/reproduce/EXPERIMENT; target/reproduce/NAME/EXPERIMENT on another data set]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Tasks, separated by commas: random-inpainting, box-inpainting, super-resolution,
    /// gaussian-blur, motion-blur [default: all]
    #[arg(long, value_name = "TASKS", value_delimiter = ',', value_parser = task)]
    tasks: Vec<Task>,
    /// Methods of the experiment, separated by commas, such as linear-mmse, eps, palette and ddrm, or with their number of calls,
    /// such as eps-20; `main` takes further forms of the contenders too: dps-published, daps-published, daps-exact, ddnm-published,
    /// pigdm-published, mpgd-published [default: those of the experiment]
    #[arg(long, value_name = "METHODS", value_delimiter = ',')]
    methods: Vec<String>,
    /// Networks of EPS: those of each task, or the one of all tasks [default: both, as far as there are any]
    #[arg(long, value_name = "WHICH", value_parser = scope())]
    network: Option<Scope>,
    /// The split that the images are taken from: test, or validation for choosing between networks
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    split: Split,
    /// Images, 1 to as many as the split has, instead of the profile's
    #[arg(long, value_name = "N", value_parser = count)]
    images: Option<usize>,
    /// Samples of each image, instead of the profile's
    #[arg(long, value_name = "J", value_parser = count)]
    samples: Option<usize>,
    /// Network calls a sample, ascending and separated by commas, instead of the profile's
    #[arg(long, value_name = "CALLS", value_delimiter = ',', value_parser = count)]
    calls: Vec<usize>,
    /// Samples that are drawn at once; more are faster on a GPU, and take more memory [default: 32; on
    /// a GPU as many as the networks' activations allow, 1000 at most]
    #[arg(long, value_name = "N", value_parser = count)]
    batch: Option<usize>,
    /// Seed of operators, measurement noise and samples
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    seed: u64,
    /// Take the samples in --out whichever build of the program drew them, and score them anew: only where
    /// nothing that samples depend on has changed
    #[arg(long)]
    keep_samples: bool,
    /// Compute share K of N of the samples and end without scores, as one job of many that share --out, or with a folder
    /// each that `eps experiment merge` joins; the same command without it scores
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
    /// The FID network, NVIDIA's inception-2015-12-05.pt, for FID and the distances between its features;
    /// it is a program: name only a file that you trust
    #[arg(long, value_name = "FILE.pt")]
    inception: Option<PathBuf>,
    #[command(flatten)]
    cost: CostFlags,
}

/// The task of a flag.
pub(crate) fn task(name: &str) -> Result<Task, String> {
    Task::from_name(name)
        .ok_or_else(|| format!("the tasks are {}", Task::ALL.map(Task::name).join(", ")))
}

/// The scopes of a flag, by name.
fn scope() -> impl TypedValueParser<Value = Scope> {
    let value = |name, help| PossibleValue::new(name).help(help);
    let names = [
        value("per-task", "The network of the task"),
        value("all", "The one network of all tasks"),
    ];
    PossibleValuesParser::new(names)
        .map(|name| if name == "all" { Scope::AllTasks } else { Scope::PerTask })
}

impl Arguments {
    /// Runs the experiment.
    ///
    /// # Errors
    /// Input that is missing or damaged, output that cannot be written, and in the profile `verify` a
    /// claim that fails.
    pub(crate) fn run(&self, experiment: Experiment, processes: &Processes) -> Result<()> {
        let request = self.request(experiment);
        if self.list_networks && !speaks() {
            return Ok(());
        }
        if self.list_networks {
            for (name, ..) in request.choose().map_err(usage)?.plan.networks() {
                println!("{name}");
            }
            return Ok(());
        }
        if self.cost.is_dry_run() {
            return if speaks() { self.print_cost(&request) } else { Ok(()) };
        }
        let out = self.out.clone().unwrap_or_else(|| folder_of(experiment, &self.dataset));
        let has_report = self.profile.report;
        // A request that makes no sense is refused before threads are set and notes are told.
        request.choose().map_err(usage)?;
        let terminal = Terminal::default();
        let (device, asked) = self.network_flags.apply()?;
        let device = processes.device(device);
        if let Processes::Group(group) = processes {
            sees_the_same_folder(&**group, &out)?;
        }
        let run = Run::prepare(&request, (device, asked), &out, &terminal).map_err(usage)?;
        let (shard, scores) = match (self.shard, processes) {
            (Some(shard), Processes::Group(group)) if group.size() == 1 => (Some(shard), false),
            (Some(_), _) => bail!(UsageError("--shard is for one process at a time".to_owned())),
            (None, Processes::Group(group)) if group.size() == 1 => (None, true),
            (None, Processes::Group(group)) => {
                agree(&**group, &facts_of(&run.settings()))?;
                (Some(Shard::of(group.rank(), group.size())), group.rank() == 0)
            }
            (None, Processes::Unconnected(launch)) => {
                eprintln!(
                    "note: the {} processes of {} do not reach each other, and each computes its share; give the same \
                     command to one process when they have ended",
                    launch.size, launch.launcher
                );
                (Some(Shard::of(launch.rank, launch.size)), false)
            }
        };
        // Jobs of one run share its folder; who writes results has it alone.
        let _lock = if scores { Some(WriteLock::take(&out.join("results.json"))?) } else { None };
        self.network_flags.note(run.precision());
        if processes.is_first() {
            let others = other_settings(&out, &run.settings());
            if !others.is_empty() {
                eprintln!(
                    "note: the results in {} are of other settings ({}) and are replaced",
                    out.display(),
                    others.join("; ")
                );
            }
            run.write_config(&out)?;
        }
        if let Some(shard) = shard {
            let (stored, all) = run.compute_shard(shard)?;
            if let Processes::Group(group) = processes {
                group.barrier();
            }
            // The others have nothing to do any more.
            processes.take_all_cores();
            if !scores {
                if self.shard.is_some() || matches!(processes, Processes::Unconnected(_)) {
                    println!(
                        "share {shard} is computed: {stored} of {all} cells are in {}; the same command without shares \
                         computes what is missing and scores",
                        out.display()
                    );
                }
                return Ok(());
            }
        }
        let outcome = run.compute()?;
        let results = &outcome.results;
        for (task, computed) in results.tasks.iter().zip(&outcome.settings) {
            print_task(task, computed, has_report);
        }
        if let Some(overhead) = &results.overhead {
            println!("\n{}", overhead.sentence());
        }
        let origins: BTreeSet<&str> =
            results.config.networks.iter().map(|file| &*file.origin).collect();
        for origin in origins {
            println!("networks: {origin}");
        }
        outcome.write_json(&out.join("results.json"))?;
        if has_report {
            outcome.write_samples(&out.join("samples.h5"))?;
            outcome.write_measurements(&out.join("measurements"))?;
            let path = write(&outcome, &out)?;
            println!("report: {}", path.display());
        }
        println!("results: {}", out.join("results.json").display());
        let all = results.tasks.iter().flat_map(|task| &task.margins);
        let failed = all.filter(|margin| margin.verdict == MarginVerdict::Fails).count();
        if failed > 0 && !has_report {
            bail!("{failed} claims about the networks fail, marked FAILS above: train them longer");
        }
        Ok(())
    }

    /// What the flags ask for.
    fn request(&self, experiment: Experiment) -> Request {
        Request {
            experiment,
            profile: self.profile.clone(),
            dataset: self.dataset.clone(),
            data: self.data.clone(),
            networks: self.networks.clone(),
            prior: self.prior.clone(),
            constants: self.constants.clone(),
            tasks: self.tasks.clone(),
            methods: self.methods.clone(),
            scope: self.network,
            split: self.split,
            images: self.images,
            samples: self.samples,
            calls: self.calls.clone(),
            batch: self.batch,
            seed: self.seed,
            keep_samples: self.keep_samples,
            inception: self.inception.clone(),
        }
    }

    /// Prints what the samples of all methods cost; scores are left out.
    fn print_cost(&self, request: &Request) -> Result<()> {
        let Chosen { profile, plan, .. } = request.choose().map_err(usage)?;
        let calls = |method: &Method| method.calls() as u64 * passes_a_call(*method);
        let samples = plan.settings.len() * profile.images * profile.samples;
        let passes = samples as u64 * plan.methods.iter().map(calls).sum::<u64>();
        let what = format!(
            "{}, {} of measurements, {} images, {} samples of each",
            request.experiment.name(),
            match plan.settings.len() {
                1 => "1 kind".to_owned(),
                kinds => format!("{kinds} kinds"),
            },
            profile.images,
            profile.samples
        );
        self.cost.print(&what, passes)
    }
}

/// Writes `report.html` and `figures/` into a folder and returns the path of the page.
///
/// Figures: `TASK.png` with a row an image, `overview.png` with a row a task, the curves as SVG.
fn write(outcome: &RunOutcome, folder: &Path) -> Result<PathBuf> {
    let figures = folder.join("figures");
    make_folder(&figures)?;
    let (mut galleries, mut overview) = (Vec::new(), Vec::new());
    for (task, computed) in outcome.results.tasks.iter().zip(&outcome.settings) {
        let columns = columns(task, computed);
        let images = columns.first().map_or(0, |column| column.pictures.len());
        let row = |image: usize| -> Vec<Picture> {
            columns.iter().map(|column| column.pictures[image].clone()).collect()
        };
        let rows: Vec<Vec<Picture>> = (0..images).map(row).collect();
        write_mosaic(&figures.join(format!("{}.png", task.name)), &rows)?;
        overview.extend(rows.into_iter().next());
        galleries.push(gallery(computed, &columns)?);
    }
    write_mosaic(&figures.join("overview.png"), &overview)?;
    write_report(&Report::new(&outcome.results, &galleries, &outcome.losses)?, folder)
}

/// Pictures as a page shows them.
fn gallery(computed: &Computed, columns: &[pictures::LabelledPictures]) -> Result<Gallery> {
    let encoded = |column: &pictures::LabelledPictures| -> Result<Column> {
        let encode = |picture: &Picture| encode_png(picture.shape, &picture.values);
        let pictures = column.pictures.iter().map(encode).collect::<Result<_, _>>()?;
        Ok(Column { label: column.label.clone(), pictures })
    };
    let has_deviation = columns.last().is_some_and(|column| column.label == SD_LABEL);
    Ok(Gallery {
        shape: computed.problem.set.shape(),
        columns: columns.iter().map(encoded).collect::<Result<_>>()?,
        deviation: has_deviation.then(|| ColourScale { colours: COLOURS.to_vec(), upper: SD_MAX }),
    })
}

/// Prints a task's table and claims.
fn print_task(results: &TaskResults, computed: &Computed, ensembles: bool) {
    let problem = &computed.problem;
    let samples = computed.restorations.iter().map(|(_, r)| r.per_image).max().unwrap_or(1);
    println!(
        "\n{}: {} images, samples of each: {samples}, sigma_y {}; mean ± standard deviation over seeds",
        problem.setting.name(),
        problem.images.len(),
        problem.set.sigma_y()
    );
    print!("{}", Table::new(results.shown(), ensembles).text());
    if !results.calibration.is_empty() {
        print!("{}", calibration_table(&results.calibration).text());
    }
    for (metric, caution) in results.cautions() {
        println!("  {}: {caution}", metric.name());
    }
    for method in &results.diverged {
        println!("  {} diverged: {}", method.label, method.reason);
    }
    if let Some(neighbours) = &results.neighbours {
        println!("  {}", neighbours.sentence());
    }
    for margin in &results.margins {
        println!("  {}", margin.sentence());
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(flags: &[&str]) -> Result<Arguments, clap::Error> {
        let line = ["main"].iter().chain(flags);
        Command::try_parse_from(line).map(|command| command.arguments)
    }

    #[test]
    fn flags_override_the_profile() {
        let flags = ["--profile", "verify", "--images", "50", "--calls", "1,5"];
        let request = parse(&flags).unwrap().request(Experiment::Main);
        assert_eq!((request.profile.name, request.images), ("verify", Some(50)));
        assert_eq!(request.calls, [1, 5]);
        let arguments =
            parse(&["--tasks", "motion-blur,box-inpainting", "--network", "all"]).unwrap();
        assert_eq!(arguments.tasks, [Task::MotionBlur, Task::BoxInpainting]);
        assert_eq!(arguments.network, Some(Scope::AllTasks));
        assert_eq!(arguments.request(Experiment::Main).profile.name, "quick");
    }

    #[test]
    fn unknown_names_are_answered_with_the_known_ones() {
        for (flags, value, known) in [
            (["--profile", "fast"], "\"fast\"", "smoke, quick, full, verify"),
            (["--tasks", "denoising"], "'denoising'", "random-inpainting"),
            (["--network", "prior"], "'prior'", "per-task"),
            (["--device", "tpu"], "\"tpu\"", "cuda:N"),
        ] {
            let error = parse(&flags).unwrap_err().to_string();
            assert!(error.contains(value) && error.contains(known), "{error}");
        }
        let alone = Processes::Group(Box::new(eps_cluster::Alone));
        let error = parse(&["--calls", "20,1"]).unwrap().run(Experiment::Main, &alone).unwrap_err();
        assert!(error.is::<crate::flags::UsageError>());
    }
}
