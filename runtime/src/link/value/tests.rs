//! What survives, what is refused, and what hostile bytes do.

mod records;

use super::*;
use proptest::prelude::*;
use serde::de::{Deserializer, IgnoredAny};
use serde::ser::Serializer;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::sync::OnceLock;
use std::time::Duration;

/// The value after its journey, which ends alike with names and as a record.
fn through<T: Serialize + DeserializeOwned + 'static>(value: &T) -> Result<T, String> {
    let mut body = b"before".to_vec();
    let encoding = encode(value, &mut body).map_err(|error| error.to_string());
    for (shapes, names) in [(Shapes::new(), Names::new()), full()] {
        alike(value, &body, encoding.as_ref(), shapes, names);
    }
    let encoding = encoding?;
    let owned = decode_owned::<T>(encoding.flags, body[6..].to_vec(), Vec::new());
    assert!(owned.is_ok() || decode::<T>(encoding.flags, &body[6..], Vec::new()).is_err());
    decode(encoding.flags, &body[6..], encoding.descriptors).map_err(|error| error.to_string())
}

/// Compares a record with this body. What comes out of both is compared by writing it again.
fn alike<T: Serialize + DeserializeOwned + 'static>(
    value: &T,
    body: &[u8],
    encoding: Result<&Encoding, &String>,
    mut shapes: Shapes,
    mut names: Names,
) {
    let mut record = Vec::new();
    let recorded = shapes.encode(value, &mut record).map_err(|error| error.to_string());
    assert_eq!(recorded.as_ref().err(), encoding.err());
    let Ok(encoding) = encoding else {
        assert!(record.is_empty());
        return;
    };
    assert_eq!(recorded.unwrap().flags, encoding.flags);
    names.learn(shapes.table()).unwrap();
    let plain = decode::<T>(encoding.flags, &body[6..], Vec::new());
    let value = names.decode::<T>(encoding.flags, &record, Vec::new());
    let again = |value: T| {
        let mut bytes = Vec::new();
        encode(&value, &mut bytes).map(|_| bytes).map_err(|error| error.to_string())
    };
    match (plain, value) {
        // Without an order of its own, a map of a hash map's entries is written in another each time.
        (Ok(plain), Ok(value)) => assert_eq!(again(plain).map(sorted), again(value).map(sorted)),
        (plain, value) => assert_eq!(plain.err(), value.err()),
    }
}

fn sorted(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.sort_unstable();
    bytes
}

/// A table without room for one more name.
fn full() -> (Shapes, Names) {
    static FULL: OnceLock<(Shapes, Names)> = OnceLock::new();
    FULL.get_or_init(fill).clone()
}

fn fill() -> (Shapes, Names) {
    /// Only its first letters, for as long as there are some.
    struct Long(&'static str);
    impl Serialize for Long {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut fields = serializer.serialize_struct("", 1)?;
            serde::ser::SerializeStruct::serialize_field(&mut fields, self.0, &())?;
            serde::ser::SerializeStruct::end(fields)
        }
    }
    let text = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";
    let mut shapes = Shapes::new();
    for length in (0..text.len()).rev() {
        shapes.encode(&Long(&text[..length]), &mut Vec::new()).unwrap();
    }
    assert!(shapes.table().len() > 4090);
    let mut names = Names::new();
    names.learn(shapes.table()).unwrap();
    (shapes, names)
}

fn json<T: Serialize + DeserializeOwned>(value: &T) -> Option<T> {
    serde_json::from_str(&serde_json::to_string(value).ok()?).ok()
}

/// What `serde_json` carries we carry, and it comes out unchanged, or as what `serde_json` makes of it (an untagged
/// enum takes the first variant that fits, everywhere). What only we carry comes out unchanged.
fn agrees<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: &T) {
    match (through(value), json(value)) {
        (Ok(ours), json) => {
            assert!(ours == *value || Some(&ours) == json.as_ref(), "{value:?} became {ours:?}, in JSON {json:?}");
        }
        (Err(error), Some(json)) => panic!("{value:?}: {error}, in JSON {json:?}"),
        (Err(_), None) => {}
    }
}

