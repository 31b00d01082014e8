//! Records: their bytes, their tables, and what hostile ones do.

use super::*;
use serde::ser::SerializeStruct;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Point {
    id: u64,
    x: f64,
    y: f64,
}

/// A struct of these fields, in this order; it reads as a map.
struct Named(Vec<(&'static str, u32)>);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Named", self.0.len())?;
        for (name, value) in &self.0 {
            fields.serialize_field(name, value)?;
        }
        fields.end()
    }
}

/// So many different names of this length.
fn names(count: usize, length: usize) -> Vec<&'static str> {
    (0..count).map(|index| &*format!("{index:0length$}").leak()).collect()
}

/// Encodes them into one buffer and decodes them from it, each when all are encoded.
fn together<T: Serialize + DeserializeOwned + 'static>(shapes: &mut Shapes, values: &[T]) -> Vec<T> {
    let mut out = Vec::new();
    let mut ends = Vec::new();
    for value in values {
        let encoding = shapes.encode(value, &mut out).unwrap();
        ends.push((encoding, out.len()));
    }
    let mut table = Names::new();
    table.learn(shapes.table()).unwrap();
    let mut start = 0;
    let mut read = |(encoding, end): (Encoding, usize)| {
        let value = table.decode(encoding.flags, &out[start..end], encoding.descriptors).unwrap();
        start = end;
        value
    };
    ends.into_iter().map(&mut read).collect()
}

#[test]
fn names_are_written_once() {
    let points: Vec<Point> = (0..100).map(|id| Point { id, x: 0.5, y: -1.0 }).collect();
    let mut shapes = Shapes::new();
    assert_eq!(together(&mut shapes, &points), points);
    assert_eq!(shapes.table(), b"\0\0\x02id\0\x01\x01x\0\x02\x01y");
    let mut body = Vec::new();
    shapes.encode(&points[7], &mut body).unwrap();
    assert_eq!(body, b"\x94\xd5\x03\0\x03\x07\xcb\x3f\xe0\0\0\0\0\0\0\xcb\xbf\xf0\0\0\0\0\0\0");
}

proptest! {
    #[test]
    fn many_types_share_a_table(values in proptest::collection::vec(everything().boxed(), 1..6), points: Vec<(u64, bool)>) {
        let mut shapes = Shapes::new();
        together(&mut shapes, &values.iter().map(|value| value.external.clone()).collect::<Vec<_>>())
            .iter().zip(&values).for_each(|(read, value)| assert_eq!(read, &value.external));
        let points: Vec<Point> = points.into_iter().map(|(id, _)| Point { id, x: 1.0, y: 2.0 }).collect();
        assert_eq!(together(&mut shapes, &points), points);
        let fields: Vec<Fields> = values.iter().map(|value| value.flat.fields.clone()).collect();
        assert_eq!(together(&mut shapes, &fields), fields);
        for value in &values {
            agrees(&value.flat);
        }
        // All of it again, now that the table has all of their names.
        let length = shapes.table().len();
        assert_eq!(together(&mut shapes, &fields), fields);
        assert_eq!(shapes.table().len(), length);
    }

    #[test]
    fn shapes_with_gaps(rows: Vec<u16>) {
        let names: Vec<&'static str> = names(16, 3);
        let mut shapes = Shapes::new();
        let mut out = Vec::new();
        for row in rows {
            let fields: Vec<(&str, u32)> = (0..16).filter(|bit| row >> bit & 1 == 1).map(|bit| (names[bit], bit as u32)).collect();
            out.clear();
            shapes.encode(&Named(fields.clone()), &mut out).unwrap();
            let mut table = Names::new();
            table.learn(shapes.table()).unwrap();
            let read: BTreeMap<String, u32> = table.decode(Flags::NONE, &out, Vec::new()).unwrap();
            assert!(read.iter().map(|(name, bit)| (name.as_str(), *bit)).eq(fields));
        }
    }

    #[test]
    fn hostile_tables_and_records(
        table: Vec<u8>,
        bytes: Vec<u8>,
        at in any::<[proptest::sample::Index; 3]>(),
        flip: [u8; 3],
        value in everything().boxed(),
    ) {
        let mut names = Names::new();
        let _ = names.learn(&table);
        let _ = names.decode::<Everything>(Flags::NONE, &bytes, Vec::new());

        let mut shapes = Shapes::new();
        let mut body = Vec::new();
        shapes.encode(&value, &mut body).unwrap();
        let mut good = Names::new();
        good.learn(shapes.table()).unwrap();
        prop_assert!(good.decode::<Everything>(Flags::NONE, &body[..at[0].index(body.len())], Vec::new()).is_err());
        prop_assert!(decode::<Everything>(Flags::NONE, &body, Vec::new()).is_err());

        let mut table = shapes.table().to_vec();
        table[at[0].index(shapes.table().len())] ^= flip[0];
        let _ = names.learn(&table);
        let _ = names.decode::<Everything>(Flags::NONE, &body, Vec::new());
        let _ = names.decode::<serde_json::Value>(Flags::NONE, &body, Vec::new());
        for (at, flip) in at.iter().zip(flip) {
            let at = at.index(body.len());
            body[at] ^= flip;
        }
        let _ = good.decode::<Everything>(Flags::NONE, &body, Vec::new());
        let _ = good.decode::<Untagged>(Flags::NONE, &body, Vec::new());
        let _ = good.decode::<serde_json::Value>(Flags::NONE, &body, Vec::new());
    }
}

