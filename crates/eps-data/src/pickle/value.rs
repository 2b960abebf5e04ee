//! The values of a pickle, and how they are looked at.

use std::borrow::Cow;

/// The place of a value in its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(pub(super) u32);

/// A pickled object, or the note of one that Python would have made.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A larger integer: its two's complement, little-endian.
    Long(&'a [u8]),
    /// A float.
    Float(f64),
    /// `bytes`, `bytearray`, and the `str` of Python 2.
    Bytes(Cow<'a, [u8]>),
    /// `str`.
    Text(Cow<'a, str>),
    /// `list`
    List(Vec<Id>),
    /// `tuple`
    Tuple(Vec<Id>),
    /// `set` and `frozenset`, in the order of the file.
    Set(Vec<Id>),
    /// `dict`, in the order of the file; a key that comes twice stays twice.
    Dict(Vec<(Id, Id)>),
    /// A function or class, by name.
    Global {
        /// The module that Python would import it from.
        module: &'a str,
        /// Its qualified name.
        name: &'a str,
    },
    /// An object that Python would make by a call.
    Call(Box<ObjectCall>),
    /// An object that lies outside of the pickle, by the identity that the pickle gives.
    Persistent(Id),
}

/// A call that Python would make, and what it would then do with the result.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectCall {
    /// What is called; for an instance its class.
    pub callable: Id,
    /// The arguments, a tuple.
    pub arguments: Id,
    /// The arguments by keyword, a dictionary.
    pub keywords: Option<Id>,
    /// What the object's `__setstate__` gets.
    pub state: Option<Id>,
    /// What is appended to the object.
    pub items: Vec<Id>,
    /// What is set in the object by key.
    pub entries: Vec<(Id, Id)>,
}

/// A pickle that was read: all its values and the one that it stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Pickle<'a> {
    pub(super) values: Vec<Value<'a>>,
    pub(super) root: Id,
}

impl<'a> Pickle<'a> {
    /// The value that the pickle stands for.
    #[must_use]
    pub fn root(&self) -> Item<'_, 'a> {
        self.item(self.root)
    }

    /// The value at a place.
    ///
    /// # Panics
    /// If `id` belongs to another pickle and lies beyond the values of this one.
    #[must_use]
    pub fn item(&self, id: Id) -> Item<'_, 'a> {
        Item { pickle: self, value: &self.values[id.0 as usize] }
    }

    /// All values, in the order of the file.
    pub fn items(&self) -> impl Iterator<Item = Item<'_, 'a>> {
        self.values.iter().map(|value| Item { pickle: self, value })
    }

    /// Module and name of every global that the pickle names, in the order of the file.
    pub fn globals(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.items().filter_map(Item::global)
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Always false: a pickle has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// A value together with the pickle that it refers into.
#[derive(Debug, Clone, Copy)]
pub struct Item<'p, 'a> {
    pickle: &'p Pickle<'a>,
    value: &'p Value<'a>,
}

impl<'p, 'a> Item<'p, 'a> {
    /// The value.
    #[must_use]
    pub fn value(self) -> &'p Value<'a> {
        self.value
    }

    /// The value at a place of the same pickle.
    ///
    /// # Panics
    /// As [`Pickle::item`].
    #[must_use]
    pub fn at(self, id: Id) -> Self {
        self.pickle.item(id)
    }

    /// The text, where the value is one.
    #[must_use]
    pub fn text(self) -> Option<&'p str> {
        match self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes, where the value is some.
    #[must_use]
    pub fn bytes(self) -> Option<&'p [u8]> {
        match self.value {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The integer, where the value is one of up to 64 bits.
    #[must_use]
    pub fn int(self) -> Option<i64> {
        match self.value {
            Value::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// The elements of a tuple or list.
    #[must_use]
    pub fn sequence(self) -> Option<Vec<Self>> {
        match self.value {
            Value::Tuple(items) | Value::List(items) => {
                Some(items.iter().map(|id| self.at(*id)).collect())
            }
            _ => None,
        }
    }

    /// The entries of a dictionary whose keys are texts, in the order of the file.
    #[must_use]
    pub fn entries(self) -> Option<Vec<(&'p str, Self)>> {
        match self.value {
            Value::Dict(entries) => entries
                .iter()
                .map(|(key, value)| Some((self.at(*key).text()?, self.at(*value))))
                .collect(),
            _ => None,
        }
    }

    /// Module and name, where the value is a global.
    #[must_use]
    pub fn global(self) -> Option<(&'a str, &'a str)> {
        match self.value {
            Value::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// The call, where the value is the result of one.
    #[must_use]
    pub fn call(self) -> Option<&'p ObjectCall> {
        match self.value {
            Value::Call(call) => Some(call),
            _ => None,
        }
    }

    /// Module and name of what is called, where the value is the result of a call of a global.
    #[must_use]
    pub fn callee(self) -> Option<(&'a str, &'a str)> {
        self.at(self.call()?.callable).global()
    }

    /// The arguments by position, where the value is the result of a call.
    #[must_use]
    pub fn arguments(self) -> Vec<Self> {
        self.call().and_then(|call| self.at(call.arguments).sequence()).unwrap_or_default()
    }

    /// What kind of value it is, for messages: a global by its name, a call by what is called.
    #[must_use]
    pub fn describe(self) -> String {
        match self.value {
            Value::None => "None".to_owned(),
            Value::Bool(_) => "a truth value".to_owned(),
            Value::Int(_) | Value::Long(_) => "an integer".to_owned(),
            Value::Float(_) => "a float".to_owned(),
            Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Value::Text(_) => "a text".to_owned(),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Tuple(items) => format!("a tuple of {}", items.len()),
            Value::Set(items) => format!("a set of {}", items.len()),
            Value::Dict(entries) => format!("a dictionary of {}", entries.len()),
            Value::Global { module, name } => format!("the global {module}.{name}"),
            Value::Call(_) => match self.callee() {
                Some((module, name)) => format!("a call of {module}.{name}"),
                None => "a call of something unnamed".to_owned(),
            },
            Value::Persistent(_) => "a persistent identity".to_owned(),
        }
    }
}
