//! The report's page.

use std::fmt::Write as _;

use anyhow::Result;
use eps_math::{Shape, Task};
use serde_json::Value;

use super::chart::{self, Chart, escape};
use super::paper::{self, DATASETS};
use super::pictures::{COLOURS, Column, SD_LABEL, SD_MAX, data_uri};
use crate::experiment::calibration;
use crate::experiment::config::{Config, Constant};
use crate::experiment::method::Method;
use crate::experiment::plan::{Experiment, Setting};
use crate::experiment::results::{Results, TaskResults};
use crate::experiment::scores::{Claim, MEAN_DB, MEAN_OF, ONE_CALL_DB, Verdict};
use crate::experiment::table::Table;

/// The styles of a page, without those of its charts.
pub(super) const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--ground:#fff;--rule:#d8dee4;\
--panel:#f6f8fa;--good:#00694b;--bad:#b3400a}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--soft:#9aa4af;--ground:#14171b;\
--rule:#343b43;--panel:#1c2026;--good:#3fcf9f;--bad:#f39a5c}}\
*{box-sizing:border-box}\
body{margin:0 auto;padding:1.25rem;max-width:72rem;background:var(--ground);color:var(--ink);\
font:16px/1.55 system-ui,sans-serif}\
h1{font-size:1.7rem;line-height:1.2;margin:.4rem 0 .6rem}\
h2{font-size:1.3rem;margin:2.4rem 0 .5rem;border-top:1px solid var(--rule);padding-top:1.4rem}\
h3{font-size:1.05rem;margin:1.4rem 0 .4rem}\
p,ul,figcaption{max-width:46rem}.formula{background:var(--panel);padding:.7rem .9rem;\
line-height:1.8;overflow-x:auto}main li{margin:.25rem 0}\
sub,sup{line-height:0}\
a{color:inherit}nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem}\
figure{margin:1rem 0}figcaption,caption{color:var(--soft);font-size:.9rem;text-align:left;\
padding:.3rem 0}\
.scroll{overflow-x:auto;max-width:100%;-webkit-overflow-scrolling:touch}\
table{border-collapse:separate;border-spacing:0;font-variant-numeric:tabular-nums;font-size:.86rem}\
.data th,.data td{padding:.28rem .55rem;border-bottom:1px solid var(--rule);text-align:right;\
white-space:nowrap}\
.data th:first-child,.data td:first-child{text-align:left}\
.data thead th{border-bottom:2px solid var(--soft);font-weight:600;white-space:normal;\
vertical-align:bottom}\
.data tbody th{font-weight:400}\
.data .none{color:var(--soft)}.data.facts td{text-align:left;white-space:normal;\
overflow-wrap:anywhere}\
.grid th{font-size:.7rem;font-weight:600;padding:0 2px 4px;vertical-align:bottom;line-height:1.2;\
width:84px}\
.grid td{padding:2px}.grid tbody th{text-align:left;padding-right:.6rem;vertical-align:middle}\
.grid img{display:block;width:84px;height:84px;image-rendering:pixelated}\
.scale{display:inline-block;width:9rem;height:.7rem;vertical-align:-1px;margin:0 .4rem}\
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr));\
gap:1rem 1.5rem}.charts svg{width:100%;height:auto;display:block}\
.holds{color:var(--good)}.fails{color:var(--bad);font-weight:700}\
pre{background:var(--panel);padding:.7rem .9rem;overflow-x:auto;font-size:.82rem;line-height:1.45}\
code{font-size:.9em}\
@media(max-width:40rem){body{padding:1rem .8rem}.data th,.data td{padding:.28rem .5rem}\
.data th:first-child{position:sticky;left:0;background:var(--ground);white-space:normal;\
min-width:8rem}.grid tbody th{position:sticky;left:0;background:var(--ground);width:5.5rem}}";

