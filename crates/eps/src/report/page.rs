//! The report's page.

use std::fmt::Write as _;

use anyhow::Result;
use eps_math::Task;
use serde_json::Value;

use super::chart::{self, Chart, escape};
use super::pictures::{COLOURS, Column, SD_MAX, data_uri};
use crate::experiment::results::{Results, TaskResults};
use crate::experiment::scores::{Claim, MEAN_DB, MEAN_OF, ONE_CALL_DB, Verdict};
use crate::experiment::table::Table;

const STYLE: &str = "\
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
p,ul,figcaption,pre.formula{max-width:46rem}\
a{color:inherit}nav ul{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:.2rem 1.1rem}\
figure{margin:1rem 0}figcaption,caption{color:var(--soft);font-size:.9rem;text-align:left;\
padding:.3rem 0}\
.scroll{overflow-x:auto;max-width:100%;-webkit-overflow-scrolling:touch}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.88rem}\
.data th,.data td{padding:.28rem .7rem;border-bottom:1px solid var(--rule);text-align:right;\
white-space:nowrap}\
.data th:first-child,.data td:first-child{text-align:left}\
.data thead th{border-bottom:2px solid var(--soft);font-weight:600;vertical-align:bottom}\
.data tbody th{font-weight:400}\
.data .none{color:var(--soft)}\
.grid th{font-size:.78rem;font-weight:600;padding:0 2px 4px;vertical-align:bottom;line-height:1.2;\
width:84px}\
.grid td{padding:2px}.grid img{display:block;width:84px;height:84px;image-rendering:pixelated}\
.scale{display:inline-block;width:9rem;height:.7rem;vertical-align:-1px;margin:0 .4rem}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr));\
gap:1rem 1.5rem}.charts svg{width:100%;height:auto;display:block}\
.holds{color:var(--good)}.fails{color:var(--bad);font-weight:700}\
pre{background:var(--panel);padding:.7rem .9rem;overflow-x:auto;font-size:.82rem;line-height:1.45}\
code{font-size:.9em;overflow-wrap:anywhere}dt{font-weight:600}dd{margin:0 0 .5rem}";

/// A task's title.
pub(super) fn title(task: Task) -> &'static str {
    match task {
        Task::RandomInpainting => "Random inpainting",
        Task::BoxInpainting => "Box inpainting",
        Task::SuperResolution => "Super-resolution",
        Task::GaussianBlur => "Gaussian blur",
        Task::MotionBlur => "Motion blur",
    }
}

/// What is measured in a task.
fn description(task: Task) -> &'static str {
    match task {
        Task::RandomInpainting => {
            "70 % of the pixels are missing, chosen at random for each image; the pictures of the \
             measurement show the noise on missing pixels too."
        }
        Task::BoxInpainting => {
            "A square of 14×14 pixels at a random place is missing; the pictures of the measurement \
             show the noise on missing pixels too."
        }
        Task::SuperResolution => "Every measured value is the mean of 4×4 pixels: 7×7 of 28×28.",
        Task::GaussianBlur => {
            "A Gaussian of standard deviation 0.75 pixels on 11×11 taps, with wrap-around borders."
        }
        Task::MotionBlur => {
            "A straight line of 7 to 15 pixels in a random direction for each image, with wrap-around \
             borders."
        }
    }
}

/// The whole page.
///
/// # Errors
/// None but those of encoding pictures.
pub(super) fn page(
    results: &Results,
    grids: &[Vec<Column>],
    curves: &[Vec<Chart>],
    losses: &[(String, Option<Chart>)],
) -> Result<String> {
    let mut body = String::new();
    body += &introduction(results);
    body += &claims(results);
    for (task, grid) in results.tasks.iter().zip(grids) {
        body += &section(task, grid)?;
    }
    body += &quality(curves);
    body += &training(losses);
    body += &record(results)?;
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Exact posterior sampling on Fashion-MNIST</title>\
         <style>{STYLE}\n{}</style></head>\n<body>\n{body}</body></html>\n",
        chart::STYLE
    ))
}

