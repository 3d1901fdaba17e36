//! Matrices in fewer bytes that give back every value to the bit (the sign of a zero apart): what was widened from a quantised
//! or bf16 checkpoint becomes small again. With few rows the time of a product is that of reading the weight.

use super::{FEW_ROWS, LANES, bfloat, few_rows, linear, total};
use crate::Result;
use crate::kernels::{Array, Operation, Real, apply, parallel, vectorised};
use candle_core::{CpuStorage, DType, Storage, Tensor};
use half::{bf16, f16};
use std::ops::Range;
use std::sync::Arc;

/// Values that share a scale, as in GGUF; one step of the sums of a dot product, so that those come out the same.
const BLOCK: usize = LANES;
/// Blocks that one task looks at.
const BLOCKS: usize = 4096;

/// A matrix `[out, in]` in f32 that does not change, and a smaller form of it.
#[derive(Clone, Debug)]
pub struct Compact {
    weight: Tensor,
    form: Arc<Form>,
}

#[derive(Debug)]
enum Form {
    /// `scale code + least` with [`scale`, `least`] of each block and codes of 4 bits: in the low bits those of its first half.
    Nibbles { scales: Vec<[f32; 2]>, codes: Vec<u8> },
    /// `scale code`.
    Bytes { scales: Vec<f32>, codes: Vec<i8> },
    /// Each value.
    Halves(Vec<bf16>),
}

impl Compact {
    /// The smallest form of a weight; none where no form has its very values, or it is not in f32 on the CPU.
    ///
    /// # Errors
    /// candle's, for a tensor that is not a matrix.
    pub fn of(weight: &Tensor) -> Result<Option<Self>> {
        let (_, width) = weight.dims2()?;
        let (storage, layout) = weight.storage_and_layout();
        let (Storage::Cpu(CpuStorage::F32(w)), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
            return Ok(None);
        };
        let w = &w[start..end];
        let whole = width > 0 && width.is_multiple_of(BLOCK);
        let blocks = || if whole { nibbles(w).or_else(|| bytes(w)) } else { None };
        Ok(blocks().or_else(|| halves(w)).map(|form| Compact { weight: weight.clone(), form: Arc::new(form) }))
    }

    /// Bytes of the form, the weight itself apart.
    pub fn bytes(&self) -> usize {
        match &*self.form {
            Form::Nibbles { scales, codes } => size_of_val(&scales[..]) + codes.len(),
            Form::Bytes { scales, codes } => size_of_val(&scales[..]) + codes.len(),
            Form::Halves(values) => size_of_val(&values[..]),
        }
    }

    /// [`linear`] with the weight: `[rows, in]` in f32 to `[rows, out]`, the same bits, sooner where there are few rows and no
    /// gradient is wanted.
    ///
    /// # Errors
    /// As there.
    pub fn linear(&self, x: &Tensor) -> Result<Tensor> {
        let ((rows, width), (outputs, inputs)) = (x.dims2()?, self.weight.dims2()?);
        if rows > FEW_ROWS || width != inputs || x.track_op() || x.dtype() != DType::F32 {
            return linear(x, &self.weight);
        }
        Ok(apply(Few { form: self.form.clone(), outputs }, &[x])?)
    }
}

/// The form of each block that `of` gives; none if one block has none.
fn in_blocks<A: Send, B: Send>(
    w: &[f32],
    of: impl Fn(&[f32], &mut Vec<A>, &mut Vec<B>) -> bool + Sync,
) -> Option<(Vec<A>, Vec<B>)> {
    let parts: Vec<&[f32]> = w.chunks(BLOCKS * BLOCK).collect();
    let found = parallel::map(&parts, |part| {
        let (mut scales, mut codes) = (Vec::new(), Vec::new());
        part.chunks_exact(BLOCK).all(|block| of(block, &mut scales, &mut codes)).then_some((scales, codes))
    });
    let (mut scales, mut codes) = (Vec::new(), Vec::new());
    for part in found {
        let (mut some, mut more) = part?;
        scales.append(&mut some);
        codes.append(&mut more);
    }
    Some((scales, codes))
}

fn nibbles(w: &[f32]) -> Option<Form> {
    let block = |block: &[f32], scales: &mut Vec<[f32; 2]>, codes: &mut Vec<u8>| {
        let least = block.iter().copied().fold(f32::INFINITY, f32::min);
        let most = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut found = [0; BLOCK];
        let scale = scale_of(most - least, 15, |scale| encode(block, scale, least, [0.0, 15.0], &mut found));
        let Some(scale) = scale else { return false };
        scales.push([scale, least]);
        codes.extend((0..BLOCK / 2).map(|k| found[k] as u8 | ((found[k + BLOCK / 2] as u8) << 4)));
        true
    };
    in_blocks(w, block).map(|(scales, codes)| Form::Nibbles { scales, codes })
}

