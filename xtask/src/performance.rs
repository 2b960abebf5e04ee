//! `cargo xtask bench --report`: `docs/performance.md`, of one run of the bench `cost` of `eps`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::process::{compile, output, root};
use crate::setup;

/// The network in PyTorch, as the pack for a GPU has it.
const PYTORCH: &str = include_str!("gpu_pack/pytorch.py");

/// What is measured, by its flags, for a page that is kept.
const FULL: [&[&str]; 10] = [
    &["--group", "calls", "--size", "fashion", "--batch", "1,8", "--rounds", "11"],
    &["--group", "calls", "--size", "ffhq-64", "--batch", "1", "--rounds", "3"],
    &["--group", "kernels", "--size", "fashion", "--batch", "8", "--rounds", "7"],
    &["--group", "kernels", "--size", "ffhq-64", "--batch", "1", "--rounds", "5"],
    &["--group", "steps", "--size", "fashion", "--batch", "8", "--rounds", "5"],
    &["--group", "pivots", "--size", "fashion", "--batch", "8", "--rounds", "7"],
    &["--group", "pivots", "--size", "ffhq-64", "--batch", "1", "--rounds", "3"],
    &["--group", "gradients", "--size", "fashion", "--batch", "8", "--rounds", "7"],
    &["--group", "workers", "--size", "fashion", "--batch", "8", "--rounds", "5"],
    &["--group", "growth", "--size", "fashion", "--batch", "1,4", "--rounds", "5"],
];

/// The same to see that everything works.
const QUICK: [&[&str]; 1] = [&[
    "--group",
    "calls,kernels,steps,pivots,gradients,workers",
    "--size",
    "fashion",
    "--batch",
    "1",
    "--rounds",
    "1",
]];

/// What is measured beside PyTorch, a round at a time in turn with it.
const BESIDE: [&str; 8] =
    ["--group", "bare", "--size", "ffhq-64", "--batch", "1,4", "--rounds", "1"];

/// The rounds beside PyTorch.
const BESIDE_ROUNDS: usize = 3;

/// The groups of the page, in its order, each with its title and how to read it.
const GROUPS: [(&str, &str, &str); 8] = [
    (
        "calls",
        "A network call",
        "One call of EPS has the pivot and a first convolution that reads y too. The ratio is to the bare denoiser.",
    ),
    (
        "kernels",
        "The share of the kernels",
        "Everything that a call multiplies, run alone: its convolutions one after the other, and the products of its attention. \
         Their ratios added are the share of libtorch's own kernels in a call; the rest are normalisations, activations, sums \
         and copies. Forward and backward have the gradients of what each multiplies, of weights and activations.",
    ),
    (
        "pytorch",
        "The same network in PyTorch",
        "EDM's network of FFHQ-64 as PyTorch runs it, on the same weights and images, one thread each, a process of a round in \
         turn with ours. It has its own libtorch, of the version that is named, and ours that of `cargo xtask setup`. The ratio is to ours: above 1, PyTorch takes longer. \
         Euler's walk has 20 calls and DPS four, by the call; both are written out in the script. A pivot is what deepinv calls a proximal step: it computes in f32, ours in f64.",
    ),
    (
        "steps",
        "A step of every method",
        "Time by network calls, of walks of four calls and more. DPS and ΠGDM differentiate the network; DAPS has its inner \
         chain. The ratio is to the prior's own walk.",
    ),
    (
        "pivots",
        "The pivot of every family of operators",
        "The pivot alone, without a call. Families with an eigenbasis transform twice; the others iterate (conjugate \
         gradients), and cost accordingly. The ratio is to a bare call.",
    ),
    (
        "gradients",
        "The gradient of a training step",
        "Forward and backward of the network alone, and the whole of EPS's: operators, measurement, pivot, loss.",
    ),
    (
        "workers",
        "Two workers",
        "A restoration of eight images, two samples each, five calls a sample. Two workers need two idle cores: below, what \
         the machine's load left of them. The ratio is to one worker; half is the best.",
    ),
    (
        "growth",
        "Growth with the side and the batch",
        "A call with a Gaussian blur, for images of several sides. The ratio is to the bare call of the same side.",
    ),
];

