//! The values of MDS columns and their encodings.

use serde_json::Value as Json;

use super::python_json::python_json;

/// A column of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name; the columns of a shard are sorted by it.
    pub name: String,
    /// How its values are written.
    pub encoding: Encoding,
}

/// An element type of arrays and scalars.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

/// Each kind with its NumPy name, its code in arrays of dynamic type, and its size in bytes.
const KINDS: [(Kind, &str, u8, usize); 10] = [
    (Kind::U8, "uint8", 8, 1),
    (Kind::I8, "int8", 9, 1),
    (Kind::U16, "uint16", 16, 2),
    (Kind::I16, "int16", 17, 2),
    (Kind::U32, "uint32", 32, 4),
    (Kind::I32, "int32", 33, 4),
    (Kind::F32, "float32", 34, 4),
    (Kind::U64, "uint64", 64, 8),
    (Kind::I64, "int64", 65, 8),
    (Kind::F64, "float64", 66, 8),
];

impl Kind {
    fn of(find: impl Fn(&(Kind, &str, u8, usize)) -> bool) -> Option<Kind> {
        KINDS.iter().find(|entry| find(entry)).map(|entry| entry.0)
    }

    fn entry(self) -> (&'static str, u8, usize) {
        // Every kind has its line.
        KINDS.iter().find(|entry| entry.0 == self).map_or(("uint8", 8, 1), |entry| (entry.1, entry.2, entry.3))
    }

    /// NumPy's name.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        self.entry().2
    }
}

/// How a column's values are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `int`: i64.
    Int,
    /// `str`: UTF-8.
    Str,
    /// `bytes`.
    Bytes,
    /// `json`: a JSON text.
    Json,
    /// `uint8`, .., `float64`.
    Scalar(Kind),
    /// `ndarray`, `ndarray:uint32`, `ndarray:uint32:4,2`: element type and shape in the name or, else, in each value.
    Array(Option<Kind>, Option<Vec<usize>>),
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of `int` and of integer scalars; wide enough for i64 and u64.
    Int(i128),
    /// Of `float32` and `float64`.
    Float(f64),
    /// Of `str`.
    Str(String),
    /// Of `bytes`.
    Bytes(Vec<u8>),
    /// Of `json`.
    Json(Json),
    /// Of `ndarray`.
    Array(Array),
}

/// An array in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The element type.
    pub kind: Kind,
    /// The length of each axis.
    pub shape: Vec<usize>,
    /// The elements, little-endian: their product of lengths times the element's size.
    pub bytes: Vec<u8>,
}

impl Array {
    /// An array of u32.
    pub fn of_u32(shape: Vec<usize>, values: impl IntoIterator<Item = u32>) -> Self {
        Array { kind: Kind::U32, shape, bytes: values.into_iter().flat_map(u32::to_le_bytes).collect() }
    }

    /// An array of u8.
    pub fn of_u8(shape: Vec<usize>, bytes: Vec<u8>) -> Self {
        Array { kind: Kind::U8, shape, bytes }
    }

    /// The elements as integers; `None` for an array of floating-point numbers.
    pub fn integers(&self) -> Option<Vec<i128>> {
        self.bytes.chunks_exact(self.kind.size()).map(|bytes| integer(self.kind, bytes)).collect()
    }
}

/// (expected, found) of what does not decode or encode.
pub type Mismatch = (String, String);