/// What is measured in a setting.
fn description(setting: Setting, shape: Shape) -> String {
    let Shape { height, width, .. } = shape;
    let pooled = |factor: usize| {
        format!(
            "Every measured value is the mean of {factor}×{factor} pixels: {}×{} of {height}×{width}.",
            height / factor,
            width / factor
        )
    };
    let task = match setting.task {
        Task::RandomInpainting if setting.missing.is_some() => {
            "Pixels are missing at random, others for each image; the pictures of the measurement show \
             the noise on missing pixels too."
        }
        Task::RandomInpainting => {
            "70 % of the pixels are missing, chosen at random for each image; the pictures of the \
             measurement show the noise on missing pixels too."
        }
        Task::BoxInpainting => &format!(
            "A box of {}×{} pixels at a random place is missing; the pictures of the measurement \
                 show the noise on missing pixels too.",
            height / 2,
            width / 2
        ),
        Task::ExtremeInpainting => {
            "95 % of the pixels are missing, chosen at random for each image; the pictures of the \
             measurement show the noise on missing pixels too."
        }
        Task::ExtremeSuperResolution => &pooled(7),
        Task::SuperResolution => &pooled(4),
        Task::GaussianBlur => {
            "A Gaussian of standard deviation 0.75 pixels on 11×11 taps, with wrap-around borders."
        }
        Task::MotionBlur => {
            "A straight line of 7 to 15 pixels in a random direction for each image, with wrap-around \
             borders."
        }
    };
    format!("{task} Noise: σ<sub>y</sub> = {} on the scale [−1, 1].", setting.sigma_y)
}

/// The whole page: one grid of pictures and a chart a score for each task, and the loss curves.
///
/// # Errors
/// None but those of encoding pictures.
pub(super) fn page(
    results: &Results,
    grids: &[Vec<Column>],
    curves: &[Vec<Chart>],
    losses: &[Chart],
) -> Result<String> {
    let mut body = introduction(results);
    body += &overview(results, grids)?;
    body += METHOD;
    body += &untuned(&results.config.constants);
    body += &claims(results);
    body += READING;
    for (task, grid) in results.tasks.iter().zip(grids) {
        body += &section(&results.config, task, grid)?;
    }
    if let Some(overhead) = &results.overhead {
        let sentence = escape(&overhead.sentence());
        writeln!(body, "<h2 id=\"overhead\">At the paper’s size</h2><p>{sentence}.</p>")?;
    }
    body += &quality(curves);
    body += &training(results, losses);
    body += &record(results)?;
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{}</title>\
         <style>{STYLE}\n{}</style></head>\n<body>\n{body}</main></body></html>\n",
        results.config.experiment.title(),
        chart::STYLE
    ))
}

fn introduction(results: &Results) -> String {
    let config = &results.config;
    let links: String = results
        .tasks
        .iter()
        .map(|task| {
            let setting = task.setting();
            format!("<li><a href=\"#{}\">{}</a></li>", setting.name(), escape(&setting.title()))
        })
        .collect();
    format!(
        "<header><h1>{}</h1>\
         <p>{}, experiment <code>{}</code>. Test images: {}. Posterior samples of each: {}. \
         Profile: <code>{}</code>.</p><nav aria-label=\"Contents\"><ul>\
         <li><a href=\"#method\">Method</a></li>\
         <li><a href=\"#claims\">Against the linear estimate</a></li>{links}\
         <li><a href=\"#quality\">Quality and network calls</a></li>\
         <li><a href=\"#training\">Training</a></li>\
         <li><a href=\"#record\">Record</a></li></ul></nav></header>\n<main>",
        config.experiment.title(),
        escape(&config.dataset.name),
        config.experiment.name(),
        config.images.len(),
        config.samples,
        escape(&config.profile),
    )
}

/// One image of every task.
fn overview(results: &Results, grids: &[Vec<Column>]) -> Result<String> {
    let names: Vec<String> = results.tasks.iter().map(|task| task.setting().title()).collect();
    let rows: Vec<(&str, &[Column], usize)> =
        names.iter().zip(grids).map(|(name, grid)| (name.as_str(), grid.as_slice(), 0)).collect();
    Ok(format!(
        "<figure>{}<figcaption>One test image in every task. {}</figcaption></figure>\n",
        grid(&rows, true)?,
        scale(grids.first().map_or(&[], Vec::as_slice))
    ))
}