fn bytes(w: &[f32]) -> Option<Form> {
    let block = |block: &[f32], scales: &mut Vec<f32>, codes: &mut Vec<i8>| {
        let most = block.iter().map(|v| v.abs()).fold(0.0, f32::max);
        let mut found = [0; BLOCK];
        let scale = scale_of(most, 127, |scale| encode(block, scale, 0.0, [-127.0, 127.0], &mut found));
        let Some(scale) = scale else { return false };
        scales.push(scale);
        codes.extend(found);
        true
    };
    in_blocks(w, block).map(|(scales, codes)| Form::Bytes { scales, codes })
}

fn halves(w: &[f32]) -> Option<Form> {
    let narrow = w.iter().map(|v| Some(bf16::from_bits((v.to_bits() >> 16) as u16)).filter(|_| v.to_bits() << 16 == 0));
    narrow.collect::<Option<Vec<bf16>>>().map(Form::Halves)
}

/// A scale in f16, as files keep them, of which `span` is a multiple, at most `most`, and which `fits`.
fn scale_of(span: f32, most: u8, mut fits: impl FnMut(f32) -> bool) -> Option<f32> {
    let scales = (1..=most).rev().map(|steps| f16::from_f32(span / f32::from(steps)).to_f32());
    scales.into_iter().find(|scale| fits(*scale))
}

vectorised! {
    /// Codes of a block, and whether they give its values back.
    fn encode_block<T>(block: &[T], scale: T, least: T, bounds: [T; 2], codes: &mut [i8; BLOCK], same: &mut bool) {
        let inverse = if scale > T::zero() { T::one() / scale } else { T::zero() };
        let mut equal = true;
        for (code, v) in codes.iter_mut().zip(block) {
            // To the nearest whole number, which is small.
            let near = (*v - least) * inverse;
            let half = if near < T::zero() { T::of(-0.5) } else { T::of(0.5) };
            let whole = (near + half).to_f64() as i8;
            let value = T::of(f64::from(whole));
            equal &= (scale.mul_add(value, least) == *v) & (value >= bounds[0]) & (value <= bounds[1]);
            *code = whole;
        }
        *same = equal;
    }
}

fn encode(block: &[f32], scale: f32, least: f32, bounds: [f32; 2], codes: &mut [i8; BLOCK]) -> bool {
    let mut same = false;
    encode_block(block, scale, least, bounds, codes, &mut same);
    same
}

/// The product with few rows.
struct Few {
    form: Arc<Form>,
    outputs: usize,
}

impl Operation for Few {
    const NAME: &'static str = "linear-compact";

    fn forward<T: Real>(&self, inputs: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (x, count, width) = (inputs[0].data, inputs[0].rows(), inputs[0].dims[1]);
        let y = few_rows(self.outputs, count, |range: Range<usize>, y: &mut [T]| match &*self.form {
            Form::Nibbles { scales, codes } => {
                let (blocks, half) = (width / BLOCK, width / 2);
                let scales = &scales[range.start * blocks..range.end * blocks];
                nibble_dots(x, scales, &codes[range.start * half..range.end * half], width, y);
            }
            Form::Bytes { scales, codes } => {
                let blocks = width / BLOCK;
                let scales = &scales[range.start * blocks..range.end * blocks];
                byte_dots(x, scales, &codes[range.start * width..range.end * width], width, y);
            }
            Form::Halves(w) => bfloat::dots(x, &w[range.start * width..range.end * width], width, y),
        });
        Ok((y, vec![count, self.outputs]))
    }

    fn backward<T: Real>(&self, _: &[Array<T>], _: &[T], _: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        candle_core::bail!("linear-compact: an input without a gradient expected")
    }
}

vectorised! {
    /// `y[r, o] = sum_k x[r, k] w[o, k]`, summed as the one for plain weights sums.
    fn nibble_dots<T>(x: &[T], scales: &[[f32; 2]], codes: &[u8], width: usize, y: &mut [T]) {
        let blocks = width / BLOCK;
        let outputs = scales.len() / blocks.max(1);
        let of_output = scales.chunks_exact(blocks.max(1)).zip(codes.chunks_exact((width / 2).max(1)));
        for (o, (scales, codes)) in of_output.enumerate() {
            for (r, x) in x.chunks_exact(width).enumerate() {
                let mut sums = [T::zero(); LANES];
                let of_block = x.chunks_exact(BLOCK).zip(scales).zip(codes.chunks_exact(BLOCK / 2));
                for ((x, scale), codes) in of_block {
                    let [scale, least] = [T::of(f64::from(scale[0])), T::of(f64::from(scale[1]))];
                    for k in 0..BLOCK / 2 {
                        let low = T::of(f64::from(codes[k] & 15));
                        sums[k] = x[k].mul_add(scale.mul_add(low, least), sums[k]);
                    }
                    for k in 0..BLOCK / 2 {
                        let high = T::of(f64::from(codes[k] >> 4));
                        let (x, sum) = (x[BLOCK / 2 + k], &mut sums[BLOCK / 2 + k]);
                        *sum = x.mul_add(scale.mul_add(high, least), *sum);
                    }
                }
                let sums = sums;
                y[r * outputs + o] = total(&sums);
            }
        }
    }
}

