use super::*;
use crate::link::value::{decode, encode};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::collections::BTreeMap;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Page {
    name: String,
    numbers: BTreeMap<String, Option<SharedSlice<i32>>>,
    #[serde(flatten)]
    picture: Picture,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Picture {
    pixels: Blob,
    none: Blob,
}

fn carried<T: Serialize + serde::de::DeserializeOwned + 'static>(value: &T) -> T {
    let mut bytes = Vec::new();
    let encoding = encode(value, &mut bytes).unwrap();
    assert!(bytes.len() < 200, "the bytes themselves do not travel");
    decode(encoding.flags, &bytes, encoding.descriptors).unwrap()
}

#[test]
fn it_travels_anywhere_in_a_message() {
    let numbers = SharedSlice::from_fn(1000, |index| index as i32).unwrap();
    let page = Page {
        name: "one".into(),
        numbers: BTreeMap::from([("a".into(), Some(numbers)), ("b".into(), None)]),
        picture: Picture { pixels: Blob::new(&[5; 100_000]).unwrap(), none: Blob::default() },
    };
    let received = carried(&page);
    assert_eq!(received, page);
    assert_eq!(carried(&received), page, "it is sent on");
}

#[test]
fn outside_a_message_it_says_so() {
    for blob in [Blob::new(b"abc").unwrap(), Blob::default()] {
        let error = serde_json::to_string(&blob).unwrap_err().to_string();
        assert_eq!(error, "a blob travels only inside messages, as shared memory; elsewhere, serialise its bytes");
        let shared = SharedSlice::<u8>::try_from(blob).unwrap();
        assert_eq!(serde_json::to_string(&shared).unwrap_err().to_string(), error);
    }
    assert!(serde_json::from_str::<Blob>(r#"{"memory":0,"length":3}"#).is_err());
}

#[test]
fn what_a_peer_made_up_is_an_error() {
    let forged = |memory: Option<Attached>, length| {
        let mut bytes = Vec::new();
        let encoding = encode(&Lent { memory, length }, &mut bytes).unwrap();
        decode::<Blob>(encoding.flags, &bytes, encoding.descriptors).unwrap_err().to_string()
    };
    let open = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&open, 4096).unwrap();
    assert!(forged(Some(Attached(open)), 4096).ends_with("the blob's memory is not sealed"));
    assert!(forged(None, 4096).ends_with("a blob came without its memory"));
    let blob = Blob::new(&[1; 4096]).unwrap();
    let memory = || Some(Attached(blob.descriptor().unwrap().try_clone_to_owned().unwrap()));
    assert!(forged(memory(), 1 << 40).contains("should have"));
    assert!(forged(memory(), 0).contains("of that length"));
    // Numbers that end in the middle of one.
    let mut bytes = Vec::new();
    let encoding = encode(&Lent { memory: memory(), length: 4095 }, &mut bytes).unwrap();
    let error = decode::<SharedSlice<u64>>(encoding.flags, &bytes, encoding.descriptors).unwrap_err();
    assert!(error.to_string().contains("no whole number"), "{error}");
}
