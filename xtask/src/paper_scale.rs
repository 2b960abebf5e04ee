//! `cargo xtask reproduce --profile ffhq-64 | imagenet-64 | photos-64`: the paper's backbones, from weights and
//! pictures to the tables.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::fetch::{self, Item};
use crate::folder;
use crate::process::{compile, eps, output, root, run};
use crate::recipe::{Recipe, in_order, read_recipes, stem};
use crate::setup;

/// What a profile restores, and with which networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    /// The name of the profile.
    pub(crate) name: &'static str,
    /// The folder of the training configurations.
    recipes: &'static str,
    /// Where prior and pictures come from.
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// From the user: the weights of this published network, and pictures, of its classes where it has
    /// any.
    User { architecture: &'static str, classes: Option<u32> },
    /// The photographs that `cargo xtask fetch` brings, and a prior that is trained on them.
    Photos,
}

/// EDM's network for FFHQ at 64×64.
pub(crate) const FFHQ_64: Scale = Scale {
    name: "ffhq-64",
    recipes: "data/paper/ffhq-64",
    source: Source::User { architecture: "edm-ffhq-64x64-uncond-vp", classes: None },
};

/// EDM's network for ImageNet at 64×64.
pub(crate) const IMAGENET_64: Scale = Scale {
    name: "imagenet-64",
    recipes: "data/paper/imagenet-64",
    source: Source::User { architecture: "edm-imagenet-64x64-cond-adm", classes: Some(1000) },
};

/// Photographs at 64×64.
pub(crate) const PHOTOS_64: Scale =
    Scale { name: "photos-64", recipes: "data/paper/photos-64", source: Source::Photos };

/// The side of the images.
const SIZE: &str = "64";

/// The training of the network for all tasks.
const ALL_TASKS: &str = "all-tasks";

/// The prior.
const PRIOR: &str = "prior";

/// The methods without training.
const CONTENDERS: [&str; 6] = ["dps", "daps", "ddnm", "pigdm", "mpgd", "ddrm"];

/// What is compared, unless fewer are asked for.
const TASKS: [&str; 5] =
    ["random-inpainting", "box-inpainting", "super-resolution", "gaussian-blur", "motion-blur"];

/// Pictures of a check, each under a name of its own: some for every split.
const CHECK_PICTURES: usize = 24;

/// The most pictures of a split in a check.
const CHECK_LIMIT: &str = "8";

/// What the user says.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The published weights.
    pub(crate) weights: Option<&'a Path>,
    /// The folder or zip of pictures.
    pub(crate) data: Option<&'a Path>,
    /// The folder or zip of test pictures alone.
    pub(crate) test_data: Option<&'a Path>,
    /// Whether pictures that cannot be taken are left out.
    pub(crate) skip_bad: bool,
    /// Where networks run.
    pub(crate) device: &'a str,
    /// The file of the FID network.
    pub(crate) inception: Option<&'a Path>,
    /// Only print what would be done, and what it would cost.
    pub(crate) dry_run: bool,
    /// The rate by which hours are judged, where it is not that of `eps`, in 10^12 operations a second.
    pub(crate) tflops: Option<f64>,
    /// Two images and two steps of every stage.
    pub(crate) check: bool,
    /// Whether the folder is emptied first, so that every stage runs.
    pub(crate) fresh: bool,
    /// The tasks that are trained for and compared on; empty for all.
    pub(crate) tasks: &'a [String],
    /// The methods that are compared, by the names of `eps experiment --methods`; empty for all.
    pub(crate) methods: &'a [String],
    /// Where everything goes.
    pub(crate) out: PathBuf,
}

/// One command of the plan.
#[derive(Debug, PartialEq, Eq)]
struct Stage {
    what: String,
    arguments: Vec<OsString>,
    /// What it makes, where a second run need not make it again.
    makes: Option<PathBuf>,
}

impl Stage {
    fn new<S: Into<OsString>>(
        what: impl Into<String>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { what: what.into(), arguments, makes: None }
    }

    fn making(self, path: PathBuf) -> Self {
        Self { makes: Some(path), ..self }
    }

