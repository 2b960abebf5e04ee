//! The network that is meant among all that a file holds, with its tensors by the names of its family.

use anyhow::{Result, bail};

use super::contents::{Contents, Dictionary, Weight};
use super::entry::{Choice, choose, is_average, is_optimiser};
use super::family::{Family, unwrapped};
use super::persistent::{self, Wrapped};

/// What stands before the autoencoder of a latent diffusion network, whose UNet has guided-diffusion's names.
const AUTOENCODER: &str = "first_stage_model.";

/// What helps where a network is not in a dictionary.
const STATE_DICT_ALONE: &str = "save the network's state dict alone, torch.save(network.state_dict(), …), or of a list the entry that is \
                                meant, torch.save(torch.load(FILE)[0], …)";

/// How many names of a kind a note lists.
const LISTED: usize = 3;

/// Where a network comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// An object of EDM's code.
    Object(Wrapped),
    /// A dictionary of tensors, of a family where that is known.
    StateDict(Option<Family>),
}

/// The network that is meant.
#[derive(Debug)]
pub(super) struct Selected<'s, 'a> {
    pub(super) source: Source,
    /// Its tensors by the names of its family, in the order of the file.
    pub(super) weights: Vec<(String, Weight<'s, 'a>)>,
    /// How the file calls it; empty where it has no name.
    pub(super) name: String,
    /// What was decided on the way.
    pub(super) notes: Vec<String>,
}

/// A network of a file, before it is read.
#[derive(Debug, Clone, Copy)]
enum Place<'c> {
    /// One of its objects.
    Object(usize),
    /// The tensors of a dictionary whose names begin with a prefix.
    Named { dictionary: usize, prefix: &'c str, family: Family },
}

impl<'s, 'a> Selected<'s, 'a> {
    /// The network that `asked` names, or the one with averaged weights, or the only one.
    ///
    /// # Errors
    /// Those of [`choose`], and a file without a network.
    pub(super) fn of(contents: &Contents<'s, 'a>, asked: Option<&str>) -> Result<Self> {
        let (places, names) = places(contents);
        if places.is_empty() {
            return Self::unknown(contents);
        }
        let unread = unread_averages(contents, &names);
        let Choice { at, note } = choose(&names, &unread, asked)?;
        let name = names[at].clone();
        let mut notes: Vec<String> = note.into_iter().collect();
        if !name.split('.').any(is_average) {
            notes.extend(training_note(contents, &name));
        }
        let (source, weights) = match places[at] {
            Place::Object(object) => Self::object(contents, object)?,
            Place::Named { dictionary, prefix, family } => {
                let dictionary = &contents.dictionaries[dictionary];
                if notes.is_empty() && !dictionary.path.is_empty() {
                    notes.push(format!("the network is the entry {name:?} of the file"));
                }
                let prefixes = places.iter().filter_map(|place| match place {
                    Place::Named { prefix, .. } => Some(*prefix),
                    Place::Object(_) => None,
                });
                let prefixes: Vec<&str> = prefixes.collect();
                notes.extend(prefix_notes(dictionary, prefix, family, &prefixes));
                (Source::StateDict(Some(family)), below(dictionary, prefix, family))
            }
        };
        Ok(Self { source, weights, name, notes })
    }

    /// An object of EDM's code.
    fn object(
        contents: &Contents<'s, 'a>,
        at: usize,
    ) -> Result<(Source, Vec<(String, Weight<'s, 'a>)>)> {
        let object = &contents.objects[at];
        let (wrapped, tensors) = persistent::read(object.file, object.item)?;
        let weights =
            tensors.into_iter().map(|(name, item)| (name, Weight::Pickled(object.file, item)));
        Ok((Source::Object(wrapped), weights.collect()))
    }