/// A table of pictures: each row is an image of a grid, with its name.
fn grid(rows: &[(&str, &[Column], usize)], named: bool) -> Result<String> {
    let mut html =
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"grid\"><thead><tr>".to_owned();
    if named {
        html += "<td></td>";
    }
    for column in rows.first().map_or(&[][..], |row| row.1) {
        write!(html, "<th scope=\"col\">{}</th>", escape(&column.label))?;
    }
    html += "</tr></thead><tbody>";
    for (name, columns, image) in rows {
        html += "<tr>";
        if named {
            write!(html, "<th scope=\"row\">{name}</th>")?;
        }
        for column in *columns {
            write!(
                html,
                "<td><img alt=\"{}: {name}\" width=\"84\" height=\"84\" src=\"{}\"></td>",
                escape(&column.label),
                data_uri(&column.pictures[*image])?
            )?;
        }
        html += "</tr>";
    }
    Ok(html + "</tbody></table></div>")
}

/// The contenders whose constants are not tuned, in a paragraph; nothing where all are.
fn untuned(constants: &[Constant]) -> String {
    let names: Vec<String> = constants
        .iter()
        .filter(|constant| !constant.tuned)
        .map(|constant| format!("{} for {}", constant.contender.label(), constant.task.name()))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "<p><strong>Not tuned on this data set</strong>, with the constants of arXiv 2606.17048 or of the \
         published code: {}. <code>eps tune</code> chooses them.</p>\n",
        escape(&names.join(", "))
    )
}

/// What was computed, and how.
const METHOD: &str = "<h2 id=\"method\">Method</h2>\
    <p>An image <var>x</var><sub>0</sub> was measured as <var>y</var> = <var>A x</var><sub>0</sub> + \
    <var>η</var> with a known linear <var>A</var> and noise <var>η</var> ~ N(0, σ<sub>y</sub>² \
    <var>I</var>). The restorations are samples of p(<var>x</var><sub>0</sub> | <var>y</var>). A \
    diffusion model turns noise into images step by step, asking a denoiser for the mean of \
    <var>x</var><sub>0</sub> given the state <var>x</var><sub>t</sub> = <var>x</var><sub>0</sub> + \
    σ<sub>t</sub> <var>ε</var>. Exact posterior sampling (EPS, arXiv 2606.17048) takes the mean given \
    <var>x</var><sub>t</sub> and <var>y</var> instead. It is again the answer of a denoiser, asked at \
    the pivot <var>μ</var>* under the anisotropic noise <var>Σ</var>*:</p>\
    <p class=\"formula\"><var>Σ</var>* = (<var>I</var>/σ<sub>t</sub>² + \
    <var>A</var><sup>T</sup><var>A</var>/σ<sub>y</sub>²)<sup>−1</sup><br>\
    <var>μ</var>* = <var>Σ</var>* (<var>x</var><sub>t</sub>/σ<sub>t</sub>² + \
    <var>A</var><sup>T</sup><var>y</var>/σ<sub>y</sub>²)<br>\
    E[<var>x</var><sub>0</sub> | <var>x</var><sub>t</sub>, <var>y</var>] = E[<var>x</var><sub>0</sub> \
    | <var>x</var><sub>0</sub> + <var>ξ</var> = <var>μ</var>*], &nbsp;<var>ξ</var> ~ N(0, \
    <var>Σ</var>*)</p>\
    <p>The networks were trained for this question: one for each task (<em>EPS</em>), and one for all \
    tasks together (<em>EPS for all tasks</em>). The sampler is EDM’s deterministic Euler method on \
    Karras’ grid of noise levels from σ<sub>t</sub> = 80 to 0.002 with ρ = 7. One call is a single \
    question at σ<sub>t</sub> = 80, an estimate of E[<var>x</var><sub>0</sub> | <var>y</var>]. Beside \
    EPS stand: the pseudo-inverse <var>A</var>†<var>y</var>; the Wiener filter and the linear MMSE \
    estimate, exact for white images and for a Gaussian prior with the training set’s moments; Palette, a \
    network of the same architecture, start and number of steps that is asked at the state and reads \
    <var>y</var>, with EDM’s preconditioning and loss weight and without <var>Σ</var>*; and methods that \
    guide the frozen prior (DPS, DAPS, DDNM, ΠGDM, MPGD, DDRM), in the form of arXiv 2606.17048 unless \
    called published, each with one constant, tuned on validation images unless said below. Images, operators and noise are the \
    same for all methods and seeds, and everything is clipped to [−1, 1].</p>\n";