    fn and<S: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The arguments without the device, which need not be there to say what a stage costs.
    fn anywhere(&self) -> Vec<&OsString> {
        let is_device = |at: usize| self.arguments.get(at).is_some_and(|word| word == "--device");
        let kept = (0..self.arguments.len())
            .filter(|&at| !is_device(at) && !at.checked_sub(1).is_some_and(is_device));
        kept.map(|at| &self.arguments[at]).collect()
    }

    /// The command as one types it.
    fn line(&self) -> String {
        let words = self.arguments.iter().map(|word| word.to_string_lossy().into_owned());
        ["eps".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }
}

impl Scale {
    /// Runs, checks or prints the plan.
    pub(crate) fn reproduce(self, request: &Request<'_>) -> Result<()> {
        ensure!(
            self.source != Source::Photos
                || (request.weights.is_none() && request.data.is_none() && !request.skip_bad),
            "the profile {} trains its prior on photographs that it fetches: leave --weights, --data and \
             --skip-bad out",
            self.name
        );
        let recipes = read_recipes(&root().join(self.recipes))?;
        let stages = self.plan(request, recipes)?;
        setup::setup(request.device != "cpu" && !request.dry_run)?;
        println!("building `eps` in release");
        run(compile("build").args(["--bin", "eps"]))?;
        if request.dry_run {
            return self.print(&stages, request.tflops);
        }
        if request.fresh {
            folder::create_empty(&request.out)?;
        }
        claim_inputs(request)?;
        if request.check && request.data.is_none() {
            check_pictures(&self.pictures(request), self.source)?;
        }
        if self.source == Source::Photos {
            fetch::fetch(Item::Photos, None)?;
        }
        if let Err(error) = fetch::fetch(Item::Lpips, None) {
            println!("note: there are no networks of LPIPS: {error:#}");
        }
        for (index, stage) in stages.iter().enumerate() {
            println!("\n== {} of {}: {}", index + 1, stages.len(), stage.what);
            if let Some(made) = stage.makes.as_ref().filter(|made| made.is_file()) {
                println!("{} is there already", made.display());
                continue;
            }
            if let Some(folder) = stage.makes.as_deref().and_then(Path::parent) {
                fs::create_dir_all(folder)
                    .with_context(|| format!("could not make the folder {}", folder.display()))?;
            }
            println!("{}", stage.line());
            run(eps().args(&stage.arguments))?;
        }
        Ok(())
    }

    fn pictures(self, request: &Request<'_>) -> PathBuf {
        request.data.map_or_else(|| request.out.join("check-pictures"), Path::to_owned)
    }

