//! The only door to HDF5: flat files of numeric datasets, checked before they are read.
//!
//! `rust-hdf5` reads without a system library, but checks only the size of an element, not its class, and allocates
//! what the file claims. So this module looks first: link kind, storage, element type, and the claimed size against
//! the size of the file. A panic inside the library becomes an error. Files h5py writes by default and with
//! `libver="latest"` are both read; filters: shuffle, gzip, fletcher32.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use num_complex::Complex64;
use rust_hdf5::format::messages::datatype::DatatypeMessage;
use rust_hdf5::{ByteOrder, H5Dataset, H5File, H5Type, LinkClass, StorageLayout};

use crate::deeph::matrix::Entries;
use crate::error::{Error, Result, Rule};
use crate::files;

/// Deflate cannot shrink below 1 : 1032 (zlib's documentation), so no honest file claims more than this times its size.
const MAX_COMPRESSION: u64 = 1100;

/// The default limit on one dataset, and on the sum of a file's: 16 GiB.
pub const MAX_BYTES: u64 = 16 << 30;

/// The element type of a dataset, as far as this crate tells them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any integer of up to 64 bits.
    Integer,
    /// IEEE 754, 4 or 8 bytes.
    Real(u8),
    /// A compound of two IEEE 754 numbers `r`, `i` (numpy's complex), 4 or 8 bytes each.
    Complex(u8),
    /// Anything else, in words.
    Other(String),
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Kind::Integer => f.write_str("integer"),
            Kind::Real(bytes) => write!(f, "float{}", 8 * bytes),
            Kind::Complex(bytes) => write!(f, "complex{}", 16 * bytes),
            Kind::Other(name) => f.write_str(name),
        }
    }
}

/// A file open for reading. Not shared between threads; open one per thread.
pub struct File {
    inner: H5File,
    path: PathBuf,
    bytes: u64,
    limit: u64,
}

impl File {
    /// Opens a file and reads its table of contents.
    ///
    /// `limit` caps each dataset, in bytes. Errors: [`Error::Missing`], [`Error::Hdf5`].
    pub fn open(path: &Path, limit: u64) -> Result<Self> {
        let bytes = files::open(path, "an HDF5 file")?.metadata().map_err(Error::io(path, "read"))?.len();
        whole_file(path, bytes)?;
        // No lock: readers run beside each other, and network file systems often have none.
        let inner = contain(path, "file", || H5File::options().no_locking().open(path))?;
        Ok(File { inner, path: path.to_path_buf(), bytes, limit })
    }