/// As [`agrees`], and it must survive here whatever `serde_json` does.
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: T) {
    assert_eq!(through(&value).as_ref(), Ok(&value));
    agrees(&value);
}

fn refused<T: Serialize + DeserializeOwned + 'static>(value: T, because: &str) {
    let mut body = vec![1, 2, 3];
    let error = encode(&value, &mut body).unwrap_err();
    assert!(error.reason.contains(because), "{error}");
    assert_eq!(&*error.type_name, type_name::<T>());
    assert_eq!(body, [1, 2, 3]);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Newtype(Option<i16>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tuple(u8, String, Unit);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum External {
    Unit,
    Newtype(i64),
    Nothing(()),
    Tuple(u8, String),
    Struct { x: i32, y: Option<bool> },
    Nested(Box<External>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Internal {
    Unit,
    Newtype(Fields),
    Empty(Unit),
    Map(BTreeMap<String, Untagged>),
    Struct { x: i32, ip: IpAddr, list: Vec<u8>, maybe: Option<External> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    Newtype(i64),
    Tuple(IpAddr, Duration),
    Struct { x: f32, inner: Option<Internal> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Bool(bool),
    Number(i64),
    Large(u64),
    Float(f64),
    Address(SocketAddr),
    Char(char),
    Text(String),
    Pair(u8, String),
    Fields(Fields),
    External(External),
    List(Vec<Untagged>),
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Fields {
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<u32>,
    #[serde(skip_serializing, default)]
    gone: u8,
    #[serde(skip)]
    never: u16,
    #[serde(rename = "type", default, skip_serializing_if = "Vec::is_empty")]
    list: Vec<String>,
    ip: IpAddr,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Flat {
    first: char,
    #[serde(flatten)]
    fields: Fields,
    #[serde(flatten)]
    tagged: Internal2,
    #[serde(flatten)]
    rest: HashMap<String, Untagged>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Internal2 {
    One { one: u64 },
    Two(Newtype2),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Newtype2 {
    two: Duration,
    three: Option<External>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    unit: (),
    unit_struct: Unit,
    newtype: Newtype,
    tuple: Tuple,
    external: Vec<External>,
    internal: Internal,
    adjacent: Adjacent,
    untagged: Untagged,
    flat: Flat,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
    double: Option<Option<u8>>,
    by_number: BTreeMap<i32, String>,
    by_variant: BTreeMap<Key, u8>,
    big: i128,
    bigger: u128,
    floats: (f32, f64),
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    array: [u16; 3],
    duration: Duration,
    nonzero: Option<NonZeroU8>,
    result: Result<u8, String>,
    set: BTreeSet<External>,
    pair: Option<(Option<i8>, Unit)>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Key {
    #[serde(rename = "the one")]
    One,
    Two,
}

/// The usual way to tell an absent field from one that is null.
mod double {
    use super::*;

    pub(super) fn serialize<S: Serializer>(value: &Option<Option<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(Some(value)) => serializer.serialize_some(value),
            _ => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u8>>, D::Error> {
        Option::deserialize(deserializer).map(Some)
    }
}

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Zäß€😀 0-9]{0,6}"
}

/// Floats that `serde_json` reads back exactly, which it does not promise for all.
fn float() -> impl Strategy<Value = f32> {
    any::<i16>().prop_map(|quarters| f32::from(quarters) / 4.0)
}

fn external() -> BoxedStrategy<External> {
    let leaf = prop_oneof![
        Just(External::Unit),
        any::<i64>().prop_map(External::Newtype),
        Just(External::Nothing(())),
        (any::<u8>(), text()).prop_map(|(x, y)| External::Tuple(x, y)),
        any::<(i32, Option<bool>)>().prop_map(|(x, y)| External::Struct { x, y }),
    ];
    leaf.prop_recursive(3, 4, 1, |inner| inner.prop_map(|inner| External::Nested(Box::new(inner)))).boxed()
}

fn fields() -> BoxedStrategy<Fields> {
    (any::<Option<u32>>(), proptest::collection::vec(text(), 0..3), any::<IpAddr>())
        .prop_map(|(a, list, ip)| Fields { a, gone: 0, never: 0, list, ip })
        .boxed()
}

fn untagged() -> BoxedStrategy<Untagged> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Untagged::Bool),
        any::<i64>().prop_map(Untagged::Number),
        any::<u64>().prop_map(Untagged::Large),
        float().prop_map(|float| Untagged::Float(float.into())),
        any::<SocketAddr>().prop_map(Untagged::Address),
        any::<char>().prop_map(Untagged::Char),
        text().prop_map(Untagged::Text),
        (any::<u8>(), text()).prop_map(|(x, y)| Untagged::Pair(x, y)),
        fields().prop_map(Untagged::Fields),
        external().prop_map(Untagged::External),
        Just(Untagged::Nothing),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| proptest::collection::vec(inner, 0..3).prop_map(Untagged::List)).boxed()
}

fn internal() -> BoxedStrategy<Internal> {
    let list = proptest::collection::vec(any::<u8>(), 0..4);
    prop_oneof![
        Just(Internal::Unit),
        fields().prop_filter("its own field is the tag", |f| f.list.is_empty()).prop_map(Internal::Newtype),
        Just(Internal::Empty(Unit)),
        proptest::collection::btree_map("[b-z]{3}", untagged(), 0..3).prop_map(Internal::Map),
        (any::<(i32, IpAddr)>(), list, proptest::option::of(external())).prop_map(|((x, ip), list, maybe)| Internal::Struct {
            x,
            ip,
            list,
            maybe
        }),
    ]
    .boxed()
}

fn adjacent() -> BoxedStrategy<Adjacent> {
    prop_oneof![
        Just(Adjacent::Unit),
        any::<i64>().prop_map(Adjacent::Newtype),
        any::<(IpAddr, Duration)>().prop_map(|(x, y)| Adjacent::Tuple(x, y)),
        (float(), proptest::option::of(internal())).prop_map(|(x, inner)| Adjacent::Struct { x, inner }),
    ]
    .boxed()
}

fn flat() -> BoxedStrategy<Flat> {
    let two = (any::<Duration>(), proptest::option::of(external()));
    let tagged = prop_oneof![
        any::<u64>().prop_map(|one| Internal2::One { one }),
        two.prop_map(|(two, three)| Internal2::Two(Newtype2 { two, three })),
    ];
    // The rest takes every name that is nobody else's, and those of the flattened fields too: keep them apart.
    let rest = proptest::collection::hash_map("[q-z]{4}", untagged(), 0..3);
    (any::<char>(), fields(), tagged, rest).prop_map(|(first, fields, tagged, rest)| Flat { first, fields, tagged, rest }).boxed()
}

prop_compose! {
    fn everything()(
        (newtype, tuple, pair) in (any::<Option<i16>>(), (any::<u8>(), text()), any::<Option<Option<i8>>>()),
        external in proptest::collection::vec(external(), 0..4),
        (internal, adjacent, untagged, flat) in (internal(), adjacent(), untagged(), flat()),
        (double, nonzero, result) in (any::<Option<Option<u8>>>(), any::<Option<NonZeroU8>>(), any::<Result<u8, bool>>()),
        by_number in proptest::collection::btree_map(any::<i32>(), text(), 0..4),
        (big, shift, bigger, floats) in (any::<i128>(), 0u32..128, any::<u128>(), (float(), float().prop_map(f64::from))),
        (bytes, array, duration) in (any::<Vec<u8>>(), any::<[u16; 3]>(), any::<Duration>()),
    ) -> Everything {
        Everything {
            unit: (),
            unit_struct: Unit,
            newtype: Newtype(newtype),
            tuple: Tuple(tuple.0, tuple.1, Unit),
            set: external.iter().cloned().collect(),
            by_variant: [(Key::One, 1), (Key::Two, 2)].into_iter().take(external.len() % 3).collect(),
            external, internal, adjacent, untagged, flat, double, by_number,
            big: big >> shift,
            bigger: bigger >> shift,
            floats, bytes, array, duration, nonzero,
            result: result.map_err(|error| error.to_string()),
            pair: pair.map(|pair| (pair, Unit)),
        }
    }
}

proptest! {
    #[test]
    fn what_survives_json_survives(value in everything().boxed()) {
        agrees(&value);
    }

    #[test]
    fn untagged_alone(value in untagged()) {
        agrees(&value);
    }

    #[test]
    fn parts_survive(
        flat in flat(), external in external(), adjacent in adjacent(), internal in internal(), fields in fields()
    ) {
        agrees(&flat);
        survives(external);
        agrees(&adjacent);
        agrees(&internal);
        survives(fields);
    }

    #[test]
    fn wide_integers_survive(value: i128, bigger: u128, shift in 0u32..128) {
        survives(value >> shift);
        survives(bigger >> shift);
        survives(BTreeMap::from([(value >> shift, Some(bigger >> shift))]));
    }

    #[test]
    fn blocks_survive(bytes: Vec<u8>, text: String, floats: Vec<f64>, numbers: Vec<i32>, small: Vec<i8>, big: Vec<u64>) {
        survives(bytes);
        survives(text);
        assert_eq!(through(&floats), Ok(floats));
        survives(numbers);
        survives(small);
        survives(big);
    }

    #[test]
    fn hostile_bytes_are_a_value_or_an_error(bytes: Vec<u8>, cut: usize, at: usize, value in everything().boxed()) {
        let _ = decode::<Everything>(Flags::NONE, &bytes, Vec::new());
        let _ = decode::<Untagged>(Flags::NONE, &bytes, Vec::new());
        let _ = decode::<serde_json::Value>(Flags::NONE, &bytes, Vec::new());
        let _ = decode::<Vec<u64>>(Flags::BLOCK, &bytes, Vec::new());
        let mut body = Vec::new();
        encode(&value, &mut body).unwrap();
        prop_assert!(decode::<Everything>(Flags::NONE, &body[..cut % body.len()], Vec::new()).is_err());
        let at = at % body.len();
        body[at] ^= bytes.first().copied().unwrap_or(1);
        let _ = decode::<Everything>(Flags::NONE, &body, Vec::new());
    }
}

#[test]
fn plain_values_survive() {
    survives(());
    survives(Unit);
    survives(true);
    survives('ß');
    survives((1u8, -1i64, u64::MAX, i64::MIN));
    survives(Some(Some(5)));
    survives(None::<Option<u8>>);
    survives(vec![Some(1), None]);
    survives(Some(vec![None::<u8>]));
    survives(Ok::<(), u8>(()));
    survives(Some(Ok::<(), ()>(())));
    survives(HashMap::from([(1u128 << 100, 'x')]));
    survives(std::time::UNIX_EPOCH);
    survives("[::1]:80".parse::<SocketAddr>().unwrap());
    survives(serde_json::json!({"a": [1, -2, 3.5, null, true, "x", {"b": {}}]}));
    survives(std::ffi::CString::new("c").unwrap());
    survives(std::marker::PhantomData::<Unit>);
    survives(Internal::Empty(Unit));
    survives(vec![(), ()]);
}

#[test]
fn floats_keep_their_bits() {
    for bits in [f64::NAN.to_bits(), 0x7ff8_0000_dead_beef, 0xfff0_0000_0000_0000, (-0.0f64).to_bits(), 1] {
        let value = f64::from_bits(bits);
        assert_eq!(through(&(value, 0)).unwrap().0.to_bits(), bits);
        assert_eq!(through(&vec![value]).unwrap()[0].to_bits(), bits);
    }
    let bits = 0x7fc0_1234;
    assert_eq!(through(&(f32::from_bits(bits), 0)).unwrap().0.to_bits(), bits);
    assert_eq!(through(&vec![f32::from_bits(bits)]).unwrap()[0].to_bits(), bits);
}

#[test]
fn a_some_that_holds_nothing_is_refused() {
    let holds = "`Some` that holds nothing";
    refused(Some(None::<u8>), holds);
    refused(Some(()), holds);
    refused(Some(Newtype(None)), holds);
    refused(Some(Some(None::<u8>)), holds);
    refused(vec![(1, Some(Some(2))), (3, Some(None))], holds);
    refused(External2::Struct { deep: BTreeMap::from([(1, Box::new((Some(()), 2)))]) }, holds);
    refused(Some(Untagged::Nothing), holds);
    refused(Some(serde_json::Value::Null), holds);

    #[derive(Serialize, Deserialize)]
    enum External2 {
        Struct { deep: BTreeMap<u8, Box<(Option<()>, u8)>> },
    }
}

#[test]
fn the_double_option_pattern_survives() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Patch {
        #[serde(default, skip_serializing_if = "Option::is_none", with = "double")]
        field: Option<Option<u8>>,
    }
    for field in [None, Some(None), Some(Some(1))] {
        survives(Patch { field });
    }

    // Without a writer of its own the bytes cannot tell, so it is loud.
    #[derive(Serialize, Deserialize)]
    struct Careless {
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "double::deserialize")]
        field: Option<Option<u8>>,
    }
    refused(Careless { field: Some(None) }, "serialize_none");
}

/// An untagged enum cannot see 128 bits in any format. What matters is that it does not take them for bytes.
#[test]
fn wide_integers_in_untagged_enums_are_loud() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Wide {
        Number(u128),
        Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    }
    assert!(through(&Wide::Number(u128::MAX)).is_err());
    assert!(through(&Wide::Number(5)).is_err() && json(&Wide::Number(5)).is_none());
    survives(Wide::Bytes(vec![0; 16]));
}

#[test]
fn wide_integers_out_of_range_are_errors() {
    let mut body = Vec::new();
    encode(&u128::MAX, &mut body).unwrap();
    assert!(decode::<i128>(Flags::NONE, &body, Vec::new()).unwrap_err().reason.contains("too large"));
    body.clear();
    encode(&-1i128, &mut body).unwrap();
    assert!(decode::<u128>(Flags::NONE, &body, Vec::new()).unwrap_err().reason.contains("negative"));
    // Another extension type, another length.
    assert!(decode::<u128>(Flags::NONE, &[0xd4, 2, 0], Vec::new()).is_err());
    assert!(decode::<u128>(Flags::NONE, &[[0xd8, 3].as_slice(), &[0; 16]].concat(), Vec::new()).is_err());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Chain {
    value: u8,
    next: Option<Box<Chain>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Endless(Option<Box<Endless>>);

fn tree(depth: usize) -> Tree {
    (0..depth).fold(Tree::Leaf, |tree, _| Tree::Node(Box::new(tree)))
}

fn chain(depth: usize) -> Option<Box<Chain>> {
    (0..depth).fold(None, |next, value| Some(Box::new(Chain { value: value as u8, next })))
}

#[test]
fn depth_is_bounded_both_ways() {
    survives(tree(100));
    survives(chain(120));
    let deep = "nested more than 128";
    assert_eq!(through(&chain(128)), Ok(chain(128)));
    refused(chain(129), deep);
    refused(tree(129), deep);

    // Each level of this is one map, written by hand.
    for levels in [200, 100_000] {
        let node = b"\x81\xa4Node";
        let body = [node.repeat(levels).as_slice(), b"\xa4Leaf"].concat();
        let error = decode::<Tree>(Flags::NONE, &body, Vec::new()).unwrap_err();
        assert!(error.reason.contains(deep), "{error}");
        assert!(decode::<(IgnoredAny,)>(Flags::NONE, &[b"\x91".as_slice(), &body].concat(), Vec::new()).is_err());
        let lists = b"\x91".repeat(levels);
        assert!(decode::<Untagged>(Flags::NONE, &lists, Vec::new()).is_err());
        assert!(decode::<serde_json::Value>(Flags::NONE, &lists, Vec::new()).is_err());
    }
}

#[test]
fn types_that_never_reach_a_byte_are_errors() {
    survives(Endless(None));
    assert!(decode::<Endless>(Flags::NONE, &[1], Vec::new()).unwrap_err().reason.contains("nested"));
    let endless = (0..5000).fold(Endless(None), |inner, _| Endless(Some(Box::new(inner))));
    refused(endless, "nested");
}

#[test]
fn bytes_after_the_value_are_an_error() {
    for (body, whole) in [(vec![5], true), (vec![5, 5], false), (vec![5, 0xdc], false), (vec![], false)] {
        assert_eq!(decode::<u8>(Flags::NONE, &body, Vec::new()).is_ok(), whole, "{body:?}");
    }
    let error = decode::<u8>(Flags::NONE, &[5, 0xc0], Vec::new()).unwrap_err();
    assert!(error.to_string().contains("more bytes after"), "{error}");
}

#[test]
fn claimed_lengths_reserve_nothing() {
    /// Remembers what it was told to expect.
    struct Greedy(usize);
    impl<'de> Deserialize<'de> for Greedy {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Greedy;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a list")
                }
                fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Greedy, A::Error> {
                    let hint = list.size_hint().unwrap_or(0);
                    assert!(hint <= 3, "told to expect {hint}");
                    while list.next_element::<u8>()?.is_some() {}
                    Ok(Greedy(hint))
                }
            }
            deserializer.deserialize_seq(Visitor)
        }
    }
    let mut body = vec![0xdd, 0xff, 0xff, 0xff, 0xff];
    assert!(decode::<Vec<[u64; 8]>>(Flags::NONE, &body, Vec::new()).is_err());
    assert!(decode::<Greedy>(Flags::NONE, &body, Vec::new()).is_err());
    body = vec![0x93, 1, 2, 3];
    assert_eq!(decode::<Greedy>(Flags::NONE, &body, Vec::new()).unwrap().0, 3);
    for claim in [[0xc6, 0xff, 0xff, 0xff, 0xff], [0xdb, 0xff, 0xff, 0xff, 0xff], [0xdf, 0xff, 0xff, 0xff, 0xff]] {
        assert!(decode::<serde_bytes::ByteBuf>(Flags::NONE, &claim, Vec::new()).is_err());
        assert!(decode::<HashMap<String, String>>(Flags::NONE, &claim, Vec::new()).is_err());
    }
}

#[test]
fn a_wrong_claim_in_a_serialize_is_refused() {
    #[derive(Deserialize)]
    struct Liar;
    impl Serialize for Liar {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut list = serializer.serialize_seq(Some(2))?;
            list.serialize_element(&1)?;
            list.end()
        }
    }
    refused(Liar, "claims 2 parts and gives 1");

    #[derive(Deserialize)]
    struct Keys;
    impl Serialize for Keys {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeMap;
            let mut map = serializer.serialize_map(None)?;
            map.serialize_key(&1)?;
            map.end()
        }
    }
    refused(Keys, "claims 1 parts and gives 0");
}