fn introduction(results: &Results) -> String {
    let config = &results.config;
    let samples = config.samples;
    let links: String = results
        .tasks
        .iter()
        .map(|task| {
            let task = task.task();
            format!("<li><a href=\"#{}\">{}</a></li>", task.name(), title(task))
        })
        .collect();
    format!(
        "<header><h1>Exact posterior sampling on Fashion-MNIST</h1>\
         <p>{} test images, restored from {} kinds of measurement with {samples} posterior \
         {} each, profile <code>{}</code>.</p>\
         <nav aria-label=\"Contents\"><ul><li><a href=\"#claims\">Against the linear estimate</a>\
         </li>{links}<li><a href=\"#quality\">Quality and network calls</a></li>\
         <li><a href=\"#training\">Training</a></li><li><a href=\"#record\">Record</a></li></ul></nav>\
         </header>\n<main><h2 id=\"what\">What was computed</h2>\
         <p>An image x₀ with values in [−1, 1] was measured as y = A x₀ + η with a known linear A and \
         noise η ~ N(0, σ_y² I), σ_y = {}. The restorations are samples of p(x₀ | y). A diffusion \
         model reverses x_t = x₀ + σ_t ε with the mean of x₀ given x_t; exact posterior sampling \
         (EPS, <cite>arXiv 2606.17048</cite>) replaces it by the mean given x_t and y, which is a \
         denoiser asked at the pivot μ⋆ under the anisotropic noise Σ⋆:</p>\
         <pre class=\"formula\">Σ⋆ = (I/σ_t² + AᵀA/σ_y²)⁻¹\nμ⋆ = Σ⋆ (x_t/σ_t² + Aᵀy/σ_y²)\n\
         E[x₀ | x_t, y] = E[x₀ | x₀ + ξ = μ⋆],  ξ ~ N(0, Σ⋆)</pre>\
         <p>The networks were trained for this question, one for each task and one for all of them. \
         The sampler is EDM's deterministic Euler method on Karras' grid from σ_t = 80 to 0.002 with \
         ρ = 7; one call is a single question at σ_t = 80, an estimate of E[x₀ | y]. Beside it stand \
         the pseudo-inverse A†y and the linear MMSE estimate, exact for a Gaussian prior with the \
         training set's mean and covariance. Images, operators and measurement noise are the same \
         for all methods and seeds; everything is clipped to [−1, 1].</p>\n",
        config.images.len(),
        config.tasks.len(),
        if samples == 1 { "sample" } else { "samples" },
        escape(&config.profile),
        config.sigma_y,
    )
}

fn claims(results: &Results) -> String {
    let all: Vec<(Task, &Claim)> = results
        .tasks
        .iter()
        .flat_map(|task| task.claims.iter().map(|claim| (task.task(), claim)))
        .collect();
    let row = |(task, claim): &(Task, &Claim)| {
        let (class, verdict) = match claim.verdict {
            Verdict::Holds => ("holds", "holds"),
            Verdict::Fails => ("fails", "fails"),
            Verdict::Open => ("none", "not reached with so few samples"),
        };
        let estimate = match claim.mean_of {
            None => claim.method.label(),
            Some(j) => format!("{}, mean of {j}", claim.method.label()),
        };
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{:+.2}</td><td>{:.1}</td>\
             <td class=\"{class}\">{verdict}</td></tr>",
            title(*task),
            escape(&estimate),
            claim.margin_db,
            claim.claimed_db
        )
    };
    let failed = all.iter().filter(|(_, claim)| claim.verdict == Verdict::Fails).count();
    let summary = match failed {
        0 => "No claim fails here.".to_owned(),
        n => {
            format!("<strong class=\"fails\">{n} of {} comparisons fail here.</strong>", all.len())
        }
    };
    format!(
        "<h2 id=\"claims\">Against the linear estimate</h2>\
         <p>About the committed networks it is claimed that, over 1,000 test images of each task, the \
         one-call estimate has a PSNR at least {ONE_CALL_DB:.0} dB above that of the linear MMSE \
         estimate, and the mean of {MEAN_OF} samples at least {MEAN_DB} dB. This run compares {} \
         images; <code>eps experiment main --profile verify</code> compares 1,000. {summary}</p>\
         <figure><div class=\"scroll\"><table class=\"data\"><thead><tr><th>task</th>\
         <th>estimate</th><th>above linear MMSE (dB)</th><th>claimed (dB)</th><th>verdict</th></tr>\
         </thead><tbody>{}</tbody></table></div></figure>\n",
        results.config.images.len(),
        all.iter().map(row).collect::<String>()
    )
}

fn section(results: &TaskResults, grid: &[Column]) -> Result<String> {
    let task = results.task();
    let (name, title) = (task.name(), title(task));
    let mut html = format!(
        "<section aria-labelledby=\"{name}\"><h2 id=\"{name}\">{title}</h2><p>{}</p>\
         <figure><div class=\"scroll\" tabindex=\"0\"><table class=\"grid\"><thead><tr>",
        description(task)
    );
    for column in grid {
        write!(html, "<th scope=\"col\">{}</th>", escape(&column.label))?;
    }
    html += "</tr></thead><tbody>";
    let rows = grid.first().map_or(0, |column| column.pictures.len());
    for row in 0..rows {
        html += "<tr>";
        for column in grid {
            write!(
                html,
                "<td><img alt=\"{}, test image {}\" width=\"84\" height=\"84\" src=\"{}\"></td>",
                escape(&column.label),
                results.problem.images[row],
                data_uri(&column.pictures[row])?
            )?;
        }
        html += "</tr>";
    }
    let (of, all) = (rows, results.problem.images.len());
    write!(
        html,
        "</tbody></table></div><figcaption>The first {of} of {all} test images, grey from −1 (black) \
         to 1 (white). EPS pictures are the first sample by the task's own network with that many \
         network calls; further samples, mean and standard deviation are those of the most calls. \
         {}</figcaption></figure>",
        if grid.iter().any(|column| column.label == "standard deviation") {
            scale()
        } else {
            "With one sample an image there is no standard deviation.".to_owned()
        }
    )?;
    write!(
        html,
        "<figure><div class=\"scroll\" tabindex=\"0\">{}</div><figcaption>Mean ± standard deviation \
         over seeds; a seed is one sample of every image, its value the mean over images. The scores \
         of all samples together have no spread; estimates without samples have no seeds. NFE and \
         time (wall clock, in batches) are for each sample, or for all samples of a mean. Energy \
         score (the paper's CRPS, pair term 1/(2J²)) and CRPS are on pixels in [0, 1], lower is \
         better; energy scores of different J are comparable only in the fair form. MMD² is unbiased \
         and may be negative.</figcaption></figure></section>\n",
        table(&Table::new(&results.rows, true))
    )?;
    Ok(html)
}