    /// The names of the datasets in the root group, sorted.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = contain(&self.path, "file", || self.inner.root_group().dataset_names())?;
        names.sort_unstable();
        Ok(names)
    }

    /// The size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The names of the groups in the root group.
    pub fn groups(&self) -> Result<Vec<String>> {
        contain(&self.path, "file", || self.inner.root_group().group_names())
    }

    /// The names of the datasets in a group of this file, sorted; a dataset of it is then called "group/name".
    pub fn names_in(&self, group: &str) -> Result<Vec<String>> {
        let mut names = contain(&self.path, group, || self.inner.root_group().group(group)?.dataset_names())?;
        names.sort_unstable();
        Ok(names)
    }

    /// Shape and element type of a dataset; errors as [`Self::dataset`].
    pub fn header(&self, name: &str) -> Result<(Vec<usize>, Kind)> {
        self.dataset(name).map(|dataset| (dataset.shape, dataset.kind))
    }

    /// Shape and values of an integer dataset; errors as [`Self::dataset`] and [`Dataset::integers`].
    pub fn integers(&self, name: &str) -> Result<(Vec<usize>, Vec<i64>)> {
        let dataset = self.dataset(name)?;
        let values = dataset.integers()?;
        Ok((dataset.shape, values))
    }

    /// Shape and values of a real or complex dataset; errors as [`Self::dataset`] and [`Dataset::elements`].
    pub fn elements(&self, name: &str) -> Result<(Vec<usize>, Entries)> {
        let dataset = self.dataset(name)?;
        let values = dataset.elements()?;
        Ok((dataset.shape, values))
    }

    /// A dataset of the root group, or "group/name", after the checks of link, storage and size; nothing of its data is read yet.
    ///
    /// Errors: [`Rule::Format`] for one that is absent or stored in another file, [`Rule::Size`], [`Error::Hdf5`].
    pub fn dataset<'a>(&'a self, name: &'a str) -> Result<Dataset<'a>> {
        let invalid = |rule, expected: String, found: String| Error::invalid(rule, &self.path, name, expected, found);
        let link = match catch(|| self.inner.root_group().link_class(name)) {
            Ok(Ok(link)) => link,
            _ => return Err(invalid(Rule::Format, "a dataset of this name".into(), "none".into())),
        };
        // A link into another file could name any file of the machine.
        if link != LinkClass::Hard {
            return Err(invalid(Rule::Format, "a dataset stored in this file".into(), format!("a link, {link:?}")));
        }
        let dataset = contain(&self.path, name, || self.inner.dataset(name))?;
        let (datatype, layout, external, chunk) = contain(&self.path, name, || {
            Ok((dataset.datatype()?, dataset.storage_layout()?, dataset.external_files()?, dataset.chunk_dims()))
        })?;
        if layout == StorageLayout::Virtual || !external.is_empty() {
            return Err(invalid(Rule::Format, "data stored in this file".into(), "data stored in other files".into()));
        }
        let shape = dataset.shape();
        let room = match layout {
            StorageLayout::Chunked => self.bytes.saturating_mul(MAX_COMPRESSION),
            _ => self.bytes,
        };
        // A chunk is unpacked whole, so it is capped as the dataset is.
        for (what, extents) in [("data", Some(&shape)), ("a chunk", chunk.as_ref())] {
            let Some(extents) = extents else { continue };
            let size = extents.iter().map(|&n| n as u64).chain([dataset.element_size() as u64]);
            let size = size.fold(1_u64, u64::saturating_mul);
            if size > room.min(self.limit) {
                let expected = match size > self.limit {
                    true => format!("{what} of at most {} bytes", self.limit),
                    false => format!("{what} that fits a file of {} bytes", self.bytes),
                };
                return Err(invalid(Rule::Size, expected, format!("{size} bytes, shape {extents:?}")));
            }
        }
        Ok(Dataset { file: self, name, inner: dataset, shape, kind: classify(&datatype) })
    }
}

/// A dataset whose header is read and checked.
pub struct Dataset<'a> {
    file: &'a File,
    name: &'a str,
    inner: H5Dataset,
    /// Extents.
    pub shape: Vec<usize>,
    /// Element type.
    pub kind: Kind,
}

impl Dataset<'_> {
    /// The values of an integer dataset, row-major, widened to 64 bits.
    ///
    /// Errors: [`Rule::Dtype`], [`Error::Hdf5`].
    pub fn integers(&self) -> Result<Vec<i64>> {
        if self.kind != Kind::Integer {
            return Err(self.wrong_kind("integers"));
        }
        let values = contain(&self.file.path, self.name, || self.inner.read_numeric_as::<i64>())?;
        self.whole(values.len())?;
        Ok(values)
    }

    /// The values of a real or complex dataset, row-major, widened to double precision.
    ///
    /// Errors: [`Rule::Dtype`], [`Error::Hdf5`].
    pub fn elements(&self) -> Result<Entries> {
        let read = || -> rust_hdf5::Result<Option<Entries>> {
            Ok(Some(match self.kind {
                Kind::Real(8) => Entries::Real(self.inner.read_raw::<f64>()?),
                Kind::Real(4) => Entries::Real(self.inner.read_raw::<f32>()?.into_iter().map(f64::from).collect()),
                Kind::Complex(8) => {
                    let values = self.inner.read_raw::<rust_hdf5::Complex64>()?;
                    Entries::Complex(values.into_iter().map(|z| Complex64::new(z.re, z.im)).collect())
                }
                Kind::Complex(4) => {
                    let values = self.inner.read_raw::<rust_hdf5::Complex32>()?;
                    Entries::Complex(values.into_iter().map(|z| Complex64::new(z.re.into(), z.im.into())).collect())
                }
                _ => return Ok(None),
            }))
        };
        let entries = contain(&self.file.path, self.name, read)?;
        let entries = entries.ok_or_else(|| self.wrong_kind("real or complex numbers"))?;
        self.whole(entries.len())?;
        Ok(entries)
    }

    fn wrong_kind(&self, expected: &str) -> Error {
        Error::invalid(Rule::Dtype, &self.file.path, self.name, expected, self.kind.to_string())
    }

    /// The library must deliver as many elements as the shape says.
    fn whole(&self, len: usize) -> Result<()> {
        let expected = self.shape.iter().copied().fold(1, usize::saturating_mul);
        if len == expected {
            return Ok(());
        }
        Err(Error::invalid(Rule::Size, &self.file.path, self.name, format!("{expected} elements"), format!("{len}")))
    }
}

