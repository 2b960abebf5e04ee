//! The networks of EDM's and EDM2's code in their pickles: persistent objects, read as data.
//!
//! ```text
//! call of torch_utils.persistence._reconstruct_persistent_obj({type: "class", version: 6,
//!     module_src: the source text, class_name, state: the object's __dict__})
//! ```
//!
//! Python would execute the source text; here nobody looks at it. The `__dict__` of a
//! PyTorch module has its tensors in `_parameters` and `_buffers` and its parts in `_modules`.

use anyhow::{Context as _, Result, bail, ensure};
use eps_data::pickle::torch::{self, TorchFile};
use eps_data::pickle::{Item, Value};
use serde_json::Map;

/// The layout of persistent objects that is read.
const VERSION: i64 = 6;

/// The classes of EDM's networks beside the one around them, and those of EDM2's.
const CLASSES: [&str; 12] = [
    "SongUNet",
    "DhariwalUNet",
    "UNetBlock",
    "Conv2d",
    "Linear",
    "GroupNorm",
    "PositionalEmbedding",
    "FourierEmbedding",
    "UNet",
    "Block",
    "MPConv",
    "MPFourier",
];

/// The class around a network of which EDM's samplers and ours are.
const WRAPPER: &str = "EDMPrecond";

/// The same of EDM2's networks.
const EDM2_WRAPPER: &str = "Precond";

/// How Python makes a persistent object.
const RECONSTRUCT: (&str, &str) = ("torch_utils.persistence", "_reconstruct_persistent_obj");

/// The module of PyTorch's classes that hold modules, and these.
const CONTAINERS: &str = "torch.nn.modules.container";
const CONTAINER_CLASSES: [&str; 3] = ["ModuleDict", "ModuleList", "Sequential"];

/// Whether a global stands for an object of EDM's files.
pub(super) fn is_known(module: &str, name: &str) -> bool {
    (module, name) == RECONSTRUCT
        || (module == CONTAINERS && CONTAINER_CLASSES.contains(&name))
        || (module, name) == ("dnnlib.util", "EasyDict")
}

/// Modules in modules: EDM's networks have four levels.
const DEEPEST: usize = 16;

/// Arguments in lists in arguments.
const DEEPEST_ARGUMENT: usize = 4;

/// Whether a value is a persistent object.
pub(super) fn is_persistent(item: Item<'_, '_>) -> bool {
    item.callee() == Some(RECONSTRUCT)
}

/// The class of a persistent object, where it says one.
pub(super) fn class_name<'s>(item: Item<'s, '_>) -> Option<&'s str> {
    let meta = torch::entries(*item.arguments().first()?)?;
    meta.into_iter().find_map(|(name, item)| (name == "class_name").then_some(item))?.text()
}

/// What a pickle says of an `EDMPrecond` or of EDM2's `Precond`.
#[derive(Debug)]
pub(super) struct Wrapped {
    /// The arguments of the network in it, with its class as `model_type`.
    pub(super) kwargs: Map<String, serde_json::Value>,
    /// σ_data of the preconditioning.
    pub(super) sigma_data: f64,
    /// The lowest and the highest σ that it answers.
    pub(super) sigma_range: [f64; 2],
}

/// Values by name.
type Named<'s, 'a> = Vec<(String, Item<'s, 'a>)>;

/// Reads an `EDMPrecond` or EDM2's `Precond`, and all its tensors by the names that `state_dict` gives them.
///
/// # Errors
/// Another object, with its name; a layout, class or argument that is not known.
pub(super) fn read<'s, 'a>(
    file: &'s TorchFile<'a>,
    item: Item<'s, 'a>,
) -> Result<(Wrapped, Named<'s, 'a>)> {
    let mut walk = Walk { left: file.value_count() };
    let wrapper = walk.module(item, "the network")?;
    let is_edm2 = wrapper.class == EDM2_WRAPPER;
    ensure!(
        is_edm2 || wrapper.class == WRAPPER,
        "the network is wrapped in {:?}, not in {WRAPPER:?} or EDM2's {EDM2_WRAPPER:?}: take one of the files that are named \
         edm-…; those of EDM's baselines were trained along other paths",
        wrapper.class
    );
    let arguments = wrapper.attribute("_init_args")?.sequence().unwrap_or_default();
    ensure!(
        arguments.is_empty(),
        "the network was made with {} arguments by position, EDM's training gives all by name",
        arguments.len()
    );
    let given = wrapper.attribute("_init_kwargs")?;
    let mut kwargs = Map::new();
    for (name, value) in walk.entries(given, "_init_kwargs")? {
        kwargs.insert(name.to_owned(), walk.argument(value, name, DEEPEST_ARGUMENT)?);
    }
    if is_edm2 {
        return read_edm2(&mut walk, &wrapper, kwargs, item);
    }
    let model_type = kwargs.entry("model_type").or_insert("DhariwalUNet".into()).clone();
    for name in ["use_fp16", "sigma_min", "sigma_max", "sigma_data", "img_channels"] {
        kwargs.remove(name);
    }
    for (argument, attribute) in [
        ("img_resolution", "img_resolution"),
        ("in_channels", "img_channels"),
        ("out_channels", "img_channels"),
        ("label_dim", "label_dim"),
    ] {
        walk.set(&mut kwargs, argument, &wrapper, attribute)?;
    }
    let modules = walk.entries(wrapper.attribute("_modules")?, "_modules")?;
    let model = modules.iter().find_map(|(name, item)| (*name == "model").then_some(*item));
    let model = walk.module(model.context("the network has no part \"model\"")?, "model")?;
    ensure!(
        model_type == model.class,
        "the network is a {:?}, its arguments ask for a {model_type}",
        model.class
    );
    let wrapped = Wrapped {
        kwargs,
        sigma_data: wrapper.number("sigma_data")?,
        sigma_range: [wrapper.number("sigma_min")?, wrapper.number("sigma_max")?],
    };
    Ok((wrapped, walk.tensors(item)?))
}