/// What a tuple leaves is not taken for what comes after it.
#[test]
fn lists_and_maps_are_read_to_their_ends() {
    let list = decode::<((u8,), u8)>(Flags::NONE, &[0x92, 0x92, 1, 2], Vec::new());
    assert!(list.unwrap_err().reason.contains("wrong length"));
    assert_eq!(decode::<((u8, u8), u8)>(Flags::NONE, &[0x92, 0x92, 1, 2, 3], Vec::new()), Ok(((1, 2), 3)));
    assert!(decode::<External>(Flags::NONE, b"\x82\xa7Newtype\x01\xa7Newtype\x01", Vec::new()).is_err());
}

#[test]
fn numbers_and_lengths_are_as_short_as_they_can_be() {
    fn length<T: Serialize + 'static>(value: &T) -> usize {
        let mut body = Vec::new();
        encode(value, &mut body).unwrap();
        body.len()
    }
    fn back<T: Serialize + DeserializeOwned + PartialEq + 'static>(value: T) {
        let mut body = Vec::new();
        encode(&value, &mut body).unwrap();
        assert!(decode::<T>(Flags::NONE, &body, Vec::new()).unwrap() == value);
    }
    for (bits, bytes) in [(7, 1), (8, 2), (16, 3), (32, 5), (64, 9)] {
        let largest = (1u128 << bits) - 1;
        assert_eq!(length(&(largest as u64)), bytes, "{largest}");
        survives(largest as u64);
        survives(u64::try_from(largest + 1).unwrap_or(0));
    }
    assert_eq!(length(&(u128::from(u64::MAX) + 1)), 18);
    for (smallest, bytes) in [(-32, 1), (-128, 2), (-32768, 3), (-1 << 31, 5), (i64::MIN, 9)] {
        assert_eq!(length(&smallest), bytes, "{smallest}");
        survives(smallest);
        survives(smallest.wrapping_sub(1));
        assert!(length(&smallest.saturating_sub(1)) >= bytes);
    }

    /// Does not say how many there are.
    #[derive(Debug, PartialEq, Deserialize)]
    struct Uncounted(Vec<bool>);
    impl Serialize for Uncounted {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.iter().filter(|_| true))
        }
    }
    for (count, head) in [(0, 1), (15, 1), (16, 3), (65535, 3), (65536, 5)] {
        let list = vec![true; count];
        assert_eq!(length(&list), head + count);
        assert_eq!(length(&Uncounted(list.clone())), head + count);
        back((Uncounted(list.clone()), 5));
        let map: BTreeMap<u32, bool> = (0u32..).zip(list).collect();
        back((map, 5));
    }
    for (count, head) in [(0, 1), (31, 1), (32, 2), (255, 2), (256, 3), (65535, 3), (65536, 5)] {
        assert_eq!(length(&("x".repeat(count),)), 1 + head + count);
        back(("x".repeat(count), serde_bytes::ByteBuf::from(vec![0; count])));
    }
}