impl Encoding {
    /// Parses MosaicML's name of an encoding. Errors: the reason, for one that is not read or written here.
    pub fn parse(text: &str) -> Result<Self, Mismatch> {
        let refuse = |why: &str| {
            let known = "int, str, bytes, json, uint8 .. int64, float32, float64, ndarray[:dtype[:shape]]";
            Err((known.to_string(), format!("{text:?}{why}")))
        };
        Ok(match text {
            "int" => Encoding::Int,
            "str" => Encoding::Str,
            "bytes" => Encoding::Bytes,
            "json" => Encoding::Json,
            "pkl" => return refuse(", a Python pickle, which can run any code"),
            _ => match (Kind::of(|entry| entry.1 == text), text.strip_prefix("ndarray")) {
                (Some(kind), _) => Encoding::Scalar(kind),
                (None, Some("")) => Encoding::Array(None, None),
                (None, Some(rest)) => {
                    let mut parts = rest.split(':').skip(1);
                    let kind = parts.next().and_then(|name| Kind::of(|entry| entry.1 == name));
                    let shape: Option<Option<Vec<usize>>> =
                        parts.next().map(|shape| shape.split(',').map(|n| n.parse().ok()).collect());
                    match (kind, shape, parts.next()) {
                        (Some(kind), None, None) if rest.starts_with(':') => Encoding::Array(Some(kind), None),
                        (Some(kind), Some(Some(shape)), None)
                            if rest.starts_with(':') && bytes_of(&shape, kind) > Some(0) =>
                        {
                            Encoding::Array(Some(kind), Some(shape))
                        }
                        _ => return refuse(""),
                    }
                }
                (None, None) => return refuse(""),
            },
        })
    }

    /// Bytes of every value, where they are the same.
    pub fn size(&self) -> Option<usize> {
        match self {
            Encoding::Int => Some(8),
            Encoding::Scalar(kind) => Some(kind.size()),
            Encoding::Array(Some(kind), Some(shape)) => bytes_of(shape, *kind),
            _ => None,
        }
    }

    /// Reads a value. Errors: what was expected and found.
    pub fn decode(&self, bytes: &[u8]) -> Result<Value, Mismatch> {
        let scalar = |kind: Kind| {
            let wrong = || (format!("{} bytes", kind.size()), bytes.len().to_string());
            if bytes.len() != kind.size() {
                return Err(wrong());
            }
            integer(kind, bytes).map(Value::Int).or_else(|| float(kind, bytes).map(Value::Float)).ok_or_else(wrong)
        };
        match self {
            Encoding::Int => scalar(Kind::I64),
            Encoding::Scalar(kind) => scalar(*kind),
            Encoding::Bytes => Ok(Value::Bytes(bytes.to_vec())),
            Encoding::Str => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Value::Str(text.into())),
                Err(e) => Err(("UTF-8 text".into(), format!("a byte that is not, at {}", e.valid_up_to()))),
            },
            Encoding::Json => {
                serde_json::from_slice(bytes).map(Value::Json).map_err(|e| ("a JSON text".into(), e.to_string()))
            }
            Encoding::Array(kind, shape) => array(*kind, shape.as_deref(), bytes).map(Value::Array),
        }
    }

    /// Writes a value. Errors: what was expected and found, for a value of another type, out of range, or an array
    /// without elements, which MosaicML's reader refuses.
    pub fn encode(&self, value: &Value) -> Result<Vec<u8>, Mismatch> {
        match (self, value) {
            (Encoding::Int, Value::Int(n)) => from_integer(Kind::I64, *n),
            (Encoding::Scalar(Kind::F32), Value::Float(x)) => Ok((*x as f32).to_le_bytes().to_vec()),
            (Encoding::Scalar(Kind::F64), Value::Float(x)) => Ok(x.to_le_bytes().to_vec()),
            (Encoding::Scalar(kind), Value::Int(n)) => from_integer(*kind, *n),
            (Encoding::Str, Value::Str(text)) => Ok(text.as_bytes().to_vec()),
            (Encoding::Bytes, Value::Bytes(bytes)) => Ok(bytes.clone()),
            (Encoding::Json, Value::Json(json)) => {
                python_json(json).map_err(|e| ("a JSON value".into(), e.to_string()))
            }
            (Encoding::Array(kind, shape), Value::Array(array)) => from_array(*kind, shape.as_deref(), array),
            _ => Err((format!("a value of {self:?}"), "another".into())),
        }
    }
}