#[test]
fn tables_grow() {
    let mut shapes = Shapes::new();
    shapes.encode(&Named(vec![("a", 1), ("b", 2)]), &mut Vec::new()).unwrap();
    let early = shapes.table().to_vec();
    let mut body = Vec::new();
    shapes.encode(&Named(vec![("a", 1), ("c", 3)]), &mut body).unwrap();
    let late = shapes.table().to_vec();
    assert!(late.starts_with(&early) && late.len() > early.len());

    let read = |names: &Names| names.decode::<BTreeMap<String, u32>>(Flags::NONE, &body, Vec::new());
    let mut names = Names::new();
    let error = read(&names).unwrap_err();
    assert!(error.reason.contains("names that did not come"), "{error}");
    names.learn(&early).unwrap();
    assert!(read(&names).is_err());
    names.learn(&late).unwrap();
    let right = BTreeMap::from([("a".to_owned(), 1), ("c".to_owned(), 3)]);
    assert_eq!(read(&names), Ok(right.clone()));
    // An early one does not take anything away; another writer's does.
    names.learn(&early).unwrap();
    names.learn(&[]).unwrap();
    assert_eq!(read(&names), Ok(right));
    names.learn(b"\0\0\x01z").unwrap();
    assert!(read(&names).is_err());
}

#[test]
fn what_is_no_table_is_an_error() {
    let cut_off: &[&[u8]] = &[b"\0", b"\0\0", b"\0\0\x01", b"\0\0\x02a"];
    let too_far: &[&[u8]] = &[b"\0\x01\x01a", b"\0\0\x01a\0\x02\x01b", b"\xff\xff\x01a"];
    let no_text: &[&[u8]] = &[b"\0\0\x01\xff", b"\0\0\x01a\0\0\x02\xc3("];
    for table in [cut_off, too_far, no_text].concat() {
        let error = Names::new().learn(table).unwrap_err();
        assert!(error.to_string().starts_with("what arrived is no `table of names`"), "{error}");
    }
    // What came before the fault is known, and the right continuation is still welcome.
    let mut names = Names::new();
    assert!(names.learn(b"\0\0\x01a\0\x07\x01b").is_err());
    names.learn(b"\0\0\x01a\0\x01\x01b").unwrap();
    let read: BTreeMap<String, u8> = names.decode(Flags::NONE, b"\x93\xd5\x03\0\x02\x05\x06", Vec::new()).unwrap();
    assert_eq!(read, BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 6)]));

    assert!(Names::new().learn(&b"\0\0\x01a".repeat(1024)).is_ok());
    assert!(Names::new().learn(&b"\0\0\x01a".repeat(1025)).is_err());
    // The longest chain, and as many branches from its end: the most that a table can make of itself.
    let chain = (0u16..600).flat_map(|parent| [parent.to_be_bytes().as_slice(), &[0]].concat());
    let branches = (0..765).flat_map(|_| [600u16.to_be_bytes().as_slice(), &[0]].concat());
    Names::new().learn(&chain.chain(branches).collect::<Vec<u8>>()).unwrap();
}

