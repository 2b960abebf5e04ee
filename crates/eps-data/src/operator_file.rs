//! Operators in JSON, and the arrays that they name: kernels, coil maps, masks, trajectories.
//!
//! Wherever a description takes numbers in brackets, a file may hold them: `{"file": "maps.npy"}`, its name relative to the folder of
//! the description. `"array"` chooses one of several arrays by name, `"index"` one of a cell or of the first axis, from 0; the name may
//! say both, as `maps.npz#psf`, `kernels.npy#3` or `kernels.mat#psf#3`.

use std::path::Path;

use eps_files::read_text;
use eps_math::operator::{Kernel, OperatorSpec};
use serde::Deserialize as _;
use serde_json::Value;

use crate::array::Needed;
use crate::array_file::{ArrayFile, has_picture_ending, is_picture};
use crate::operator_memory::require_dense;
use crate::{Array, DataError};

const REMEDY: &str = "write one as {\"operator\": \"average-pool\", \"factor\": 4}; docs/files.md lists all and their fields";

/// Reads the description of an operator, and the arrays in the files that it names.
///
/// # Errors
///
/// [`DataError::Io`] where it cannot be opened, [`DataError::Malformed`] where it is no description of an operator, and those of the
/// files that it names.
pub fn read_operator(path: &Path) -> Result<OperatorSpec, DataError> {
    Ok(read_sourced_operator(path)?.0)
}

