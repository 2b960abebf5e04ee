//! The report of the tournament with exact denoisers: one page that needs nothing beside itself, and
//! its figures as files.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use super::chart::{self, Axis, Band, Chart, Line, Style, escape};
use super::page::{STYLE, environment, facts_table, table};
use super::scatter::{self, Panel};
use super::write_text;
use crate::experiment::contender::Contender;
use crate::experiment::oracle::judge::Metric;
use crate::experiment::oracle::method::Method;
use crate::experiment::oracle::results::{
    BEYOND, CLAIM_CALLS, Claim, Config, Results, SettingResults,
};
use crate::experiment::oracle::setting::SIGMA_Y;
use crate::experiment::oracle::table::{FLOOR, mean_floor, mean_over, of_setting, summary};
use crate::experiment::results::make_folder;

/// Writes `report.html` and `figures/` into a folder and returns the path of the page.
///
/// Figures: `SETTING-sliced-w2.svg` with the curves of a setting, `SETTING-samples.svg` with the clouds
/// of one in the plane.
///
/// # Errors
/// Files that cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<PathBuf> {
    let figures = folder.join("figures");
    make_folder(&figures)?;
    for setting in &results.settings {
        let slug = setting.setting.slug();
        let chart = curves(setting, &results.config);
        write_text(&figures.join(format!("{slug}-sliced-w2.svg")), &chart.file())?;
        if let Some(svg) = clouds(setting, results.most_calls()) {
            write_text(&figures.join(format!("{slug}-samples.svg")), &scatter::file(&svg))?;
        }
    }
    let path = folder.join("report.html");
    write_text(&path, &page(results)?)?;
    Ok(path)
}

/// The curves of every setting of a results.json, as one SVG file.
pub(crate) fn figure(settings: &[&Value]) -> String {
    let charts: Vec<Chart> = settings.iter().copied().map(recorded_curves).collect();
    Chart::panels(&charts, 2)
}

/// Sliced W2 of every method in one setting of a results.json.
fn recorded_curves(setting: &Value) -> Chart {
    let metric = Metric::SlicedW2;
    let of = |scores: &Value, what: &str| scores["sliced_w2"][what].as_f64();
    let line = |method: Method| {
        let methods = setting["methods"].as_array()?;
        let found = methods.iter().find(|found| found["method"] == method.name())?;
        let point = |point: &Value| {
            Some((point["nfe"].as_f64()?, of(&point["over_measurements"], "mean")?))
        };
        Some(found["curve"].as_array()?.iter().filter_map(point).collect())
    };
    let floor = &setting["floor"];
    let band = of(floor, "mean").zip(of(floor, "standard_deviation"));
    let band = band.map(|(mean, deviation)| (mean - deviation, mean + deviation));
    chart(setting["label"].as_str().unwrap_or_default().to_owned(), metric, &line, band)
}

fn page(results: &Results) -> Result<String> {
    let body = [
        introduction(results),
        METHOD.to_owned(),
        pictures(results),
        overview(results),
        results.groups().iter().map(|(name, of)| group(results, name, of)).collect(),
        record(results)?,
    ]
    .concat();
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>Posterior samplers against exact posteriors</title>\
         <style>{STYLE}\n{}</style></head>\n<body>\n{body}</main></body></html>\n",
        chart::STYLE
    ))
}

fn introduction(results: &Results) -> String {
    let config = &results.config;
    let links: String = results
        .groups()
        .iter()
        .map(|(name, _)| format!("<li><a href=\"#{}\">{name}</a></li>", anchor(name)))
        .collect();
    format!(
        "<header><h1>Posterior samplers against exact posteriors</h1>\
         <p>Settings: {}. Measurements of each: {}. Samples of each measurement: {}. Profile: \
         <code>{}</code>.</p><nav aria-label=\"Contents\"><ul>\
         <li><a href=\"#method\">Method</a></li><li><a href=\"#samples\">Samples in the plane</a></li>\
         <li><a href=\"#overview\">All settings</a></li>{links}\
         <li><a href=\"#record\">Record</a></li></ul></nav></header>\n<main>",
        config.settings.len(),
        config.measurements,
        config.samples,
        escape(&config.profile),
    )
}

