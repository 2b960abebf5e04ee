//! Line charts as SVG, without scripts and fonts of their own.
//!
//! Colours are those of Okabe and Ito, which colour-blind readers can tell apart, lighter on dark
//! ground; every line carries its name at its end.

use std::fmt::Write as _;

/// The styles of all charts, for the page or for an SVG file of its own.
pub(crate) const STYLE: &str = "\
.chart{font:11px system-ui,sans-serif;--ink:#333;--rule:#ddd;\
--c0:#0072b2;--c1:#d55e00;--c2:#007a5a;--c3:#555;--c4:#a8437f;--c5:#a87000;--c6:#7a4a2b;--c7:#8a7d00}\
@media(prefers-color-scheme:dark){.chart{--ink:#ccc;--rule:#3a3f45;\
--c0:#56b4e9;--c1:#f0913a;--c2:#2fc79b;--c3:#aaa;--c4:#e08cc0;--c5:#e6b422;--c6:#c79a7a;--c7:#d8cf4a}}\
.chart text{fill:var(--ink)}.chart .rule{stroke:var(--rule)}.chart .band{fill:var(--rule)}\
.chart .c0{color:var(--c0)}.chart .c1{color:var(--c1)}\
.chart .c2{color:var(--c2)}.chart .c3{color:var(--c3)}\
.chart .c4{color:var(--c4)}.chart .c5{color:var(--c5)}.chart .c6{color:var(--c6)}.chart .c7{color:var(--c7)}\
.chart .line *{fill:currentColor}\
.chart .line path{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round}\
.chart .main path{stroke-width:3.4}\
.chart .d1 path{stroke-dasharray:7 3}.chart .d2 path{stroke-dasharray:2 3}\
.chart .dashed path{stroke-dasharray:5 4}\
.chart .dots path{stroke-width:2.2;stroke-linecap:round}";

/// The number of colours of [`STYLE`].
const COLOURS: usize = 8;

/// An axis: its name with the unit, and whether it is logarithmic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    /// The name, with the unit.
    pub(crate) label: String,
    /// Whether equal factors are equally far apart; values must be positive then.
    pub(crate) logarithmic: bool,
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// The name, written at the line's end.
    pub(crate) label: String,
    /// The points, x ascending.
    pub(crate) points: Vec<(f64, f64)>,
    /// One of eight colours; from 8 on they come again with longer, from 16 on with shorter dashes.
    pub(crate) colour: usize,
    /// How it is drawn.
    pub(crate) style: Style,
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As a solid one, and thick: what the chart is about.
    Main,
    /// From point to point, with the points marked where there are few.
    Solid,
    /// Dashed, for references.
    Dashed,
    /// The points alone, where nothing is known between them.
    Points,
}

/// A chart of lines over one pair of axes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    /// The heading.
    pub(crate) title: String,
    /// The axis of the first coordinates.
    pub(crate) x: Axis,
    /// The axis of the second coordinates.
    pub(crate) y: Axis,
    /// The lines.
    pub(crate) lines: Vec<Line>,
    /// A range of second coordinates that is marked behind the lines.
    pub(crate) band: Option<Band>,
}

/// A marked range of a chart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Band {
    /// The name, written at its right end.
    pub(crate) label: String,
    /// Its lower end.
    pub(crate) from: f64,
    /// Its upper end.
    pub(crate) to: f64,
}

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 250.0;
/// Left, right, top and bottom of the plot.
const PLOT: (f64, f64, f64, f64) = (56.0, 290.0, 30.0, 208.0);
/// The most ticks of a logarithmic axis that do not crowd.
const MOST_TICKS: usize = 12;
/// The height of a label at a line's end.
const LABEL: f64 = 13.0;

/// The text as it stands in HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A range of values and its map to the picture.
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    logarithmic: bool,
}

impl Scale {
    fn new(
        axis: &Axis,
        values: impl Iterator<Item = f64>,
        start: f64,
        end: f64,
        margin: f64,
    ) -> Self {
        let map = |value: f64| {
            if axis.logarithmic { value.log10() } else { value }
        };
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.map(map).filter(|value| value.is_finite()) {
            (from, to) = (from.min(value), to.max(value));
        }
        if from > to {
            (from, to) = (0.0, 1.0);
        }
        let room = if to > from { margin * (to - from) } else { 0.5 };
        Self { from: from - room, to: to + room, start, end, logarithmic: axis.logarithmic }
    }

    fn place(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.log10() } else { value };
        self.start + (value - self.from) / (self.to - self.from) * (self.end - self.start)
    }

    /// About five round values, or 1, 2 and 5 times the powers of ten, or these alone if they are many.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            #[expect(clippy::cast_possible_truncation, reason = "powers of ten of numbers in f64")]
            let powers = self.from.floor() as i32..=self.to.ceil() as i32;
            let ticks: Vec<f64> = powers
                .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)))
                .filter(|tick| (self.from - 1e-9..=self.to + 1e-9).contains(&tick.log10()))
                .collect();
            if ticks.len() > MOST_TICKS {
                let power = |tick: &f64| (tick.log10() - tick.log10().round()).abs() < 1e-9;
                return ticks.into_iter().filter(power).collect();
            }
            if ticks.len() >= 2 {
                return ticks;
            }
            let (from, to) = (10f64.powf(self.from), 10f64.powf(self.to));
            return round_values(from, to);
        }
        round_values(self.from, self.to)
    }
}