    /// The stages from what the user gives to the tables.
    fn plan(self, request: &Request<'_>, mut recipes: Vec<Recipe>) -> Result<Vec<Stage>> {
        if !request.tasks.is_empty() {
            let task = |name: &str| name.strip_prefix("palette-").unwrap_or(name).to_owned();
            for wanted in request.tasks {
                ensure!(
                    recipes.iter().any(|recipe| recipe.name == *wanted),
                    "--tasks {wanted}: the profile {} has no training of this name",
                    self.name
                );
            }
            recipes.retain(|Recipe { name, .. }| {
                [ALL_TASKS, PRIOR].contains(&&*task(name)) || request.tasks.contains(&task(name))
            });
        }
        let networks = request.out.join("networks");
        // The network for all tasks stands in where no task has its own.
        let one_for_all = !recipes.iter().any(|recipe| TASKS.contains(&&*recipe.name));
        if !request.methods.is_empty() {
            // By whatever solver.
            let asked =
                |method: &str| request.methods.iter().any(|asked| asked.starts_with(method));
            recipes.retain(|Recipe { name, .. }| match name.strip_prefix("palette-") {
                Some(task) => asked("palette") && (one_for_all || task != ALL_TASKS),
                None => name == PRIOR || (asked("eps") && (one_for_all || name != ALL_TASKS)),
            });
        }
        let mut stages = Vec::new();
        let data = match self.source {
            Source::Photos => OsString::from(self.name),
            Source::User { architecture, classes } => {
                stages.push(prior(architecture, request, &networks)?);
                ensure!(
                    request.data.is_some() || request.check || request.dry_run,
                    "the profile {} needs pictures: give a folder or a zip of them with --data, or see \
                     that everything works with --check",
                    self.name
                );
                let data = request.out.join(self.name).with_extension("h5");
                let stage = Stage::new("pictures", ["data", "import"]).and([
                    self.pictures(request).into_os_string(),
                    data.clone().into(),
                    "--size".into(),
                    SIZE.into(),
                ]);
                let stage = match request.test_data {
                    None => stage,
                    Some(path) => stage.and([OsString::from("--test-data"), path.into()]),
                };
                let stage = match classes {
                    None => stage,
                    // A check has pictures of any classes.
                    Some(_) if request.check => stage.and(["--labels"]),
                    Some(number) => stage.and(["--labels", "--classes", &number.to_string()]),
                };
                let stage = if request.skip_bad { stage.and(["--skip-bad"]) } else { stage };
                let stage = if request.check { stage.and(["--limit", CHECK_LIMIT]) } else { stage };
                stages.push(stage.making(data.clone()));
                recipes.push(Recipe { name: PRIOR.to_owned(), start: None });
                data.into_os_string()
            }
        };
        for Recipe { name, start } in in_order(recipes, &networks)? {
            if name == PRIOR && self.source != Source::Photos {
                // It was imported.
                continue;
            }
            let config = root().join(self.recipes).join(&name).with_extension("json");
            let mut stage = Stage::new(format!("training of {name}"), ["train"])
                .and([config.into_os_string(), "--out".into(), networks.join(&name).into()])
                .and(["--device", request.device]);
            if self.source != Source::Photos {
                stage = stage.and([OsString::from("--data"), data.clone()]);
            }
            if let Some(start) = start {
                let file = networks.join(stem(&start)).join(&start);
                stage = stage.and([OsString::from("--start"), file.into()]);
            }
            // Few processors compute bf16 as fast as f32, some a hundred times slower.
            let stage = if request.check && request.device == "cpu" {
                stage.and(["--precision", "f32"])
            } else {
                stage
            };
            stages.push(if request.check { stage.and(["--check"]) } else { stage });
        }
        let on = [OsString::from("--dataset"), data, "--networks".into(), networks.into()];
        // bf16 changes a sample far less than two samples differ (docs/guide/sampling.md).
        let precision = if request.device == "cpu" { "f32" } else { "bf16" };
        let device = ["--device", request.device, "--precision", precision];
        let constants = [OsString::from("--constants"), request.out.join("constants.json").into()];
        let is_compared = |name: &&str| {
            request.methods.is_empty() || request.methods.iter().any(|method| method == name)
        };
        let contenders: Vec<_> = CONTENDERS.into_iter().filter(is_compared).collect();
        // What is tuned has a file, which the comparison reads.
        let is_tuned = !contenders.is_empty();
        for contender in contenders {
            let tasks =
                if request.tasks.is_empty() { TASKS.join(",") } else { request.tasks.join(",") };
            let stage = Stage::new(format!("the constants of {contender}"), ["tune", contender]);
            let stage = stage.and(["--task", tasks.as_str()]).and(on.clone());
            let stage = stage.and(constants.clone()).and(device);
            stages.push(if request.check { stage.and(["--check"]) } else { stage });
        }
        let scope = match request.methods {
            _ if one_for_all => Some("all"),
            [] => None,
            // The network for all tasks was left out.
            _ => Some("per-task"),
        };
        let profile = if request.check { "smoke" } else { "full" };
        let comparison = Stage::new("the comparison", ["experiment", "main", "--profile", profile])
            .and(on)
            .and([OsString::from("--out"), request.out.join("main").into()])
            .and(device)
            .and(is_tuned.then_some(constants).into_iter().flatten())
            .and(scope.map(|scope| ["--network", scope]).into_iter().flatten());
        let comparison = match request.inception {
            None => comparison,
            Some(path) => comparison.and([OsString::from("--inception"), path.into()]),
        };
        let comparison = match request.methods {
            [] => comparison,
            methods => comparison.and(["--methods".to_owned(), methods.join(",")]),
        };
        stages.push(match request.tasks {
            [] => comparison,
            tasks => comparison.and(["--tasks".to_owned(), tasks.join(",")]),
        });
        Ok(stages)
    }