/// As [`read_operator`], with what the description says of its source, in the field `source` of the whole.
///
/// # Errors
///
/// Those of [`read_operator`], and a source that is no text.
pub fn read_sourced_operator(path: &Path) -> Result<(OperatorSpec, Option<String>), DataError> {
    let text = with_quoted_nan(read_text(path)?);
    let malformed = |error: serde_json::Error| {
        let problem = format!("it is not the JSON description of an operator: {error}");
        DataError::malformed(path, problem, REMEDY)
    };
    let mut value: Value = serde_json::from_str(&text).map_err(malformed)?;
    let source = match value.as_object_mut().and_then(|fields| fields.remove("source")) {
        None => None,
        Some(Value::String(source)) => Some(source),
        Some(other) => {
            let problem = format!("its source is {other}, which is no text");
            return Err(DataError::malformed(path, problem, "name the paper as \"source\": \"…\""));
        }
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    // Without files or source the description is read as it stands, and an error tells its line.
    let read = if resolve(&mut value, folder, path)? || source.is_some() {
        OperatorSpec::deserialize(&value)
    } else {
        serde_json::from_str(&text)
    };
    let spec = read.map_err(|error| match wrong_field(&value) {
        None => malformed(error),
        Some((field, why)) => {
            let problem = format!("it is not the JSON description of an operator: {field}: {why}");
            DataError::malformed(path, problem, REMEDY)
        }
    })?;
    Ok((spec, source))
}

/// Puts arrays in the place of the files that the description of an operator inside another file, at `path`, names, and takes its source
/// out; whether there was either.
///
/// # Errors
///
/// Those of the files.
pub fn resolve_operator(operator: &mut Value, path: &Path) -> Result<bool, DataError> {
    let source = operator.as_object_mut().and_then(|fields| fields.remove("source"));
    Ok(resolve(operator, path.parent().unwrap_or(Path::new("")), path)? || source.is_some())
}

/// The field whose value no description has, such as `of[1].height`, and what is wrong with it; none where the fields themselves
/// are wrong, which the error of the whole names.
fn wrong_field(value: &Value) -> Option<(String, serde_json::Error)> {
    let fields = value.as_object()?;
    let of_link = |name: &String, link: &Value, place: String| {
        let (field, why) = wrong_field(link)?;
        Some((format!("{name}{place}.{field}"), why))
    };
    for (name, value) in fields {
        let links = value.as_array().map_or(&[][..], Vec::as_slice);
        let mut places = (0..).zip(links).map(|(i, link)| (format!("[{i}]"), link));
        let deeper = places.find_map(|(place, link)| of_link(name, link, place));
        if let Some(found) = deeper.or_else(|| of_link(name, value, String::new())) {
            return Some(found);
        }
    }
    let why = OperatorSpec::deserialize(value).err()?;
    let is_wrong = |name: &&String| {
        let mut others = fields.clone();
        others.remove(*name);
        match OperatorSpec::deserialize(&Value::Object(others)) {
            Ok(_) => true,
            Err(error) => error.to_string() == format!("missing field `{name}`"),
        }
    };
    // Of an unknown name, and of a kernel, the error says which it is.
    let is_told = |name: &&String| why.to_string().contains(name.as_str());
    let name = fields.keys().filter(|name| *name != "operator").find(is_wrong)?;
    (!is_told(&name)).then(|| (name.clone(), why))
}

/// NaN and Infinity, as Python writes them and JSON has them not, as texts: an error then says in which field they stand, and
/// of a kernel at which row and column.
fn with_quoted_nan(text: String) -> String {
    const BARE: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !BARE.iter().any(|bare| text.contains(bare)) {
        return text;
    }
    let (mut quoted, mut rest) = (String::with_capacity(text.len()), &*text);
    let (mut is_text, mut is_escaped) = (false, false);
    while let Some(next) = rest.chars().next() {
        let bare = BARE.iter().find(|bare| !is_text && rest.starts_with(**bare));
        if let Some(bare) = bare {
            quoted += &format!("{bare:?}");
            rest = &rest[bare.len()..];
            continue;
        }
        is_text ^= next == '"' && !is_escaped;
        is_escaped = next == '\\' && !is_escaped;
        quoted.push(next);
        rest = &rest[next.len_utf8()..];
    }
    quoted
}

/// Puts arrays in the place of the files that name them; whether there were any.
fn resolve(value: &mut Value, folder: &Path, path: &Path) -> Result<bool, DataError> {
    let mut found = false;
    match value {
        Value::Array(values) => {
            for value in values {
                found |= resolve(value, folder, path)?;
            }
        }
        Value::Object(fields) => {
            for (field, value) in fields.iter_mut() {
                let is_list = field == "kernels" && value.is_array();
                let places = match value {
                    Value::Array(list) if is_list => list.iter_mut().collect(),
                    value => vec![value],
                };
                for place in places {
                    if let Some(named) = NamedArray::of(place, path)? {
                        // In a list each is one kernel, and otherwise a file may hold them all.
                        *place = named.read(field, is_list, folder)?;
                        found = true;
                    } else {
                        found |= resolve(place, folder, path)?;
                    }
                }
            }
        }
        _ => {}
    }
    Ok(found)
}

/// `{"file": "maps.npy", "array": "maps", "index": 0}`
struct NamedArray {
    file: String,
    array: Option<String>,
    index: Option<usize>,
}

impl NamedArray {
    fn of(value: &Value, path: &Path) -> Result<Option<Self>, DataError> {
        let Some(fields) = value.as_object().filter(|fields| fields.contains_key("file")) else {
            return Ok(None);
        };
        let wrong = |field: &str, needed: &str| {
            let problem = format!("{field:?} beside \"file\" is {}, {needed}", fields[field]);
            DataError::malformed(path, problem, REMEDY)
        };
        if let Some(other) =
            fields.keys().find(|key| !["file", "array", "index"].contains(&&***key))
        {
            return Err(wrong(other, "known are \"file\", \"array\" and \"index\""));
        }
        let text = |field: &str| match fields.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(wrong(field, "needed is a name")),
        };
        let index = match fields.get("index") {
            None => None,
            Some(value) => Some(
                value
                    .as_u64()
                    .and_then(|index| usize::try_from(index).ok())
                    .ok_or_else(|| wrong("index", "needed is a number from 0"))?,
            ),
        };
        Ok(text("file")?.map(|file| Self { file, array: None, index })).and_then(|named| {
            let array = text("array")?;
            Ok(named.map(|named| Self { array, ..named }))
        })
    }

    /// The array as JSON, in the dimensions that the field takes, or one in a list of the field.
    fn read(&self, field: &str, in_list: bool, folder: &Path) -> Result<Value, DataError> {
        let whole = folder.join(&self.file);
        let (of, numbered) = match &self.array {
            Some(array) => (ArrayFile { file: whole, array: Some(array.clone()) }, None),
            None => ArrayFile::of(&whole).numbered(),
        };
        let index = self.index.or(numbered);
        let path = &*of.file;
        if field == "kernel" || (field == "kernels" && (in_list || index.is_some())) {
            let rows = one_kernel(&of, field, index)?;
            return Ok(rows.into_iter().map(numbers).collect());
        }
        if field == "kernels" {
            let kernels = read_kernels(&of, field)?;
            let rows = kernels.into_iter().map(|kernel| kernel.into_iter().map(numbers).collect());
            return Ok(rows.collect::<Vec<Value>>().into());
        }
        let (mut array, _) = of.read(field, Needed::Finite)?;
        if let Some(index) = index {
            array = entry(path, array, index)?;
        }
        match field {
            // Before the numbers become JSON, which takes four times their memory.
            "matrix" => {
                if let [rows, columns] = array.dims[..] {
                    require_dense(rows, columns).map_err(|error| error.in_file(path))?;
                }
            }
            "observed" | "weights" | "angles_degrees" => array.dims = vec![array.values.len()],
            // Complex ones are read as [2K, H, W].
            "maps" => {
                if let [pairs, height, width] = array.dims[..]
                    && pairs.is_multiple_of(2)
                {
                    array.dims = vec![pairs / 2, 2, height, width];
                }
                if !matches!(array.dims[..], [_, 2, _, _]) {
                    return Err(DataError::malformed(
                        path,
                        format!(
                            "coil maps of dimensions {:?} are no pairs of channels",
                            array.dims
                        ),
                        "give a complex array [K, H, W], or a real one [K, 2, H, W] or [2K, H, W], real and imaginary part",
                    ));
                }
            }
            _ => {}
        }
        Ok(nested(&array.dims, &array.values))
    }
}