/// How tables and pictures are read.
const READING: &str = "<h2 id=\"reading\">How to read what follows</h2>\
    <ul><li>Pictures show −1 as black (of a colour: none of it) and 1 as white. Those of EPS are by the network of the \
    task where this run has it: the first sample at each number of network calls, then further samples, mean and standard \
    deviation at the most calls.</li>\
    <li><em>PSNR</em> (dB, data range 2) and <em>SSIM</em>: higher is better. Mean ± standard \
    deviation over seeds, where a seed is one sample of every image and its value the mean over \
    images.</li>\
    <li><em>Energy score</em> (the paper’s CRPS, pair term 1/(2J²) for J samples), its <em>fair</em> \
    form (1/(2J(J − 1)), comparable between different J) and <em>CRPS</em> of a pixel (fair): on \
    pixels in [0, 1], lower is better. <em>MMD²</em> is unbiased and may be negative. Each of them \
    judges all samples together and so has no spread over seeds.</li>\
    <li><em>LPIPS</em> (v0.1) and, on AlexNet’s features, the squared Fréchet distance <em>FD</em> (no FID: \
    that has another network), MMD² and energy score: lower is better. Images smaller than 64 pixels are \
    upsampled to that for the network, grey ones repeated to three channels.</li>\
    <li><em>NFE</em>, network evaluations as counted, and <em>time</em>, wall clock in batches: for \
    each sample; for all of its samples where the row is a mean.</li></ul>\n";

/// The table of margins above the linear estimate: a row an estimate, a column a task.
fn claims(results: &Results) -> String {
    let all = || results.tasks.iter().flat_map(|task| &task.claims);
    let same = |a: &Claim, b: &Claim| (a.method, a.mean_of) == (b.method, b.mean_of);
    let mut estimates: Vec<&Claim> = Vec::new();
    for claim in all() {
        if !estimates.iter().any(|known| same(known, claim)) {
            estimates.push(claim);
        }
    }
    let cell = |claim: Option<&Claim>| match claim {
        None => "<td></td>".to_owned(),
        Some(claim) => {
            let (class, verdict) = match claim.verdict {
                Verdict::Holds => ("holds", "holds"),
                Verdict::Fails => ("fails", "fails"),
                Verdict::Open => ("none", "open"),
            };
            format!("<td class=\"{class}\">{:+.2} {verdict}</td>", claim.margin_db)
        }
    };
    let row = |estimate: &&Claim| {
        let cells: String = results
            .tasks
            .iter()
            .map(|task| cell(task.claims.iter().find(|claim| same(claim, estimate))))
            .collect();
        format!(
            "<tr><th scope=\"row\">{}</th><td>≥ {:.1}</td>{cells}</tr>",
            escape(&estimate.label()),
            estimate.claimed_db
        )
    };
    let tasks: String = results
        .tasks
        .iter()
        .map(|task| format!("<th scope=\"col\">{}</th>", escape(&task.setting().title())))
        .collect();
    let summary = match all().filter(|claim| claim.verdict == Verdict::Fails).count() {
        0 => "No comparison fails here.".to_owned(),
        n => format!(
            "<strong class=\"fails\">{n} of {} comparisons fail here.</strong>",
            all().count()
        ),
    };
    format!(
        "<h2 id=\"claims\">Against the linear estimate</h2>\
         <p>Over 1,000 test images of each task, the one-call estimate is claimed to have a PSNR at \
         least {ONE_CALL_DB:.0} dB above that of the linear MMSE estimate, and the mean of {MEAN_OF} \
         samples at least {MEAN_DB} dB. This run compares {} images; <code>eps experiment main \
         --profile verify</code> compares 1,000. {summary}</p>\
         <figure><div class=\"scroll\" tabindex=\"0\"><table class=\"data\"><thead><tr>\
         <th scope=\"col\">estimate</th><th scope=\"col\">claimed (dB)</th>{tasks}</tr></thead>\
         <tbody>{}</tbody></table></div><figcaption>PSNR minus that of the linear MMSE estimate, in \
         dB. Open: not reached, but by the mean of fewer samples than is claimed about.</figcaption>\
         </figure>\n",
        results.config.images.len(),
        estimates.iter().map(row).collect::<String>()
    )
}