/// What one item took.
#[derive(Debug, Deserialize)]
struct Line {
    group: String,
    size: String,
    batch: usize,
    precision: String,
    item: String,
    threads: usize,
    /// Of a call, one for each round; none where memory is told.
    #[serde(default)]
    seconds: Vec<f64>,
    /// The most memory that the program had.
    bytes: Option<u64>,
    /// Why it has no times.
    error: Option<String>,
}

impl Line {
    /// Whether another line is of the same network, batch and precision.
    fn is_of(&self, other: &Self) -> bool {
        (&self.size, self.batch, &self.precision) == (&other.size, other.batch, &other.precision)
    }
}

/// What the page says of the machine.
#[derive(Debug)]
struct Machine {
    processor: String,
    cores: usize,
    /// The mean number of running processes in the last minute, before and after.
    load: [String; 2],
    revision: String,
}

/// Measures and writes the page; `python` has torch and deepinv, beside which calls are measured.
pub(crate) fn report(quick: bool, python: Option<&Path>, out: Option<&Path>) -> Result<()> {
    setup::setup(false)?;
    let before = load();
    let mut lines = Vec::new();
    let runs: &[&[&str]] = if quick { &QUICK } else { &FULL };
    for flags in runs {
        lines.extend(measured(flags)?);
    }
    if let Some(python) = python {
        lines.extend(beside_pytorch(python, if quick { 1 } else { BESIDE_ROUNDS })?);
    }
    let git = ["describe", "--always", "--dirty", "--abbrev=10"];
    let revision = output(Command::new("git").args(git).current_dir(root()))?;
    let machine = Machine {
        processor: processor(),
        cores: std::thread::available_parallelism().map_or(1, Into::into),
        load: [before, load()],
        revision: revision.trim().to_owned(),
    };
    let page = page(&machine, &lines)?;
    let out = out.map_or_else(|| root().join("docs/performance.md"), Path::to_owned);
    fs::write(&out, page).with_context(|| format!("could not write {}", out.display()))?;
    println!("{}", out.display());
    Ok(())
}

/// What the bench prints with some flags.
fn measured(flags: &[&str]) -> Result<Vec<Line>> {
    println!("cost {}", flags.join(" "));
    let mut bench = compile("bench");
    // Of the whole workspace: for a crate alone, its dependencies would be compiled with other features.
    bench.args(["--quiet", "--workspace", "--bench", "cost", "--"]).args(flags);
    // Several threads inside an operation would measure who else is there.
    bench.env("OMP_NUM_THREADS", threads(flags)).env("OMP_WAIT_POLICY", "PASSIVE");
    parse(&output(&mut bench)?)
}

/// Calls and gradients here and in PyTorch, in turn.
fn beside_pytorch(python: &Path, rounds: usize) -> Result<Vec<Line>> {
    let folder = tempfile::tempdir().context("could not make a folder")?;
    let [weights, script] = ["ffhq.safetensors", "pytorch.py"].map(|name| folder.path().join(name));
    fs::write(&script, PYTORCH).with_context(|| format!("could not write {}", script.display()))?;
    let mut init = compile("run");
    init.args(["--quiet", "--bin", "eps", "--", "model", "init", "edm-ffhq-64x64-uncond-vp"]);
    output(init.arg(&weights))?;
    let mut rows: Vec<Line> = Vec::new();
    for round in 1..=rounds {
        println!("round {round} of {rounds} beside PyTorch");
        let ours = measured(&BESIDE)?;
        let mut theirs = Command::new(python);
        theirs.arg(&script).arg(&weights).args(["--batch", "1,4", "--rounds", "1", "--beside"]);
        theirs.env("OMP_NUM_THREADS", "1");
        for line in ours.into_iter().chain(parse(&output(&mut theirs)?)?) {
            let group = if line.bytes.is_some() { "memory" } else { "pytorch" };
            let line = Line { group: group.to_owned(), ..line };
            let is_same = |row: &&mut Line| {
                row.is_of(&line) && (&row.group, &row.item) == (&line.group, &line.item)
            };
            match rows.iter_mut().find(is_same) {
                Some(row) => row.seconds.extend(line.seconds),
                None => rows.push(line),
            }
        }
    }
    // What is compared stands together, ours first.
    let mut sorted: Vec<Line> = Vec::new();
    while let Some(first) = (!rows.is_empty()).then(|| rows.remove(0)) {
        let is_same = |row: &mut Line| row.is_of(&first) && row.group == first.group;
        let same = rows.extract_if(.., is_same).collect::<Vec<_>>();
        sorted.push(first);
        sorted.extend(same);
    }
    Ok(sorted)
}