/// The multiples of a round step in a range.
fn round_values(from: f64, to: f64) -> Vec<f64> {
    let raw = (to - from) / 5.0;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|s| *s >= raw);
    let step = step.unwrap_or(raw);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "beyond i64 both are its end, and there is one value"
    )]
    let (first, last) = ((from / step).ceil() as i64, (to / step).floor() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A tick without needless digits.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Moves labels apart that would overlap; they keep their order and stay above `lowest`.
fn spread_labels(places: &mut [f64], lowest: f64) {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| places[*a].total_cmp(&places[*b]));
    for pair in order.windows(2) {
        places[pair[1]] = places[pair[1]].max(places[pair[0]] + LABEL);
    }
    let mut limit = lowest;
    for index in order.into_iter().rev() {
        places[index] = places[index].min(limit);
        limit = places[index] - LABEL;
    }
}

impl Chart {
    /// The chart as an SVG element; its styles are [`STYLE`].
    pub(crate) fn svg(&self) -> String {
        let (left, right, top, bottom) = PLOT;
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Scale::new(&self.x, points().map(|p| p.0), left, right, 0.03);
        let marked = self.band.iter().flat_map(|band| [band.from, band.to]);
        let heights = points().map(|p| p.1).chain(marked);
        let y = Scale::new(&self.y, heights, bottom, top, 0.06);
        let mut svg = format!(
            "<svg class=\"chart\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" \
             viewBox=\"0 0 {WIDTH} {HEIGHT}\" aria-label=\"{}\">",
            escape(&self.description())
        );
        let mut put = |text: std::fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _ = svg.write_fmt(text);
        };
        put(format_args!(
            "<text x=\"6\" y=\"16\" font-weight=\"600\">{}</text>",
            escape(&self.title)
        ));
        if let Some(band) = &self.band {
            let (from, to) = (y.place(band.to), y.place(band.from));
            put(format_args!(
                "<rect class=\"band\" x=\"{left}\" y=\"{from:.1}\" width=\"{}\" height=\"{:.1}\"/>",
                right - left,
                (to - from).max(1.0)
            ));
        }
        for tick in y.ticks() {
            let place = y.place(tick);
            put(format_args!(
                "<path class=\"rule\" d=\"M{left} {place:.1}H{right}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                place + 4.0,
                number(tick)
            ));
        }
        for tick in x.ticks() {
            put(format_args!(
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                x.place(tick),
                bottom + 15.0,
                number(tick)
            ));
        }
        put(format_args!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(11 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            0.5 * (left + right),
            bottom + 33.0,
            escape(&self.x.label),
            0.5 * (top + bottom),
            escape(&self.y.label)
        ));
        let ends = self.lines.iter().filter_map(|line| line.points.last());
        let mut labels: Vec<f64> = ends.map(|point| y.place(point.1)).collect();
        let middle = |band: &Band| 0.5 * (y.place(band.from) + y.place(band.to));
        labels.extend(self.band.as_ref().map(middle));
        // The axis has its ticks right below.
        spread_labels(&mut labels, bottom - 0.5 * LABEL);
        if let (Some(band), Some(label)) = (&self.band, labels.last()) {
            put(format_args!(
                "<text x=\"{}\" y=\"{:.1}\">{}</text>",
                right + 6.0,
                label + 4.0,
                escape(&band.label)
            ));
        }
        let drawn = self.lines.iter().filter(|line| !line.points.is_empty()).zip(labels);
        // The first lies above the others.
        for (line, label) in drawn.collect::<Vec<_>>().into_iter().rev() {
            let places = line.points.iter().map(|p| (x.place(p.0), y.place(p.1)));
            let path: Vec<String> = places.clone().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
            let style = match (line.style, line.colour / COLOURS) {
                (Style::Main, _) => " main",
                (Style::Dashed, _) => " dashed",
                (_, 0) => "",
                (_, 1) => " d1",
                _ => " d2",
            };
            put(format_args!("<g class=\"line c{}{style}\">", line.colour % COLOURS));
            if line.style != Style::Points {
                put(format_args!("<path d=\"M{}\"/>", path.join("L")));
            }
            let radius = match line.style {
                Style::Main | Style::Solid if line.points.len() <= 20 => Some(2.2),
                Style::Points => Some(3.2),
                _ => None,
            };
            for ((x, y), radius) in places.zip(radius.into_iter().cycle()) {
                put(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"));
            }
            put(format_args!(
                "<text x=\"{}\" y=\"{:.1}\">{}</text></g>",
                right + 6.0,
                label + 4.0,
                escape(&line.label)
            ));
        }
        svg + "</svg>"
    }

