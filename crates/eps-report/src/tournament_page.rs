//! The report of the tournament with exact denoisers: one page that needs nothing beside itself, and
//! its figures as files.

use eps_results::tournament::{
    BEYOND, CLAIM_CALLS, CallsResults, Distance, ReachClaim, SIGMA_Y, TournamentMethod,
    TournamentSettingResults,
};
use eps_results::{Contender, TournamentResults};

use crate::chart::{self, Axis, Band, Chart, Line, Style, escape};
use crate::html::{environment, facts_table, table};
use crate::page::Report;
use crate::scatter::{self, Panel};
use crate::style::STYLE;
use crate::tournament_table::{FLOOR, mean_floor, mean_over, tournament_summary, tournament_table};

/// Samples (a, b) of one measurement in the plane.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Clouds {
    /// Of the exact posterior.
    pub exact: Vec<[f32; 2]>,
    /// Of each method at the most calls.
    pub of_methods: Vec<(TournamentMethod, Vec<[f32; 2]>)>,
}

impl Report {
    /// The report of a tournament, with the clouds of each setting in the plane, in the order of the settings.
    ///
    /// Figures: `SETTING-sliced-w2.svg` with the curves of a setting, `SETTING-samples.svg` with the clouds
    /// of one in the plane.
    ///
    /// # Errors
    /// None for the results that a run leaves.
    pub fn of_tournament(
        results: &TournamentResults,
        clouds: &[Option<Clouds>],
    ) -> Result<Self, serde_json::Error> {
        let mut figures = Vec::new();
        for (setting, clouds) in results.settings.iter().zip(clouds) {
            let slug = setting.setting.slug();
            figures.push((format!("{slug}-sliced-w2.svg"), curves(setting).file()));
            if let Some(clouds) = clouds {
                let svg = scatter::file(&clouds_svg(results, setting, clouds));
                figures.push((format!("{slug}-samples.svg"), svg));
            }
        }
        Ok(Self { page: page(results, clouds)?, figures })
    }
}

/// The curves of every setting of a tournament, as one SVG file.
#[must_use]
pub fn tournament_figure(results: &TournamentResults) -> String {
    let charts: Vec<Chart> = results.settings.iter().map(curves).collect();
    Chart::panels(&charts, 2)
}