/// The threads that libtorch may use: workers are threads.
fn threads(flags: &[&str]) -> &'static str {
    if flags.iter().any(|flag| flag.contains("workers")) { "2" } else { "1" }
}

/// The first number of `/proc/loadavg`.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").to_owned()
}

/// What the system calls its processor.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let avx512 = if text.contains(" avx512f") { "AVX-512" } else { "no AVX-512" };
    let bf16 = if text.contains("avx512_bf16") { "bfloat16" } else { "no bfloat16" };
    name.map_or_else(
        || "unknown".to_owned(),
        |(_, name)| format!("{} ({avx512}, {bf16})", name.trim()),
    )
}

fn parse(printed: &str) -> Result<Vec<Line>> {
    let lines = printed.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Line> = lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("no measurement: {line}")))
        .collect::<Result<_>>()?;
    ensure!(!lines.is_empty(), "the bench printed no measurement: {printed}");
    for Line { size, batch, item, seconds, bytes, error, .. } in &lines {
        let why = error.as_deref().unwrap_or("no time was told");
        let is_told = error.is_none() && (bytes.is_some() || !seconds.is_empty());
        ensure!(is_told, "{item} of {size}, batch {batch}, was not measured: {why}");
    }
    Ok(lines)
}

/// The median of some numbers, of an even number the upper one.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// The median, the least and the largest ratio of two items in the same round.
fn ratios(seconds: &[f64], base: &[f64]) -> Option<[f64; 3]> {
    let ratios: Vec<f64> = seconds.iter().zip(base).map(|(a, b)| a / b).collect();
    let least = ratios.iter().copied().reduce(f64::min)?;
    let largest = ratios.iter().copied().reduce(f64::max)?;
    Some([median(&ratios)?, least, largest])
}

/// Each line of a group with the first of the same network, batch and precision, by which its ratio is.
fn beside_first(of_group: Vec<&Line>) -> Vec<(&Line, &Line)> {
    let mut base: Option<&Line> = None;
    let mut beside = |line| {
        let first = *base.take().filter(|base: &&Line| base.is_of(line)).get_or_insert(line);
        base = Some(first);
        (line, first)
    };
    of_group.into_iter().map(&mut beside).collect()
}

/// What the tables say, in a list.
fn summary(lines: &[Line]) -> Option<String> {
    let range = |group: &str, is_meant: &dyn Fn(&Line) -> bool| {
        let of_group = lines.iter().filter(|line| line.group == group).collect();
        let of = beside_first(of_group).into_iter().filter(|(line, _)| is_meant(line));
        let found = of.filter_map(|(line, first)| Some(ratios(&line.seconds, &first.seconds)?[0]));
        let ends = found.fold(None, |ends: Option<[f64; 2]>, ratio| {
            let [least, largest] = ends.unwrap_or([ratio; 2]);
            Some([least.min(ratio), largest.max(ratio)])
        });
        ends.map(|ends| {
            let [least, largest] = ends.map(|end| format!("{end:.2}"));
            if least == largest { least } else { format!("{least} to {largest}") }
        })
    };
    let is = |name: &'static str| move |line: &Line| line.item == name;
    let in_eigenbasis = |line: &Line| line.item.ends_with("(eigenbasis)");
    let mut said = vec![
        format!(
            "A call of EPS takes {} times as long as one of the bare network, of FFHQ-64's size.",
            range("calls", &|line| line.size == "ffhq-64" && line.item.starts_with("EPS"))?
        ),
        format!(
            "A step of DPS takes {} calls, one of ΠGDM {}: they differentiate the network.",
            range("steps", &is("DPS"))?,
            range("steps", &is("ΠGDM"))?
        ),
        format!(
            "A pivot takes {} of a call where an eigenbasis is known (a matrix {}), and {} where it is iterated, the most for projections.",
            range("pivots", &|line| in_eigenbasis(line) && !line.item.starts_with("dense"))?,
            range("pivots", &|line| in_eigenbasis(line) && line.item.starts_with("dense"))?,
            range("pivots", &|line| line.item.ends_with("(iteration)"))?
        ),
        format!("Two workers take {} of the time of one.", range("workers", &is("2 workers"))?),
    ];
    let of_pytorch =
        |line: &Line| line.size.starts_with("ffhq-64") && line.item.starts_with("PyTorch");
    said.extend(range("pytorch", &of_pytorch).map(|range| {
        format!("PyTorch takes {range} times as long for the same network and walks.")
    }));
    Some(said.iter().map(|sentence| format!("- {sentence}\n")).collect::<String>() + "\n")
}