fn section(config: &Config, results: &TaskResults, columns: &[Column]) -> Result<String> {
    let setting = results.setting();
    let (name, title) = (setting.name(), escape(&setting.title()));
    let shown = columns.first().map_or(0, |column| column.pictures.len());
    let images: Vec<String> =
        results.problem.images[..shown].iter().map(|image| format!("test image {image}")).collect();
    let rows: Vec<(&str, &[Column], usize)> =
        images.iter().enumerate().map(|(row, image)| (image.as_str(), columns, row)).collect();
    Ok(format!(
        "<section aria-labelledby=\"{name}\"><h2 id=\"{name}\">{title}</h2><p>{}</p>\
         <figure>{}<figcaption>{shown} of {} test images. {} {}</figcaption></figure>\
         <figure><div class=\"scroll\" tabindex=\"0\">{}</div><figcaption>{title}: scores over {} \
         test images, mean ± standard deviation over seeds.</figcaption></figure>{}{}{}</section>\n",
        description(setting, results.shape()),
        grid(&rows, false)?,
        results.problem.images.len(),
        scale(columns),
        results.neighbours.as_ref().map_or(String::new(), |found| escape(&found.sentence())),
        table(&Table::new(&results.shown(), true)),
        results.problem.images.len(),
        diverged(results),
        spread(results),
        paper_values(config.experiment, &config.dataset.name, setting),
    ))
}

/// The paper's tables of the task, where this experiment is that of the paper: that of the data set alone
/// where it is one of the paper's.
fn paper_values(experiment: Experiment, dataset: &str, setting: Setting) -> String {
    if experiment != Experiment::Main {
        return String::new();
    }
    // The name of a split is that of the data set, a comma and its own.
    let is_own = |(name, _): &&(&str, &str)| dataset.split(',').next() == Some(*name);
    let own = DATASETS.iter().find(is_own);
    let table = |(dataset, name): &(&str, &str)| {
        let html = table(&paper::table(setting.task, dataset)?);
        Some(format!(
            "<figure><div class=\"scroll\" tabindex=\"0\">{html}</div><figcaption>{name}.\
             </figcaption></figure>"
        ))
    };
    let (summary, caption, tables): (_, _, String) = match own {
        Some(own) => (
            "The paper’s values for this task, on its own split",
            "the same data set and size, 100 other images and networks that its authors trained (the \
             prior for FFHQ too, on a split of its own), another FID unless that of this run is named \
             FID. Networks of the same size and training should come to values of this order.",
            table(own).into_iter().collect(),
        ),
        None => (
            "The paper’s values for this task, on its own data",
            "other images, networks of 62 million (FFHQ) and 296 million parameters (ImageNet), another \
             FID unless that of this run is named FID. They show what order of methods the paper found, \
             not what values to expect here.",
            DATASETS.iter().filter_map(table).collect(),
        ),
    };
    format!(
        "<details><summary>{summary}</summary><p>From arXiv 2606.17048: {caption}</p>{tables}</details>"
    )
}