#[test]
fn only_exact_types_are_blocks() {
    let mut body = Vec::new();
    assert_eq!(encode(&vec![1i64, -1], &mut body).unwrap().flags, Flags::BLOCK);
    assert_eq!(body, [1i64.to_le_bytes(), (-1i64).to_le_bytes()].concat());
    assert_eq!(encode(&vec![1usize], &mut Vec::new()).unwrap().flags, Flags::NONE);
    assert_eq!(encode(&(vec![1u8],), &mut Vec::new()).unwrap().flags, Flags::NONE);
    assert_eq!(decode::<Vec<i64>>(Flags::BLOCK, &body, Vec::new()).unwrap(), [1, -1]);
    let error = decode::<Vec<i64>>(Flags::BLOCK, &body[1..], Vec::new()).unwrap_err();
    assert!(error.reason.contains("whole number"), "{error}");
    assert!(decode::<String>(Flags::BLOCK, &[0xff], Vec::new()).is_err());
    assert!(decode_owned::<String>(Flags::BLOCK, vec![0xff], Vec::new()).is_err());
    assert!(decode::<(u8,)>(Flags::BLOCK, &[1], Vec::new()).unwrap_err().reason.contains("block"));
    assert!(decode_owned::<(u8,)>(Flags::BLOCK, vec![1], Vec::new()).is_err());
    // A list of numbers that came as MessagePack is one all the same.
    assert_eq!(decode::<Vec<u8>>(Flags::NONE, &[0x92, 1, 2], Vec::new()).unwrap(), [1, 2]);
}

