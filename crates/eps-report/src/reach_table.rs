//! The table of how far a network reaches.

use eps_metrics::summary::Spread;
use eps_results::ReachResults;
use eps_results::reach::{Answer, Answered, Place};

use crate::table::Table;

/// What stands in place of the score of a method that diverged.
const DIVERGED: &str = "diverged";

/// A row a question: the fair energy score of every method on [0, 1] pixels, its mean over images ± half a 95 % interval, and
/// how the network whose reach is asked about compares with the best of the methods without training, image by image.
#[must_use]
pub fn reach_table(results: &ReachResults) -> Table {
    let mut headings = vec!["question".to_owned(), "σ_y".to_owned(), "place".to_owned()];
    if let Some(first) = results.questions.first() {
        headings.extend(first.answers.iter().map(heading));
    }
    headings.push("first less the best method without training".to_owned());
    headings.push("it is".to_owned());
    let row = |answered: &Answered| {
        let question = &answered.question;
        let mut row = vec![
            question.name.clone(),
            question.sigma_y.to_string(),
            question.place.label().to_owned(),
        ];
        row.extend(answered.answers.iter().map(|answer| {
            answer.energy_score().map_or_else(|| DIVERGED.to_owned(), |found| interval(&found))
        }));
        match answered.comparison() {
            Some(found) => row.extend([interval(&found.difference), found.word().to_owned()]),
            None => row.extend([String::new(), String::new()]),
        }
        row
    };
    Table { headings, rows: results.questions.iter().map(row).collect() }
}

/// The heading of a method's column.
fn heading(answer: &Answer) -> String {
    format!("{}, {} calls", answer.of.label(), answer.of.calls())
}

/// The PSNR of the samples' mean, in the same rows and columns.
#[must_use]
pub fn reach_psnr_table(results: &ReachResults) -> Table {
    let mut headings = vec!["question".to_owned()];
    if let Some(first) = results.questions.first() {
        headings.extend(first.answers.iter().map(heading));
    }
    let row = |answered: &Answered| {
        let mut row = vec![answered.question.name.clone()];
        row.extend(answered.answers.iter().map(|answer| {
            let found = answer.psnr_of_mean();
            found.map_or_else(|| DIVERGED.to_owned(), |found| format!("{:.1}", found.mean))
        }));
        row
    };
    Table { headings, rows: results.questions.iter().map(row).collect() }
}

/// How many questions of a place the network answers better than every contender, as well as can be told, or worse.
#[must_use]
pub fn reach_summary(results: &ReachResults) -> String {
    let of_place = |place: Place| {
        let here = results.questions.iter().filter(|answered| answered.question.place == place);
        // A network that diverged did not win its question.
        let word = |answered: &Answered| {
            answered.comparison().map_or("without a score", |found| found.word())
        };
        let words: Vec<&str> = here.map(word).collect();
        let count = |wanted: &str| words.iter().filter(|word| **word == wanted).count();
        let mut said = format!(
            "{}: better than the best method without training on {} of {} questions, worse on {}, undecided {}",
            place.label(),
            count("better"),
            words.len(),
            count("worse"),
            count("undecided")
        );
        if count("without a score") > 0 {
            said += &format!(", without a score {}", count("without a score"));
        }
        (!words.is_empty()).then_some(said)
    };
    let places = [Place::Inside, Place::JustOutside, Place::NeverSeen];
    places.into_iter().filter_map(of_place).collect::<Vec<_>>().join("; ")
}

fn interval(found: &Spread) -> String {
    match found.half_width_95() {
        Some(half) => format!("{:.3} ± {half:.3}", found.mean),
        None => format!("{:.3}", found.mean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two questions of two images, with a network and a contender; the second's diverged.
    fn results() -> ReachResults {
        let text = r#"{"format_version": 1, "config": {"format_version": 1, "experiment": "reach",
            "dataset": {"name": "fashion-mnist, test", "source": "", "licence": "MIT", "sha256": "0"}, "networks": [], "images": [3, 1],
            "samples": 2, "tuning_images": 1, "tuning_samples": 2, "seed": 0, "precision": "f32"},
            "environment": ENVIRONMENT, "questions": [
            {"question": {"name": "a mask", "place": "inside", "of": {"family": "denoise"}, "sigma_y": 0.05}, "answers": [
                {"of": {"name": "eps", "network": "broad", "calls": 20}, "constant": null, "tried": [],
                 "scores": {"energy_score_fair": [1.0, 3.0], "psnr_of_mean_db": [20.0, 21.0]}},
                {"of": {"name": "contender", "contender": "ddrm", "calls": 50}, "constant": 0.5, "tried": [],
                 "scores": {"energy_score_fair": [2.0, 4.0], "psnr_of_mean_db": [19.0, 20.0]}}]},
            {"question": {"name": "sums", "place": "never-seen", "of": {"family": "denoise"}, "sigma_y": 0.05}, "answers": [
                {"of": {"name": "eps", "network": "broad", "calls": 20}, "constant": null, "tried": [],
                 "scores": {"energy_score_fair": [1.0, 3.0], "psnr_of_mean_db": [20.0, 21.0]}},
                {"of": {"name": "contender", "contender": "ddrm", "calls": 50}, "constant": null, "tried": [], "scores": null}]}]}"#;
        let environment = serde_json::to_string(&crate::sample_results::environment()).unwrap();
        serde_json::from_str(&text.replace("ENVIRONMENT", &environment)).unwrap()
    }

    #[test]
    fn a_question_has_a_row_and_what_diverged_says_so() {
        let Table { headings, rows } = reach_table(&results());
        assert_eq!(headings[3..5], ["EPS, broad, 20 calls", "DDRM, 50 calls"]);
        // Both images say the same: the interval of the difference has no width.
        assert_eq!(rows[0][5..], ["-1.000 ± 0.000", "better"]);
        assert_eq!(rows[1][4..], ["diverged", "", ""]);
        let psnr = reach_psnr_table(&results());
        assert_eq!(psnr.headings[1..], ["EPS, broad, 20 calls", "DDRM, 50 calls"]);
        assert_eq!(psnr.rows[0][1..], ["20.5", "19.5"]);
        let summary = reach_summary(&results());
        assert_eq!(
            summary,
            "inside the law: better than the best method without training on 1 of 1 questions, worse on 0, undecided 0; \
             never seen: better than the best method without training on 0 of 1 questions, worse on 0, undecided 0, without a score 1"
        );
    }
}
