//! JSON as Python's `json.dumps` lays it out: a blank after `,` and `:`, ASCII only. Keys stand as they come; only the
//! exponents of very large and very small numbers are written otherwise (`1e16`, in Python `1e+16`).

use std::io;

use serde::Serialize;

/// The text of a value. Errors: those of its `Serialize`.
pub(super) fn python_json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Python))?;
    Ok(out)
}

struct Python;

impl Python {
    fn separate<W: ?Sized + io::Write>(writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }
}

impl serde_json::ser::Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        Self::separate(writer, first)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        Self::separate(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for unit in fragment.encode_utf16() {
            match u8::try_from(unit).ok().filter(|&byte| byte < 0x7f) {
                Some(byte) => writer.write_all(&[byte])?,
                None => write!(writer, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_writes_it() {
        let value = serde_json::json!({"z": [1, null, 0.5, []], "a": "ü\n𝄞\u{7f}", "e": {}});
        let text = String::from_utf8(python_json(&value).unwrap()).unwrap();
        assert_eq!(text, r#"{"z": [1, null, 0.5, []], "a": "\u00fc\n\ud834\udd1e\u007f", "e": {}}"#);
    }
}
