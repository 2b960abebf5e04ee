//! What a file of another program holds: dictionaries of tensors, and objects of EDM's code.

use anyhow::{Result, ensure};
use eps_data::pickle::torch::{self, Tensor, TorchError, TorchFile};
use eps_data::pickle::{Item, Value};

use super::persistent;

/// Dictionaries in dictionaries: a callback's average in a file of Lightning has three.
const DEEPEST: usize = 5;

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Contents<'s, 'a> {
    /// What the outermost value is.
    pub(super) root: String,
    /// Every dictionary, from the outermost on.
    pub(super) dictionaries: Vec<Dictionary<'s, 'a>>,
    /// Every object of EDM's code, and where it lies.
    pub(super) objects: Vec<Object<'s, 'a>>,
    /// Where lists of tensors lie, which have no names.
    pub(super) lists: Vec<Vec<String>>,
}

/// An object of EDM's code.
#[derive(Debug)]
pub(super) struct Object<'s, 'a> {
    /// The keys that lead to it.
    pub(super) path: Vec<String>,
    /// The file that it is in.
    pub(super) file: &'s TorchFile<'a>,
    /// Its call.
    pub(super) item: Item<'s, 'a>,
}

/// The entries of one dictionary, and where it lies.
#[derive(Debug)]
pub(super) struct Dictionary<'s, 'a> {
    /// The keys that lead to it; none for the outermost.
    pub(super) path: Vec<String>,
    /// Its values by name, in the order of the file.
    pub(super) entries: Vec<(String, Weight<'s, 'a>)>,
}

/// A value that may be a tensor.
#[derive(Debug, Clone)]
pub(super) enum Weight<'s, 'a> {
    /// In a pickle.
    Pickled(&'s TorchFile<'a>, Item<'s, 'a>),
    /// In a file of tensors alone.
    Plain(Tensor<'s>),
}

impl<'s> Weight<'s, '_> {
    /// Whether it is a tensor.
    pub(super) fn is_tensor(&self) -> bool {
        match self {
            Self::Pickled(_, item) => torch::is_tensor(*item),
            Self::Plain(_) => true,
        }
    }

    /// Whether it is a number, a text or nothing: what stands beside tensors and is none.
    pub(super) fn is_plain(&self) -> bool {
        let Self::Pickled(_, item) = self else { return false };
        matches!(
            item.value(),
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_)
        )
    }

    /// In words, where it is a list or a tuple.
    pub(super) fn list(&self) -> Option<String> {
        let Self::Pickled(_, item) = self else { return None };
        item.sequence().map(|_| item.describe())
    }

    /// The tensor; `what` names it in errors.
    ///
    /// # Errors
    /// Those of [`TorchFile::tensor`].
    pub(super) fn tensor(&self, what: &str) -> Result<Tensor<'s>, TorchError> {
        match self {
            Self::Pickled(file, item) => file.tensor(*item, what),
            Self::Plain(tensor) => Ok(tensor.clone()),
        }
    }
}

impl<'s, 'a> Contents<'s, 'a> {
    /// Those of a file of PyTorch.
    ///
    /// # Errors
    /// A file whose dictionaries are named more often than it has values.
    pub(super) fn of_pickle(file: &'s TorchFile<'a>) -> Result<Self> {
        let mut contents = Self { root: file.root().describe(), ..Self::default() };
        let mut left = file.value_count();
        let mut rest = vec![(vec![], file.root())];
        while let Some((path, item)) = rest.pop() {
            if persistent::is_persistent(item) {
                contents.objects.push(Object { path, file, item });
                continue;
            }
            let mut tensors = item.sequence().unwrap_or_default().into_iter();
            if tensors.any(torch::is_tensor) {
                contents.lists.push(path);
                continue;
            }
            let Some(pairs) = torch::pairs(item) else { continue };
            ensure!(
                pairs.len() < left,
                "{} is used more often than a file of weights uses its parts",
                if path.is_empty() { "a dictionary".to_owned() } else { path.join(".") }
            );
            left -= pairs.len() + 1;
            // Keys that are no texts, such as the numbers of an optimiser's weights, name no tensors of a network.
            let named = pairs.into_iter().filter_map(|(key, value)| Some((key.text()?, value)));
            let named: Vec<(&str, Item<'s, 'a>)> = named.collect();
            if path.len() < DEEPEST {
                for (key, value) in named.iter().rev().filter(|(_, v)| !torch::is_tensor(*v)) {
                    let below = path.iter().cloned().chain([(*key).to_owned()]).collect();
                    rest.push((below, *value));
                }
            }
            let entries = named.into_iter();
            let entries = entries.map(|(key, item)| (key.to_owned(), Weight::Pickled(file, item)));
            contents.dictionaries.push(Dictionary { path, entries: entries.collect() });
        }
        Ok(contents)
    }

    /// Those of several files whose outermost dictionaries share out one.
    pub(super) fn of_parts(parts: Vec<Self>) -> Self {
        let mut whole = Self::default();
        for part in parts {
            whole.root = part.root;
            whole.objects.extend(part.objects);
            whole.lists.extend(part.lists);
            for dictionary in part.dictionaries {
                match whole.dictionaries.iter_mut().find(|known| known.path == dictionary.path) {
                    Some(known) => known.entries.extend(dictionary.entries),
                    None => whole.dictionaries.push(dictionary),
                }
            }
        }
        whole
    }

    /// Those of files of tensors alone.
    pub(super) fn of_tensors(tensors: Vec<(String, Tensor<'s>)>) -> Self {
        let entries = tensors.into_iter().map(|(name, tensor)| (name, Weight::Plain(tensor)));
        let dictionary = Dictionary { path: vec![], entries: entries.collect() };
        let root = "tensors".to_owned();
        Self { root, dictionaries: vec![dictionary], ..Self::default() }
    }
}

/// Whether a global stands for the settings that trainings save beside their weights: arguments of the command line,
/// paths, configurations and callbacks of PyTorch Lightning. As everything in a pickle they are never made.
pub(super) fn is_setting(module: &str, name: &str) -> bool {
    let package = module.split('.').next().unwrap_or_default();
    match (module, name) {
        ("argparse", "Namespace") | ("typing", "Any") | ("types", "SimpleNamespace") => true,
        ("datetime", "datetime" | "date" | "time" | "timedelta" | "timezone") => true,
        ("pathlib" | "pathlib._local", _) => {
            ["Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"].contains(&name)
        }
        _ => ["omegaconf", "pytorch_lightning", "lightning", "lightning_fabric"].contains(&package),
    }
}
