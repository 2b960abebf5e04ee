//! The report's page.

use std::collections::BTreeMap;

use eps_math::{Shape, Task};
use eps_results::{
    Config, Constant, Experiment, Loss, MEAN_DB, MEAN_OF, Margin, MarginVerdict, ONE_CALL_DB,
    RANKED_SAMPLES, Results, Setting, TaskResults,
};

use crate::chart::{self, Chart, escape};
use crate::columns;
use crate::gallery::{Gallery, data_uri};
use crate::html::{environment, facts_table, fold, heading, table};
use crate::opening::opening;
use crate::paper::{self, DATASETS};
use crate::quality::{charts, loss, spread as spread_charts};
use crate::style::STYLE;
use crate::table::{Table, calibration_table};

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

/// The report of a run: a page that needs nothing beside itself, and its charts as files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The HTML page.
    pub page: String,
    /// SVG files, by name.
    pub figures: Vec<(String, String)>,
}

impl Report {
    /// The report of a run with the pictures of each setting, in the order of the settings, and the losses of
    /// its networks' trainings by name.
    ///
    /// # Errors
    /// None for the results that a run leaves.
    pub fn new(
        results: &Results,
        galleries: &[Gallery],
        losses: &BTreeMap<String, Vec<Loss>>,
    ) -> Result<Self, serde_json::Error> {
        let curves: Vec<Vec<Chart>> = results.tasks.iter().map(charts).collect();
        let loss_charts: Vec<Chart> =
            losses.iter().map(|(name, records)| loss(name, records)).collect();
        // Methods without calls alone have none.
        let with_curves = results.tasks.iter().zip(&curves).filter(|(_, of)| !of.is_empty());
        let of_curves = with_curves.map(|(task, charts)| {
            (format!("{}-curves.svg", task.name), Chart::panels(charts, charts.len()))
        });
        let of_losses =
            loss_charts.iter().map(|chart| (format!("{}-loss.svg", chart.title), chart.file()));
        let figures = of_curves.chain(of_losses).collect();
        let about: Vec<String> = results
            .tasks
            .iter()
            .zip(galleries)
            .map(|(task, gallery)| plain(&description(task.setting, gallery.shape)))
            .collect();
        let mut body = introduction(results);
        body += &opening(results, &about);
        for (task, gallery) in results.tasks.iter().zip(galleries) {
            body += &section(&results.config, task, gallery);
        }
        body += &overview(results, galleries);
        body += &quality(&curves);
        body += &claims(results);
        body += &fold("columns", "What the columns mean", &(columns::list() + PICTURES));
        let method = METHOD.to_owned() + &untuned(&results.config.constants);
        body += &fold("method", "Method", &method);
        body += &fold("conventions", "Conventions of the scores", &conventions(results));
        if let Some(overhead) = &results.overhead {
            let sentence = format!("<p>{}.</p>", escape(&overhead.sentence()));
            body += &fold("overhead", "The cost at the paper’s size", &sentence);
        }
        body += &training(&results.config, losses, &loss_charts);
        body += &record(results)?;
        let page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{}</title>\
             <style>{STYLE}\n{}</style></head>\n<body>\n{body}</main></body></html>\n",
            results.config.experiment.title(),
            chart::STYLE
        );
        Ok(Self { page, figures })
    }
}

/// What was computed, in one sentence.
fn introduction(results: &Results) -> String {
    let config = &results.config;
    let samples = match config.samples {
        1 => "one posterior sample".to_owned(),
        samples => format!("{samples} posterior samples"),
    };
    format!(
        "<header><h1>{}</h1><p>{} test images ({}), {samples} of each by every method, in {} \
         (experiment <code>{}</code>, profile <code>{}</code>).</p></header>\n<main>",
        config.experiment.title(),
        config.images.len(),
        escape(&config.dataset.name),
        match results.tasks.len() {
            1 => "one task".to_owned(),
            tasks => format!("{tasks} tasks"),
        },
        config.experiment.name(),
        escape(&config.profile),
    )
}

