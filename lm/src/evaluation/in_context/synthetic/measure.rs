//! Right answers of a small model by number of demonstrations.

use super::{Labels, World};
use crate::Result;
use crate::model::decoder::Decoder;
use candle_core::Tensor;
use serde::Serialize;
use std::sync::Arc;

/// How often a model is right after so many demonstrations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Demonstrations before the word.
    pub demonstrations: usize,
    /// Share of words whose most probable label, of those of the sequence, is right.
    pub accuracy: f64,
    /// The same of all tokens: also whether the model sees which labels are in use.
    pub open_accuracy: f64,
    /// Words asked.
    pub asked: usize,
}

/// Asks for the label of every word of `sequences` sequences of the world with labels of one kind; one point for each
/// number of demonstrations, from none to the world's. No gradient, and no more memory than one layer of a batch
/// needs.
///
/// # Errors
/// Those of the model; ids beyond its vocabulary.
pub fn measure(decoder: &Decoder, world: &World, kind: Labels, sequences: usize) -> Result<Vec<Point>> {
    world.validate()?;
    let classes = world.classes();
    let items = world.demonstrations + 1;
    let (mut right, mut open) = (vec![0usize; items], vec![0usize; items]);
    let mut done = 0;
    while done < sequences {
        let count = world.sequences.clamp(1, sequences - done);
        let drawn: Vec<_> = (done..done + count).map(|k| world.sequence(&classes, 0, k, kind)).collect();
        let ids: Vec<u32> = drawn.iter().flat_map(|sequence| sequence.ids.iter().copied()).collect();
        let scores = scores(decoder, &ids.into(), &vec![world.length(); count])?;
        for (row, scores) in scores.iter().enumerate() {
            let (sequence, item) = (&drawn[row / items], row % items);
            let answer = sequence.labels[sequence.classes[item]];
            let score = |id: u32| scores.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
            let best = score(answer);
            right[item] += usize::from(sequence.labels.iter().all(|id| *id == answer || score(*id) < best));
            open[item] += usize::from(scores.iter().filter(|other| **other >= best).count() == 1);
        }
        done += count;
    }
    let share = |n: usize| n as f64 / sequences.max(1) as f64;
    let point = |(demonstrations, (right, open)): (usize, (usize, usize))| Point {
        demonstrations,
        accuracy: share(right),
        open_accuracy: share(open),
        asked: sequences,
    };
    Ok(right.into_iter().zip(open).enumerate().map(point).collect())
}

/// Logits after every word: one row each.
fn scores(decoder: &Decoder, ids: &Arc<[u32]>, lengths: &[usize]) -> Result<Vec<Vec<f32>>> {
    let layout = decoder.layout(lengths)?;
    let mut x = decoder.embed(ids)?.detach();
    for layer in decoder.layers() {
        x = layer.forward(&x, &layout)?.detach();
    }
    let rows: Vec<u32> = (0..ids.len() as u32).step_by(2).collect();
    let hidden = decoder.finish(&x.index_select(&Tensor::from_slice(&rows, rows.len(), x.device())?, 0)?)?;
    Ok(decoder.logits(&hidden)?.to_dtype(candle_core::DType::F32)?.to_vec2()?)
}

#[cfg(test)]
mod tests {
    use super::super::learner::{Learner, Shape};
    use super::*;

    #[test]
    fn a_model_that_learnt_nothing_answers_by_chance() {
        let learner =
            Learner { shape: Shape { layers: 1, width: 16, heads: 2, feed_forward: 16 }, ..Learner::default() };
        let world = World { demonstrations: 4, classes: 4, ..World::default() };
        let (_, decoder) = learner.declare(&world).unwrap();
        for kind in Labels::ALL {
            let points = measure(&decoder, &world, kind, 400).unwrap();
            assert_eq!(points.iter().map(|p| p.demonstrations).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
            let mean = points.iter().map(|p| p.accuracy).sum::<f64>() / 5.0;
            // 2000 answers that hang together in fours or so: standard deviation about 0.02.
            assert!((mean - 0.25).abs() < 0.1, "{kind:?}: {mean}");
            assert!(points.iter().all(|p| p.open_accuracy <= p.accuracy && p.asked == 400));
        }
    }
}
