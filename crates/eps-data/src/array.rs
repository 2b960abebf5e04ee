//! Arrays of numbers.

use std::path::Path;

use crate::DataError;

/// Numbers with their dimensions, finite unless they were read with gaps, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The dimensions, outermost first; `values` has their product as its length.
    pub dims: Vec<usize>,
    /// The values in row-major order.
    pub values: Vec<f64>,
}

/// A variable of a MAT file.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// The array, or the arrays of a cell in MATLAB's order, column by column.
    pub arrays: Vec<Array>,
}

/// What the values of an array must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needed {
    /// Finite numbers, complex ones as pairs of channels.
    Finite,
    /// The finite real numbers of a kernel.
    FiniteReal,
    /// The finite real numbers of images of one channel, or of an odd number.
    RealImages,
    /// Any numbers: NaN is what was not measured.
    WithGaps,
}

impl Needed {
    /// Fails where complex numbers, which `what` names, must not be there.
    pub(crate) fn check_complex(self, path: &Path, what: &str) -> Result<(), DataError> {
        match self {
            Self::Finite | Self::WithGaps => Ok(()),
            Self::FiniteReal => Err(DataError::malformed(
                path,
                format!("a kernel is real, this array is complex ({what})"),
                "give numpy.real of it, if its imaginary part is rounding; what turns phases is written as coils or fourier",
            )),
            Self::RealImages => Err(DataError::malformed(
                path,
                format!("its images are complex ({what}), and have two channels each"),
                "give --channels 2, or numpy.abs of them",
            )),
        }
    }
}

/// The array of a file that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meant<'a> {
    /// That of this name and no other.
    Named(&'a str),
    /// That of this name, or the only one there is.
    Usual(&'a str),
}

impl<'a> Meant<'a> {
    /// The array that a path names after `#`, otherwise the usual one: a usual name with a group means that array and no other.
    pub(crate) fn of(named: Option<&'a str>, usual: &'a str) -> Self {
        match named {
            Some(name) => Self::Named(name.trim_matches('/')),
            None if usual.contains('/') => Self::Named(usual),
            None => Self::Usual(usual),
        }
    }

    pub(crate) fn name(self) -> &'a str {
        let (Self::Named(name) | Self::Usual(name)) = self;
        name
    }
}

/// What to do where a file has several arrays.
pub(crate) const NAME_IT: &str = "name the one that is meant: FILE#NAME on the command line, {\"file\": \"FILE\", \"array\": \"NAME\"} in JSON";

/// The index of the array that is meant among the names of a file's arrays.
pub(crate) fn choose(path: &Path, names: &[String], meant: Meant<'_>) -> Result<usize, DataError> {
    match names.iter().position(|name| name == meant.name()) {
        Some(index) => Ok(index),
        None if names.len() == 1 && matches!(meant, Meant::Usual(_)) => Ok(0),
        None => Err(no_such_array(path, names, meant)),
    }
}

/// That none of the arrays of a file is the one that is meant.
pub(crate) fn no_such_array(path: &Path, names: &[String], meant: Meant<'_>) -> DataError {
    let name = meant.name();
    if names.is_empty() {
        let problem = format!("there is no array {name:?} in it, nor any other");
        return DataError::malformed(path, problem, "give a file that holds the array");
    }
    DataError::malformed(
        path,
        format!("there is no array {name:?} among {}", listed(names)),
        NAME_IT,
    )
}

/// The first names of some, in brackets.
pub(crate) fn listed(names: &[String]) -> String {
    /// As many as a person looks at.
    const MOST: usize = 20;
    let shown = names.iter().take(MOST).map(|name| format!("{name:?}")).collect::<Vec<_>>();
    format!("[{}{}]", shown.join(", "), if names.len() > MOST { ", …" } else { "" })
}

/// The product of dimensions, unless it overflows.
pub(crate) fn checked_product(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |product, &dim| product.checked_mul(dim))
}