vectorised! {
    /// The same.
    fn byte_dots<T>(x: &[T], scales: &[f32], codes: &[i8], width: usize, y: &mut [T]) {
        let blocks = width / BLOCK;
        let outputs = scales.len() / blocks.max(1);
        let of_output = scales.chunks_exact(blocks.max(1)).zip(codes.chunks_exact(width.max(1)));
        for (o, (scales, codes)) in of_output.enumerate() {
            for (r, x) in x.chunks_exact(width).enumerate() {
                let mut sums = [T::zero(); LANES];
                for ((x, scale), codes) in x.chunks_exact(BLOCK).zip(scales).zip(codes.chunks_exact(BLOCK)) {
                    let scale = T::of(f64::from(*scale));
                    for k in 0..BLOCK {
                        sums[k] = x[k].mul_add(scale * T::of(f64::from(codes[k])), sums[k]);
                    }
                }
                let sums = sums;
                y[r * outputs + o] = total(&sums);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    const OUTPUTS: usize = 70;
    const WIDTH: usize = 96;

    /// Values as a quantised file holds them, `value(block, place)`.
    fn weight(value: impl Fn(usize, usize) -> f32) -> Tensor {
        let values: Vec<f32> = (0..OUTPUTS * WIDTH).map(|k| value(k / BLOCK, k % BLOCK)).collect();
        Tensor::from_vec(values, (OUTPUTS, WIDTH), &Device::Cpu).unwrap()
    }

    fn scale(block: usize) -> f32 {
        f16::from_f32(0.01 + 0.003 * (block as f32 * 0.7).sin()).to_f32()
    }

    fn code(block: usize, k: usize, codes: usize) -> f32 {
        ((block * 31 + k * k * 7) % codes) as f32
    }

    fn nibble(block: usize, k: usize) -> f32 {
        scale(block) * code(block, k, 16) + f16::from_f32(-0.07 * (block as f32).cos()).to_f32()
    }

    #[test]
    fn every_form_gives_the_same_bits() {
        let narrow = |block: usize, k: usize| bf16::from_f32((block as f32 + 1.3 * k as f32).sin()).to_f32();
        let forms: [(&str, usize, Tensor); 4] = [
            ("nibbles", 24, weight(nibble)),
            // Blocks of Q4_0: centred, and not all codes occur.
            ("nibbles", 24, weight(|b, k| scale(b) * (code(b, k, 11) - 8.0))),
            ("bytes", 36, weight(|b, k| scale(b) * (code(b, k, 255) - 127.0))),
            ("halves", 64, weight(narrow)),
        ];
        for (name, bytes, weight) in forms {
            let compact = Compact::of(&weight).unwrap().unwrap_or_else(|| panic!("{name}"));
            assert_eq!(compact.bytes(), OUTPUTS * WIDTH / BLOCK * bytes, "{name}");
            for rows in [1, 3, FEW_ROWS + 1] {
                let x: Vec<f32> = (0..rows * WIDTH).map(|k| (k as f32 * 0.37).sin()).collect();
                let x = Tensor::from_vec(x, (rows, WIDTH), &Device::Cpu).unwrap();
                let bits = |y: Tensor| -> Vec<u32> {
                    y.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
                };
                assert_eq!(bits(compact.linear(&x).unwrap()), bits(linear(&x, &weight).unwrap()), "{name}");
            }
        }
    }

    #[test]
    fn gradients_flow_as_without() {
        let weight = weight(nibble);
        let compact = Compact::of(&weight).unwrap().unwrap();
        let x = Var::ones((1, WIDTH), DType::F32, &Device::Cpu).unwrap();
        let y = compact.linear(&x).unwrap();
        assert!(crate::kernels::backward(y.sum_all().unwrap()).unwrap().get(&x).is_some());
    }

    #[test]
    fn other_values_have_no_form() {
        let free = |b: usize, k: usize| (b as f32 * 0.3 + k as f32).sin();
        // One value that no code gives.
        let almost = |b: usize, k: usize| if (b, k) == (50, 9) { 0.123_456 } else { nibble(b, k) };
        let not_a_number = |b: usize, k: usize| if (b, k) == (50, 9) { f32::NAN } else { nibble(b, k) };
        for weight in [weight(free), weight(almost), weight(not_a_number)] {
            assert!(Compact::of(&weight).unwrap().is_none());
        }
        // Rows that are no whole blocks: bf16 alone.
        let odd = Tensor::ones((3, 33), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(Compact::of(&odd).unwrap().unwrap().bytes(), 2 * 99);
    }
}