/// What was computed, and how.
const METHOD: &str = "<h2 id=\"method\">Method</h2>\
    <p>For Gaussian and mixture priors both the denoiser E[<var>x</var><sub>0</sub> | \
    <var>x</var><sub>0</sub> + <var>ξ</var> = <var>μ</var>] and the posterior \
    p(<var>x</var><sub>0</sub> | <var>y</var>) are known in closed form. Every method here asks that \
    exact denoiser, so its distance from the posterior is its own: no network has a part in it. \
    Measurements are <var>y</var> = <var>A x</var><sub>0</sub> + <var>η</var>, <var>η</var> ~ N(0, \
    σ<sub>y</sub>² <var>I</var>) of images drawn from the prior. All methods start from the same noise \
    at σ<sub>t</sub> = 80, and step down Karras’ grid to 0.002 (ρ = 7); DAPS anneals to 0.1, as \
    published.</p>\
    <ul><li><em>Sliced W2</em>: the Wasserstein-2 distance to exact samples, averaged over 128 \
    directions, in units of the posterior’s deviation: 1 is as far as a shift by one deviation in \
    every coordinate.</li>\
    <li><em>MMD²</em>: unbiased, to the same exact samples; may be negative.</li>\
    <li><em>Mean error</em> and <em>covariance error</em>: of the samples’ moments against the \
    closed form, over the root of the covariance’s trace and over its Frobenius norm.</li>\
    <li><em>Mode error</em>: total variation between the weights of the mixture’s components among \
    the samples and in the posterior.</li>\
    <li><em>Two exact sets</em>: the same numbers of independent exact samples, the floor that no \
    method can be below on average.</li></ul>\
    <p>Every method but EPS has a constant that was chosen in every setting by the least sliced W2 on \
    measurements of their own: ζ of DPS and ΠGDM, c of MPGD, ε of DDNM on blurs, η of DDNM elsewhere, of DDRM \
    and of ΠGDM as published, τ/σ<sub>y</sub> of DAPS with exact draws, at every number of calls; the step \
    size of DAPS up to 100 calls. \
    <code>results.json</code> has all that was tried. DPS (ancestral) and MPGD clip the denoiser’s \
    answer to [−1, 1] by definition; the priors leave nearly all of their mass there. A call of DPS \
    and ΠGDM is a forward and a backward pass. DAPS makes 5 calls at every annealing level.</p>\n";

/// The samples of every method in the plane.
fn pictures(results: &Results) -> String {
    let most = results.most_calls();
    let mut shown: Vec<&SettingResults> =
        results.settings.iter().filter(|setting| setting.exact.is_some()).collect();
    // The noise level that all profiles have, then the others; mixtures before Gaussians.
    let components = |setting: &SettingResults| setting.floor(Metric::ModeError).is_some();
    shown.sort_by_key(|s| (!components(s), s.setting.sigma_y != SIGMA_Y));
    let figure = |setting: &&SettingResults| {
        let svg = clouds(setting, most).unwrap_or_default();
        format!(
            "<figure>{svg}<figcaption>{}: samples of the first measurement with {most} calls, over \
             exact samples of the posterior in grey.</figcaption></figure>",
            escape(&setting.setting.label())
        )
    };
    let first: String = shown.iter().take(1).map(figure).collect();
    let others: String = shown.iter().skip(1).map(figure).collect();
    let others = match others.as_str() {
        "" => String::new(),
        others => {
            format!("<details><summary>Other settings in the plane</summary>{others}</details>")
        }
    };
    format!("<h2 id=\"samples\">Samples in the plane</h2>{first}{others}\n")
}

