//! Prints the tables of committed results, as `eps experiment` does at the end of a run.

#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::path::Path;

use eps_report::Table;
use eps_results::Record;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = repository.join("data/results/fashion-mnist/posterior-mean.json.gz");
    if let Record::Experiment(results) = Record::read(&path)? {
        for task in &results.tasks {
            println!("{}\n{}", task.name, Table::new(task.shown(), true).text());
        }
    }
    Ok(())
}

#[test]
fn runs() {
    main().expect("the example");
}