    /// What is nearest to a network in a file where none is known, so that errors name what is there.
    fn unknown(contents: &Contents<'s, 'a>) -> Result<Self> {
        let (name, notes) = (String::new(), vec![]);
        if !contents.objects.is_empty() {
            let is_ema = |path: &[String]| path.iter().any(|part| is_average(part));
            let at = contents.objects.iter().position(|object| is_ema(&object.path));
            let (source, weights) = Self::object(contents, at.unwrap_or(0))?;
            return Ok(Self { source, weights, name, notes });
        }
        let tensors = |dictionary: &Dictionary<'s, 'a>| {
            dictionary.entries.iter().filter(|(_, weight)| weight.is_tensor()).count()
        };
        let is_optimiser = |dictionary: &&Dictionary<'s, 'a>| {
            let has = |key: &str| dictionary.entries.iter().any(|(name, _)| name == key);
            dictionary.path.is_empty() && has("state") && has("param_groups")
        };
        if contents.dictionaries.iter().any(|dictionary| is_optimiser(&dictionary)) {
            bail!(
                "the file holds an optimiser's state (\"state\" and \"param_groups\"), and no network: give the file that \
                 its training saved beside it, with the network's weights"
            );
        }
        // The one with most tensors; of equal ones the first.
        let dictionaries = contents.dictionaries.iter().filter(|d| !is_of_optimiser(&d.path)).rev();
        let Some(dictionary) = dictionaries.max_by_key(|dictionary| tensors(dictionary)) else {
            bail!(
                "the file holds {}, not a dictionary with a network: {STATE_DICT_ALONE}",
                contents.root
            );
        };
        let entries = dictionary.entries.iter();
        let mut weights: Vec<(String, Weight<'s, 'a>)> =
            entries.clone().filter(|(_, weight)| weight.is_tensor()).cloned().collect();
        if weights.is_empty() {
            if let Some((name, list)) =
                entries.clone().find_map(|(name, weight)| Some((name, weight.list()?)))
            {
                bail!("{name} is {list}, not a dictionary with a network: {STATE_DICT_ALONE}");
            }
            // What else is there in the place of tensors is named when they are read.
            weights.extend(entries.filter(|(_, weight)| !weight.is_plain()).cloned());
        }
        Ok(Self { source: Source::StateDict(None), weights, name, notes })
    }
}

/// The networks of a file, and their names: the way to them, joined by dots.
fn places<'c>(contents: &'c Contents<'_, '_>) -> (Vec<Place<'c>>, Vec<String>) {
    let (mut places, mut names) = (vec![], vec![]);
    for (at, object) in contents.objects.iter().enumerate() {
        if persistent::class_name(object.item).is_some_and(|class| class.ends_with("Precond")) {
            places.push(Place::Object(at));
            names.push(object.path.join("."));
        }
    }
    for (at, dictionary) in contents.dictionaries.iter().enumerate() {
        if is_of_optimiser(&dictionary.path) {
            continue;
        }
        let anchors = dictionary.entries.iter().filter(|(_, weight)| weight.is_tensor());
        let found = anchors.filter_map(|(name, _)| Family::of_anchor(name));
        let names_of = || dictionary.entries.iter().map(|(name, _)| unwrapped(name));
        let is_latent = names_of().any(|name| name.starts_with(AUTOENCODER));
        let found = found.filter(|(family, _)| !(is_latent && *family == Family::Guided));
        let found: Vec<(Family, &str)> = found.collect();
        for &(family, prefix) in &found {
            // EDM's own prefix tells something where there are several alone.
            let told = if found.len() == 1 { without_own(prefix, family) } else { prefix };
            let parts = dictionary.path.iter().map(String::as_str);
            let parts = parts.chain(told.split('.').filter(|part| !part.is_empty()));
            names.push(parts.collect::<Vec<_>>().join("."));
            places.push(Place::Named { dictionary: at, prefix, family });
        }
    }
    (places, names)
}