/// Entry `index` of an array's first axis.
fn entry(path: &Path, array: Array, index: usize) -> Result<Array, DataError> {
    let count = array.dims.first().copied().unwrap_or(0);
    if index >= count {
        return Err(no_entry(path, index, count));
    }
    let size = array.values.len() / count;
    let values = array.values[index * size..(index + 1) * size].to_vec();
    Ok(Array { dims: array.dims[1..].to_vec(), values })
}

fn no_entry(path: &Path, index: usize, count: usize) -> DataError {
    DataError::malformed(
        path,
        format!("there is no entry {index}, there are {count}"),
        "number them from 0",
    )
}

fn numbers(values: Vec<f64>) -> Value {
    Value::Array(values.into_iter().map(number).collect())
}

/// A whole number as such: masks are of these.
fn number(value: f64) -> Value {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole and between 0 and 2³²"
    )]
    if value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value) {
        Value::from(value as u64)
    } else {
        Value::from(value)
    }
}

fn nested(dims: &[usize], values: &[f64]) -> Value {
    match dims {
        [] => values.first().copied().map_or(Value::Null, number),
        [_] => numbers(values.to_vec()),
        [count, rest @ ..] => {
            let size = values.len().checked_div(*count).unwrap_or(0).max(1);
            Value::Array(values.chunks_exact(size).map(|part| nested(rest, part)).collect())
        }
    }
}

/// Reads the taps of a kernel, row by row.
///
/// A grey picture is scaled to sum 1, brightness being weight; an array is taken as it is. `name` is the usual name of the array, and
/// `FILE#NAME` another one; `index` chooses, from 0, one of the kernels of a MAT cell or of an array [N, rows, columns], and so does
/// `FILE#3` or `FILE#NAME#3`.
///
/// # Errors
///
/// Those of [`Array::read`], [`DataError::Malformed`] for a picture with colours or without light, other dimensions, and a file
/// of several kernels where none is chosen.
pub fn read_kernel(
    path: &Path,
    name: &str,
    index: Option<usize>,
) -> Result<Vec<Vec<f64>>, DataError> {
    let (of, numbered) = ArrayFile::of(path).numbered();
    one_kernel(&of, name, index.or(numbered))
}

fn one_kernel(
    of: &ArrayFile,
    usual: &str,
    index: Option<usize>,
) -> Result<Vec<Vec<f64>>, DataError> {
    let path = &*of.file;
    let mut kernels = read_kernels(of, usual)?;
    let count = kernels.len();
    match index {
        Some(index) if index < count => Ok(kernels.swap_remove(index)),
        Some(index) => Err(no_entry(path, index, count)),
        None if count == 1 => Ok(kernels.swap_remove(0)),
        None => Err(DataError::malformed(
            path,
            format!("it holds {count} kernels"),
            "choose one by its number, from 0: FILE#3 on the command line, {\"file\": \"FILE\", \"index\": 3} in JSON",
        )),
    }
}

/// The kernels of a file.
fn read_kernels(of: &ArrayFile, usual: &str) -> Result<Vec<Vec<Vec<f64>>>, DataError> {
    let path = &*of.file;
    let arrays = if of.is_mat() {
        of.read_cell(usual, Needed::FiniteReal)?
    } else {
        let (array, _) = of.read(usual, Needed::FiniteReal)?;
        vec![match array.dims.len() {
            _ if is_picture(path) => of_picture(path, array)?,
            // A TIFF of numbers in red, green and blue.
            3 if has_picture_ending(path) => grey(path, &array)?,
            _ => array,
        }]
    };
    let mut kernels = Vec::new();
    for Array { dims, values } in arrays {
        let (rows, columns) = match dims[..] {
            [rows, columns] | [_, rows, columns] | [_, 1, rows, columns] if rows * columns > 0 => {
                (rows, columns)
            }
            _ => {
                return Err(DataError::malformed(
                    path,
                    format!(
                        "a kernel is an array [rows, columns], this one has dimensions {dims:?}"
                    ),
                    "reshape it",
                ));
            }
        };
        kernels.extend(
            values
                .chunks_exact(rows * columns)
                .map(|taps| taps.chunks_exact(columns).map(<[f64]>::to_vec).collect()),
        );
    }
    Ok(kernels)
}