/// A text of this page without the HTML of its indices.
fn plain(html: &str) -> String {
    html.replace("<sub>", "_").replace("</sub>", "")
}

/// What the run's file says of its scores.
fn conventions(results: &Results) -> String {
    let fact = |(name, meaning): (&String, &String)| {
        format!("<dt><code>{}</code></dt><dd>{}</dd>", escape(name), escape(meaning))
    };
    format!("<dl>{}</dl>", results.conventions.iter().map(fact).collect::<String>())
}

/// One image of every task.
fn overview(results: &Results, galleries: &[Gallery]) -> String {
    let names: Vec<String> = results.tasks.iter().map(|task| task.setting.title()).collect();
    let rows: Vec<(&str, &Gallery, usize)> =
        names.iter().zip(galleries).map(|(name, gallery)| (name.as_str(), gallery, 0)).collect();
    let figure = format!(
        "<figure>{}<figcaption>{}</figcaption></figure>",
        grid(&rows, true),
        scale(galleries.first())
    );
    fold("overview", "One test image in every task", &figure)
}

/// The least width and height of a picture on the page.
const LEAST_SIDE: usize = 112;

/// The side at which a picture of `pixels` is shown: a multiple, so that all its pixels are as large.
fn shown_side(pixels: usize) -> usize {
    pixels * LEAST_SIDE.div_ceil(pixels.max(1))
}

