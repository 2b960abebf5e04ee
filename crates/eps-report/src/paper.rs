//! The paper's own numbers, beside ours.

use eps_math::Task;
use serde::Deserialize;

use crate::table::Table;

/// The result tables of arXiv 2606.17048.
const TABLES: &str = include_str!("paper_tables.json");

#[derive(Debug, Deserialize)]
struct Tables {
    tables: std::collections::BTreeMap<String, std::collections::BTreeMap<String, Vec<Row>>>,
}

#[derive(Debug, Deserialize)]
struct Row {
    method: String,
    nfe: usize,
    psnr_db: f64,
    ssim: f64,
    lpips: f64,
    fid: f64,
    crps_pix: f64,
}

/// The paper's data sets, by the names of its tables and in words.
pub(crate) const DATASETS: [(&str, &str); 2] =
    [("ffhq-64", "FFHQ, 64×64"), ("imagenet-64", "ImageNet, 64×64")];

/// The paper's table of a task on one of its data sets; none if the file lacks it.
pub(crate) fn table(task: Task, dataset: &str) -> Option<Table> {
    let name = match task {
        Task::RandomInpainting => "Inpaint (random)",
        Task::BoxInpainting => "Inpaint (box)",
        Task::SuperResolution => "Super-res (4×)",
        Task::GaussianBlur => "Gaussian deblur",
        Task::MotionBlur => "Motion deblur",
        Task::ExtremeInpainting | Task::ExtremeSuperResolution => return None,
    };
    let tables: Tables = serde_json::from_str(TABLES).ok()?;
    let rows = tables.tables.get(dataset)?.get(name)?;
    let line = |row: &Row| {
        vec![
            row.method.clone(),
            row.nfe.to_string(),
            format!("{:.2}", row.psnr_db),
            format!("{:.3}", row.ssim),
            format!("{:.3}", row.crps_pix),
            format!("{:.4}", row.lpips),
            format!("{:.1}", row.fid),
        ]
    };
    Some(Table {
        headings: ["method", "NFE", "PSNR (dB)", "SSIM", "energy score [0,1]", "LPIPS", "FID"]
            .map(str::to_owned)
            .to_vec(),
        rows: rows.iter().map(line).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_has_its_table() {
        for (dataset, _) in DATASETS {
            for task in Task::ALL {
                let table = table(task, dataset).unwrap();
                assert_eq!(table.rows.len(), 9, "{dataset} {}", task.name());
            }
        }
        let motion = table(Task::MotionBlur, "ffhq-64").unwrap();
        assert!(motion.rows.iter().any(|row| row[0] == "EPS" && row[1] == "1"), "{motion:?}");
    }
}
