//! `eps experiment oracle` from flags to report.

#[path = "common/cells.rs"]
mod cells;
#[expect(dead_code, reason = "the other tests need more of it")]
mod common;

use cells::cells;
use common::Folder;
use serde_json::Value;

const RUN: &str = "experiment oracle --profile smoke --samples 40 --calls 2,5 --out out";

fn results(folder: &Folder) -> Value {
    let text = std::fs::read_to_string(folder.path("out/results.json")).expect("results");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_run_writes_its_record_and_goes_on_where_it_was_cut_off() {
    let folder = Folder::new();
    let printed = folder.succeeds(RUN);
    assert!(printed.contains("2-D mixture, dense, σ_y 0.2: 1 measurements"), "{printed}");
    assert!(printed.contains("two exact sets") && printed.contains("report: out/report.html"));
    assert!(printed.contains("EPS, Heun, 999 calls: sliced W2"), "{printed}");

    const UNTUNED: [&str; 4] = ["eps-heun", "eps-euler", "eps-multistep", "zero-shot"];
    let first = results(&folder);
    let settings = first["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 2);
    for setting in settings {
        assert!(setting["floor"]["sliced_w2"]["mean"].as_f64().unwrap() > 0.0);
        let methods = setting["methods"].as_array().unwrap();
        assert_eq!(methods.len(), 13);
        for method in methods {
            let name = method["method"].as_str().unwrap();
            let nfe: Vec<u64> = method["curve"]
                .as_array()
                .unwrap()
                .iter()
                .map(|p| p["nfe"].as_u64().unwrap())
                .collect();
            match name {
                "eps-heun" => assert_eq!(nfe, [1, 5, 999]),
                "daps" | "daps-exact" => assert_eq!(nfe, [5, 5]),
                _ => assert_eq!(nfe, [2, 5], "{name}"),
            }
            // What has a constant says what was tried, from a whole grid on.
            let tuning = method["tuning"].as_array().unwrap();
            let tuned = method["tuned"].is_string();
            assert_eq!(tuned, !UNTUNED.contains(&name), "{name}");
            assert_eq!(tuning.len(), if tuned { 2 } else { 0 }, "{name}");
            if tuned {
                assert!(tuning[0]["tried"].as_array().unwrap().len() >= 7, "{name}");
                assert_eq!(tuning[1]["constant"], method["curve"][1]["constant"], "{name}");
            }
        }
    }

    let report = std::fs::read_to_string(folder.path("out/report.html")).unwrap();
    assert!(report.contains("name=\"viewport\"") && report.contains("exact posterior"));
    // It needs nothing from elsewhere: the one address is the name of SVG.
    let addresses = report.matches("http").count();
    assert_eq!(addresses, report.matches("http://www.w3.org/2000/svg").count());
    assert!(!report.contains("<script") && !report.contains("NaN"));
    for figure in ["plane-mixture-dense-0.2-samples.svg", "plane-mixture-dense-0.2-sliced-w2.svg"] {
        assert!(folder.path("out/figures").join(figure).is_file(), "{figure}");
    }

    // One cell is lost and one damaged: these two are computed again, to the same scores.
    let before = cells(&folder.path("out"));
    let lost = folder.path("out/cells/plane-mixture-dense-0.2.eps-euler.0.json");
    let damaged = folder.path("out/cells/4x4-mixture-random-inpainting-0.2.mpgd.tuning.json");
    std::fs::remove_file(&lost).unwrap();
    std::fs::write(&damaged, "no cell").unwrap();
    folder.succeeds(RUN);
    assert_eq!(results(&folder), first);
    let after = cells(&folder.path("out"));
    assert_eq!(before.len(), after.len());
    for (path, written) in before {
        let again = path == lost || path == damaged;
        assert_eq!(after[&path] != written, again, "{}", path.display());
    }

    // One setting is what it is among others.
    folder.succeeds(&format!("{RUN} --settings plane-mixture-dense-0.2"));
    let only = &results(&folder)["settings"];
    assert_eq!((only.as_array().unwrap().len(), &only[0]), (1, &first["settings"][0]));

    // Another seed is another run.
    folder.succeeds(&format!("{RUN} --seed 1"));
    assert_ne!(results(&folder)["settings"], first["settings"]);
}

#[test]
fn bad_input_is_named_before_anything_is_written() {
    let folder = Folder::new();
    folder.fails(&RUN.replace("smoke", "fast"), 2, &["\"fast\"", "smoke, quick, full"]);
    folder.fails(&RUN.replace("2,5", "5,2"), 2, &["[5, 2]", "ascending"]);
    folder.fails(&RUN.replace("40", "3"), 2, &["--samples 3", "at least 10"]);
    folder.fails(&format!("{RUN} --settings a"), 2, &["--settings a", "plane-mixture-dense-0.2"]);
    folder.fails(&format!("{RUN} --device cuda"), 2, &["cuda", "cpu"]);
    let out = RUN.split_once("--out ").unwrap().1.split(' ').next().unwrap();
    std::fs::create_dir(folder.path(out)).unwrap();
    let of_training = folder.path(&format!("{out}/config.json"));
    std::fs::write(&of_training, "{\"steps\": 5}").unwrap();
    folder.fails(RUN, 1, &["not of the experiment oracle", "another folder"]);
    assert_eq!(std::fs::read_to_string(of_training).unwrap(), "{\"steps\": 5}");
}
