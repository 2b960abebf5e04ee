//! Reads the committed results of the paper's comparison and prints the fair energy score of EPS on each task.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::path::Path;

use eps_results::{Metric, Record};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let record = Record::read(&repository.join("data/results/fashion-mnist/main.json.gz"))?;
    let Record::Experiment(results) = record else {
        return Err("the comparison is an experiment on networks".into());
    };
    println!("{} images, {} samples each", results.config.images.len(), results.config.samples);
    for task in &results.tasks {
        for row in task.rows().filter(|row| row.cell == "eps-20" && row.mean_of.is_none()) {
            let (score, _) = row.score(Metric::EnergyScoreFair).ok_or("a score of two samples")?;
            println!("{}: {score:.3} in {} calls", task.name, row.nfe);
        }
    }
    Ok(())
}

#[test]
fn runs() {
    main().expect("the example");
}