    /// The chart as an SVG file.
    pub(crate) fn file(&self) -> String {
        self.svg().replacen('>', &format!("><style>{STYLE}</style>"), 1) + "\n"
    }

    /// Several charts as one SVG file, side by side in rows of `columns`.
    pub(crate) fn panels(charts: &[Self], columns: usize) -> String {
        let (rows, columns) = (charts.len().div_ceil(columns), columns.min(charts.len()));
        let (width, height) = (columns as f64 * WIDTH, rows as f64 * HEIGHT);
        let panel = |(index, chart): (usize, &Self)| {
            let x = (index % columns) as f64 * WIDTH;
            let y = (index / columns) as f64 * HEIGHT;
            let place = format!("<svg x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\"");
            chart.svg().replacen("<svg", &place, 1)
        };
        let panels: String = charts.iter().enumerate().map(panel).collect();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\">\
             <style>{STYLE}</style>{panels}</svg>\n"
        )
    }

    /// The chart in words, for readers who do not see it.
    fn description(&self) -> String {
        let lines = self.lines.iter().filter_map(|line| {
            let ((x0, y0), (x1, y1)) = (line.points.first()?, line.points.last()?);
            Some(format!(
                "{} from {} at {} to {} at {}",
                line.label,
                number(*y0),
                number(*x0),
                number(*y1),
                number(*x1)
            ))
        });
        let lines: Vec<String> = lines.collect();
        format!("{}: {} over {}; {}", self.title, self.y.label, self.x.label, lines.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> Chart {
        let line = |label: &str, y: [f64; 3]| Line {
            label: label.to_owned(),
            points: [1.0, 10.0, 100.0].into_iter().zip(y).collect(),
            colour: 0,
            style: Style::Solid,
        };
        Chart {
            title: "a < b".to_owned(),
            x: Axis { label: "NFE".to_owned(), logarithmic: true },
            y: Axis { label: "PSNR (dB)".to_owned(), logarithmic: false },
            lines: vec![line("one", [20.0, 22.0, 24.0]), line("two", [21.0, 23.0, 24.0])],
            band: None,
        }
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(round_values(19.7, 24.4), [20.0, 21.0, 22.0, 23.0, 24.0]);
        assert_eq!(number(0.25), "0.25");
        assert_eq!(number(20.0), "20");
        assert_eq!(number(-0.0), "0");
    }

    #[test]
    fn a_logarithmic_axis_places_powers_evenly() {
        let axis = Axis { label: String::new(), logarithmic: true };
        let scale = Scale::new(&axis, [1.0, 100.0].into_iter(), 0.0, 10.0, 0.0);
        let places = [1.0, 10.0, 100.0].map(|value| scale.place(value));
        assert!((places[0]).abs() < 1e-12 && (places[1] - 5.0).abs() < 1e-12);
        assert_eq!(scale.ticks(), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        let wide = Scale::new(&axis, [0.1, 1e4].into_iter(), 0.0, 10.0, 0.0);
        assert_eq!(wide.ticks(), [0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0]);
    }

    #[test]
    fn labels_do_not_overlap() {
        let mut places = vec![100.0, 100.0, 101.0, 20.0];
        spread_labels(&mut places, 110.0);
        let mut sorted = places.clone();
        sorted.sort_by(f64::total_cmp);
        assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= LABEL), "{places:?}");
        assert!(sorted[3] <= 110.0 && places[3] == 20.0);
    }

    #[test]
    fn a_chart_is_described_and_escaped() {
        let svg = chart().svg();
        assert!(svg.contains("a &lt; b") && !svg.contains("a < b"));
        assert!(svg.contains("one from 20 at 1 to 24 at 100"));
        assert_eq!(svg.matches("<circle").count(), 6);
        assert!(chart().file().contains("<style>"));
    }

    #[test]
    fn panels_stand_in_rows() {
        let file = Chart::panels(&[chart(), chart(), chart()], 2);
        assert!(file.contains("viewBox=\"0 0 800 500\""), "{file}");
        assert_eq!(file.matches("class=\"chart\"").count(), 3);
        assert!(file.contains("<svg x=\"0\" y=\"250\""), "{file}");
    }

    #[test]
    fn a_band_lies_in_the_chart_and_is_named() {
        let mut chart = chart();
        chart.y.logarithmic = true;
        chart.band = Some(Band { label: "floor".into(), from: 0.1, to: 0.2 });
        let svg = chart.svg();
        assert!(svg.contains("class=\"band\"") && svg.contains(">floor<"), "{svg}");
        // The axis reaches down to it.
        assert!(svg.contains(">0.1<"), "{svg}");
    }

    #[test]
    fn flat_and_empty_lines_are_drawn() {
        let mut chart = chart();
        chart.lines = vec![
            Line {
                label: "flat".into(),
                points: vec![(1.0, 3.0)],
                colour: 1,
                style: Style::Dashed,
            },
            Line { label: "none".into(), points: vec![], colour: 2, style: Style::Points },
        ];
        let svg = chart.svg();
        assert!(svg.contains("flat") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
