//! What restorations look like: measurements, spreads and mosaics as pictures.

use eps_data::png::{Picture, magnify};
use eps_math::Shape;
use eps_math::operator::{LinearMap as _, OperatorKind, PreparedOperator, lifted};

/// The standard deviation, on [-1, 1], that is white in a picture of spreads; 0 is black.
pub const SD_WHITE: f64 = 0.5;

/// The side, in pixels, up to which small images are magnified in a mosaic.
const MOSAIC_SIDE: usize = 112;

/// Whether images of a shape can be shown: grey or RGB.
pub fn showable(shape: Shape) -> bool {
    matches!(shape.channels, 1 | 3)
}

/// A measurement in the image's shape.
///
/// What was seen, where it was seen: low resolution is magnified, blurs are as measured. Where pixels are hidden it is what the file
/// holds there, such as scratches. Of matrices it is the least-squares image A†y, of other operators Aᵀy/‖A‖².
pub fn measurement(operator: &PreparedOperator, y: &[f64]) -> Picture {
    let shape = operator.domain();
    let mut values = match (operator.as_spectral(), operator.picks()) {
        (Some(spectral), None) => operator.placed(y).unwrap_or_else(|| spectral.pseudo_inverse(y)),
        _ => lifted(operator, y),
    };
    // Where every value of y lies at its pixel.
    let in_place = operator.picks().filter(|picks| {
        let stays = |(entry, pixel): (usize, Option<usize>)| pixel.is_none_or(|at| at == entry);
        operator.kind() == OperatorKind::Pixels
            && operator.range() == shape
            && picks.pixels().enumerate().all(stays)
    });
    if let Some(picks) = in_place {
        let hidden = picks.pixels().enumerate().filter(|(_, pixel)| pixel.is_none());
        hidden.for_each(|(index, _)| values[index] = y[index]);
    }
    Picture { shape, values }
}

/// Standard deviations in grey: 0 is black, [`SD_WHITE`] and above white.
pub fn deviations(shape: Shape, sd: &[f64]) -> Picture {
    Picture { shape, values: sd.iter().map(|sd| 2.0 * sd / SD_WHITE - 1.0).collect() }
}

/// Pictures of one shape in a table of `columns` columns, small ones magnified.
///
/// # Panics
/// Where there is no picture or the shapes differ.
pub fn contact_sheet(pictures: &[Picture], columns: usize) -> Picture {
    let cells: Vec<Option<&Picture>> = pictures.iter().map(Some).collect();
    let shape = pictures[0].shape;
    let factor = (MOSAIC_SIDE / shape.height.max(shape.width)).max(1);
    // The gap is magnified with the pictures.
    magnify(&eps_data::png::mosaic(&cells, columns, 1), factor)
}

#[cfg(test)]
mod tests {
    use eps_math::operator::OperatorSpec;

    use super::*;

    #[test]
    fn every_measurement_is_shown_in_the_images_shape() {
        let shape = Shape::new(1, 2, 2).unwrap();
        let matrix = vec![vec![0.0, 2.0, 0.0, 0.0]];
        for (spec, y, shown) in [
            (
                OperatorSpec::Mask { observed: vec![1, 0, 0, 1] },
                vec![0.1, 0.2, 0.3, 0.4],
                [0.1, 0.2, 0.3, 0.4],
            ),
            (OperatorSpec::AveragePool { factor: 2 }, vec![0.5], [0.5; 4]),
            (OperatorSpec::Dense { matrix }, vec![0.8], [0.0, 0.4, 0.0, 0.0]),
        ] {
            let picture = measurement(&spec.prepare(shape).unwrap(), &y);
            assert_eq!(picture.shape, shape);
            for (found, expected) in picture.values.iter().zip(shown) {
                // A† of the dense operator is computed by an SVD of four columns.
                assert!((found - expected).abs() < 8.0 * f64::EPSILON, "{picture:?}");
            }
        }
    }

    #[test]
    fn deviations_run_from_black_to_white() {
        let picture = deviations(Shape::new(1, 1, 3).unwrap(), &[0.0, 0.25, 0.5]);
        assert_eq!(picture.values, [-1.0, 0.0, 1.0]);
    }
}
