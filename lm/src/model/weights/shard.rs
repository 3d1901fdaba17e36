//! A file of tensors: safetensors, or PyTorch's zip archive of pickled tensors.

use crate::{Error, Result};
use candle_core::pickle::PthTensors;
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The longest header that is read, as safetensors has it.
const LONGEST_HEADER: u64 = 100_000_000;

/// A file whose list of tensors was read and checked.
pub(super) enum Shard {
    Safe(SafeFile),
    Pickled(PickledFile),
}

impl Shard {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        match path.extension().is_some_and(|extension| extension == "bin") {
            true => PickledFile::open(path).map(Shard::Pickled),
            false => SafeFile::open(path).map(Shard::Safe),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Shard::Safe(file) => &file.path,
            Shard::Pickled(file) => &file.path,
        }
    }

    /// Names, in order, and shapes.
    pub(super) fn shapes(&self) -> Box<dyn Iterator<Item = (&String, &[usize])> + '_> {
        match self {
            Shard::Safe(file) => Box::new(file.entries.iter().map(|(name, entry)| (name, entry.shape.as_slice()))),
            Shard::Pickled(file) => Box::new(file.shapes.iter().map(|(name, shape)| (name, shape.as_slice()))),
        }
    }

    /// One of the tensors that [`Self::shapes`] names.
    pub(super) fn read(&mut self, name: &str) -> Result<Tensor> {
        match self {
            Shard::Safe(file) => file.read(name),
            Shard::Pickled(file) => file.read(name),
        }
    }
}

/// What `torch.save` writes of a state dict. Only tensors are made of the pickle; nothing in it is run.
pub(super) struct PickledFile {
    path: PathBuf,
    tensors: PthTensors,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl PickledFile {
    fn open(path: PathBuf) -> Result<Self> {
        let size = std::fs::metadata(&path).map_err(Error::io(&path))?.len();
        let tensors = PthTensors::new(&path, None).map_err(|e| Error::format(&path, format!("pickle: {e}")))?;
        let mut shapes = BTreeMap::new();
        for (name, info) in tensors.tensor_infos() {
            let bytes = info.layout.shape().elem_count() as u64 * info.dtype.size_in_bytes() as u64;
            if bytes > size {
                let what = format!("{name}: expected at most the file's {size} bytes, found {bytes}");
                return Err(Error::format(&path, what));
            }
            shapes.insert(name.clone(), info.layout.dims().to_vec());
        }
        if shapes.is_empty() {
            return Err(Error::format(&path, "expected a state dict of tensors, found none"));
        }
        Ok(PickledFile { path, tensors, shapes })
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        let fail = |what: String| Error::format(&self.path, format!("{name}: {what}"));
        let found = self.tensors.get(name).map_err(|e| fail(e.to_string()))?;
        let tensor = found.ok_or_else(|| fail("expected a tensor, found none".into()))?;
        if !tensor.dtype().is_float() {
            return Err(fail(format!("expected f32, f64, f16 or bf16, found {:?}", tensor.dtype())));
        }
        Ok(tensor.contiguous()?)
    }
}

/// A safetensors file whose header was read and checked.
pub(super) struct SafeFile {
    path: PathBuf,
    file: File,
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    dtype: DType,
    shape: Vec<usize>,
    /// Place in the file.
    start: u64,
    bytes: usize,
}

impl SafeFile {
    fn open(path: PathBuf) -> Result<Self> {
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        let size = file.metadata().map_err(Error::io(&path))?.len();
        let mut length = [0; 8];
        let fail = |what: String| Error::format(&path, what);
        file.read_exact(&mut length).map_err(|_| fail(format!("header: expected 8 bytes, found {size}")))?;
        let header = u64::from_le_bytes(length);
        if header > LONGEST_HEADER || header + 8 > size {
            return Err(fail(format!("header: expected at most {} bytes, found {header}", size.saturating_sub(8))));
        }
        let mut bytes = length.to_vec();
        file.by_ref().take(header).read_to_end(&mut bytes).map_err(Error::io(&path))?;
        let metadata = metadata(&bytes).map_err(|what| fail(format!("header: {what}")))?;
        let tensors = metadata.tensors();
        let (expected, data) = (tensors.values().map(|t| t.data_offsets.1).max().unwrap_or(0), size - 8 - header);
        if expected as u64 != data {
            return Err(fail(format!("data: expected {expected} bytes, found {data}")));
        }
        let mut entries = BTreeMap::new();
        for (name, info) in tensors {
            let dtype = dtype(info.dtype)
                .ok_or_else(|| fail(format!("{name}: expected f32, f64, f16 or bf16, found {:?}", info.dtype)))?;
            let (start, end) = info.data_offsets;
            let start_in_file = 8 + header + start as u64;
            entries.insert(name, Entry { dtype, shape: info.shape.clone(), start: start_in_file, bytes: end - start });
        }
        Ok(SafeFile { path, file, entries })
    }