fn page(
    results: &TournamentResults,
    clouds: &[Option<Clouds>],
) -> Result<String, serde_json::Error> {
    let pictures = pictures(results, clouds);
    let body = [
        introduction(results, !pictures.is_empty()),
        METHOD.to_owned(),
        pictures,
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

fn introduction(results: &TournamentResults, has_pictures: bool) -> String {
    let config = &results.config;
    let links: String = results
        .groups()
        .iter()
        .map(|(name, _)| format!("<li><a href=\"#{}\">{name}</a></li>", anchor(name)))
        .collect();
    let samples =
        if has_pictures { "<li><a href=\"#samples\">Samples in the plane</a></li>" } else { "" };
    format!(
        "<header><h1>Posterior samplers against exact posteriors</h1>\
         <p>Settings: {}. Measurements of each: {}. Samples of each measurement: {}. Profile: \
         <code>{}</code>.</p><nav aria-label=\"Contents\"><ul>\
         <li><a href=\"#method\">Method</a></li>{samples}\
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
fn pictures(results: &TournamentResults, clouds: &[Option<Clouds>]) -> String {
    let most = results.config.most_calls();
    let mut shown: Vec<(&TournamentSettingResults, &Clouds)> = results
        .settings
        .iter()
        .zip(clouds)
        .filter_map(|(setting, clouds)| Some((setting, clouds.as_ref()?)))
        .collect();
    // The noise level that all profiles have, then the others; mixtures before Gaussians.
    let components =
        |setting: &TournamentSettingResults| setting.floor.contains_key(&Distance::ModeError);
    shown.sort_by_key(|(s, _)| (!components(s), s.setting.sigma_y != SIGMA_Y));
    let figure = |(setting, clouds): &(&TournamentSettingResults, &Clouds)| {
        format!(
            "<figure>{}<figcaption>{}: samples of the first measurement with {most} calls, over \
             exact samples of the posterior in grey.</figcaption></figure>",
            clouds_svg(results, setting, clouds),
            escape(&setting.label)
        )
    };
    if shown.is_empty() {
        return String::new();
    }
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
fn clouds_svg(
    results: &TournamentResults,
    setting: &TournamentSettingResults,
    clouds: &Clouds,
) -> String {
    let mut panels = vec![Panel {
        title: "exact posterior".to_owned(),
        note: String::new(),
        points: &clouds.exact,
        colour: 3,
    }];
    for (method, points) in &clouds.of_methods {
        let found = results.at(setting, *method, results.config.most_calls());
        let first = found.and_then(|found| Some((found.nfe, found.scores.first()?.as_ref()?)));
        let note = first.map_or_else(
            || BEYOND.to_owned(),
            |(nfe, score)| format!("{nfe} calls, sliced W2 {:.3}", score.sliced_w2),
        );
        panels.push(Panel {
            title: method.label().to_owned(),
            note,
            points,
            colour: colour(*method),
        });
    }
    let description = format!("Samples of every method: {}", setting.label);
    scatter::svg(&description, &panels, &clouds.exact)
}

/// The table over all settings, and the claim.
fn overview(results: &TournamentResults) -> String {
    let most = results.config.most_calls();
    let claims: Vec<&ReachClaim> =
        results.settings.iter().filter_map(|setting| setting.claim.as_ref()).collect();
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
        table(&tournament_summary(results))
    )
}

/// The curves and tables of the settings of one prior.
fn group(
    results: &TournamentResults,
    name: &str,
    settings: &[&TournamentSettingResults],
) -> String {
    let charts: String = settings.iter().map(|setting| curves(setting).svg()).collect();
    let others: String = Distance::ALL
        .into_iter()
        .filter(|distance| *distance != Distance::SlicedW2)
        .filter_map(|distance| mean_curves(name, settings, results, distance))
        .map(|chart| chart.svg())
        .collect();
    let tables: String = settings
        .iter()
        .map(|setting| {
            let class = match &setting.claim {
                Some(claim) if claim.holds => "holds",
                _ => "fails",
            };
            let sentence = setting.claim.as_ref().map_or_else(String::new, ReachClaim::sentence);
            format!(
                "<figure><div class=\"scroll\" tabindex=\"0\">{}</div><figcaption>{}: mean ± standard \
                 deviation over measurements. <span class=\"{class}\">{}</span></figcaption></figure>",
                table(&tournament_table(results, setting)),
                escape(&setting.label),
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
fn colour(method: TournamentMethod) -> usize {
    let TournamentMethod::Contender(contender) = method else {
        return if method == TournamentMethod::ZeroShot { 7 } else { 0 };
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
fn style(method: TournamentMethod) -> Style {
    let same = |other: &&TournamentMethod| colour(**other) == colour(method);
    let first = TournamentMethod::ALL.iter().find(same);
    match first {
        _ if method == TournamentMethod::EpsEuler => Style::Main,
        Some(first) if *first == method => Style::Solid,
        _ => Style::Dashed,
    }
}

/// The sliced W2, in deviations of the posterior, up to which the curves of a setting are drawn.
const MOST_DEVIATIONS: f64 = 3.0;

/// Sliced W2 of every method in one setting.
fn curves(setting: &TournamentSettingResults) -> Chart {
    let distance = Distance::SlicedW2;
    let line = |method: TournamentMethod| {
        let curve = &setting.method(method)?.curve;
        let point = |point: &CallsResults| {
            Some((point.nfe as f64, point.over_measurements.get(&distance)?.mean))
        };
        Some(curve.iter().filter_map(point).collect())
    };
    let band = setting.floor.get(&distance).map(|floor| {
        let deviation = floor.standard_deviation.unwrap_or(0.0);
        (floor.mean - deviation, floor.mean + deviation)
    });
    let mut chart = chart(setting.label.clone(), distance, &line, band);
    // Beyond, samples are nowhere near the posterior, and the axis would have no room for those that are.
    if chart.lines.iter().flat_map(|line| &line.points).any(|point| point.1 > MOST_DEVIATIONS) {
        for line in &mut chart.lines {
            line.points.retain(|point| point.1 <= MOST_DEVIATIONS);
        }
        chart.y.label += &format!(", up to {MOST_DEVIATIONS}");
    }
    chart
}

/// Another distance of every method, the mean over settings; none where it does not apply.
fn mean_curves(
    name: &str,
    settings: &[&TournamentSettingResults],
    results: &TournamentResults,
    distance: Distance,
) -> Option<Chart> {
    let floor = mean_floor(settings, distance)?;
    // MMD² of exact sets is 0 on average: its chart begins at the size of the chance values.
    let chance = settings
        .iter()
        .filter_map(|setting| setting.floor.get(&distance)?.standard_deviation)
        .fold(f64::MIN_POSITIVE, f64::max);
    let lowest = if distance == Distance::Mmd2 { chance } else { 0.0 };
    let line = |method: TournamentMethod| {
        let point = |calls: &usize| {
            let value = mean_over(results, settings, method, *calls, distance)?;
            let nfe = settings.iter().find_map(|s| results.at(s, method, *calls))?.nfe;
            Some((nfe as f64, value.max(lowest)))
        };
        Some(results.config.calls_of(method).iter().filter_map(point).collect())
    };
    let band = (distance != Distance::Mmd2).then_some((floor, floor));
    Some(chart(format!("{}, {name}", distance.label()), distance, &line, band))
}

/// A chart of one line a method over a band of the floor, both axes logarithmic.
fn chart(
    title: String,
    distance: Distance,
    points: &dyn Fn(TournamentMethod) -> Option<Vec<(f64, f64)>>,
    floor: Option<(f64, f64)>,
) -> Chart {
    let line = |method: TournamentMethod| {
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
        y: axis(distance.label()),
        lines: TournamentMethod::ALL.into_iter().filter_map(line).collect(),
        band: floor.map(smallest).filter(|(from, _)| *from > 0.0).map(|(from, to)| Band {
            label: FLOOR.to_owned(),
            from,
            to,
        }),
    }
}

fn record(results: &TournamentResults) -> Result<String, serde_json::Error> {
    let mut facts = vec![("seed".to_owned(), results.config.seed.to_string())];
    facts.extend(environment(&results.environment));
    Ok(format!(
        "<h2 id=\"record\">Record</h2>{}<h3>Resolved configuration</h3><details><summary>As it is in \
         <code>config.json</code></summary><pre>{}</pre></details>\n",
        facts_table(&facts),
        escape(&serde_json::to_string_pretty(&results.config)?)
    ))
}
