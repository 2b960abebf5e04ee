//! What an operator does to an image, as far as constants and calibrations tell operators apart.

/// What an operator does to an image.
///
/// It looks through what only chooses pixels: a blur that is seen through a crop is a blur.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperatorKind {
    /// It chooses pixels.
    Pixels,
    /// It takes means of neighbours, fewer than there are pixels.
    Means,
    /// It blurs.
    Blurs,
    /// Something else.
    Others,
}

impl OperatorKind {
    /// The kind of operators one after the other: that of those that do more than choose pixels, where it is one.
    pub(super) fn of_chain(links: impl Iterator<Item = Self>) -> Self {
        links.fold(Self::Pixels, |kind, link| match (kind, link) {
            (Self::Pixels, other) | (other, Self::Pixels) => other,
            (kind, link) if kind == link => kind,
            _ => Self::Others,
        })
    }
}

#[cfg(test)]
mod tests {
    use OperatorKind::{Blurs, Means, Others, Pixels};

    use super::*;

    #[test]
    fn a_chain_is_what_does_more_than_choose_pixels() {
        let of = |links: &[OperatorKind]| OperatorKind::of_chain(links.iter().copied());
        assert_eq!(of(&[Blurs, Pixels]), Blurs);
        assert_eq!(of(&[Pixels, Means]), Means);
        assert_eq!(of(&[Pixels, Pixels]), Pixels);
        assert_eq!(of(&[Blurs, Blurs]), Blurs);
        assert_eq!(of(&[Blurs, Means, Means]), Others);
        assert_eq!(of(&[Others, Pixels]), Others);
    }
}
