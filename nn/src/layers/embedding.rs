//! Rows of a table by token id.

use crate::kernels::{Array, Operation, Real, apply, rows};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use std::sync::Arc;

/// Row `ids[t]` of `table` `[vocabulary, width]` as row t: `[ids.len(), width]`. A table in bf16 gives f32 rows and gets no
/// gradient.
///
/// # Errors
/// [`Error::Shape`] for an id beyond the table.
pub fn embed(table: &Tensor, ids: &Arc<[u32]>) -> Result<Tensor> {
    let (vocabulary, width) = table.dims2()?;
    if let Some(bad) = ids.iter().find(|id| **id as usize >= vocabulary) {
        return Err(Error::Shape {
            operation: "embed",
            expected: format!("token ids below {vocabulary}"),
            found: bad.to_string(),
        });
    }
    if table.dtype() == DType::BF16 {
        let index = Tensor::from_slice(ids, ids.len(), table.device())?;
        return Ok(table.index_select(&index, 0)?.to_dtype(DType::F32)?);
    }
    Ok(apply(Embed { ids: ids.clone(), width }, &[table])?)
}

struct Embed {
    ids: Arc<[u32]>,
    width: usize,
}

impl Operation for Embed {
    const NAME: &'static str = "embedding";

    fn forward<T: Real>(&self, table: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let d = self.width;
        let y = rows::build(d, &rows::all(self.ids.len()), |chunk, y| {
            for (id, y) in self.ids[chunk].iter().zip(y.chunks_exact_mut(d.max(1))) {
                y.copy_from_slice(&table[0].data[*id as usize * d..][..d]);
            }
        });
        Ok((y, vec![self.ids.len(), d]))
    }

    fn backward<T: Real>(&self, table: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let d = self.width;
        let mut gradient = vec![T::zero(); table[0].data.len()];
        for (id, dy) in self.ids.iter().zip(dy.chunks_exact(d.max(1))) {
            gradient[*id as usize * d..][..d].iter_mut().zip(dy).for_each(|(g, dy)| *g += *dy);
        }
        Ok(vec![gradient])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::backward;
    use candle_core::{Device, Var};

    #[test]
    fn rows_and_the_sum_of_their_gradients() {
        let table = Var::from_vec((0..12).map(f64::from).collect::<Vec<_>>(), (4, 3), &Device::Cpu).unwrap();
        let ids: Arc<[u32]> = Arc::from([2, 0, 2]);
        let y = embed(&table, &ids).unwrap();
        assert_eq!(y.to_vec2::<f64>().unwrap(), [[6.0, 7.0, 8.0], [0.0, 1.0, 2.0], [6.0, 7.0, 8.0]]);
        let c = Tensor::from_vec((1..10).map(f64::from).collect::<Vec<_>>(), (3, 3), &Device::Cpu).unwrap();
        let gradient = backward((y * c).unwrap().sum_all().unwrap()).unwrap();
        let expected = [[4.0, 5.0, 6.0], [0.0; 3], [8.0, 10.0, 12.0], [0.0; 3]];
        assert_eq!(gradient.get(&table).unwrap().to_vec2::<f64>().unwrap(), expected);
        let message = embed(&table, &Arc::from([4])).unwrap_err().to_string();
        assert_eq!(message, "embed: expected token ids below 4, found 4");
        let narrow = table.to_dtype(DType::BF16).unwrap();
        assert_eq!(embed(&narrow, &ids).unwrap().to_vec2::<f32>().unwrap()[0], [6.0, 7.0, 8.0]);
    }
}
