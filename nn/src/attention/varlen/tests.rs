//! The kernels against the definition, over random shapes.

use super::*;
use crate::kernels::backward;
use candle_core::{DType, Device, Var};
use proptest::prelude::*;

fn wave(n: usize, f: f64) -> Vec<f64> {
    (0..n).map(|k| 1.5 * (k as f64 * f + f).sin()).collect()
}

/// Largest differences of value and gradients from the definition.
fn worst(segments: Segments, heads: Heads, dtype: DType) -> f64 {
    let (nq, nk) =
        (segments.query_rows() * heads.queries * heads.width, segments.key_rows() * heads.keys * heads.width);
    let data = [wave(nq, 0.713), wave(nk, 1.37), wave(nk, 0.29)];
    let dy = wave(nq, 0.537);
    let (y, gradients) = reference::attention([&data[0], &data[1], &data[2]], &dy, &segments, heads);
    let make = |x: &[f64], heads: usize, width: usize| {
        let columns = heads * width;
        let x = Tensor::from_slice(x, (x.len() / columns, columns), &Device::Cpu).unwrap();
        Var::from_tensor(&x.to_dtype(dtype).unwrap()).unwrap()
    };
    let counts = [heads.queries, heads.keys, heads.keys];
    let inputs: Vec<Var> = data.iter().zip(counts).map(|(x, n)| make(x, n, heads.width)).collect();
    let found = attention(&inputs[0], &inputs[1], &inputs[2], &Arc::new(segments), heads).unwrap();
    let loss = (&found * make(&dy, heads.queries, heads.width).as_tensor()).unwrap().sum_all().unwrap();
    let store = backward(loss).unwrap();
    let far = |a: &Tensor, b: &[f64]| {
        let a = a.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        a.iter().zip(b).fold(0.0f64, |m, (a, b)| if (a - b).abs() > m || a.is_nan() { (a - b).abs() } else { m })
    };
    let mut worst = far(&found, &y);
    for (x, expected) in inputs.iter().zip(&gradients) {
        worst = worst.max(far(store.get(x).unwrap(), expected));
    }
    worst
}

/// Relative difference of the derivative along one direction of all inputs from a central difference.
fn off_difference(segments: Segments, heads: Heads) -> f64 {
    let counts = [heads.queries, heads.keys, heads.keys].map(|n| n * heads.width);
    let rows = [segments.query_rows(), segments.key_rows(), segments.key_rows()];
    let segments = Arc::new(segments);
    let dy = Tensor::from_vec(wave(rows[0] * counts[0], 0.537), (rows[0], counts[0]), &Device::Cpu).unwrap();
    let direction: Vec<Vec<f64>> = (0..3).map(|k| wave(rows[k] * counts[k], 0.91 + 0.2 * k as f64)).collect();
    let inputs = |h: f64| -> Vec<Var> {
        let moved = |k: usize| {
            let x = wave(rows[k] * counts[k], [0.713, 1.37, 0.29][k]);
            let x = x.iter().zip(&direction[k]).map(|(x, d)| x + h * d).collect();
            Var::from_tensor(&Tensor::from_vec(x, (rows[k], counts[k]), &Device::Cpu).unwrap()).unwrap()
        };
        (0..3).map(moved).collect()
    };
    let loss =
        |x: &[Var]| (attention(&x[0], &x[1], &x[2], &segments, heads).unwrap() * &dy).unwrap().sum_all().unwrap();
    let value = |h: f64| loss(&inputs(h)).to_scalar::<f64>().unwrap();
    let here = inputs(0.0);
    let store = backward(loss(&here)).unwrap();
    let mut analytic = 0.0;
    for (x, d) in here.iter().zip(&direction) {
        let gradient = store.get(x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        analytic += gradient.iter().zip(d).map(|(g, d)| g * d).sum::<f64>();
    }
    let h = 1e-5;
    let numeric = (value(h) - value(-h)) / (2.0 * h);
    (numeric - analytic).abs() / numeric.abs().max(1.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn gradients_are_differences_of_values(
        lengths in prop::collection::vec((1usize..20, 0usize..20), 1..4),
        (keys, group, width) in (1usize..4, 1usize..3, 1usize..9),
        [causal, cross, scaled] in any::<[bool; 3]>(),
        seed in 0usize..1000,
    ) {
        let mut heads = Heads::new(keys * group, keys, width);
        if !scaled { heads.scale = 1.0 }
        let queries: Vec<usize> = lengths.iter().map(|l| l.0).collect();
        let others: Vec<usize> = lengths.iter().map(|l| if causal { l.0 + l.1 } else { l.1 }).collect();
        let segments = match cross {
            true => Segments::cross(&queries, &others, causal).unwrap(),
            false => Segments::packed(&queries, causal),
        };
        let mask = (0..segments.key_rows()).map(|k| (k * 7919 + seed) % 5 != 0).collect();
        let off = off_difference(segments.with_key_mask(mask).unwrap(), heads);
        prop_assert!(off < 1e-6, "{off}");
    }

    #[test]
    fn packed_segments_equal_the_definition(
        lengths in prop::collection::vec(1usize..70, 1..5),
        (keys, group, width) in (1usize..4, 1usize..4, 1usize..9),
        causal: bool,
        scaled: bool,
    ) {
        let mut heads = Heads::new(keys * group, keys, width);
        if !scaled { heads.scale = 1.0 }
        prop_assert!(worst(Segments::packed(&lengths, causal), heads, DType::F64) < 1e-10);
    }

    #[test]
    fn cross_attention_with_hidden_keys_equals_the_definition(
        lengths in prop::collection::vec((1usize..40, 0usize..40), 1..4),
        causal: bool,
        seed in 0usize..1000,
    ) {
        let queries: Vec<usize> = lengths.iter().map(|l| l.0).collect();
        let keys: Vec<usize> = lengths.iter().map(|l| if causal { l.0 + l.1 } else { l.1 }).collect();
        let segments = Segments::cross(&queries, &keys, causal).unwrap();
        let mask = (0..segments.key_rows()).map(|k| (k * 7919 + seed) % 5 != 0).collect();
        prop_assert!(worst(segments.with_key_mask(mask).unwrap(), Heads::new(4, 2, 6), DType::F64) < 1e-10);
    }
}

#[test]
fn many_blocks_of_queries_and_keys() {
    for causal in [true, false] {
        assert!(worst(Segments::packed(&[1100, 3, 600], causal), Heads::new(3, 1, 8), DType::F64) < 1e-9);
        assert!(worst(Segments::packed(&[700], causal), Heads::new(2, 2, 16), DType::F32) < 2e-4);
    }
}

#[test]
fn a_query_without_a_key_gets_zeros_and_no_gradient() {
    let segments = Segments::cross(&[3], &[4], false).unwrap().with_key_mask(vec![false; 4]).unwrap();
    assert_eq!(worst(segments, Heads::new(2, 1, 4), DType::F32), 0.0);
}

#[test]
fn other_shapes_are_refused() {
    let x = Tensor::zeros((4, 8), DType::F32, &Device::Cpu).unwrap();
    let segments = Arc::new(Segments::packed(&[4], true));
    assert!(attention(&x, &x, &x, &segments, Heads::new(2, 1, 4)).is_err());
    assert!(attention(&x, &x, &x, &segments, Heads::new(2, 2, 4)).is_ok());
    assert!(Segments::cross(&[3], &[2], true).is_err() && Segments::cross(&[3], &[2, 1], false).is_err());
    assert!(Segments::packed(&[3], true).with_key_mask(vec![true; 2]).is_err());
}
