//! A checksum of named tensors.

use crate::Result;
use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use sha2::{Digest, Sha256};

/// Elements that are written as bytes at a time.
const BLOCK: usize = 4096;

/// SHA-256, 64 hexadecimal digits, over names and values (little-endian, f32 as they are, others as f64) in their order. f32
/// and f64 on the CPU are read where they lie, without a copy.
///
/// # Errors
/// Those of candle.
pub fn digest<'a>(tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, tensor) in tensors {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        let tensor = match tensor.dtype() {
            DType::F32 | DType::F64 => tensor.to_device(&Device::Cpu)?.contiguous()?,
            // f64 holds every value of the other dtypes.
            _ => tensor.to_dtype(DType::F64)?.to_device(&Device::Cpu)?.contiguous()?,
        };
        let (storage, layout) = tensor.storage_and_layout();
        let (start, end) = (layout.start_offset(), layout.start_offset() + tensor.elem_count());
        match &*storage {
            Storage::Cpu(CpuStorage::F32(x)) => update(&mut hash, &x[start..end], |x| x.to_le_bytes()),
            Storage::Cpu(CpuStorage::F64(x)) => update(&mut hash, &x[start..end], |x| x.to_le_bytes()),
            _ => return Err(candle_core::Error::Msg(format!("digest: {name} is not on the CPU")).into()),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn update<T, const N: usize>(hash: &mut Sha256, values: &[T], bytes: impl Fn(&T) -> [u8; N]) {
    let mut block = Vec::with_capacity(BLOCK * N);
    for values in values.chunks(BLOCK) {
        block.clear();
        values.iter().for_each(|x| block.extend(bytes(x)));
        hash.update(&block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_names_and_values_however_they_lie() {
        let values: Vec<f32> = (0..10_000).map(|k| k as f32 * 0.5).collect();
        let tensor = Tensor::from_vec(values, (100, 100), &Device::Cpu).unwrap();
        let of = |name: &str, tensor: &Tensor| digest([(name, tensor)].into_iter()).unwrap();
        let turned = tensor.t().unwrap();
        assert_eq!(of("a", &turned), of("a", &turned.contiguous().unwrap()));
        assert_eq!(
            of("a", &tensor.narrow(0, 3, 2).unwrap()),
            of("a", &tensor.narrow(0, 3, 2).unwrap().copy().unwrap())
        );
        for (name, other) in [("b", tensor.clone()), ("a", turned), ("a", (&tensor + 1e-3).unwrap())] {
            assert_ne!(of(name, &other), of("a", &tensor));
        }
        let half = tensor.to_dtype(DType::BF16).unwrap();
        assert_eq!(of("a", &half), of("a", &half.to_dtype(DType::F64).unwrap()));
    }
}
