//! Pickles are read as data, whatever they are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use eps_data::pickle::{Item, Pickle, PickleError, Value, numpy};
use proptest::prelude::*;

/// `pickle.dumps({'a': -7, 'b': [1.5, None, True, False], 'c': ('x', 300, 70000), 'big': 2**70},
/// protocol)`.
const BY_PROTOCOL: [&[u8]; 4] = [
    b"(dp0\nVa\np1\nI-7\nsVb\np2\n(lp3\nF1.5\naNaI01\naI00\nasVc\np4\n(Vx\np5\nI300\nI70000\ntp6\ns\
      Vbig\np7\nL1180591620717411303424L\ns.",
    b"}q\x00(X\x01\x00\x00\x00aq\x01J\xf9\xff\xff\xffX\x01\x00\x00\x00bq\x02]q\x03(\
      G?\xf8\x00\x00\x00\x00\x00\x00NI01\nI00\neX\x01\x00\x00\x00cq\x04(X\x01\x00\x00\x00xq\x05\
      M,\x01Jp\x11\x01\x00tq\x06X\x03\x00\x00\x00bigq\x07L1180591620717411303424L\nu.",
    b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01J\xf9\xff\xff\xffX\x01\x00\x00\x00bq\x02]q\x03(\
      G?\xf8\x00\x00\x00\x00\x00\x00N\x88\x89eX\x01\x00\x00\x00cq\x04X\x01\x00\x00\x00xq\x05\
      M,\x01Jp\x11\x01\x00\x87q\x06X\x03\x00\x00\x00bigq\x07\
      \x8a\t\x00\x00\x00\x00\x00\x00\x00\x00@u.",
    b"\x80\x04\x95E\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94J\xf9\xff\xff\xff\x8c\x01b\x94]\
      \x94(G?\xf8\x00\x00\x00\x00\x00\x00N\x88\x89e\x8c\x01c\x94\x8c\x01x\x94M,\x01Jp\x11\x01\x00\
      \x87\x94\x8c\x03big\x94\x8a\t\x00\x00\x00\x00\x00\x00\x00\x00@u.",
];

/// `pickle.dumps` of an object whose `__reduce__` gives `(os.system, ("touch x",))`.
const HOSTILE: &[u8] =
    b"\x80\x04\x95\x22\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\
                         \x94\x93\x94\x8c\x07touch x\x94\x85\x94R\x94.";

/// A pickled array: C or Fortran order, dtype `<f4`.
fn array_pickle(shape: &[u8], fortran: bool, values: &[f32]) -> Vec<u8> {
    let mut bytes =
        b"\x80\x03cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\
                      \x87R(K\x01("
            .to_vec();
    shape.iter().for_each(|side| bytes.extend([b'K', *side]));
    bytes.extend(b"tcnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNN");
    bytes.extend(b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb");
    bytes.push(if fortran { 0x88 } else { 0x89 });
    bytes.push(b'B');
    bytes.extend((4 * values.len() as u32).to_le_bytes());
    values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    bytes.extend(b"tb.");
    bytes
}

fn error(bytes: &[u8]) -> String {
    Pickle::read(bytes).unwrap_err().to_string()
}

fn ints(item: Item<'_, '_>) -> Vec<i64> {
    item.sequence().unwrap().into_iter().map(|item| item.int().unwrap()).collect()
}

#[test]
fn every_protocol_holds_the_same() {
    for (at, bytes) in BY_PROTOCOL.into_iter().enumerate() {
        if at < 2 {
            // Integers beyond 64 bits are not read from decimal digits.
            assert!(error(bytes).contains("LONG"), "{}", error(bytes));
            continue;
        }
        let pickle = Pickle::read(bytes).unwrap();
        let entries = pickle.root().entries().unwrap();
        let names: Vec<&str> = entries.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["a", "b", "c", "big"]);
        assert_eq!(entries[0].1.int(), Some(-7));
        let list: Vec<&Value<'_>> =
            entries[1].1.sequence().unwrap().into_iter().map(Item::value).collect();
        let expected = [Value::Float(1.5), Value::None, Value::Bool(true), Value::Bool(false)];
        assert_eq!(list, expected.iter().collect::<Vec<_>>());
        let tuple = entries[2].1.sequence().unwrap();
        assert_eq!(tuple[0].text(), Some("x"));
        assert_eq!((tuple[1].int(), tuple[2].int()), (Some(300), Some(70000)));
        assert_eq!(*entries[3].1.value(), Value::Long(b"\0\0\0\0\0\0\0\0\x40"));
    }
}

