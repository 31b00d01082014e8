//! Random bytes as bodies.

use super::{EncodeError, Names, Shapes, decode, decode_owned, encode};
use crate::link::frame::Flags;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Reads bytes as a few types, and what was read back again. For the fuzzer: nothing may panic, memory stays bounded, and
/// what arrives can be sent on. The first byte chooses the type and the form: a block, or a table of names before a record.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    use std::collections::{BTreeMap, HashMap};

    #[derive(Serialize, Deserialize)]
    enum Tree {
        Leaf,
        Nested(Box<Tree>),
        Pair(Box<Tree>, Option<Box<Tree>>),
        Fields { ip: std::net::IpAddr, list: Vec<Tree>, wide: (i128, u128) },
    }

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Any {
        Bool(bool),
        Number(i64),
        Float(f64),
        Text(String),
        List(Vec<Any>),
        Map(HashMap<String, Any>),
    }

    #[derive(Serialize, Deserialize)]
    struct Flat {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<char>,
        #[serde(flatten)]
        tagged: Tagged,
        #[serde(flatten)]
        rest: BTreeMap<String, Any>,
    }

    #[derive(Serialize, Deserialize)]
    #[serde(tag = "type")]
    enum Tagged {
        Unit,
        Tree { tree: Option<Tree> },
    }

    fn check<T: Serialize + DeserializeOwned + 'static>(choice: u8, body: &[u8]) {
        if choice & 0x40 != 0 {
            return check_record::<T>(body);
        }
        let flags = if choice & 0x80 == 0 { Flags::NONE } else { Flags::BLOCK };
        let owned = decode_owned::<T>(flags, body.to_vec(), Vec::new());
        let Ok(value) = decode::<T>(flags, body, Vec::new()) else {
            assert!(owned.is_err());
            return;
        };
        let mut again = Vec::new();
        if let Ok(encoding) = encode(&value, &mut again) {
            assert!(decode::<T>(encoding.flags, &again, encoding.descriptors).is_ok());
        }
    }

    fn check_record<T: Serialize + DeserializeOwned + 'static>(bytes: &[u8]) {
        let Some(([length], rest)) = bytes.split_first_chunk() else {
            return;
        };
        let (table, body) = rest.split_at(rest.len().min(usize::from(*length)));
        let mut names = Names::new();
        let _ = names.learn(table);
        let Ok(value) = names.decode::<T>(Flags::NONE, body, Vec::new()) else {
            return;
        };
        let (mut shapes, mut again) = (Shapes::new(), Vec::new());
        if let Ok(encoding) = shapes.encode(&value, &mut again) {
            assert!(names.learn(shapes.table()).is_ok());
            assert!(names.decode::<T>(encoding.flags, &again, encoding.descriptors).is_ok());
        }
    }

    let Some((choice, body)) = data.split_first() else {
        return;
    };
    match choice & 0x3f {
        0 => check::<Tree>(*choice, body),
        1 => check::<Any>(*choice, body),
        2 => check::<Flat>(*choice, body),
        3 => check::<Vec<Option<(u8, String)>>>(*choice, body),
        4 => check::<String>(*choice, body),
        5 => check::<Vec<u32>>(*choice, body),
        6 => check::<Vec<u8>>(*choice, body),
        7 => check::<Result<HashMap<i32, f32>, Vec<()>>>(*choice, body),
        8 => check::<EncodeError>(*choice, body),
        _ => {}
    }
}