/// The legend of the standard deviation's colours.
fn scale() -> String {
    let colours: Vec<String> = COLOURS.iter().map(|colour| format!("#{colour:06x}")).collect();
    format!(
        "Standard deviation: 0 <span class=\"scale\" role=\"img\" aria-label=\"colours from violet \
         over green to yellow\" style=\"background:linear-gradient(90deg,{})\"></span> {SD_MAX} and \
         more, on the scale [−1, 1].",
        colours.join(",")
    )
}

fn table(table: &Table) -> String {
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
    let charts: String = curves.iter().flatten().map(Chart::svg).collect();
    format!(
        "<h2 id=\"quality\">Quality and network calls</h2>\
         <figure><div class=\"charts\">{charts}</div><figcaption>PSNR (higher is better) of a sample \
         and of the mean of all samples, and energy score (lower is better) of the samples, against \
         the number of network calls a sample; “all tasks” is the one network of all tasks. Few calls \
         lead towards the posterior mean, whose PSNR is high and which shows no spread; a sample of \
         the true posterior has twice the mean's squared error. The energy score judges \
         both.</figcaption></figure>\n"
    )
}

fn training(losses: &[(String, Option<Chart>)]) -> String {
    let charts: String =
        losses.iter().filter_map(|(_, chart)| chart.as_ref()).map(Chart::svg).collect();
    let without: Vec<&str> =
        losses.iter().filter(|(_, chart)| chart.is_none()).map(|(name, _)| name.as_str()).collect();
    let note = if without.is_empty() {
        String::new()
    } else {
        format!("<p>No losses lie beside the networks of: {}.</p>", escape(&without.join(", ")))
    };
    let figure = if charts.is_empty() {
        String::new()
    } else {
        format!(
            "<figure><div class=\"charts\">{charts}</div><figcaption>Loss against training step: the \
             mean over the steps since the last record, and that of the averaged weights on fixed \
             batches of the validation images. The loss is weighted and has no unit; those of \
             different tasks are not comparable.</figcaption></figure>"
        )
    };
    format!("<h2 id=\"training\">Training</h2>{note}{figure}\n")
}

fn record(results: &Results) -> Result<String> {
    let config = &results.config;
    let text = |value: &Value| match value {
        Value::String(text) => escape(text),
        Value::Null => "unknown".to_owned(),
        other => escape(&other.to_string()),
    };
    let mut facts = vec![
        ("seed".to_owned(), config.seed.to_string()),
        (
            "samples of each image".to_owned(),
            format!("{} (seeds 0 to {})", config.samples, config.samples - 1),
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
    if let Value::Object(environment) = &results.environment {
        facts.extend(environment.iter().map(|(name, value)| (name.clone(), text(value))));
    }
    let facts: String = facts
        .iter()
        .map(|(name, value)| {
            format!("<tr><th scope=\"row\">{name}</th><td><code>{value}</code></td></tr>")
        })
        .collect();
    let networks: String = config
        .networks
        .iter()
        .map(|network| {
            format!(
                "<tr><th scope=\"row\">{}</th><td><code>{}</code></td></tr>",
                escape(&network.name),
                network.sha256
            )
        })
        .collect();
    Ok(format!(
        "<h2 id=\"record\">Record</h2>\
         <figure><div class=\"scroll\"><table class=\"data\"><tbody>{facts}</tbody></table></div>\
         </figure><h3>Networks</h3><figure><div class=\"scroll\"><table class=\"data\"><thead><tr>\
         <th scope=\"col\">network</th><th scope=\"col\">SHA-256 of its file</th></tr></thead><tbody>\
         {networks}</tbody></table></div></figure><h3>Resolved configuration</h3><details><summary>\
         As it is in <code>config.json</code></summary><pre>{}</pre></details></main>\n",
        escape(&serde_json::to_string_pretty(config)?)
    ))
}