#[test]
fn protocol_0_without_large_integers() {
    let pickle = Pickle::read(b"(dp0\nS'a'\np1\nI-7\nsVb\xe9\n(lI01\naF-0.5\naL12L\nas.").unwrap();
    let Value::Dict(entries) = pickle.root().value() else { panic!("{pickle:?}") };
    assert_eq!(pickle.item(entries[0].0).bytes(), Some(&b"a"[..]));
    assert_eq!(pickle.item(entries[1].0).text(), Some("bé"));
    let list = pickle.item(entries[1].1).sequence().unwrap();
    let list: Vec<Value<'_>> = list.into_iter().map(|item| item.value().clone()).collect();
    assert_eq!(list, [Value::Bool(true), Value::Float(-0.5), Value::Int(12)]);
}

#[test]
fn what_python_would_call_is_noted_and_not_called() {
    let pickle = Pickle::read(HOSTILE).unwrap();
    let call = pickle.root().call().unwrap();
    assert_eq!(pickle.item(call.callable).global(), Some(("posix", "system")));
    let arguments = pickle.item(call.arguments).sequence().unwrap();
    assert_eq!(arguments[0].text(), Some("touch x"));
    let message = numpy::array(pickle.root(), "the kernel").unwrap_err().to_string();
    assert_eq!(message, "the kernel is a call of posix.system, not a numpy array");

    // Instances of old classes, and those with keywords, state, items and entries.
    let pickle = Pickle::read(b"(K\x01iposix\nsystem\n.").unwrap();
    assert_eq!(pickle.root().describe(), "a call of posix.system");
    let pickle = Pickle::read(b"(cposix\nsystem\nK\x01o}b.").unwrap();
    assert!(pickle.root().call().unwrap().state.is_some());
    let whole = b"ca\nB\n)}\x92(K\x01K\x02eK\x03aK\x04K\x05sK\x06b.";
    let pickle = Pickle::read(whole).unwrap();
    let call = pickle.root().call().unwrap();
    let int = |id| pickle.item(id).int().unwrap();
    assert!(call.keywords.is_some());
    assert_eq!(call.items.iter().map(|id| int(*id)).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(call.entries.iter().map(|(k, v)| (int(*k), int(*v))).collect::<Vec<_>>(), [(4, 5)]);
    assert_eq!(call.state.map(int), Some(6));
}

#[test]
fn sets_bytes_and_persistent_identities() {
    let set = Pickle::read(b"\x80\x04\x8f\x94(K\x03K\x04\x90.").unwrap();
    assert!(matches!(set.root().value(), Value::Set(items) if items.len() == 2));
    let set = Pickle::read(b"\x80\x04(K\x03\x91.").unwrap();
    assert!(matches!(set.root().value(), Value::Set(items) if items.len() == 1));
    let bytes = Pickle::read(b"\x80\x05\x96\x02\0\0\0\0\0\0\0ab\x94.").unwrap();
    assert_eq!(bytes.root().bytes(), Some(&b"ab"[..]));
    let bytes = Pickle::read(b"T\x02\0\0\0ab.").unwrap();
    assert_eq!(bytes.root().bytes(), Some(&b"ab"[..]));
    for persistent in [&b"P0\n."[..], b"X\x01\0\0\x000Q."] {
        let pickle = Pickle::read(persistent).unwrap();
        let Value::Persistent(id) = pickle.root().value() else { panic!("{pickle:?}") };
        assert_eq!(pickle.item(*id).text(), Some("0"));
    }
}

#[test]
fn integers_of_every_length() {
    for (bytes, expected) in [
        (&b"\x8a\x00."[..], 0),
        (b"\x8a\x01\xff.", -1),
        (b"\x8a\x02\x00\x80.", -32768),
        (b"\x8b\x03\0\0\0\xff\xff\x00.", 65535),
        (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", i64::MAX),
        (b"J\x00\x00\x00\x80.", i64::from(i32::MIN)),
    ] {
        assert_eq!(Pickle::read(bytes).unwrap().root().int(), Some(expected));
    }
}

#[test]
fn arrays_of_numpy() {
    let values = [0.5, -1.0, 2.0, 3.0, 4.0, -0.0];
    let bytes = array_pickle(&[2, 3], false, &values);
    let array = numpy::array(Pickle::read(&bytes).unwrap().root(), "a").unwrap();
    assert_eq!((array.dims, array.values), (vec![2, 3], values.map(f64::from).to_vec()));
    let bytes = array_pickle(&[2, 3], true, &values);
    let array = numpy::array(Pickle::read(&bytes).unwrap().root(), "a").unwrap();
    assert_eq!(array.values, [0.5, 2.0, 4.0, -1.0, 3.0, -0.0]);

    // A shape that its bytes do not fill, and one that no memory could.
    for shape in [&[2, 2][..], &[255; 40]] {
        let bytes = array_pickle(shape, false, &values);
        let pickle = Pickle::read(&bytes).unwrap();
        let message = numpy::array(pickle.root(), "the bias").unwrap_err().to_string();
        assert!(message.contains("the bias") && message.contains("24 bytes"), "{message}");
    }
    for (from, to) in
        [("f4", "O8"), ("numpy\ndtype", "numpy\nDtype"), ("multiarray\n", "MULTIARRAY\n")]
    {
        let whole = array_pickle(&[6], false, &values);
        let at = whole.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let changed = [&whole[..at], to.as_bytes(), &whole[at + from.len()..]].concat();
        assert!(numpy::array(Pickle::read(&changed).unwrap().root(), "a").is_err(), "{to}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    let array = array_pickle(&[2], false, &[1.0, 2.0]);
    for whole in [BY_PROTOCOL[2], BY_PROTOCOL[3], HOSTILE, &array] {
        Pickle::read(whole).unwrap();
        for length in 0..whole.len() {
            let message = error(&whole[..length]);
            assert!(message.contains("byte"), "cut to {length}: {message}");
        }
    }
    let (_, length) = Pickle::read_first(b"K\x01.K\x02.").unwrap();
    assert_eq!(length, 3);
    assert!(error(b"K\x01.K\x02.").contains("3 bytes are left over"));
}

#[test]
fn lengths_are_not_believed() {
    for (bytes, words) in [
        (&b"B\xff\xff\xff\xff"[..], "needs 4294967295 bytes, 0 are left"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff", "needs 18446744073709551615 bytes"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc", "3 are left"),
        (b"T\xff\xff\xff\xffabc.", "has the length -1"),
        (b"\x8b\x00\x00\x00\x80abc.", "has the length -2147483648"),
        (b"\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "FRAME"),
        (b"Vno newline", "UNICODE"),
    ] {
        let message = error(bytes);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn what_cannot_be_followed_is_named() {
    for (bytes, words) in [
        (&b"\xff."[..], "byte 0 is 0xff"),
        (b"N\x00.", "byte 1 is 0x00"),
        (b"\x80\x06N.", "protocol 6"),
        (b"\x82\x01.", "EXT1"),
        (b"\x97.", "NEXT_BUFFER"),
        (b".", "STOP at byte 0 finds nothing"),
        (b"t.", "TUPLE at byte 0 finds no mark"),
        (b"N(\x85.", "TUPLE1 at byte 2 finds nothing"),
        (b"h\x07.", "memo 7, which is empty"),
        (b"gx\n.", "GET at byte 0 cannot read the number"),
        (b"Ix\n.", "INT at byte 0 cannot read the number"),
        (b"Sx\n.", "no quotes"),
        (b"S'\\x41'\n.", "escape"),
        (b"X\x01\0\0\0\xff.", "not UTF-8"),
        (b"}(K\x01u.", "a key without a value"),
        (b"NNa.", "APPEND at byte 2 is not for a plain value"),
        (b"]NNs.", "SETITEM at byte 3 is not for a list"),
        (b"cos\nsystem\nNb.", "BUILD at byte 12 is not for the global os.system"),
        (b"ca\nb\n)RNbNb.", "has a state already"),
        (b"K\x01K\x02\x93.", "STACK_GLOBAL at byte 4 finds no two texts"),
        (b"(o.", "OBJ at byte 1 finds no class"),
    ] {
        let message = error(bytes);
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn bombs_cost_no_more_than_their_size() {
    // A billion laughs: every list holds the one before ten times; 10¹⁰⁰ elements if copied.
    let mut laughs = b"\x80\x04]\x94".to_vec();
    for level in 0..100_u8 {
        laughs.extend(b"](");
        laughs.extend([b'h', level].repeat(10));
        laughs.extend(b"e\x94");
    }
    laughs.push(b'.');
    let pickle = Pickle::read(&laughs).unwrap();
    assert_eq!(pickle.len(), 101);
    assert_eq!(pickle.root().sequence().unwrap().len(), 10);

    // A million lists in each other, and a list in itself.
    let deep = [b"]".repeat(1_000_000), b"a".repeat(999_999), b".".to_vec()].concat();
    assert_eq!(Pickle::read(&deep).unwrap().len(), 1_000_000);
    let own = Pickle::read(b"\x80\x04]\x94h\x00a.").unwrap();
    assert_eq!(own.root().sequence().unwrap()[0].value(), own.root().value());

    let many = b"N".repeat(5_000_000);
    assert!(matches!(Pickle::read(&many), Err(PickleError::TooMany { limit: 4_194_304 })));
    // Marks, copies and memos of one value make no values.
    let pickle = [&b"N"[..], &b"2".repeat(1_000_000), b"("].concat();
    assert!(matches!(Pickle::read(&pickle), Err(PickleError::Truncated { .. })));
    for repeated in [b"2", b"(", b"\x94"] {
        let many = [&b"N"[..], &repeated.repeat(5_000_000)].concat();
        let found = Pickle::read(&many);
        assert!(matches!(found, Err(PickleError::TooMany { limit: 4_194_304 })), "{repeated:?}");
    }
}

#[test]
fn the_memo_is_read_back_in_every_form() {
    for bytes in [
        &b"(K\x05p3\ng3\nt."[..],
        b"(K\x05q\x03h\x03t.",
        b"(K\x05r\x03\0\x01\0j\x03\0\x01\0t.",
        b"(K\x05\x94h\0t.",
        b"(K\x052t.",
    ] {
        assert_eq!(ints(Pickle::read(bytes).unwrap().root()), [5, 5]);
    }
    // POP and POP_MARK leave what is below.
    assert_eq!(ints(Pickle::read(b"(K\x01K\x020(K\x03K\x041(0t.").unwrap().root()), [1]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes, and any change of a real pickle, are read or refused, without a panic.
    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let _ = Pickle::read(&bytes);
        let mut changed = array_pickle(&[2], false, &[1.0, 2.0]);
        let at = at.index(changed.len());
        changed[at] = byte;
        if let Ok(pickle) = Pickle::read(&changed) {
            let _ = numpy::array(pickle.root(), "a");
        }
    }
}
