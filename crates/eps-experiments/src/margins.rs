//! The claims of a run about its own rows.

use eps_results::{MEAN_DB, MEAN_OF, Margin, MarginVerdict, Method, ONE_CALL_DB, Row};

/// The claims that a task's rows can speak to.
pub(crate) fn margins(rows: &[Row]) -> Vec<Margin> {
    let Some(linear) = rows.iter().find(|row| row.method == Method::LinearMmse) else {
        return Vec::new();
    };
    rows.iter()
        .filter_map(|row| {
            let claimed_db = match (row.method, row.mean_of) {
                (Method::Eps { calls: 1, .. }, None) => ONE_CALL_DB,
                (Method::Eps { calls, .. }, Some(_)) if calls > 1 => MEAN_DB,
                _ => return None,
            };
            let margin_db = row.psnr_db.mean - linear.psnr_db.mean;
            let verdict = match row.mean_of {
                _ if margin_db >= claimed_db => MarginVerdict::Holds,
                Some(j) if j < MEAN_OF => MarginVerdict::Open,
                _ => MarginVerdict::Fails,
            };
            let (method, mean_of) = (row.method, row.mean_of);
            Some(Margin { method, mean_of, margin_db, claimed_db, verdict })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use eps_math::Shape;
    use eps_results::Scope;

    use super::*;
    use crate::restoration::Restored;
    use crate::scores::{Judge, score_samples};

    const SHAPE: Shape = Shape { channels: 1, height: 11, width: 11 };

    #[test]
    fn a_claim_that_fails_says_so() {
        let truth = vec![-1.0; 121];
        let row = |method, value: f32| {
            let samples = vec![value; 121];
            let restoration =
                Restored { samples, per_image: 1, nfe: 20, backward_passes: 0, seconds: 6.0 };
            score_samples(method, &truth, &restoration, SHAPE, &Judge::PIXELS).unwrap()
        };
        let eps = Method::Eps { network: Scope::PerTask, calls: 20 };
        let one_call = Method::Eps { network: Scope::AllTasks, calls: 1 };
        let mean = |j| Row { mean_of: Some(j), ..row(eps, -0.8) };
        // 20 dB each: no margin.
        let rows = [row(Method::LinearMmse, -0.8), row(one_call, -0.8), mean(3), mean(10)];
        let verdicts: Vec<MarginVerdict> =
            margins(&rows).iter().map(|margin| margin.verdict).collect();
        assert_eq!(verdicts, [MarginVerdict::Fails, MarginVerdict::Open, MarginVerdict::Fails]);
        assert!(margins(&rows)[0].sentence().ends_with("claimed ≥ 1.0 dB: FAILS"));
        // An error of 0.1 for 0.2 is 6 dB better.
        let better = [row(Method::LinearMmse, -0.8), row(one_call, -0.9)];
        assert_eq!(margins(&better)[0].verdict, MarginVerdict::Holds);
    }
}