/// How the samples of each method spread, where the experiment asks for it.
fn spread(results: &TaskResults) -> String {
    if results.calibration.is_empty() {
        return String::new();
    }
    format!(
        "<figure><div class=\"scroll\" tabindex=\"0\">{}</div>\
         <figcaption>Calibration. The energy ratio of ten samples is their energy score over the \
         distance of their mean from the truth; a calibrated sampler has it equal to the same ratio with \
         an eleventh sample in the truth’s place (a Gaussian posterior of many dimensions has 0.7416). \
         Intervals: how often the truth of a pixel lies in the central interval of {} samples, all \
         rounded to the 256 grey levels of the images, ties split at random; pixels \
         are ranked whose samples have a standard deviation above 1/255.</figcaption></figure>\
         <figure><div class=\"charts\">{}</div></figure>",
        table(&calibration::table(&results.calibration)),
        calibration::SAMPLES,
        super::spread(results).iter().map(Chart::svg).collect::<String>()
    )
}

/// What is to be read with care, and the methods that have no scores because a chain left the finite numbers.
fn diverged(results: &TaskResults) -> String {
    let line = |(method, reason): &(Method, String)| {
        format!("<p class=\"fails\">{} diverged: {}.</p>", escape(&method.label()), escape(reason))
    };
    let caution = |(name, text): (&str, &str)| {
        format!("<p>{}: {}.</p>", escape(name), escape(text.trim_end_matches('.')))
    };
    let cautions: String = results.cautions().into_iter().map(caution).collect();
    cautions + &results.diverged.iter().map(line).collect::<String>()
}

/// The legend of the standard deviation's colours, where there is one.
fn scale(columns: &[Column]) -> String {
    if columns.last().is_none_or(|column| column.label != SD_LABEL) {
        return "With one sample of each image there is no standard deviation.".to_owned();
    }
    let colours: Vec<String> = COLOURS.iter().map(|colour| format!("#{colour:06x}")).collect();
    format!(
        "Standard deviation: 0 <span class=\"scale\" role=\"img\" aria-label=\"colours from violet \
         over green to yellow\" style=\"background:linear-gradient(90deg,{})\"></span> {SD_MAX} and \
         more, on the scale [−1, 1].",
        colours.join(",")
    )
}