/// A truncated file is refused here: past its end the library takes missing chunks for chunks of zeros. The superblock
/// says where the file ends (HDF5 file format specification, section II.A).
fn whole_file(path: &Path, bytes: u64) -> Result<()> {
    use std::io::Read;
    let mut head = [0_u8; 64];
    let mut file = files::open(path, "an HDF5 file")?;
    if file.read_exact(&mut head).is_err() || head[..8] != *b"\x89HDF\r\n\x1a\n" {
        return Ok(()); // a user block, or no HDF5 file at all: the library judges
    }
    let (offset_size, place) = match head[8] {
        0 => (head[13], 40),
        1 => (head[13], 44),
        2 | 3 => (head[9], 28),
        _ => return Ok(()),
    };
    if offset_size != 8 {
        return Ok(());
    }
    let mut end = [0_u8; 8];
    end.copy_from_slice(&head[place..place + 8]);
    let end = u64::from_le_bytes(end);
    if end > bytes {
        let (expected, found) = (format!("{end} bytes, as its superblock says"), format!("{bytes}: truncated"));
        return Err(Error::invalid(Rule::Unreadable, path, "file", expected, found));
    }
    Ok(())
}

fn classify(datatype: &DatatypeMessage) -> Kind {
    // Widths and places of an IEEE 754 number; anything else (x87, VAX, padded) would be misread.
    let float = |datatype: &DatatypeMessage| match datatype {
        DatatypeMessage::FloatingPoint { size, bit_offset: 0, exponent_size, mantissa_size, byte_order, .. } => {
            match (size, exponent_size, mantissa_size) {
                (4, 8, 23) => Some((4_u8, *byte_order)),
                (8, 11, 52) => Some((8_u8, *byte_order)),
                _ => None,
            }
        }
        _ => None,
    };
    match datatype {
        DatatypeMessage::FixedPoint { size: 1..=8, .. } => Kind::Integer,
        DatatypeMessage::Compound { size, members } => match members.as_slice() {
            [re, im] if re.name == "r" && im.name == "i" && re.offset == 0 => {
                match (float(&re.datatype), float(&im.datatype)) {
                    (Some((a, ByteOrder::LittleEndian)), Some((b, ByteOrder::LittleEndian)))
                        if a == b && im.offset == u32::from(a) && *size == 2 * u32::from(a) =>
                    {
                        Kind::Complex(a)
                    }
                    _ => Kind::Other(datatype.to_string()),
                }
            }
            _ => Kind::Other(datatype.to_string()),
        },
        _ => float(datatype).map_or_else(|| Kind::Other(datatype.to_string()), |(size, _)| Kind::Real(size)),
    }
}

/// What a dataset is written from, row-major.
#[derive(Clone, Debug)]
pub enum Values {
    /// int64.
    Integer(Vec<i64>),
    /// float64.
    Real(Vec<f64>),
    /// float32.
    Real32(Vec<f32>),
    /// complex128, compound `{r, i}`.
    Complex(Vec<Complex64>),
    /// complex64, compound `{r, i}`; each value is rounded.
    Complex32(Vec<Complex64>),
    /// h5py's bool: an enumeration of FALSE and TRUE.
    Boolean(Vec<bool>),
    /// UTF-8 texts of at most [`MAX_TEXT`] bytes, fixed length, ended by a zero.
    Text(Vec<String>),
}

