//! MDS folders: against files of MosaicML's own writer, there and back, damaged.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy spares only the functions marked #[test]

#[path = "../../tests/support/prolong.rs"]
mod golden;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tesseral_datasets::mds::value::{Array, Encoding, Kind, Value};
use tesseral_datasets::mds::writer::{Options, write};
use tesseral_datasets::mds::{Reader, Sample};
use tesseral_datasets::{Error, Result};

fn columns(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, encoding)| (name.to_string(), encoding.to_string())).collect()
}

fn write_all(folder: &Path, pairs: &[(&str, &str)], options: Options, samples: &[Sample]) -> Result<usize> {
    write::<Error>(folder, &columns(pairs), options, samples.iter().cloned().map(Ok))
}

const ROW: [(&str, &str); 4] =
    [("domain", "str"), ("indices", "ndarray:uint32"), ("input_ids", "ndarray:uint32"), ("length", "int")];

fn row(ids: Vec<u32>, documents: Vec<[u32; 2]>) -> Sample {
    Sample::from([
        ("domain".into(), Value::Str("toy".into())),
        ("indices".into(), Value::Array(Array::of_u32(vec![documents.len(), 2], documents.concat()))),
        ("length".into(), Value::Int(ids.len() as i128)),
        ("input_ids".into(), Value::Array(Array::of_u32(vec![ids.len()], ids))),
    ])
}

#[test]
fn golden_mds_toy_both_ways() {
    let (Some(theirs), Some(json)) =
        (golden::path("prolong", "mds_toy"), golden::json("prolong", "mds_toy_expected.json"))
    else {
        return;
    };
    let read = |value: &serde_json::Value| serde_json::from_value::<Vec<u32>>(value.clone()).unwrap();
    let documents = |value: &serde_json::Value| serde_json::from_value(value.clone()).unwrap();
    let rows: Vec<Sample> =
        json.as_array().unwrap().iter().map(|r| row(read(&r["input_ids"]), documents(&r["indices"]))).collect();
    let reader = Reader::open(&theirs).unwrap();
    reader.verify().unwrap();
    assert_eq!((0..reader.len()).map(|i| reader.sample(i).unwrap()).collect::<Vec<_>>(), rows);

    let folder = tempfile::tempdir().unwrap();
    let ours = folder.path().join("ours");
    write_all(&ours, &ROW, Options { size_limit: 1024, ..Options::default() }, &rows).unwrap();
    for entry in fs::read_dir(&theirs).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(fs::read(ours.join(&name)).unwrap() == fs::read(theirs.join(&name)).unwrap(), "{name:?}");
    }
}

#[test]
fn every_encoding_survives() {
    let array = |kind: Kind, shape: &[usize]| {
        let bytes = shape.iter().product::<usize>() * kind.size();
        Value::Array(Array { kind, shape: shape.to_vec(), bytes: (0..bytes).map(|k| k as u8).collect() })
    };
    let cases = [
        ("int", Value::Int(-5)),
        ("str", Value::Str("äöü €".into())),
        ("bytes", Value::Bytes(vec![0, 255])),
        ("json", Value::Json(serde_json::json!({"a": [1, null]}))),
        ("uint8", Value::Int(255)),
        ("int8", Value::Int(-128)),
        ("uint64", Value::Int(u64::MAX.into())),
        ("int64", Value::Int(i64::MIN.into())),
        ("float32", Value::Float(0.5)),
        ("float64", Value::Float(0.1)),
        ("ndarray", array(Kind::I16, &[3, 2])),
        ("ndarray:float64", array(Kind::F64, &[300])),
        ("ndarray:uint32:4,2", array(Kind::U32, &[4, 2])),
    ];
    let names: Vec<String> = (0..cases.len()).map(|k| format!("c{k:02}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(cases.iter().map(|c| c.0)).collect();
    let sample: Sample = names.iter().cloned().zip(cases.iter().map(|c| c.1.clone())).collect();
    let folder = tempfile::tempdir().unwrap();
    for compress in [false, true] {
        let path = folder.path().join(format!("{compress}"));
        write_all(&path, &pairs, Options { compress, size_limit: 1 << 13 }, &vec![sample.clone(); 9]).unwrap();
        let reader = Reader::open(&path).unwrap();
        reader.verify().unwrap();
        assert!(reader.index().shards.len() > 1);
        for i in [8, 0, 4, 3] {
            assert_eq!(reader.sample(i).unwrap(), sample);
        }
        assert!(reader.sample(9).unwrap_err().to_string().contains("expected an index below 9, found 9"));
    }
}

#[test]
fn mistakes_have_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let refused = |pairs: &[(&str, &str)], sample: Sample| {
        write_all(&path, pairs, Options::default(), &[sample]).unwrap_err().to_string()
    };
    let one = |value| Sample::from([("a".to_string(), value)]);
    assert!(refused(&[("a", "pkl")], one(Value::Int(1))).contains("Python pickle"));
    assert!(refused(&[("a", "uint8")], one(Value::Int(256))).contains("sample 0: a: expected uint8, found 256"));
    assert!(refused(&[("b", "int")], one(Value::Int(1))).contains("sample 0: b: expected a value, found none"));
    let empty = Value::Array(Array::of_u32(vec![0], []));
    assert!(refused(&[("a", "ndarray:uint32")], one(empty)).contains("one element at least"));
    assert!(!path.exists());
    for text in ["ndarrayuint8", "ndarray:", "ndarray:float16", "ndarray:uint8:", "ndarray:uint8:0", "png", ""] {
        assert!(Encoding::parse(text).is_err(), "{text:?}");
    }

    write_all(&path, &[("a", "int")], Options::default(), &[one(Value::Int(1))]).unwrap();
    let index = fs::read_to_string(path.join("index.json")).unwrap();
    for name in ["../shard.00000.mds", "/etc/hostname", "a/../../b", "", "c:\\\\x", "."] {
        fs::write(path.join("index.json"), index.replace("shard.00000.mds", name)).unwrap();
        let error = Reader::open(&path).unwrap_err().to_string();
        assert!(error.contains("expected a path below the folder"), "{name}: {error}");
    }
    fs::write(path.join("index.json"), &index).unwrap();
    let shard = path.join("shard.00000.mds");
    let mut bytes = fs::read(&shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&shard, bytes).unwrap();
    assert!(Reader::open(&path).unwrap().verify().unwrap_err().to_string().contains("SHA-1"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_shards_are_errors_or_values(
        at in any::<prop::sample::Index>(), word in any::<u32>(), cut in any::<prop::sample::Index>(), truncate: bool,
        compress: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_all(&path, &ROW, Options { compress, ..Options::default() }, &[row(vec![1, 2, 3], vec![[0, 3]])]).unwrap();
        let shard = path.join(if compress { "shard.00000.mds.zstd" } else { "shard.00000.mds" });
        let mut bytes = fs::read(&shard).unwrap();
        let at = at.index(bytes.len() - 3);
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&shard, bytes).unwrap();
        let _ = Reader::open(&path).unwrap().sample(0);
    }

    #[test]
    fn any_bytes_decode_to_an_error_or_to_what_encodes_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        for text in ["ndarray", "ndarray:uint32", "ndarray:uint8:3", "str", "int", "float32"] {
            let encoding = Encoding::parse(text).unwrap();
            if let Ok(value) = encoding.decode(&bytes)
                && let Ok(again) = encoding.encode(&value)
                && !matches!(value, Value::Float(x) if x.is_nan())
            {
                prop_assert_eq!(encoding.decode(&again).unwrap(), value);
            }
        }
    }
}