    /// Prints the commands, what each training, search and comparison costs, and the hours of all.
    fn print(self, stages: &[Stage], tflops: Option<f64>) -> Result<()> {
        println!("\nthe plan of {}, {} stages:", self.name, stages.len());
        for (index, stage) in stages.iter().enumerate() {
            println!("{:3}. {}", index + 1, stage.line());
        }
        println!();
        let config = root().join(self.recipes).join(ALL_TASKS).with_extension("json");
        let mut hours = 0.0;
        for stage in stages {
            let mut command = eps();
            command.args(stage.anywhere()).arg("--dry-run");
            match stage.arguments[0].to_str() {
                Some("train") => &mut command,
                Some("tune" | "experiment") => command.arg(&config),
                _ => continue,
            };
            if let Some(rate) = tflops {
                command.arg("--tflops").arg(rate.to_string());
            }
            let said = output(&mut command)?;
            print!("{said}");
            hours += hours_in(&said).with_context(|| format!("no hours in: {said}"))?;
        }
        println!("\nall stages: {hours:.1} hours at this rate, without import and scores");
        Ok(())
    }
}

/// The hours that a dry run tells, in its line `time HOURS hours at …`.
fn hours_in(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("time "))?;
    line.split(' ').next()?.parse().ok()
}

/// Keeps which files a run takes, or checks that they are those of the run which it goes on with.
fn claim_inputs(request: &Request<'_>) -> Result<()> {
    let describe = |path: Option<&Path>| -> Result<String> {
        let Some(path) = path else {
            return Ok("none".to_owned());
        };
        let file = fs::metadata(path).with_context(|| format!("cannot find {}", path.display()))?;
        // A folder's length says nothing.
        let length = if file.is_file() { format!(", {} bytes", file.len()) } else { String::new() };
        Ok(format!("{}{length}", path.display()))
    };
    let (weights, data) = (describe(request.weights)?, describe(request.data)?);
    let mut inputs = format!("weights: {weights}\ndata: {data}\n");
    if request.test_data.is_some() {
        inputs += &format!("test data: {}\n", describe(request.test_data)?);
    }
    if request.check {
        inputs += "a check: two images and two steps of every stage\n";
    }
    let path = request.out.join("inputs.txt");
    match fs::read_to_string(&path) {
        Ok(found) => ensure!(
            found == inputs,
            "{0} was begun with other files\n{found}and would go on with\n{inputs}give the same, or another \
             folder by --out, or remove {0} with all that was made of them",
            request.out.display()
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(&request.out)
                .with_context(|| format!("could not make {}", request.out.display()))?;
            let part = path.with_extension("part");
            fs::write(&part, &inputs)
                .and_then(|()| fs::rename(&part, &path))
                .with_context(|| format!("could not write {}", path.display()))?;
        }
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", path.display()));
        }
    }
    Ok(())
}

/// The prior: the published weights, or in a check random ones of the same architecture.
fn prior(architecture: &str, request: &Request<'_>, networks: &Path) -> Result<Stage> {
    let file = networks.join("prior/prior.safetensors");
    let stage = match request.weights {
        Some(weights) => Stage::new("the prior", ["import"])
            .and([weights.as_os_str().to_owned(), file.clone().into()]),
        None if request.check || request.dry_run => {
            Stage::new("a prior of random weights", ["model", "init", architecture])
                .and([OsString::from(&file)])
        }
        None => bail!(
            "the profile needs the weights of {architecture}: give them with --weights (docs/paper-scale.md \
             says where they are), or see that everything works with --check"
        ),
    };
    Ok(stage.making(file))
}