/// Most bytes of a text that is written.
pub const MAX_TEXT: usize = 31;

/// One dataset to write: name, shape, values; contiguous and unfiltered.
#[derive(Clone, Debug)]
pub struct Column {
    /// Name in the root group.
    pub name: String,
    /// Extents; their product is the number of values.
    pub shape: Vec<usize>,
    /// The values.
    pub values: Values,
}

impl Column {
    /// A dataset to write.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: Values) -> Self {
        Column { name: name.into(), shape: shape.into(), values }
    }
}

/// A text in the file.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Text([u8; MAX_TEXT + 1]);

impl Text {
    /// The first [`MAX_TEXT`] bytes, cut between letters.
    fn new(text: &str) -> Self {
        let end = (0..=text.len().min(MAX_TEXT)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        let mut bytes = [0; MAX_TEXT + 1];
        bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        Text(bytes)
    }
}

impl H5Type for Text {
    fn hdf5_type() -> DatatypeMessage {
        DatatypeMessage::fixed_string_utf8(MAX_TEXT as u32 + 1)
    }

    fn element_size() -> usize {
        MAX_TEXT + 1
    }
}

/// Writes a file of datasets, whole or not at all; an existing file is replaced. An empty shape is a single value.
pub fn write(path: &Path, columns: &[Column]) -> Result<()> {
    let temporary = files::temporary_beside(path)?;
    contain(path, "file", || {
        let file = H5File::create(temporary.path())?;
        for column in columns {
            match &column.values {
                Values::Integer(values) => put(&file, column, values)?,
                Values::Real(values) => put(&file, column, values)?,
                Values::Real32(values) => put(&file, column, values)?,
                Values::Complex(values) => {
                    let values: Vec<_> = values.iter().map(|z| rust_hdf5::Complex64 { re: z.re, im: z.im }).collect();
                    put(&file, column, &values)?;
                }
                Values::Complex32(values) => {
                    let values: Vec<_> =
                        values.iter().map(|z| rust_hdf5::Complex32 { re: z.re as f32, im: z.im as f32 }).collect();
                    put(&file, column, &values)?;
                }
                Values::Boolean(values) => {
                    put(&file, column, &values.iter().map(|&b| b.into()).collect::<Vec<rust_hdf5::HBool>>())?;
                }
                Values::Text(values) => {
                    put(&file, column, &values.iter().map(|text| Text::new(text)).collect::<Vec<_>>())?;
                }
            }
        }
        file.close()
    })?;
    files::persist(temporary, path)
}

fn put<T: H5Type>(file: &H5File, column: &Column, values: &[T]) -> rust_hdf5::Result<()> {
    let dataset = file.new_dataset::<T>().shape(&column.shape).create(&column.name)?;
    if values.is_empty() { Ok(()) } else { dataset.write_raw(values) }
}

thread_local! {
    /// Whether a panic of this thread is one that [`catch`] turns into an error.
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a call of the library; its error or its panic becomes [`Error::Hdf5`].
fn contain<T>(path: &Path, field: &str, call: impl FnOnce() -> rust_hdf5::Result<T>) -> Result<T> {
    let reason = match catch(call) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("damaged data ({panic})"),
    };
    Err(Error::Hdf5 { path: path.to_path_buf(), field: field.to_string(), reason })
}

/// Runs `call`; a panic in it is returned as its message, and not printed.
fn catch<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // The hook is one per process: pass on every panic but those that happen inside `catch`, thread by thread.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CONTAINED.get() {
                before(info);
            }
        }));
    });
    let outer = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    CONTAINED.set(outer);
    result.map_err(|payload: Box<dyn Any + Send>| {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(path: &Path) {
        let columns = [
            Column::new("a", [2, 2], Values::Integer(vec![1, -2, 3, 4])),
            Column::new("b", [3], Values::Real(vec![0.1, -0.0, 1e300])),
            Column::new("c", [2], Values::Complex(vec![Complex64::new(0.1, 0.2), Complex64::new(-1.0, 3.0)])),
            Column::new("d", [2], Values::Complex32(vec![Complex64::new(0.5, 0.25), Complex64::new(-1.0, 3.0)])),
            Column::new("e", [2], Values::Real32(vec![0.1, 7.0])),
            Column::new("f", [0, 5], Values::Integer(vec![])),
        ];
        write(path, &columns).unwrap();
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        sample(&path);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let file = File::open(&path, MAX_BYTES).unwrap();
        assert_eq!(file.names().unwrap(), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(file.integers("a").unwrap(), (vec![2, 2], vec![1, -2, 3, 4]));
        assert_eq!(file.elements("b").unwrap().1, Entries::Real(vec![0.1, -0.0, 1e300]));
        let c = Entries::Complex(vec![Complex64::new(0.1, 0.2), Complex64::new(-1.0, 3.0)]);
        assert_eq!(file.elements("c").unwrap().1, c);
        let d = Entries::Complex(vec![Complex64::new(0.5, 0.25), Complex64::new(-1.0, 3.0)]);
        assert_eq!(file.elements("d").unwrap().1, d);
        assert_eq!(file.elements("e").unwrap().1, Entries::Real(vec![f64::from(0.1_f32), 7.0]));
        assert_eq!(file.integers("f").unwrap(), (vec![0, 5], vec![]));
        let header = |name| file.header(name).unwrap().1.to_string();
        let kinds = ["a", "b", "c", "d", "e"].map(header);
        assert_eq!(kinds, ["integer", "float64", "complex128", "complex64", "float32"]);
    }

    #[test]
    fn classes_are_not_confused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        sample(&path);
        let file = File::open(&path, MAX_BYTES).unwrap();
        let text = file.elements("a").unwrap_err().to_string();
        assert!(text.ends_with("x.h5: a: expected real or complex numbers, found integer"), "{text}");
        let text = file.integers("b").unwrap_err().to_string();
        assert!(text.ends_with("x.h5: b: expected integers, found float64"), "{text}");
        let text = file.integers("absent").unwrap_err().to_string();
        assert!(text.ends_with("x.h5: absent: expected a dataset of this name, found none"), "{text}");
    }

    #[test]
    fn sizes_are_capped_before_reading() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        sample(&path);
        let error = File::open(&path, 16).unwrap().elements("b").unwrap_err();
        assert_eq!(error.rule(), Rule::Size);
        assert!(error.to_string().contains("at most 16 bytes, found 24 bytes, shape [3]"), "{error}");
        // A chunked dataset of 80 GB of which nothing is stored.
        let sparse = folder.path().join("sparse.h5");
        let file = H5File::create(&sparse).unwrap();
        file.new_dataset::<f64>().shape([10_000_000_000_usize]).chunk(&[1000]).resizable().create("x").unwrap();
        file.close().unwrap();
        let error = File::open(&sparse, u64::MAX).unwrap().elements("x").unwrap_err();
        assert_eq!(error.rule(), Rule::Size);
        assert!(error.to_string().contains("fits a file of"), "{error}");
    }

    #[test]
    fn filtered_chunks_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.h5");
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        let file = H5File::create(&path).unwrap();
        let dataset =
            file.new_dataset::<f64>().shape([1000_usize]).chunk(&[128]).shuffle_deflate(9).create("x").unwrap();
        dataset.write_raw(&values).unwrap();
        file.close().unwrap();
        assert_eq!(File::open(&path, MAX_BYTES).unwrap().elements("x").unwrap().1, Entries::Real(values));
    }

    #[test]
    fn links_into_other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("x.h5"), folder.path().join("y.h5"));
        sample(&other);
        let file = H5File::create(&path).unwrap();
        file.create_external_link("b", "y.h5", "/b").unwrap();
        file.close().unwrap();
        let error = File::open(&path, MAX_BYTES).unwrap().elements("b").unwrap_err();
        assert!(error.to_string().contains("expected a dataset stored in this file"), "{error}");
    }

    #[test]
    fn a_panic_is_contained_and_others_are_not_hidden() {
        let error = contain::<()>(Path::new("x.h5"), "b", || panic!("index out of range")).unwrap_err();
        assert!(error.to_string().contains("damaged data (index out of range)"), "{error}");
        assert!(!CONTAINED.get());
    }
}