#[test]
fn buffers_are_handed_over() {
    let bytes = vec![1u8, 2, 3];
    let place = bytes.as_ptr();
    let body = take_block(bytes).unwrap();
    assert_eq!(body.as_ptr(), place);
    let bytes: Vec<u8> = decode_owned(Flags::BLOCK, body, Vec::new()).unwrap();
    assert_eq!(bytes.as_ptr(), place);

    let text = "text".to_owned();
    let place = text.as_ptr();
    let body = take_block(text).unwrap();
    let text: String = decode_owned(Flags::BLOCK, body, Vec::new()).unwrap();
    assert_eq!((text.as_str(), text.as_ptr()), ("text", place));
    assert_eq!(take_block((1, 'x')), Err((1, 'x')));
}

#[test]
fn descriptors_travel_inside_values() {
    use crate::link::attach::Attached;
    #[derive(Serialize, Deserialize)]
    struct File {
        name: String,
        descriptor: Option<Attached>,
    }
    let file = |name: &str| {
        let descriptor = std::fs::File::open("/dev/null").unwrap();
        File { name: name.to_owned(), descriptor: Some(Attached(descriptor.into())) }
    };
    let mut body = Vec::new();
    let encoding = encode(&(file("a"), file("b")), &mut body).unwrap();
    assert_eq!(encoding.descriptors.len(), 2);
    let (a, b): (File, File) = decode(encoding.flags, &body, encoding.descriptors).unwrap();
    assert!(a.descriptor.is_some() && b.descriptor.is_some() && a.name == "a");
    let error = decode::<(File, File)>(Flags::NONE, &body, Vec::new()).err().unwrap();
    assert!(error.reason.contains("did not arrive"), "{error}");
}