/// Pictures for a check: one picture of the repository under many names, in two classes. A byte after the
/// picture's end makes different files, as a file is in one split alone.
fn check_pictures(folder: &Path, source: Source) -> Result<()> {
    let picture = root().join("docs/restorations.png");
    let labels = matches!(source, Source::User { classes: Some(_), .. });
    for index in 0..CHECK_PICTURES {
        let class = if labels { format!("class-{}", index % 2) } else { String::new() };
        let folder = folder.join(class);
        fs::create_dir_all(&folder)
            .and_then(|()| fs::read(&picture))
            .and_then(|mut content| {
                content.push(index as u8);
                fs::write(folder.join(format!("{index:02}.png")), content)
            })
            .with_context(|| format!("could not put pictures into {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(check: bool) -> Request<'static> {
        let out = PathBuf::from("out");
        Request {
            weights: None,
            data: None,
            test_data: None,
            skip_bad: false,
            device: "cpu",
            inception: None,
            dry_run: false,
            tflops: None,
            check,
            fresh: false,
            tasks: &[],
            methods: &[],
            out,
        }
    }

    #[test]
    fn a_task_leaves_the_others_out() {
        let recipes = || read_recipes(&root().join(FFHQ_64.recipes)).unwrap();
        let tasks = ["motion-blur".to_owned()];
        let stages = FFHQ_64.plan(&Request { tasks: &tasks, ..request(true) }, recipes()).unwrap();
        let lines: Vec<String> = stages.iter().map(Stage::line).collect();
        assert_eq!(lines.len(), 2 + 3 + 6 + 1, "{lines:?}");
        assert!(lines[5].starts_with("eps tune dps --task motion-blur --"), "{}", lines[5]);
        assert!(lines[11].ends_with("--tasks motion-blur"), "{}", lines[11]);
        let methods = ["dps".to_owned(), "eps".to_owned()];
        let asked = Request { tasks: &tasks, methods: &methods, ..request(true) };
        let stages = FFHQ_64.plan(&asked, recipes()).unwrap();
        let lines: Vec<String> = stages.iter().map(Stage::line).collect();
        // Neither Palette nor the network for all tasks, which nobody asks for.
        assert_eq!(lines.len(), 2 + 1 + 1 + 1, "{lines:?}");
        assert!(lines[2].contains("/motion-blur.json "), "{}", lines[2]);
        assert!(lines[4].contains(" --methods dps,eps "), "{}", lines[4]);
        // What is not tuned has no file of constants.
        let alone = ["eps".to_owned()];
        let asked = Request { tasks: &tasks, methods: &alone, ..request(true) };
        let stages = FFHQ_64.plan(&asked, recipes()).unwrap();
        assert_eq!(stages.len(), 2 + 1 + 1);
        let line = stages[3].line();
        assert!(!line.contains("--constants") && line.contains("--network per-task"), "{line}");
        let tasks = ["haze".to_owned()];
        let error = FFHQ_64.plan(&Request { tasks: &tasks, ..request(true) }, recipes());
        assert!(error.unwrap_err().to_string().contains("--tasks haze"));
    }

    #[test]
    fn every_stage_comes_after_what_it_needs() {
        for scale in [FFHQ_64, IMAGENET_64] {
            let recipes = read_recipes(&root().join(scale.recipes)).unwrap();
            assert_eq!(recipes.len(), 11);
            let stages = scale.plan(&request(true), recipes).unwrap();
            let lines: Vec<String> = stages.iter().map(Stage::line).collect();
            assert_eq!(lines.len(), 2 + 11 + 6 + 1);
            assert!(lines[0].starts_with("eps model init edm-"), "{}", lines[0]);
            assert!(lines[1].starts_with("eps data import out/check-pictures"), "{}", lines[1]);
            for line in &lines[2..13] {
                assert!(line.contains("--start out/networks/prior/prior.safetensors"), "{line}");
                assert!(line.contains("--data out/") && line.ends_with("--check"), "{line}");
            }
            for line in &lines[13..19] {
                assert!(line.starts_with("eps tune ") && line.ends_with("--check"), "{line}");
            }
            assert!(lines[19].starts_with("eps experiment main --profile smoke --dataset out/"));
            assert!(lines[13..].iter().all(|line| line.contains("--constants out/constants.json")));
        }
    }

    #[test]
    fn a_run_goes_on_with_the_same_files() {
        let out = std::env::temp_dir().join(format!("eps-inputs-{}", std::process::id()));
        let _ = fs::remove_dir_all(&out);
        let given = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let with = |weights| Request { weights, out: out.clone(), ..request(true) };
        claim_inputs(&with(Some(&given))).unwrap();
        claim_inputs(&with(Some(&given))).unwrap();
        let error = claim_inputs(&with(None)).unwrap_err().to_string();
        assert!(error.contains("Cargo.toml") && error.contains("none"), "{error}");
        assert!(error.contains("--out"), "{error}");
        let checked = Request { check: false, ..with(Some(&given)) };
        assert!(claim_inputs(&checked).unwrap_err().to_string().contains("a check"));
        let tested = Request { test_data: Some(&given), ..with(Some(&given)) };
        let error = claim_inputs(&tested).unwrap_err().to_string();
        assert!(error.contains("test data: ") && error.contains("--out"), "{error}");
        fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn the_import_gets_its_flags() {
        let weights_and_data = |check| Request {
            weights: Some(Path::new("net.pkl")),
            data: Some(Path::new("pictures")),
            ..request(check)
        };
        let import =
            |scale: Scale, check| scale.plan(&weights_and_data(check), vec![]).unwrap()[1].line();
        assert!(import(IMAGENET_64, false).ends_with("--labels --classes 1000"));
        assert!(import(IMAGENET_64, true).ends_with("--labels --limit 8"));
        assert!(import(FFHQ_64, false).ends_with("--size 64"));
        let others = Request {
            skip_bad: true,
            test_data: Some(Path::new("val")),
            ..weights_and_data(false)
        };
        let recipes = read_recipes(&root().join(FFHQ_64.recipes)).unwrap();
        let others = Request { inception: Some(Path::new("fid.pt")), ..others };
        let stages = FFHQ_64.plan(&others, recipes).unwrap();
        assert!(stages[stages.len() - 1].line().ends_with("constants.json --inception fid.pt"));
        assert!(stages[1].line().ends_with("--size 64 --test-data val --skip-bad"));
    }

    #[test]
    fn what_a_stage_costs_is_asked_without_its_device() {
        let stage = Stage::new("a training", ["train", "a.json", "--device", "cuda:0", "--check"]);
        assert_eq!(stage.anywhere(), ["train", "a.json", "--check"]);
        assert_eq!(hours_in("work 3 FLOP\ntime 12.25 hours at 100 TFLOP/s\n"), Some(12.25));
        assert_eq!(hours_in("no network"), None);
    }

    #[test]
    fn photographs_need_nothing_from_the_user() {
        let recipes = read_recipes(&root().join(PHOTOS_64.recipes)).unwrap();
        let stages = PHOTOS_64.plan(&request(false), recipes).unwrap();
        let lines: Vec<String> = stages.iter().map(Stage::line).collect();
        assert_eq!(lines.len(), 3 + 6 + 1);
        assert!(lines[0].contains("prior.json") && !lines[0].contains("--start"), "{}", lines[0]);
        assert!(lines[1].contains("--start out/networks/prior/prior.safetensors"), "{}", lines[1]);
        assert!(lines[3].starts_with("eps tune dps --task random-inpainting,box-"), "{}", lines[3]);
        assert!(lines[9].contains("--profile full --dataset photos-64"), "{}", lines[9]);
        assert!(lines[9].ends_with("--network all"), "{}", lines[9]);
        assert!(lines.iter().skip(3).all(|line| line.contains("--constants out/constants.json")));
    }

    #[test]
    fn what_the_user_must_give_is_asked_for() {
        let error = FFHQ_64.plan(&request(false), vec![]).unwrap_err().to_string();
        assert!(error.contains("--weights") && error.contains("--check"), "{error}");
        let weights = Path::new("net.pkl");
        let request = Request { weights: Some(weights), ..request(false) };
        let error = FFHQ_64.plan(&request, vec![]).unwrap_err().to_string();
        assert!(error.contains("--data"), "{error}");
    }
}