fn page(machine: &Machine, lines: &[Line]) -> Result<String> {
    let Machine { processor, cores, load, revision } = machine;
    let threads = lines.iter().map(|line| line.threads).min().unwrap_or(1);
    let is_beside = lines.iter().any(|line| line.group == "pytorch");
    let flag = if is_beside { " --pytorch PYTHON" } else { "" };
    let mut page = format!(
        "# What it costs\n\n{}\
         Made by `cargo xtask bench --report{flag}` at revision {revision}, on a CPU. Compare ratios, not milliseconds: the \
         items of a table were timed in turn, round by round, so that other work on the machine fell on all of them alike. A ratio is the \
         median over the rounds of two times of the same round, with the least and the largest. Milliseconds are the \
         median, and hold for this machine under its load.\n\n\
         | processor | cores | load before and after | threads inside an operation |\n|---|---|---|---|\n\
         | {processor} | {cores} | {} and {} | {threads} |\n\n\
         A load above 0 is other work on the same cores: times are then longer than they would be alone, by up to as many \
         times as there are processes for a core, and vary. Networks have random weights; `fashion` is that of Fashion-MNIST \
         here (28×28, 32 channels), `ffhq-64` EDM's of FFHQ (64×64, 61.8 M parameters).\n",
        summary(lines).unwrap_or_default(),
        load[0],
        load[1]
    );
    for (group, title, reading) in GROUPS {
        let of_group: Vec<&Line> = lines.iter().filter(|line| line.group == group).collect();
        if of_group.is_empty() {
            continue;
        }
        write!(
            page,
            "\n## {title}\n\n{reading}\n\n\
             | network or side | batch | precision | | milliseconds | ratio | least to largest |\n\
             |---|---|---|---|---|---|---|\n"
        )?;
        for (line, first) in beside_first(of_group) {
            let none = || format!("{} of {} has no times", line.item, line.group);
            let seconds = median(&line.seconds).with_context(none)?;
            let [ratio, least, largest] =
                ratios(&line.seconds, &first.seconds).with_context(none)?;
            let Line { size, batch, precision, item, .. } = line;
            writeln!(
                page,
                "| {size} | {batch} | {precision} | {item} | {:.3} | {ratio:.3} | {least:.3} to {largest:.3} |",
                1e3 * seconds
            )?;
        }
    }
    let of_memory = || lines.iter().filter_map(|line| Some((line, line.bytes?)));
    if of_memory().next().is_some() {
        page += "\n## Memory\n\n\
                 The most that either program had until then, with all that it loads. The weights are 247 MB, and their gradients as much; both run the batches \
                 one after the other, so that forward calls of the second are held beside what the first left.\n\n\
                 | network | batch | precision | | MB |\n|---|---|---|---|---|\n";
        for (Line { size, batch, precision, item, .. }, bytes) in of_memory() {
            writeln!(page, "| {size} | {batch} | {precision} | {item} | {} |", bytes / 1_000_000)?;
        }
    }
    page += "\n## Time to quality\n\n\
             Quality against the time of a sample, of every method, by the ratios above: [clothes](results/fashion-mnist-steps.md) and \
             [photographs](results/photos-32-steps.md), the second figure of each task.\n";
    page += "\n## Not measured here\n\n\
             - A GPU: [gpu.md](gpu.md) has what is to be measured there, in its order.\n";
    if !is_beside {
        page += "- The same network in PyTorch: `--pytorch PYTHON` measures it too, where that Python has torch and deepinv.\n";
    }
    page += "\n\
             Why work is spread over images and samples, with one thread inside each, and what else was tried, is in \
             [decisions/0010-workers.md](decisions/0010-workers.md).\n";
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(item: &str, seconds: &[f64]) -> Line {
        Line {
            group: "calls".into(),
            size: "fashion".into(),
            batch: 8,
            precision: "f32".into(),
            item: item.into(),
            threads: 1,
            seconds: seconds.to_vec(),
            bytes: None,
            error: None,
        }
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        // A slow round is slow for both.
        let lines = [line("bare", &[0.010, 0.040, 0.010]), line("EPS", &[0.011, 0.044, 0.012])];
        let machine = Machine {
            processor: "a processor".into(),
            cores: 2,
            load: ["3.10".into(), "2.90".into()],
            revision: "abc".into(),
        };
        let page = page(&machine, &lines).unwrap();
        assert!(page.contains("| a processor | 2 | 3.10 and 2.90 | 1 |"), "{page}");
        assert!(page.contains("| fashion | 8 | f32 | bare | 10.000 | 1.000 | 1.000 to 1.000 |"));
        assert!(
            page.contains("| fashion | 8 | f32 | EPS | 12.000 | 1.100 | 1.100 to 1.200 |"),
            "{page}"
        );
        assert!(page.contains("revision abc") && !page.contains("## Two workers"), "{page}");
    }

    #[test]
    fn the_page_begins_with_what_its_tables_say() {
        let of = |group: &str, size: &str, item: &str, seconds: f64| Line {
            group: group.into(),
            size: size.into(),
            ..line(item, &[seconds])
        };
        let mut lines = vec![
            of("calls", "ffhq-64", "bare", 1.0),
            of("calls", "ffhq-64", "EPS, motion-blur", 1.02),
            of("calls", "ffhq-64", "EPS, box-inpainting", 1.01),
            of("steps", "fashion", "prior, Euler", 1.0),
            of("steps", "fashion", "DPS", 2.3),
            of("steps", "fashion", "ΠGDM", 2.2),
            of("pivots", "fashion", "bare call", 1.0),
            of("pivots", "fashion", "mask (eigenbasis)", 0.01),
            of("pivots", "fashion", "dense, 64 rows (eigenbasis)", 0.25),
            of("pivots", "fashion", "projections (iteration)", 12.0),
            of("workers", "fashion", "1 worker", 1.0),
        ];
        // A table is missing.
        assert_eq!(summary(&lines), None);
        lines.push(of("workers", "fashion", "2 workers", 0.5));
        let said = summary(&lines).unwrap();
        for found in [
            "1.01 to 1.02 times",
            "takes 2.30 calls",
            "(a matrix 0.25)",
            "12.00 where it",
            "take 0.50",
        ] {
            assert!(said.contains(found), "{found}: {said}");
        }
        assert!(!said.contains("PyTorch"), "{said}");
    }

    #[test]
    fn what_the_bench_prints_is_read() {
        let printed = "note\n{\"group\":\"pivots\",\"size\":\"fashion\",\"batch\":1,\"precision\":\"f32\",\
                       \"item\":\"mask\",\"device\":\"cpu\",\"threads\":1,\"seconds\":[0.5]}\n";
        let lines = parse(printed).unwrap();
        assert_eq!((lines.len(), lines[0].seconds[0]), (1, 0.5));
        assert!(parse("nothing").unwrap_err().to_string().contains("no measurement"));
        let failed = printed.replace("\"seconds\":[0.5]", "\"error\":\"out of memory\"");
        let error = parse(&failed).unwrap_err().to_string();
        assert!(
            error.contains("mask of fashion, batch 1") && error.contains("out of memory"),
            "{error}"
        );
        assert!(parse("{\"group\":1}").unwrap_err().to_string().contains("{\"group\":1}"));
    }

    #[test]
    fn workers_are_threads() {
        assert_eq!(threads(FULL[8]), "2");
        assert_eq!(threads(FULL[0]), "1");
    }
}