/// EDM2's `Precond`, of which the arguments say all.
fn read_edm2<'s, 'a>(
    walk: &mut Walk,
    wrapper: &Module<'s, 'a>,
    mut kwargs: Map<String, serde_json::Value>,
    item: Item<'s, 'a>,
) -> Result<(Wrapped, Named<'s, 'a>)> {
    for name in ["use_fp16", "sigma_data"] {
        kwargs.remove(name);
    }
    for name in ["img_resolution", "img_channels", "label_dim"] {
        walk.set(&mut kwargs, name, wrapper, name)?;
    }
    kwargs.insert("model_type".to_owned(), EDM2_WRAPPER.into());
    let wrapped = Wrapped {
        kwargs,
        sigma_data: wrapper.number("sigma_data")?,
        sigma_range: [0.0, f64::INFINITY],
    };
    Ok((wrapped, walk.tensors(item)?))
}

/// A module: its class and its `__dict__`.
struct Module<'s, 'a> {
    class: &'s str,
    state: Vec<(&'s str, Item<'s, 'a>)>,
    name: String,
}

impl<'s, 'a> Module<'s, 'a> {
    fn attribute(&self, name: &str) -> Result<Item<'s, 'a>> {
        let found = self.state.iter().rev().find(|(key, _)| *key == name);
        found.map(|(_, item)| *item).with_context(|| {
            format!("{} is a {} without the attribute {name:?}", self.name, self.class)
        })
    }

    fn number(&self, name: &str) -> Result<f64> {
        let item = self.attribute(name)?;
        match item.value() {
            Value::Float(value) => Ok(*value),
            Value::Int(value) => Ok(*value as f64),
            _ => bail!("{name} is {}, not a number", item.describe()),
        }
    }
}

/// A walk over modules that looks at no more entries than the file has values: a pickle may name one
/// value any number of times, at any depth, even within itself.
struct Walk {
    left: usize,
}

impl Walk {
    fn entries<'s, 'a>(
        &mut self,
        item: Item<'s, 'a>,
        what: &str,
    ) -> Result<Vec<(&'s str, Item<'s, 'a>)>> {
        let entries = torch::entries(item)
            .with_context(|| format!("{what} is {}, not a dictionary of names", item.describe()))?;
        self.spend(entries.len() + 1, what)?;
        Ok(entries)
    }

    fn spend(&mut self, count: usize, what: &str) -> Result<()> {
        self.left = self
            .left
            .checked_sub(count)
            .with_context(|| format!("{what} is used more often than a network uses its parts"))?;
        Ok(())
    }

    fn module<'s, 'a>(&mut self, item: Item<'s, 'a>, what: &str) -> Result<Module<'s, 'a>> {
        if let Some((CONTAINERS, class)) = item.callee() {
            let state = item.call().and_then(|call| call.state);
            let state = state.with_context(|| format!("{what} is a {class} without a state"))?;
            let state = self.entries(item.at(state), what)?;
            return Ok(Module { class, state, name: what.to_owned() });
        }
        ensure!(is_persistent(item), "{what} is {}, not a part of EDM's networks", item.describe());
        let meta = *item
            .arguments()
            .first()
            .with_context(|| format!("{what} is a persistent object without its description"))?;
        let meta = self.entries(meta, what)?;
        let part = |name: &str| {
            let found = meta.iter().rev().find(|(key, _)| *key == name).map(|(_, item)| *item);
            found.with_context(|| format!("{what} is a persistent object without {name:?}"))
        };
        let (kind, version) = (part("type")?, part("version")?);
        ensure!(
            kind.text() == Some("class") && version.int() == Some(VERSION),
            "{what} is a persistent object of type {:?} and version {:?}, read are classes of \
             version {VERSION}",
            kind.text().unwrap_or_default(),
            version.int().unwrap_or_default()
        );
        let class = part("class_name")?;
        let class = class
            .text()
            .with_context(|| format!("the class of {what} is {}, not a text", class.describe()))?;
        let state = self.entries(part("state")?, what)?;
        Ok(Module { class, state, name: what.to_owned() })
    }

