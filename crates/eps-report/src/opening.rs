//! What a report opens with: one figure and one table of what was found.

use eps_results::{Method, Metric, Results, Row, TaskResults};

use crate::chart::{Chart, escape};
use crate::comparison::over_images;
use crate::html::heading;
use crate::quality::best;

/// The score that a report opens with.
struct Score {
    metric: Metric,
    label: &'static str,
    /// Whether the highest is the best.
    more: bool,
    decimals: usize,
}

const FAIR: Score = Score {
    metric: Metric::EnergyScoreFair,
    label: "fair energy score [0,1]",
    more: false,
    decimals: 3,
};

/// Where there is one sample of each image and so no fair energy score.
const PSNR: Score = Score { metric: Metric::PsnrDb, label: "PSNR (dB)", more: true, decimals: 2 };

/// The rows of a task's samples in the opening table.
fn rows(task: &TaskResults) -> impl Iterator<Item = &Row> {
    task.shown().iter().filter(|row| row.mean_of.is_none())
}

/// The figure and the table; `about` says of each task what is measured.
pub(crate) fn opening(results: &Results, about: &[String]) -> String {
    let is_scored = |row: &Row| row.energy_score_fair.is_some();
    let score = if results.tasks.iter().flat_map(rows).any(is_scored) { FAIR } else { PSNR };
    let charts: String = results
        .tasks
        .iter()
        .filter_map(|task| best(task, score.metric, score.label, score.more))
        .map(|chart: Chart| chart.svg())
        .collect();
    let direction = if score.more { "higher" } else { "lower" };
    let figure = if charts.is_empty() {
        String::new()
    } else {
        format!(
            "<figure><div class=\"charts\">{charts}</div><figcaption>Quality against network calls, mean \
             over test images; {direction} is better. Best other: at each number of calls the best method \
             of this run beside EPS.</figcaption></figure>\n"
        )
    };
    figure + &table(results, about, &score) + &diverged(results)
}

/// One score: a row a method, a column a task.
fn table(results: &Results, about: &[String], score: &Score) -> String {
    let mut methods: Vec<Method> = Vec::new();
    for row in results.tasks.iter().flat_map(rows) {
        if row.score(score.metric).is_some() && !methods.contains(&row.method) {
            methods.push(row.method);
        }
    }
    if methods.is_empty() {
        return String::new();
    }
    let value = |task: &TaskResults, method: Method| {
        rows(task).find(|row| row.method == method)?.score(score.metric).map(|(value, _)| value)
    };
    let best_of = |task: &TaskResults| {
        let values = methods.iter().filter_map(|method| value(task, *method));
        values.reduce(if score.more { f64::max } else { f64::min })
    };
    let cell = |task: &TaskResults, method: Method| {
        if task.diverged.iter().any(|diverged| diverged.cell == method.slug()) {
            return "<td class=\"fails\">diverged</td>".to_owned();
        }
        let row = rows(task).find(|row| row.method == method);
        let (Some(row), Some(value)) = (row, value(task, method)) else {
            return "<td class=\"none\">–</td>".to_owned();
        };
        let decimals = score.decimals;
        let half_width = over_images(row, score.metric).and_then(|found| found.half_width_95);
        let interval =
            half_width.map_or(String::new(), |half| format!(" <small>± {half:.decimals$}</small>"));
        if best_of(task) == Some(value) {
            format!("<td><strong>{value:.decimals$}</strong>{interval}</td>")
        } else {
            format!("<td>{value:.decimals$}{interval}</td>")
        }
    };
    let line = |method: &Method| {
        let cells: String = results.tasks.iter().map(|task| cell(task, *method)).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", escape(&method.label()))
    };
    let tasks: String = results
        .tasks
        .iter()
        .zip(about)
        .map(|(task, about)| {
            let (title, about) = (escape(&task.setting.title()), escape(about));
            format!("<th scope=\"col\" title=\"{about}\">{title}</th>")
        })
        .collect();
    format!(
        "<figure><div class=\"scroll\" tabindex=\"0\"><table class=\"data found\"><thead><tr>{}{tasks}\
         </tr></thead><tbody>{}</tbody></table></div><figcaption>{}, mean over {} test images; {} is \
         better, the best of a task in bold. ± is the half width of a 95 % interval over images, that of \
         the method alone: two methods may differ clearly though their intervals overlap. Means of \
         samples, and estimates that have no such score, are in the tables of the tasks.</figcaption></figure>\n",
        heading("method"),
        methods.iter().map(line).collect::<String>(),
        capital(score.label),
        results.config.images.len(),
        if score.more { "higher" } else { "lower" },
    )
}

/// The methods without scores as a chain left the finite numbers; nothing where there are none.
fn diverged(results: &Results) -> String {
    let of_task = |task: &TaskResults| {
        let title = task.setting.title();
        let name = |label: &String| format!("{label} ({title})");
        task.diverged.iter().map(|method| name(&method.label)).collect::<Vec<_>>()
    };
    let names: Vec<String> = results.tasks.iter().flat_map(of_task).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "<p class=\"fails\">Diverged, and so without scores: {}.</p>\n",
        escape(&names.join(", "))
    )
}

/// The text with a capital letter at its start.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_results::{main_results, results_of, row_of, setting_of};
    use eps_results::Experiment;

    #[test]
    fn the_best_of_a_task_is_bold_with_its_interval_over_images() {
        let html = opening(&main_results((21.0, 1.0)), &["Blurred.".to_owned()]);
        // Over images 0.95, 1.09 and 0.96: their standard deviation 0.0781 by 4.303 / √3.
        assert!(html.contains("<td><strong>1.000</strong> <small>± 0.194</small></td>"), "{html}");
        assert_eq!(html.matches("<strong>").count(), 1);
        assert!(html.contains("<td>2.000 <small>± 0.248</small></td>"), "{html}");
        assert!(html.contains("title=\"Blurred.\">"), "{html}");
        assert!(html.contains("lower is better") && html.contains("Fair energy score [0,1]"));
        assert_eq!(html.matches("<svg").count(), 1);
        assert!(html.contains("without scores: DDRM, 20 calls (Motion"), "{html}");
    }

    #[test]
    fn one_sample_of_each_image_is_shown_by_psnr() {
        let rows = vec![row_of(Method::LinearMmse, 20.0), row_of(Method::PseudoInverse, 18.0)];
        let results = results_of(Experiment::Main, vec![setting_of(rows)]);
        let html = opening(&results, &[String::new()]);
        assert!(html.contains("<td><strong>20.00</strong></td>"), "{html}");
        assert!(html.contains("higher is better") && !html.contains("<svg"), "{html}");
    }
}