#[test]
fn errors_travel_and_explain() {
    let error = decode::<(u8, u8)>(Flags::NONE, &[0x92, 1], Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "what arrived is no `(u8, u8)`: the bytes end in the middle of it");
    assert_eq!(json(&error), Some(error));
    let error = encode(&Some(()), &mut Vec::new()).unwrap_err();
    assert!(error.to_string().starts_with("a value of type `core::option::Option<()>` cannot be sent: "));
    assert_eq!(json(&error), Some(error));
}

/// Bodies and their bytes, as printed in docs/PROTOCOL.md.
#[test]
fn golden_vectors() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Point {
        x: i64,
        name: String,
        weight: Option<f64>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Count {
        Add(i64),
        Get(u64, bool),
        Reset { to: i64 },
        Clear,
    }

    fn golden<T: Serialize + DeserializeOwned + PartialEq + Debug + 'static>(value: T, hex: &str) {
        let mut body = Vec::new();
        let encoding = encode(&value, &mut body).unwrap();
        let block = (encoding.flags == Flags::BLOCK).then(|| "block".to_owned());
        let bytes = body.iter().map(|byte| format!("{byte:02x}"));
        let written: Vec<String> = block.into_iter().chain(bytes).collect();
        assert_eq!(written.join(" "), hex, "{value:?}");
        assert_eq!(decode::<T>(encoding.flags, &body, Vec::new()), Ok(value));
    }

    golden(5u8, "05");
    golden(-200i32, "d1 ff 38");
    golden((), "c0");
    golden(Unit, "90");
    golden((1, "a".to_owned(), true), "93 01 a1 61 c3");
    golden(Some('x'), "a1 78");
    golden(Point { x: 1, name: "ab".to_owned(), weight: None }, "83 a1 78 01 a4 6e 61 6d 65 a2 61 62 a6 77 65 69 67 68 74 c0");
    golden(Count::Add(2), "81 a3 41 64 64 02");
    golden(Count::Get(7, false), "81 a3 47 65 74 92 07 c2");
    golden(Count::Reset { to: 300 }, "81 a5 52 65 73 65 74 81 a2 74 6f cd 01 2c");
    golden(Count::Clear, "a5 43 6c 65 61 72");
    golden(1u128 << 64, "d8 02 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00");
    golden(i128::MIN, "d8 01 80 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
    golden("127.0.0.1".parse::<IpAddr>().unwrap(), "a9 31 32 37 2e 30 2e 30 2e 31");
    golden(Duration::from_millis(1500), "82 a4 73 65 63 73 01 a5 6e 61 6e 6f 73 ce 1d cd 65 00");
    golden(BTreeMap::from([(1, 'a')]), "81 01 a1 61");
    golden(vec![1u8, 2, 3], "block 01 02 03");
    golden("hé".to_owned(), "block 68 c3 a9");
    golden(vec![1i64, -1], "block 01 00 00 00 00 00 00 00 ff ff ff ff ff ff ff ff");
    golden(vec![1.5f32], "block 00 00 c0 3f");
}