/// A prefix without what the original itself puts before names.
fn without_own(prefix: &str, family: Family) -> &str {
    match prefix.strip_suffix(family.prefix()) {
        Some(rest) if rest.is_empty() || rest.ends_with('.') => rest,
        _ => prefix,
    }
}

/// The tensors of a dictionary whose names begin with a prefix, by the names of a family.
fn below<'s, 'a>(
    dictionary: &Dictionary<'s, 'a>,
    prefix: &str,
    family: Family,
) -> Vec<(String, Weight<'s, 'a>)> {
    let tensors = dictionary.entries.iter().filter(|(_, weight)| weight.is_tensor());
    let named = tensors.filter_map(|(name, weight)| Some((name.strip_prefix(prefix)?, weight)));
    named.map(|(name, weight)| (family.tensor_name(name), weight.clone())).collect()
}

/// Where averages of weights lie that are none of the networks.
fn unread_averages(contents: &Contents<'_, '_>, names: &[String]) -> Vec<String> {
    if names.iter().any(|name| name.split('.').any(is_average)) {
        return vec![];
    }
    let lists = contents.lists.iter().filter(|path| !is_of_optimiser(path));
    let mut unread: Vec<String> = lists
        .filter(|path| path.iter().any(|part| is_average(part)))
        .map(|path| path.join("."))
        .collect();
    for dictionary in contents.dictionaries.iter().filter(|d| !is_of_optimiser(&d.path)) {
        let of_path = dictionary.path.iter().any(|part| is_average(part));
        for (name, weight) in &dictionary.entries {
            let first = name.split('.').next().unwrap_or_default();
            // Counts and rates of averages have no dimensions.
            let is_matrix =
                || weight.is_tensor() && weight.tensor(name).is_ok_and(|t| t.dims().len() > 1);
            if (of_path || is_average(first)) && is_matrix() {
                let parts = dictionary.path.iter().map(String::as_str);
                let found = parts.chain((!of_path).then_some(first)).collect::<Vec<_>>().join(".");
                if !unread.contains(&found) {
                    unread.push(found);
                }
            }
        }
    }
    unread
}

/// Whether one of the keys that lead somewhere is an optimiser's.
fn is_of_optimiser(path: &[String]) -> bool {
    path.iter().any(|part| is_optimiser(part))
}

/// What is to be said of weights that are none of averages, where the file is the state of a training.
fn training_note(contents: &Contents<'_, '_>, name: &str) -> Option<String> {
    let entries = contents.dictionaries.iter().flat_map(|dictionary| &dictionary.entries);
    let mut states = entries.filter(|(key, weight)| is_optimiser(key) && !weight.is_tensor());
    let (state, _) = states.next()?;
    let weights =
        if name.is_empty() { "weights".to_owned() } else { format!("weights, {name:?},") };
    Some(format!(
        "the file is the state of a training (it has {state:?}): its {weights} are those of the last step, averaged \
         ones (EMA) sample better; EDM writes them to network-snapshot-….pkl"
    ))
}

/// What is to be said of names that were shortened and of tensors that are none of the network's.
fn prefix_notes(
    dictionary: &Dictionary<'_, '_>,
    prefix: &str,
    family: Family,
    networks: &[&str],
) -> Vec<String> {
    let mut notes = vec![];
    let foreign = without_own(prefix, family);
    if !foreign.is_empty() {
        notes.push(format!("the names of its tensors begin with {foreign:?}, which is taken off"));
    }
    let is_other = |name: &str| networks.iter().all(|network| !name.starts_with(network));
    let others = dictionary.entries.iter().filter(|(_, weight)| weight.is_tensor());
    let others: Vec<&str> =
        others.map(|(name, _)| name.as_str()).filter(|name| is_other(name)).collect();
    if !others.is_empty() {
        let listed = others.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
        let rest = if others.len() > LISTED { ", …" } else { "" };
        notes.push(format!("{} tensors beside it are passed over ({listed}{rest})", others.len()));
    }
    notes
}