/// The clouds of a setting in the plane: the exact posterior, then every method.
fn clouds(setting: &SettingResults, calls: usize) -> Option<String> {
    let exact = setting.exact.as_ref()?;
    let mut panels = vec![Panel {
        title: "exact posterior".to_owned(),
        note: String::new(),
        points: exact,
        colour: 3,
    }];
    for curve in &setting.curves {
        let point = curve.points.first()?.iter().find(|point| point.calls == calls)?;
        let note = point.score.as_ref().map_or_else(
            || BEYOND.to_owned(),
            |score| format!("{} calls, sliced W2 {:.3}", point.nfe, score.sliced_w2),
        );
        panels.push(Panel {
            title: curve.method.label().to_owned(),
            note,
            points: &point.samples,
            colour: colour(curve.method),
        });
    }
    let description = format!("Samples of every method: {}", setting.setting.label());
    Some(scatter::svg(&description, &panels, exact))
}

/// The table over all settings, and the claim.
fn overview(results: &Results) -> String {
    let most = results.most_calls();
    let claims: Vec<Claim> =
        results.settings.iter().filter_map(|setting| setting.claim()).collect();
    let failing = claims.iter().filter(|claim| !claim.holds).count();
    let verdict = match failing {
        0 => format!("<span class=\"holds\">That holds in all {} settings.</span>", claims.len()),
        n => {
            format!("<span class=\"fails\">That fails in {n} of {} settings.</span>", claims.len())
        }
    };
    format!(
        "<h2 id=\"overview\">All settings</h2>\
         <p>Claim: with {CLAIM_CALLS} calls the samples of EPS by Heun’s method are as close to exact samples \
         as these are to each other, within three standard deviations. {verdict}</p>\
         <figure><div class=\"scroll\" tabindex=\"0\">{}</div><figcaption>Sliced W2 in deviations of \
         the posterior, the mean over settings and measurements: at several numbers of calls over all \
         settings, then at {most} calls by prior.</figcaption></figure>\n",
        table(&summary(results))
    )
}

/// The curves and tables of the settings of one prior.
fn group(results: &Results, name: &str, settings: &[&SettingResults]) -> String {
    let most = results.most_calls();
    let charts: String =
        settings.iter().map(|setting| curves(setting, &results.config).svg()).collect();
    let others: String = Metric::ALL
        .into_iter()
        .filter(|metric| *metric != Metric::SlicedW2)
        .filter_map(|metric| mean_curves(name, settings, &results.config, metric))
        .map(|chart| chart.svg())
        .collect();
    let tables: String = settings
        .iter()
        .map(|setting| {
            let class = match setting.claim() {
                Some(claim) if claim.holds => "holds",
                _ => "fails",
            };
            let sentence = setting.claim().map_or_else(String::new, |claim| claim.sentence());
            format!(
                "<figure><div class=\"scroll\" tabindex=\"0\">{}</div><figcaption>{}: mean ± standard \
                 deviation over measurements. <span class=\"{class}\">{}</span></figcaption></figure>",
                table(&of_setting(setting, &results.table_calls(), most)),
                escape(&setting.setting.label()),
                escape(&sentence),
            )
        })
        .collect();
    format!(
        "<section aria-labelledby=\"{id}\"><h2 id=\"{id}\">{name}</h2>\
         <figure><div class=\"charts\">{charts}</div><figcaption>Sliced W2 against the calls of the \
         denoiser, the mean over measurements; the band is that of two exact sets, mean ± standard \
         deviation.</figcaption></figure>\
         <figure><div class=\"charts\">{others}</div><figcaption>The other metrics, the mean over the \
         settings above. Values of MMD² below the floor’s deviation are drawn there.</figcaption>\
         </figure><details><summary>Tables</summary>{tables}</details></section>\n",
        id = anchor(name),
    )
}

