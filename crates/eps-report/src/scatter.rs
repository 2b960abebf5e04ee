//! Clouds of points in small multiples, as SVG.

use std::fmt::Write as _;

use crate::chart::{STYLE, escape};

/// One cloud over that of all panels' reference.
#[derive(Debug)]
pub(crate) struct Panel<'a> {
    /// The heading.
    pub(crate) title: String,
    /// What is said below it.
    pub(crate) note: String,
    /// The points (a, b); those outside the square are not drawn.
    pub(crate) points: &'a [[f32; 2]],
    /// A colour of the charts.
    pub(crate) colour: usize,
}

/// Panels in a row.
const COLUMNS: usize = 4;
/// The side of a panel's square.
const SIDE: f64 = 176.0;
/// The distance from one panel to the next, across and down.
const STEP: (f64, f64) = (188.0, 222.0);
/// The height of heading and note.
const HEAD: f64 = 34.0;
/// The squares show [-EXTENT, EXTENT] in both coordinates.
const EXTENT: f64 = 1.2;

/// The panels as an SVG element, each over the points of `reference` in grey.
pub(crate) fn svg(description: &str, panels: &[Panel<'_>], reference: &[[f32; 2]]) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let (width, height) = (STEP.0 * COLUMNS as f64, STEP.1 * rows as f64);
    let mut svg = format!(
        "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" \
         viewBox=\"0 0 {width} {height}\" aria-label=\"{}\">",
        escape(description)
    );
    let grey = path(reference);
    for (i, panel) in panels.iter().enumerate() {
        let (x, y) = (STEP.0 * (i % COLUMNS) as f64, STEP.1 * (i / COLUMNS) as f64);
        // Writing to a string does not fail.
        let _ = write!(
            svg,
            "<text x=\"{x}\" y=\"{}\" font-weight=\"600\">{}</text>\
             <text x=\"{x}\" y=\"{}\">{}</text>\
             <svg x=\"{x}\" y=\"{}\" width=\"{SIDE}\" height=\"{SIDE}\">\
             <path class=\"rule\" fill=\"none\" d=\"M.5 .5H{end}V{end}H.5Z\"/>\
             <g class=\"line dots c3\" opacity=\".28\"><path d=\"{grey}\"/></g>\
             <g class=\"line dots c{}\" opacity=\".6\"><path d=\"{}\"/></g></svg>",
            y + 13.0,
            escape(&panel.title),
            y + 27.0,
            escape(&panel.note),
            y + HEAD,
            panel.colour,
            path(panel.points),
            end = SIDE - 0.5,
        );
    }
    svg + "</svg>"
}

/// The panels as an SVG file.
pub(crate) fn file(svg: &str) -> String {
    svg.replacen('>', &format!("><style>{STYLE}</style>"), 1) + "\n"
}

/// A dot at every point within the square.
fn path(points: &[[f32; 2]]) -> String {
    let place = |value: f32| (f64::from(value) / EXTENT + 1.0) * 0.5 * SIDE;
    let inside = |point: &&[f32; 2]| point.iter().all(|v| f64::from(v.abs()) <= EXTENT);
    points
        .iter()
        .filter(inside)
        // The second coordinate grows upwards.
        .map(|[a, b]| format!("M{:.1} {:.1}h0", place(*a), place(-*b)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_placed_and_those_outside_left_out() {
        assert_eq!(path(&[[0.0, 0.0], [0.6, 1.1], [5.0, 0.0]]), "M88.0 88.0h0M132.0 7.3h0");
        let panel = |title: &str| Panel {
            title: title.to_owned(),
            note: String::new(),
            points: &[[0.0, 0.0]],
            colour: 1,
        };
        let panels = ["a", "b", "c", "d", "<e>"].map(panel);
        let svg = svg("clouds", &panels, &[[0.1, 0.1]]);
        assert!(svg.contains("viewBox=\"0 0 752 444\"") && svg.contains("&lt;e&gt;"), "{svg}");
        assert_eq!(svg.matches("<svg").count(), 6);
        assert!(file(&svg).contains("<style>"));
    }
}