#[test]
fn fields_beyond_the_table_have_their_names_with_them() {
    for (count, length) in [(100, 60), (1000, 5), (20, 300), (3, 255), (3, 256), (20, 4)] {
        let names = names(count, length);
        let fields: Vec<(&'static str, u32)> = names.into_iter().zip(0..).collect();
        let mut shapes = Shapes::new();
        let mut out = Vec::new();
        // The first time they go into the table as they come, the second time they are there, and then in another order.
        for turn in 0..3 {
            let fields: Vec<_> = if turn < 2 { fields.clone() } else { fields.iter().rev().copied().collect() };
            out.clear();
            shapes.encode(&Named(fields.clone()), &mut out).unwrap();
            let mut table = Names::new();
            table.learn(shapes.table()).unwrap();
            let read: BTreeMap<String, u32> = table.decode(Flags::NONE, &out, Vec::new()).unwrap();
            assert!(read.len() == count && fields.iter().all(|(name, value)| read[*name] == *value), "{count} {length} {turn}");
        }
        assert!(shapes.table().len() <= 4096);
    }
}

/// Whatever reads a map from texts reads a record.
#[test]
fn names_are_keys_of_any_kind() {
    #[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    enum Which {
        #[serde(rename = "id")]
        Id,
        #[serde(rename = "x")]
        X,
        #[serde(rename = "y")]
        Y,
    }
    #[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
    struct Wrapped(Option<String>);

    fn check<T: DeserializeOwned + Debug + PartialEq + 'static>() {
        let mut shapes = Shapes::new();
        let (mut body, mut record) = (Vec::new(), Vec::new());
        let point = Point { id: 1, x: 2.0, y: 3.0 };
        encode(&point, &mut body).unwrap();
        shapes.encode(&point, &mut record).unwrap();
        let mut names = Names::new();
        names.learn(shapes.table()).unwrap();
        let read: T = names.decode(Flags::NONE, &record, Vec::new()).unwrap();
        assert_eq!(read, decode(Flags::NONE, &body, Vec::new()).unwrap());
    }
    check::<HashMap<Which, f64>>();
    check::<HashMap<Wrapped, f64>>();
    check::<BTreeMap<String, f64>>();
    check::<Untagged2>();
    check::<serde_json::Value>();

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Untagged2 {
        Less { id: u8, x: f32 },
    }
}

#[test]
fn what_is_wrong_in_a_record_is_an_error() {
    let mut names = Names::new();
    names.learn(b"\0\0\x02id\0\x01\x01x\0\x02\x01y").unwrap();
    let read = |body: &[u8]| names.decode::<Point>(Flags::NONE, body, Vec::new());
    assert_eq!(read(b"\x94\xd5\x03\0\x03\x01\x02\x03"), Ok(Point { id: 1, x: 2.0, y: 3.0 }));
    // With names inside it, in lists of other sizes.
    assert_eq!(read(b"\x94\xd5\x03\0\x02\x01\x02\x92\xa1y\x03"), Ok(Point { id: 1, x: 2.0, y: 3.0 }));
    assert_eq!(read(b"\xdc\0\x04\xd5\x03\0\x03\x01\x02\x03"), Ok(Point { id: 1, x: 2.0, y: 3.0 }));
    assert_eq!(read(b"\xdd\0\0\0\x04\xd5\x03\0\x03\x01\x02\x03"), Ok(Point { id: 1, x: 2.0, y: 3.0 }));
    let wrong: &[(&[u8], &str)] = &[
        (b"\x94\xd5\x03\0\x04\x01\x02\x03", "names that did not come"),
        (b"\x93\xd5\x03\0\x03\x01\x02", "names that did not come"),
        (b"\xdd\0\0\0\0\xd5\x03\0\x03\x01\x02", "names that did not come"),
        (b"\x94\xd5\x03\0\x03\x01\x02", "end in the middle"),
        (b"\x94\xd5\x03\0", "something else begins"),
        (b"\x94\xd5\x03\0\x03\x01\x02\x03\x04", "more bytes after"),
        (b"\x94\xd5\x03\0\x02\x01\x02\x03", "something else begins"),
        (b"\x94\xd5\x03\0\x02\x01\x02\x92\xc0\x03", "field identifier"),
        (b"\x94\xd5\x03\0\x02\x01\x02\x92\xa2id\x03", "duplicate field"),
        (b"\x93\xd5\x03\0\x02\x01\x02", "missing field `y`"),
        (b"\x94\xd5\x04\0\x03\x01\x02\x03", "something else begins"),
        (b"\xd5\x03\0\x03", "something else begins"),
    ];
    for (body, reason) in wrong {
        let error = read(body).unwrap_err();
        assert!(error.reason.contains(reason), "{body:02x?}: {error}");
    }
    assert!(decode::<Point>(Flags::NONE, b"\x94\xd5\x03\0\x03\x01\x02\x03", Vec::new()).is_err());
}