    fn read(&mut self, name: &str) -> Result<Tensor> {
        let entry = &self.entries[name];
        self.file.seek(SeekFrom::Start(entry.start)).map_err(Error::io(&self.path))?;
        let mut bytes = vec![0; entry.bytes];
        self.file.read_exact(&mut bytes).map_err(Error::io(&self.path))?;
        Ok(Tensor::from_raw_buffer(&bytes, entry.dtype, &entry.shape, &Device::Cpu)?)
    }
}

/// The header alone, with all that safetensors checks of it: that the data are not there is the last thing it complains
/// about.
fn metadata(header: &[u8]) -> std::result::Result<Metadata, String> {
    match SafeTensors::read_metadata(header) {
        Ok((_, metadata)) => Ok(metadata),
        Err(SafeTensorError::MetadataIncompleteBuffer) => {
            serde_json::from_slice(&header[8..]).map_err(|e| e.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn dtype(stored: Dtype) -> Option<DType> {
    match stored {
        Dtype::F32 => Some(DType::F32),
        Dtype::F64 => Some(DType::F64),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/pytorch/pytorch_model.bin")
    }

    #[test]
    fn a_state_dict_of_pytorch_is_read() {
        let mut shard = Shard::open(golden()).unwrap();
        let names: Vec<&str> = shard.shapes().map(|(name, _)| name.as_str()).collect();
        let all = ["brain", "half", "layer.rotary_emb.inv_freq", "parameter", "part", "plain", "transposed"];
        assert_eq!(names, all);
        let mut values = |name: &str| -> (DType, Vec<usize>, Vec<f32>) {
            let tensor = shard.read(name).unwrap();
            let flat = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
            (tensor.dtype(), tensor.dims().to_vec(), flat.to_vec1().unwrap())
        };
        let counted = |range: std::ops::Range<i32>| range.map(|k| k as f32).collect::<Vec<_>>();
        assert_eq!(values("plain"), (DType::F32, vec![2, 3], counted(0..6)));
        assert_eq!(values("half"), (DType::F16, vec![4], vec![0.0, 0.125, 0.25, 0.375]));
        assert_eq!(values("brain"), (DType::BF16, vec![4], vec![0.0, 0.25, 0.5, 0.75]));
        assert_eq!(values("transposed"), (DType::F32, vec![2, 3], vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0]));
        assert_eq!(values("part"), (DType::F32, vec![2, 6], counted(6..18)));
        assert_eq!(values("parameter"), (DType::F32, vec![2], vec![0.0, -1.0]));
    }

    #[test]
    fn what_is_no_state_dict_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = std::fs::read(golden()).unwrap();
        for bytes in [&b"not a zip"[..], &bytes[..bytes.len() / 2]] {
            let path = folder.path().join("pytorch_model.bin");
            std::fs::write(&path, bytes).unwrap();
            let message = Shard::open(path).err().unwrap().to_string();
            assert!(message.contains("pytorch_model.bin: pickle: "), "{message}");
        }
    }
}