/// The only channel of a picture `[C, H, W]`, as `[H, W]`.
fn grey(path: &Path, picture: &Array) -> Result<Array, DataError> {
    let (rows, columns) = (picture.dims[1], picture.dims[2]);
    let mut channels = picture.values.chunks_exact(rows * columns);
    let first = channels.next().unwrap_or_default();
    // A grey picture may be stored in colours that are all alike.
    if channels.any(|other| other != first) {
        return Err(DataError::malformed(
            path,
            format!("a kernel has one channel, the picture {}", picture.dims[0]),
            "convert it to grey",
        ));
    }
    Ok(Array { dims: vec![rows, columns], values: first.to_vec() })
}

/// A grey picture as a kernel of sum 1.
fn of_picture(path: &Path, picture: Array) -> Result<Array, DataError> {
    let Array { dims, values } = grey(path, &picture)?;
    let (rows, columns) = (dims[0], dims[1]);
    // From [-1, 1] to brightness, black = 0.
    let taps = values.iter().map(|v| 0.5 * (v + 1.0)).collect();
    let kernel = Kernel::new(rows, columns, taps).and_then(Kernel::of_sum_1).map_err(|_| {
        DataError::malformed(path, "the kernel is black: brightness is weight", "draw it in white")
    })?;
    Ok(Array { dims: vec![rows, columns], values: kernel.taps().to_vec() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use eps_math::Shape;

    use super::*;
    use crate::npy::{NpyValues, write_npy};
    use crate::png::write_png;

    fn message(json: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operator.json");
        fs::write(&path, json).unwrap();
        read_operator(&path).unwrap_err().to_string()
    }

    #[test]
    fn descriptions_and_kernels_are_read_however_they_are_wrapped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("operator.json");
        fs::write(&path, "\u{feff}{\"operator\": \"average-pool\", \"factor\": 4}").unwrap();
        assert_eq!(read_operator(&path).unwrap(), OperatorSpec::AveragePool { factor: 4 });
        let path = dir.path().join("kernel.npy");
        let taps = [0.25, 0.5, 0.25];
        write_npy(&path, &[1, 1, 1, 3], NpyValues::F64(&taps)).unwrap();
        assert_eq!(read_kernel(&path, "kernel", None).unwrap(), [taps]);
        // A grey picture that is stored in colours, and one that has them.
        let path = dir.path().join("kernel.png");
        let shape = Shape { channels: 3, height: 1, width: 2 };
        write_png(&path, shape, &[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0]).unwrap();
        assert_eq!(read_kernel(&path, "kernel", None).unwrap(), [[0.0, 1.0]]);
        write_png(&path, shape, &[-1.0, 1.0, -1.0, 1.0, 1.0, 1.0]).unwrap();
        let error = read_kernel(&path, "kernel", None).unwrap_err().to_string();
        assert!(error.contains("one channel, the picture 3"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_named_with_its_field() {
        let resize = |height: &str| {
            format!(r#"{{"operator": "resize", "height": {height}, "width": 3, "filter": "box"}}"#)
        };
        let expect = |json: &str, words: &[&str]| {
            let message = message(json);
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        };
        expect(&resize("\"a\""), &[r#" height: invalid type: string "a""#]);
        expect(&resize("-4"), &[" height: invalid value: integer `-4`"]);
        let chain = format!(
            r#"{{"operator": "chain", "of": [{{"operator": "grey"}}, {}]}}"#,
            resize("2.5")
        );
        expect(&chain, &[" of[1].height: invalid type: floating point `2.5`"]);
        expect(
            &resize("4").replace("box", "boxy"),
            &[" filter: unknown variant `boxy`", "lanczos"],
        );
        // What names itself is not named again.
        let kernel = r#"{"operator": "convolution", "kernel": [[1, "x"]], "border": "zero"}"#;
        expect(kernel, &["operator: the kernel holds the text \"x\" at row 0, column 1"]);
        expect(&resize("4, \"hight\": 4"), &["operator: unknown field `hight`"]);
        expect(
            r#"{"operator": "resize", "width": 3, "filter": "box"}"#,
            &["missing field `height`"],
        );
        expect(r#"{"operator": "rezise"}"#, &["unknown variant `rezise`"]);
        expect(&resize("4, \"source\": 3"), &["its source is 3, which is no text"]);
        // What is wrong beside a source is named as elsewhere.
        expect(&resize("-4, \"source\": \"a paper\""), &[" height: invalid value"]);
    }
}