fn anchor(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

/// The colour of a method; all forms of one method share it.
fn colour(method: Method) -> usize {
    let Method::Contender(contender) = method else {
        return if method == Method::ZeroShot { 7 } else { 0 };
    };
    match contender {
        Contender::Dps | Contender::DpsPublished => 1,
        Contender::Daps | Contender::DapsPublished | Contender::DapsExact => 2,
        Contender::Ddrm => 3,
        Contender::Pigdm | Contender::PigdmPublished => 4,
        Contender::Ddnm | Contender::DdnmPublished => 5,
        Contender::Mpgd | Contender::MpgdPublished => 6,
    }
}

/// Of two forms of one method the second is dashed.
fn style(method: Method) -> Style {
    let same = |other: &&Method| colour(**other) == colour(method);
    let first = Method::ALL.iter().find(same);
    if first == Some(&method) { Style::Solid } else { Style::Dashed }
}

/// Sliced W2 of every method in one setting.
fn curves(setting: &SettingResults, config: &Config) -> Chart {
    let metric = Metric::SlicedW2;
    let line = |method: Method| {
        let curve = setting.curves.iter().find(|curve| curve.method == method)?;
        let point =
            |calls: &usize| Some((curve.nfe(*calls) as f64, curve.spread(*calls, metric)?.mean));
        Some(config.calls_of(method).iter().filter_map(point).collect())
    };
    let band = setting.floor(metric).map(|floor| {
        let deviation = floor.standard_deviation.unwrap_or(0.0);
        (floor.mean - deviation, floor.mean + deviation)
    });
    chart(setting.setting.label(), metric, &line, band)
}

/// Another metric of every method, the mean over settings; none where it does not apply.
fn mean_curves(
    name: &str,
    settings: &[&SettingResults],
    config: &Config,
    metric: Metric,
) -> Option<Chart> {
    let floor = mean_floor(settings, metric)?;
    // MMD² of exact sets is 0 on average: its chart begins at the size of the chance values.
    let chance = settings
        .iter()
        .filter_map(|results| results.floor(metric)?.standard_deviation)
        .fold(f64::MIN_POSITIVE, f64::max);
    let lowest = if metric == Metric::Mmd2 { chance } else { 0.0 };
    let line = |method: Method| {
        let point = |calls: &usize| {
            let value = mean_over(settings, method, *calls, metric)?;
            Some((method.nfe(*calls) as f64, value.max(lowest)))
        };
        Some(config.calls_of(method).iter().filter_map(point).collect())
    };
    let band = (metric != Metric::Mmd2).then_some((floor, floor));
    Some(chart(format!("{}, {name}", metric.label()), metric, &line, band))
}

/// A chart of one line a method over a band of the floor, both axes logarithmic.
fn chart(
    title: String,
    metric: Metric,
    points: &dyn Fn(Method) -> Option<Vec<(f64, f64)>>,
    floor: Option<(f64, f64)>,
) -> Chart {
    let line = |method: Method| {
        // Different numbers of calls may ask for the same run, and 0 has no logarithm.
        let mut points = points(method)?;
        points.dedup_by_key(|point| point.0.to_bits());
        points.retain(|point| point.1 > 0.0);
        let (label, colour, style) = (method.label().to_owned(), colour(method), style(method));
        Some(Line { label, points, colour, style })
    };
    let axis = |label: &str| Axis { label: label.to_owned(), logarithmic: true };
    let smallest = |(from, to): (f64, f64)| (from.max(0.1 * to), to);
    Chart {
        title,
        x: axis("denoiser calls a sample (NFE)"),
        y: axis(metric.label()),
        lines: Method::ALL.into_iter().filter_map(line).collect(),
        band: floor.map(smallest).filter(|(from, _)| *from > 0.0).map(|(from, to)| Band {
            label: FLOOR.to_owned(),
            from,
            to,
        }),
    }
}

fn record(results: &Results) -> Result<String> {
    let mut facts = vec![("seed".to_owned(), results.config.seed.to_string())];
    facts.extend(environment(&results.environment));
    Ok(format!(
        "<h2 id=\"record\">Record</h2>{}<h3>Resolved configuration</h3><details><summary>As it is in \
         <code>config.json</code></summary><pre>{}</pre></details>\n",
        facts_table(&facts),
        escape(&serde_json::to_string_pretty(&results.config)?)
    ))
}
