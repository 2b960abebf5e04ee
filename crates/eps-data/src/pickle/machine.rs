//! The stack machine: instructions as `Lib/pickletools.py` of CPython describes them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::error::PickleError;
use super::input::Input;
use super::opcode::name;
use super::value::{Id, ObjectCall, Pickle, Value};

/// The most values, and the most entries of stack, marks and memo: far above any file of weights, and less
/// than 200 MB each.
const MOST_VALUES: usize = 1 << 22;

/// The newest protocol there is.
const NEWEST: u8 = 5;

/// Follows the pickle that `bytes` begin with to its end; returns it with its length.
pub(super) fn run(bytes: &[u8]) -> Result<(Pickle<'_>, usize), PickleError> {
    let mut machine = Machine {
        input: Input { bytes, at: 0 },
        start: 0,
        name: "",
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        encoded: HashSet::new(),
    };
    loop {
        machine.start = machine.input.at;
        let opcode = machine.input.take("an instruction", 1)?[0];
        machine.name =
            name(opcode).ok_or(PickleError::UnknownOpcode { offset: machine.start, opcode })?;
        let held = machine.stack.len().max(machine.marks.len()).max(machine.memo.len());
        if held > MOST_VALUES {
            return Err(PickleError::TooMany { limit: MOST_VALUES });
        }
        if machine.step(opcode)? {
            let root = machine.pop()?;
            return Ok((Pickle { values: machine.values, root }, machine.input.at));
        }
    }
}

struct Machine<'a> {
    input: Input<'a>,
    /// Where the present instruction begins, and its name, for messages.
    start: usize,
    name: &'static str,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at which a mark lies.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// The texts that were read as bytes.
    encoded: HashSet<u32>,
}