/// A table as HTML.
pub(super) fn table(table: &Table) -> String {
    let headings: String = table
        .headings
        .iter()
        .map(|text| format!("<th scope=\"col\">{}</th>", escape(text)))
        .collect();
    let row = |cells: &Vec<String>| {
        let cells = cells.iter().enumerate().map(|(column, text)| {
            let text = escape(text);
            match column {
                0 => format!("<th scope=\"row\">{text}</th>"),
                _ if text.starts_with("too few") => format!("<td class=\"none\">{text}</td>"),
                _ => format!("<td>{text}</td>"),
            }
        });
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let rows: String = table.rows.iter().map(row).collect();
    format!("<table class=\"data\"><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table>")
}

fn quality(curves: &[Vec<Chart>]) -> String {
    let figure = |what: usize| {
        let charts = || curves.iter().filter_map(|charts| charts.get(what));
        let axes = charts().next()?;
        let svg: String = charts().map(Chart::svg).collect();
        Some(format!(
            "<figure><div class=\"charts\">{svg}</div><figcaption>{} against {}, the mean over images and \
             samples.</figcaption></figure>\n",
            escape(&axes.y.label),
            escape(&axes.x.label)
        ))
    };
    let most = curves.iter().map(Vec::len).max().unwrap_or(0);
    let figures: String = (0..most).filter_map(figure).collect();
    format!(
        "<h2 id=\"quality\">Quality</h2>\
         <p>Few calls lead towards the posterior mean, whose PSNR is high and which shows no spread: \
         an exact sample of the posterior has twice the squared error of its mean. The energy score and \
         LPIPS, of which less is better, judge closeness and spread, and what an eye sees.</p>{figures}"
    )
}

fn training(results: &Results, losses: &[Chart]) -> String {
    let without: Vec<&str> = results
        .config
        .networks
        .iter()
        .map(|network| network.name.as_str())
        .filter(|name| !results.losses.contains_key(*name))
        .collect();
    let note = if without.is_empty() {
        String::new()
    } else {
        format!("<p>No losses lie beside these networks: {}.</p>", escape(&without.join(", ")))
    };
    let figure = if losses.is_empty() {
        String::new()
    } else {
        format!(
            "<figure><div class=\"charts\">{}</div><figcaption>Loss against training step: its mean \
             since the last record, and that of the averaged weights on fixed batches of validation \
             images. The loss is weighted and has no unit; different networks’ losses are not \
             comparable.</figcaption></figure>",
            losses.iter().map(Chart::svg).collect::<String>()
        )
    };
    format!("<h2 id=\"training\">Training</h2>{note}{figure}\n")
}

/// Versions, revision, device and command as facts.
pub(super) fn environment(environment: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => escape(text),
        Value::Null => "unknown".to_owned(),
        other => escape(&other.to_string()),
    };
    let facts = environment.as_object().into_iter().flatten();
    facts.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Facts, each a name and HTML, as a table.
pub(super) fn facts_table(facts: &[(String, String)]) -> String {
    let row = |(name, value): &(String, String)| {
        format!("<tr><th scope=\"row\">{name}</th><td><code>{value}</code></td></tr>")
    };
    format!(
        "<figure><div class=\"scroll\"><table class=\"data facts\"><tbody>{}</tbody></table></div>\
         </figure>",
        facts.iter().map(row).collect::<String>()
    )
}

fn record(results: &Results) -> Result<String> {
    let config = &results.config;
    let mut facts = vec![
        ("seed".to_owned(), config.seed.to_string()),
        (
            "samples of each image".to_owned(),
            format!("{}, numbered from 0 under the seed", config.samples),
        ),
        ("computing time".to_owned(), format!("{:.0} s", results.seconds)),
        (
            "data set".to_owned(),
            escape(&format!(
                "{}; {}; {}",
                config.dataset.name, config.dataset.source, config.dataset.licence
            )),
        ),
    ];
    facts.extend(environment(&results.environment));
    let facts = facts_table(&facts);
    let networks: String = config
        .networks
        .iter()
        .map(|network| {
            format!(
                "<tr><th scope=\"row\">{}</th><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                escape(&network.name),
                network.sha256,
                escape(&network.origin),
                escape(&network.legs())
            )
        })
        .collect();
    Ok(format!(
        "<h2 id=\"record\">Record</h2>\
         {facts}<h3>Networks</h3><figure><div class=\"scroll\"><table class=\"data\"><thead><tr>\
         <th scope=\"col\">network</th><th scope=\"col\">SHA-256 of its file</th>\
         <th scope=\"col\">origin</th><th scope=\"col\">training</th></tr></thead><tbody>{networks}</tbody></table></div></figure><h3>Resolved configuration</h3><details><summary>\
         As it is in <code>config.json</code></summary><pre>{}</pre></details>\n",
        escape(&serde_json::to_string_pretty(config)?)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_s_values_are_captioned_by_data_set() {
        let values =
            |dataset| paper_values(Experiment::Main, dataset, Setting::of(Task::MotionBlur));
        let own = values("ffhq-64, test");
        assert!(own.contains("FFHQ, 64×64") && !own.contains("ImageNet, 64×64"), "{own}");
        assert!(own.contains("on its own split") && !own.contains("not what values"), "{own}");
        let other = values("Fashion-MNIST, test");
        assert!(other.contains("FFHQ, 64×64") && other.contains("ImageNet, 64×64"), "{other}");
        assert!(other.contains("not what values to expect"), "{other}");
        let setting = Setting::of(Task::MotionBlur);
        assert_eq!(paper_values(Experiment::Steps, "ffhq-64, test", setting), "");
    }
}