/// A table of pictures: each row is an image of a gallery, with its name.
fn grid(rows: &[(&str, &Gallery, usize)], named: bool) -> String {
    let mut html =
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"grid\"><thead><tr>".to_owned();
    if named {
        html += "<td></td>";
    }
    for column in rows.first().map_or(&[][..], |row| &row.1.columns) {
        html += &format!("<th scope=\"col\">{}</th>", escape(&column.label));
    }
    html += "</tr></thead><tbody>";
    for (name, gallery, image) in rows {
        html += "<tr>";
        if named {
            html += &format!("<th scope=\"row\">{name}</th>");
        }
        for column in &gallery.columns {
            html += &format!(
                "<td><img alt=\"{}: {name}\" width=\"{}\" height=\"{}\" src=\"{}\"></td>",
                escape(&column.label),
                shown_side(gallery.shape.width),
                shown_side(gallery.shape.height),
                data_uri(&column.pictures[*image])
            );
        }
        html += "</tr>";
    }
    html + "</tbody></table></div>"
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
const METHOD: &str = "<p>An image <var>x</var><sub>0</sub> was measured as <var>y</var> = <var>A x</var><sub>0</sub> + \
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

/// How pictures are read.
const PICTURES: &str = "<p>Pictures show −1 as black (of a colour: none of it) and 1 as white. Those of EPS are \
    by the network of the task where this run has it: the first sample at each number of network calls, then \
    further samples, mean and standard deviation at the most calls.</p>";

/// The table of margins above the linear estimate: a row an estimate, a column a task.
fn claims(results: &Results) -> String {
    let all = || results.tasks.iter().flat_map(|task| &task.margins);
    let same = |a: &Margin, b: &Margin| (a.method, a.mean_of) == (b.method, b.mean_of);
    let mut estimates: Vec<&Margin> = Vec::new();
    for claim in all() {
        if !estimates.iter().any(|known| same(known, claim)) {
            estimates.push(claim);
        }
    }
    let cell = |claim: Option<&Margin>| match claim {
        None => "<td></td>".to_owned(),
        Some(claim) => {
            let (class, verdict) = match claim.verdict {
                MarginVerdict::Holds => ("holds", "holds"),
                MarginVerdict::Fails => ("fails", "fails"),
                MarginVerdict::Open => ("none", "open"),
            };
            format!("<td class=\"{class}\">{:+.2} {verdict}</td>", claim.margin_db)
        }
    };
    let row = |estimate: &&Margin| {
        let cells: String = results
            .tasks
            .iter()
            .map(|task| cell(task.margins.iter().find(|claim| same(claim, estimate))))
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
        .map(|task| format!("<th scope=\"col\">{}</th>", escape(&task.setting.title())))
        .collect();
    let of_all = all().count();
    if of_all == 0 {
        return String::new();
    }
    let summary = match all().filter(|claim| claim.verdict == MarginVerdict::Fails).count() {
        0 => "Against the linear estimate: no comparison fails".to_owned(),
        n => format!(
            "Against the linear estimate: <span class=\"fails\">{n} of {of_all} comparisons fail</span>"
        ),
    };
    let body = format!(
        "<p>Over 1,000 test images of each task, the one-call estimate is claimed to have a PSNR at \
         least {ONE_CALL_DB:.0} dB above that of the linear MMSE estimate, and the mean of {MEAN_OF} \
         samples at least {MEAN_DB} dB. This run compares {} images; <code>eps experiment main \
         --profile verify</code> compares 1,000.</p>\
         <figure><div class=\"scroll\" tabindex=\"0\"><table class=\"data\"><thead><tr>\
         {}{}{tasks}</tr></thead><tbody>{}</tbody></table></div><figcaption>PSNR minus that of the linear MMSE estimate, in \
         dB. Open: not reached, but by the mean of fewer samples than is claimed about.</figcaption>\
         </figure>",
        results.config.images.len(),
        heading("estimate"),
        heading("claimed (dB)"),
        estimates.iter().map(row).collect::<String>()
    );
    fold("claims", &summary, &body)
}

/// A task: its pictures, and folded in it all its scores.
fn section(config: &Config, results: &TaskResults, gallery: &Gallery) -> String {
    let setting = results.setting;
    let (name, title) = (setting.name(), escape(&setting.title()));
    let shown = gallery.images();
    let images: Vec<String> =
        config.images.iter().take(shown).map(|image| format!("test image {image}")).collect();
    let rows: Vec<(&str, &Gallery, usize)> =
        images.iter().enumerate().map(|(row, image)| (image.as_str(), gallery, row)).collect();
    let scores = format!(
        "<figure><div class=\"scroll\" tabindex=\"0\">{}</div><figcaption>{title}: scores over {} \
         test images, mean ± standard deviation over seeds.</figcaption></figure>{}",
        table(&Table::new(results.shown(), true)),
        config.images.len(),
        diverged(results),
    );
    let calibration = match spread(results) {
        none if none.is_empty() => none,
        some => fold(&format!("{name}-calibration"), "Calibration", &some),
    };
    let body = format!(
        "<p>{}</p><figure>{}<figcaption>{shown} of {} test images. {} {}</figcaption></figure>\
         {}{calibration}{}",
        description(setting, gallery.shape),
        grid(&rows, false),
        config.images.len(),
        scale(Some(gallery)),
        results.neighbours.as_ref().map_or(String::new(), |found| escape(&found.sentence())),
        fold(&format!("{name}-scores"), "All scores", &scores),
        paper_values(config.experiment, &config.dataset.name, setting),
    );
    fold(&name, &format!("{title}: pictures and all scores"), &body)
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
    let body = format!("<p>From arXiv 2606.17048: {caption}</p>{tables}");
    fold(&format!("{}-paper", setting.name()), summary, &body)
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
        table(&calibration_table(&results.calibration)),
        RANKED_SAMPLES,
        spread_charts(results).iter().map(Chart::svg).collect::<String>()
    )
}

/// What is to be read with care, and the methods that have no scores because a chain left the finite numbers.
fn diverged(results: &TaskResults) -> String {
    let mut text = String::new();
    for (metric, caution) in results.cautions() {
        let caution = escape(caution.trim_end_matches('.'));
        text += &format!("<p>{}: {caution}.</p>", metric.name());
    }
    for method in &results.diverged {
        let (label, reason) = (escape(&method.label), escape(&method.reason));
        text += &format!("<p class=\"fails\">{label} diverged: {reason}.</p>");
    }
    text
}

/// The legend of the standard deviation's colours, where there is one.
fn scale(gallery: Option<&Gallery>) -> String {
    let Some(scale) = gallery.and_then(|gallery| gallery.deviation.as_ref()) else {
        return "With one sample of each image there is no standard deviation.".to_owned();
    };
    let colours: Vec<String> =
        scale.colours.iter().map(|colour| format!("#{colour:06x}")).collect();
    format!(
        "Standard deviation: 0 <span class=\"scale\" role=\"img\" aria-label=\"colours from violet \
         over green to yellow\" style=\"background:linear-gradient(90deg,{})\"></span> {} and \
         more, on the scale [−1, 1].",
        colours.join(","),
        scale.upper
    )
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
    let body = format!(
        "<p>Few calls lead towards the posterior mean, whose PSNR is high and which shows no spread: \
         an exact sample of the posterior has twice the squared error of its mean. The energy score and \
         LPIPS, of which less is better, judge closeness and spread, and what an eye sees.</p>{figures}"
    );
    fold("quality", "Curves of every method", &body)
}

fn training(config: &Config, losses: &BTreeMap<String, Vec<Loss>>, charts: &[Chart]) -> String {
    let without: Vec<&str> = config
        .networks
        .iter()
        .map(|network| network.name.as_str())
        .filter(|name| !losses.contains_key(*name))
        .collect();
    let note = if without.is_empty() {
        String::new()
    } else {
        format!("<p>No losses lie beside these networks: {}.</p>", escape(&without.join(", ")))
    };
    let figure = if charts.is_empty() {
        String::new()
    } else {
        format!(
            "<figure><div class=\"charts\">{}</div><figcaption>Loss against training step: its mean \
             since the last record, and that of the averaged weights on fixed batches of validation \
             images. The loss is weighted and has no unit; different networks’ losses are not \
             comparable.</figcaption></figure>",
            charts.iter().map(Chart::svg).collect::<String>()
        )
    };
    fold("training", "Training of the networks", &(note + &figure))
}

fn record(results: &Results) -> Result<String, serde_json::Error> {
    let config = &results.config;
    let mut facts = vec![
        ("seed".to_owned(), config.seed.to_string()),
        (
            "samples of each image".to_owned(),
            format!("{}, numbered from 0 under the seed", config.samples),
        ),
        ("precision of the networks".to_owned(), config.precisions()),
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
    for joined in &results.joined {
        facts.extend(environment(joined));
    }
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
    let headings = ["network", "SHA-256 of its file", "origin", "training"].map(heading).concat();
    let config = format!("<pre>{}</pre>", escape(&serde_json::to_string_pretty(config)?));
    let body = format!(
        "{facts}<h3>Networks</h3><figure><div class=\"scroll\" tabindex=\"0\"><table class=\"data facts\">\
         <thead><tr>{headings}</tr></thead><tbody>{networks}</tbody></table></div></figure>{}",
        fold("configuration", "Resolved configuration, as in <code>config.json</code>", &config)
    );
    Ok(fold("record", "Record: environment, data, networks, configuration", &body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::Column;
    use crate::sample_results::main_results;

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

    #[test]
    fn a_report_opens_with_what_was_found_and_folds_the_rest() {
        let results = main_results((21.0, 1.0));
        let gallery = Gallery {
            shape: Shape { channels: 1, height: 28, width: 32 },
            columns: vec![Column { label: "truth".to_owned(), pictures: vec![vec![1], vec![2]] }],
            deviation: None,
        };
        let page = Report::new(&results, &[gallery], &BTreeMap::new()).unwrap().page;
        let said =
            "2 test images (clothes), 3 posterior samples of each by every method, in one task";
        assert!(page.contains(said), "{page}");
        let (opening, folded) = page.split_once("<details").unwrap();
        assert_eq!((opening.matches("<svg").count(), opening.matches("<table").count()), (1, 1));
        assert!(folded.starts_with("><summary>Motion"), "{folded}");
        assert!(!page.contains("<details open>"), "{page}");
        assert_eq!(page.matches("<details").count(), page.matches("</details>").count());
        assert!(page.contains("width=\"128\" height=\"112\""), "{page}");
        assert_eq!(page.matches("<table").count(), page.matches("<div class=\"scroll\"").count());
        assert!(page.contains("What the columns mean") && page.contains("title=\"Network"));
    }
}