impl<'a> Machine<'a> {
    /// Follows one instruction; whether it was the last.
    fn step(&mut self, opcode: u8) -> Result<bool, PickleError> {
        match opcode {
            b'.' => return Ok(true),
            0x80 => match self.input.array("PROTO")? {
                [protocol] if protocol > NEWEST => return Err(PickleError::Protocol { protocol }),
                _ => {}
            },
            // Frames only help Python to read ahead.
            0x95 => {
                let length = self.input.unsigned("FRAME", 8)?;
                let left = self.input.bytes.len() - self.input.at;
                if length > left as u64 {
                    let offset = self.start;
                    return Err(PickleError::Truncated {
                        what: "FRAME",
                        offset,
                        needed: length,
                        left,
                    });
                }
            }
            b'N' | 0x88 | 0x89 | b'I' | b'K' | b'M' | b'J' | b'L' | 0x8a | 0x8b | b'F' | b'G' => {
                let number = self.number(opcode)?;
                self.push(number)?;
            }
            b'T' | b'U' | b'S' | b'B' | b'C' | 0x8e | 0x96 | b'X' | b'V' | 0x8c | 0x8d => {
                let string = self.string(opcode)?;
                self.push(string)?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                // As Python: a mark on top is dropped like a value.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'p' | b'q' | b'r' | 0x94 | b'g' | b'h' | b'j' => self.memo(opcode)?,
            b']' | b'l' | b')' | 0x85..=0x87 | b't' | b'}' | b'd' | 0x8f | 0x91 => {
                let container = self.container(opcode)?;
                self.push(container)?;
            }
            b'a' | b'e' | 0x90 => self.extend(opcode)?,
            b's' | b'u' => self.set(opcode)?,
            b'c' | 0x93 | b'R' | b'i' | b'o' | 0x81 | 0x92 | b'b' | b'P' | b'Q' => {
                self.object(opcode)?;
            }
            _ => {
                return Err(PickleError::Unsupported { offset: self.start, name: self.name });
            }
        }
        Ok(false)
    }

    /// None, truth values and numbers.
    fn number(&mut self, opcode: u8) -> Result<Value<'a>, PickleError> {
        let what = self.name;
        Ok(match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(u8::from_le_bytes(self.input.array(what)?).into()),
            b'M' => Value::Int(u16::from_le_bytes(self.input.array(what)?).into()),
            b'J' => Value::Int(i32::from_le_bytes(self.input.array(what)?).into()),
            b'G' => Value::Float(f64::from_be_bytes(self.input.array(what)?)),
            0x8a => integer(self.input.counted(what, 1)?),
            0x8b => {
                let length = i32::from_le_bytes(self.input.array(what)?);
                let length = u64::try_from(length)
                    .map_err(|_| self.misplaced(format!("has the length {length}")))?;
                integer(self.input.take(what, length)?)
            }
            _ => {
                let line = self.input.line(what)?;
                match (opcode, line) {
                    (b'I', b"00") => Value::Bool(false),
                    (b'I', b"01") => Value::Bool(true),
                    (b'F', _) => Value::Float(self.parse(line)?),
                    (_, _) => Value::Int(self.parse(line.strip_suffix(b"L").unwrap_or(line))?),
                }
            }
        })
    }

    /// A decimal number of protocol 0.
    fn parse<T: std::str::FromStr>(&self, line: &[u8]) -> Result<T, PickleError> {
        let text = String::from_utf8_lossy(line);
        text.trim().parse().map_err(|_| self.misplaced(format!("cannot read the number {text:?}")))
    }

    /// Bytes and texts.
    fn string(&mut self, opcode: u8) -> Result<Value<'a>, PickleError> {
        let what = self.name;
        let bytes = |bytes| Value::Bytes(Cow::Borrowed(bytes));
        Ok(match opcode {
            b'U' | b'C' => bytes(self.input.counted(what, 1)?),
            b'B' => bytes(self.input.counted(what, 4)?),
            0x8e | 0x96 => bytes(self.input.counted(what, 8)?),
            b'T' => {
                let length = i32::from_le_bytes(self.input.array(what)?);
                let length = u64::try_from(length)
                    .map_err(|_| self.misplaced(format!("has the length {length}")))?;
                bytes(self.input.take(what, length)?)
            }
            b'S' => {
                let line = self.input.line(what)?;
                let inside = match line {
                    [b'\'', inside @ .., b'\''] | [b'"', inside @ .., b'"'] => inside,
                    _ => return Err(self.misplaced("has no quotes around its string".to_owned())),
                };
                if inside.contains(&b'\\') {
                    return Err(self.misplaced("has an escape, which is not read".to_owned()));
                }
                bytes(inside)
            }
            b'V' => {
                let line = self.input.line(what)?;
                if line.contains(&b'\\') {
                    return Err(self.misplaced("has an escape, which is not read".to_owned()));
                }
                // Latin-1: every byte is the code point of its number.
                Value::Text(line.iter().map(|byte| char::from(*byte)).collect())
            }
            _ => {
                let width = match opcode {
                    0x8c => 1,
                    b'X' => 4,
                    _ => 8,
                };
                let text = self.input.counted(what, width)?;
                Value::Text(Cow::Borrowed(self.utf8(text)?))
            }
        })
    }

    fn memo(&mut self, opcode: u8) -> Result<(), PickleError> {
        let what = self.name;
        let index = match opcode {
            b'q' | b'h' => self.input.unsigned(what, 1)?,
            b'r' | b'j' => self.input.unsigned(what, 4)?,
            0x94 => self.memo.len() as u64,
            _ => {
                let line = self.input.line(what)?;
                self.parse(line)?
            }
        };
        if let b'g' | b'h' | b'j' = opcode {
            let found = self.memo.get(&index).copied();
            let id = found
                .ok_or_else(|| self.misplaced(format!("asks for memo {index}, which is empty")))?;
            self.stack.push(id);
        } else {
            let id = self.top()?;
            self.memo.insert(index, id);
        }
        Ok(())
    }

    /// Lists, tuples, dictionaries and sets.
    fn container(&mut self, opcode: u8) -> Result<Value<'a>, PickleError> {
        Ok(match opcode {
            b']' => Value::List(Vec::new()),
            b'l' => Value::List(self.above_mark()?),
            b')' => Value::Tuple(Vec::new()),
            b't' => Value::Tuple(self.above_mark()?),
            b'}' => Value::Dict(Vec::new()),
            b'd' => {
                let items = self.above_mark()?;
                Value::Dict(self.pairs(&items)?)
            }
            0x8f => Value::Set(Vec::new()),
            0x91 => Value::Set(self.above_mark()?),
            _ => {
                let mut items = Vec::new();
                for _ in 0x85..=opcode {
                    items.push(self.pop()?);
                }
                items.reverse();
                Value::Tuple(items)
            }
        })
    }

    /// Appends to a list, a set, or the object of a call.
    fn extend(&mut self, opcode: u8) -> Result<(), PickleError> {
        let added = if opcode == b'a' { vec![self.pop()?] } else { self.above_mark()? };
        let target = self.top()?;
        match (&mut self.values[target.0 as usize], opcode) {
            (Value::List(items), b'a' | b'e') | (Value::Set(items), 0x90) => items.extend(added),
            (Value::Call(call), _) => call.items.extend(added),
            _ => return Err(self.not_for(target)),
        }
        Ok(())
    }

    /// Sets entries of a dictionary or of the object of a call.
    fn set(&mut self, opcode: u8) -> Result<(), PickleError> {
        let items = if opcode == b's' {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.above_mark()?
        };
        let pairs = self.pairs(&items)?;
        let target = self.top()?;
        match &mut self.values[target.0 as usize] {
            Value::Dict(entries) => entries.extend(pairs),
            Value::Call(call) => call.entries.extend(pairs),
            _ => return Err(self.not_for(target)),
        }
        Ok(())
    }

    /// Globals, calls and the state of their objects.
    fn object(&mut self, opcode: u8) -> Result<(), PickleError> {
        let what = self.name;
        match opcode {
            b'c' => {
                let global = self.global_of_lines()?;
                self.push(global)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                // Borrowed texts only: what was decoded from protocol 0 cannot name a global here.
                match (&self.values[module.0 as usize], &self.values[name.0 as usize]) {
                    (Value::Text(Cow::Borrowed(module)), Value::Text(Cow::Borrowed(name))) => {
                        let global = Value::Global { module, name };
                        self.push(global)
                    }
                    _ => Err(self.misplaced("finds no two texts".to_owned())),
                }
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments, None)
            }
            0x92 => {
                let (keywords, arguments) = (self.pop()?, self.pop()?);
                let callable = self.pop()?;
                self.call(callable, arguments, Some(keywords))
            }
            b'i' => {
                let global = self.global_of_lines()?;
                let arguments = Value::Tuple(self.above_mark()?);
                let (callable, arguments) = (self.add(global)?, self.add(arguments)?);
                self.call(callable, arguments, None)
            }
            b'o' => {
                let mut items = self.above_mark()?.into_iter();
                let callable =
                    items.next().ok_or_else(|| self.misplaced("finds no class".to_owned()))?;
                let arguments = self.add(Value::Tuple(items.collect()))?;
                self.call(callable, arguments, None)
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                match &mut self.values[target.0 as usize] {
                    Value::Call(call) if call.state.is_none() => call.state = Some(state),
                    _ => return Err(self.not_for(target)),
                }
                Ok(())
            }
            b'P' => {
                let line = self.input.line(what)?;
                let text = Value::Text(Cow::Borrowed(self.utf8(line)?));
                let identity = self.add(text)?;
                self.push(Value::Persistent(identity))
            }
            _ => {
                let identity = self.pop()?;
                self.push(Value::Persistent(identity))
            }
        }
    }

    fn global_of_lines(&mut self) -> Result<Value<'a>, PickleError> {
        let (module, name) = (self.input.line(self.name)?, self.input.line(self.name)?);
        Ok(Value::Global { module: self.utf8(module)?, name: self.utf8(name)? })
    }

    fn call(
        &mut self,
        callable: Id,
        arguments: Id,
        keywords: Option<Id>,
    ) -> Result<(), PickleError> {
        if let Some(bytes) = self.encoded_bytes(callable, arguments)? {
            return self.push(Value::Bytes(Cow::Owned(bytes)));
        }
        let call = ObjectCall {
            callable,
            arguments,
            keywords,
            state: None,
            items: Vec::new(),
            entries: Vec::new(),
        };
        self.push(Value::Call(Box::new(call)))
    }

    /// The bytes that a call of `_codecs.encode(text, "latin1")` stands for.
    ///
    /// Each text is read once, as Python writes it, so that bytes never outgrow the file.
    fn encoded_bytes(
        &mut self,
        callable: Id,
        arguments: Id,
    ) -> Result<Option<Vec<u8>>, PickleError> {
        let value = |id: Id| &self.values[id.0 as usize];
        let Value::Global { module: "_codecs", name: "encode" } = value(callable) else {
            return Ok(None);
        };
        let Value::Tuple(parts) = value(arguments) else { return Ok(None) };
        let &[text_id, encoding] = &parts[..] else { return Ok(None) };
        let (Value::Text(text), Value::Text(encoding)) = (value(text_id), value(encoding)) else {
            return Ok(None);
        };
        if encoding != "latin1" {
            return Ok(None);
        }
        let bytes: Result<Vec<u8>, _> = text.chars().map(|c| u8::try_from(u32::from(c))).collect();
        let bytes = bytes.map_err(|_| self.misplaced("encodes more than Latin-1".to_owned()))?;
        if !self.encoded.insert(text_id.0) {
            return Err(self.misplaced("encodes a text for the second time".to_owned()));
        }
        Ok(Some(bytes))
    }

    fn add(&mut self, value: Value<'a>) -> Result<Id, PickleError> {
        if self.values.len() == MOST_VALUES {
            return Err(PickleError::TooMany { limit: MOST_VALUES });
        }
        let limit = PickleError::TooMany { limit: MOST_VALUES };
        let id = Id(u32::try_from(self.values.len()).map_err(|_| limit)?);
        self.values.push(value);
        Ok(id)
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), PickleError> {
        let id = self.add(value)?;
        self.stack.push(id);
        Ok(())
    }

    /// The value on top of the stack, which must lie above the last mark.
    fn top(&self) -> Result<Id, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(id) if self.stack.len() > floor => Ok(*id),
            _ => Err(self.misplaced("finds nothing on the stack".to_owned())),
        }
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    /// Everything above the last mark, which is taken off too.
    fn above_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        match self.marks.pop() {
            Some(height) => Ok(self.stack.split_off(height)),
            None => Err(self.misplaced("finds no mark on the stack".to_owned())),
        }
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>, PickleError> {
        match items.as_chunks::<2>() {
            (pairs, []) => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
            _ => Err(self.misplaced("finds a key without a value".to_owned())),
        }
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, PickleError> {
        str::from_utf8(bytes).map_err(|_| self.misplaced("has a text that is not UTF-8".to_owned()))
    }

    fn misplaced(&self, problem: String) -> PickleError {
        PickleError::Misplaced { offset: self.start, name: self.name, problem }
    }

    fn not_for(&self, target: Id) -> PickleError {
        let kind = match &self.values[target.0 as usize] {
            Value::Call(call) => match &self.values[call.callable.0 as usize] {
                Value::Global { module, name } => {
                    format!("what {module}.{name} made, which has a state already")
                }
                _ => "an object that has a state already".to_owned(),
            },
            Value::Dict(_) => "a dictionary".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Global { module, name } => format!("the global {module}.{name}"),
            _ => "a plain value".to_owned(),
        };
        self.misplaced(format!("is not for {kind}"))
    }
}

/// An integer in two's complement, little-endian; no bytes are zero.
fn integer(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let sign = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut whole = [if sign { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(whole))
}