#[test]
fn records_are_bounded_in_depth() {
    let mut shapes = Shapes::new();
    let mut body = Vec::new();
    shapes.encode(&chain(128), &mut body).unwrap();
    let mut names = Names::new();
    names.learn(shapes.table()).unwrap();
    assert_eq!(names.decode(Flags::NONE, &body, Vec::new()), Ok(chain(128)));
    let before = body.clone();
    let error = shapes.encode(&chain(129), &mut body).unwrap_err();
    assert!(error.reason.contains("nested more than 128"), "{error}");
    assert_eq!(body, before);

    names.learn(b"\0\0\x04next").unwrap();
    let body = b"\x92\xd5\x03\0\x01".repeat(100_000);
    let error = names.decode::<Option<Box<Chain>>>(Flags::NONE, &body, Vec::new()).unwrap_err();
    assert!(error.reason.contains("nested more than 128"), "{error}");
    assert!(names.decode::<serde_json::Value>(Flags::NONE, &body, Vec::new()).is_err());
    assert!(names.decode::<IgnoredAny2>(Flags::NONE, &body, Vec::new()).is_err());

    #[derive(Debug, Deserialize)]
    struct IgnoredAny2 {}
}

#[test]
fn a_struct_that_claims_another_number_of_fields_is_refused() {
    #[derive(Deserialize)]
    struct Liar;
    impl Serialize for Liar {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut fields = serializer.serialize_struct("Liar", 3)?;
            fields.serialize_field("one", &1)?;
            fields.end()
        }
    }
    refused(Liar, "claims 3 parts and gives 1");
    let error = Shapes::new().encode(&Liar, &mut Vec::new()).unwrap_err();
    assert!(error.reason.contains("claims 3 parts and gives 1"), "{error}");
}

#[test]
fn descriptors_travel_inside_records() {
    use crate::link::attach::Attached;
    #[derive(Serialize, Deserialize)]
    struct File {
        name: String,
        descriptor: Option<Attached>,
    }
    let file = |name: &str, descriptor| File { name: name.to_owned(), descriptor };
    let null = || Some(Attached(std::fs::File::open("/dev/null").unwrap().into()));
    let files = together(&mut Shapes::new(), &[file("a", null()), file("b", None), file("c", null())]);
    assert!(files[0].descriptor.is_some() && files[1].descriptor.is_none() && files[2].descriptor.is_some());
    assert_eq!(files[2].name, "c");
}

#[test]
fn blocks_stay_blocks() {
    let mut shapes = Shapes::new();
    let mut body = Vec::new();
    let encoding = shapes.encode(&vec![1u16, 2], &mut body).unwrap();
    assert_eq!((encoding.flags, body.as_slice(), shapes.table()), (Flags::BLOCK, [1, 0, 2, 0].as_slice(), [].as_slice()));
    assert_eq!(Names::new().decode(Flags::BLOCK, &body, Vec::new()), Ok(vec![1u16, 2]));
}