    /// Sets an argument to what an attribute says, which must be what was given.
    fn set(
        &mut self,
        kwargs: &mut Map<String, serde_json::Value>,
        argument: &str,
        wrapper: &Module<'_, '_>,
        attribute: &str,
    ) -> Result<()> {
        let value = self.argument(wrapper.attribute(attribute)?, attribute, 0)?;
        if let Some(given) = kwargs.insert(argument.to_owned(), value.clone()) {
            ensure!(
                given == value,
                "{argument} is {value} in the network and {given} in its arguments"
            );
        }
        Ok(())
    }

    /// The tensors of a module and all its parts.
    fn tensors<'s, 'a>(&mut self, root: Item<'s, 'a>) -> Result<Vec<(String, Item<'s, 'a>)>> {
        let mut found = Vec::new();
        let mut rest = vec![(String::new(), 0, root)];
        while let Some((prefix, depth, item)) = rest.pop() {
            let what = prefix.strip_suffix('.').unwrap_or("the network");
            ensure!(depth < DEEPEST, "{what} is deeper than any part of EDM's networks");
            let module = self.module(item, what)?;
            let known = CLASSES.contains(&module.class)
                || (depth == 0 && [WRAPPER, EDM2_WRAPPER].contains(&module.class))
                || (!is_persistent(item) && module.class == "ModuleDict");
            ensure!(known, "{what} is a {:?}, which is no part of EDM's networks", module.class);
            for kind in ["_parameters", "_buffers", "_modules"] {
                for (name, item) in self.entries(module.attribute(kind)?, what)? {
                    if *item.value() == Value::None {
                        continue;
                    }
                    let name = format!("{prefix}{name}");
                    if kind == "_modules" {
                        rest.push((format!("{name}."), depth + 1, item));
                    } else {
                        found.push((name, item));
                    }
                }
            }
        }
        Ok(found)
    }

    /// An argument as JSON.
    fn argument(
        &mut self,
        item: Item<'_, '_>,
        name: &str,
        depth: usize,
    ) -> Result<serde_json::Value> {
        self.spend(1, name)?;
        Ok(match (item.value(), item.sequence()) {
            (Value::None, _) => serde_json::Value::Null,
            (Value::Bool(value), _) => (*value).into(),
            (Value::Int(value), _) => (*value).into(),
            (Value::Float(value), _) => (*value).into(),
            (Value::Text(value), _) => (&**value).into(),
            (_, Some(items)) if depth > 0 => {
                let items = items.into_iter().map(|item| self.argument(item, name, depth - 1));
                items.collect::<Result<Vec<_>>>()?.into()
            }
            _ => bail!("the argument {name} is {}, not a plain value", item.describe()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"\x80\x04ctorch_utils.persistence\n_reconstruct_persistent_obj\n\x94";

    /// A block without tensors whose `_modules` are pickled by `parts`; memo 0 is the callable.
    fn block(parts: &[u8]) -> Vec<u8> {
        [
            &b"h\0}(\x8c\x04type\x8c\x05class\x8c\x07versionK\x06\x8c\x0aclass_name"[..],
            b"\x8c\x09UNetBlock\x8c\x05state}(\x8c\x0b_parameters}\x8c\x08_buffers}\x8c\x08_modules",
            parts,
            b"uu\x85R",
        ]
        .concat()
    }

    fn error(bytes: &[u8]) -> String {
        let file = TorchFile::read(bytes).unwrap();
        let mut walk = Walk { left: file.value_count() };
        walk.tensors(file.root()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_named_many_times_costs_no_more() {
        // Blocks of one block ten times, twelve levels deep.
        let mut laughs = [HEADER, &block(b"}"), b"\x94"].concat();
        for level in 1..=12_u8 {
            let parts: Vec<u8> =
                (0..10_u8).flat_map(|i| [0x8c, 1, b'a' + i, b'h', level]).collect();
            laughs.extend(block(&[b"}(", &parts[..], b"u"].concat()));
            laughs.push(0x94);
        }
        laughs.push(b'.');
        let found = error(&laughs);
        assert!(found.contains("used more often than a network uses its parts"), "{found}");
        // A block that is its own part.
        let own = [HEADER, &block(b"}\x94"), b"\x94h\x01\x8c\x01ah\x02s0."].concat();
        let found = error(&own);
        assert!(found.contains("used more often"), "{found}");
        // A hundred blocks in each other.
        let mut deep = [HEADER, &block(b"}")[..]].concat();
        for _ in 0..100 {
            let inner = deep.split_off(HEADER.len());
            deep.extend(block(&[b"}(\x8c\x01a", &inner[..], b"u"].concat()));
        }
        deep.push(b'.');
        let found = error(&deep);
        assert!(found.contains("deeper than any part of EDM's networks"), "{found}");
    }
}