/// The bytes of an array; `None` beyond what can be counted.
fn bytes_of(shape: &[usize], kind: Kind) -> Option<usize> {
    shape.iter().try_fold(kind.size(), |n, &axis| n.checked_mul(axis))
}

fn array(kind: Option<Kind>, shape: Option<&[usize]>, mut bytes: &[u8]) -> Result<Array, Mismatch> {
    let short = || ("an array".to_string(), "too few bytes".to_string());
    let mut take = |n: usize| {
        let (head, rest) = bytes.split_at_checked(n).ok_or_else(short)?;
        bytes = rest;
        Ok::<_, Mismatch>(head)
    };
    let kind = match kind {
        Some(kind) => kind,
        None => {
            let code = take(1)?[0];
            Kind::of(|entry| entry.2 == code).ok_or_else(|| ("the code of an element type".into(), code.to_string()))?
        }
    };
    let shape = match shape {
        Some(shape) => shape.to_vec(),
        None => {
            let head = take(1)?[0];
            let (axes, width) = (usize::from(head >> 2), 1_usize << (head & 3));
            let length = |bytes: &[u8]| {
                let mut wide = [0; 8];
                wide[..width].copy_from_slice(bytes);
                usize::try_from(u64::from_le_bytes(wide)).unwrap_or(usize::MAX)
            };
            take(axes * width)?.chunks_exact(width).map(length).collect()
        }
    };
    if bytes_of(&shape, kind) != Some(bytes.len()) {
        return Err((format!("{} of shape {shape:?}", kind.name()), format!("{} bytes", bytes.len())));
    }
    Ok(Array { kind, shape, bytes: bytes.to_vec() })
}

fn from_array(kind: Option<Kind>, shape: Option<&[usize]>, array: &Array) -> Result<Vec<u8>, Mismatch> {
    let found = || format!("{} of shape {:?}", array.kind.name(), array.shape);
    if kind.is_some_and(|kind| kind != array.kind) || shape.is_some_and(|shape| shape != array.shape) {
        return Err((format!("{} of shape {shape:?}", kind.map_or("any type", Kind::name)), found()));
    }
    let sound = bytes_of(&array.shape, array.kind) == Some(array.bytes.len()) && !array.bytes.is_empty();
    if !sound || array.shape.is_empty() || array.shape.len() > 63 {
        return Err(("1 to 63 axes and one element at least".into(), found()));
    }
    let mut out = Vec::new();
    if kind.is_none() {
        out.push(array.kind.entry().1);
    }
    if shape.is_none() {
        let longest = array.shape.iter().copied().max().unwrap_or_default() as u64;
        let code = [8, 16, 32].iter().filter(|&&bits| longest >> bits > 0).count();
        out.push(((array.shape.len() as u8) << 2) | code as u8);
        array.shape.iter().for_each(|&axis| out.extend(&(axis as u64).to_le_bytes()[..1 << code]));
    }
    out.extend(&array.bytes);
    Ok(out)
}

/// An integer of `bytes`, which has the size of its kind; `None` for other kinds.
fn integer(kind: Kind, bytes: &[u8]) -> Option<i128> {
    let signed = match kind {
        Kind::F32 | Kind::F64 => return None,
        Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => true,
        _ => false,
    };
    let fill = if signed && bytes.last().is_some_and(|byte| byte >> 7 == 1) { 0xff } else { 0 };
    let mut wide = [fill; 16];
    wide[..bytes.len()].copy_from_slice(bytes);
    Some(i128::from_le_bytes(wide))
}

fn float(kind: Kind, bytes: &[u8]) -> Option<f64> {
    match kind {
        Kind::F32 => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
        Kind::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

fn from_integer(kind: Kind, n: i128) -> Result<Vec<u8>, Mismatch> {
    let bytes = n.to_le_bytes()[..kind.size()].to_vec();
    if integer(kind, &bytes) == Some(n) { Ok(bytes) } else { Err((kind.name().into(), n.to_string())) }
}
