//! What the best learner could do: it knows the class of every word under every task, and neither the task (if
//! several are learnable) nor the labels of a sequence.

use super::measure::Point;
use super::{Labels, Sequence, World};
use crate::Result;

/// Right answers under abstract labels of a learner that weighs all tasks and all ways to deal labels to classes by
/// what the demonstrations allow. Where labels are equally probable, each counts by its share.
///
/// # Errors
/// A world that contradicts itself.
pub fn ideal(world: &World, sequences: usize) -> Result<Vec<Point>> {
    world.validate()?;
    let classes = world.classes();
    let mut right = vec![0.0; world.demonstrations + 1];
    for number in 0..sequences {
        let sequence = world.sequence(&classes, 0, number, Labels::Abstract);
        for (sum, share) in right.iter_mut().zip(answer(world, &classes, &sequence)) {
            *sum += share;
        }
    }
    let share = |sum: f64| sum / sequences.max(1) as f64;
    let point = |(demonstrations, sum): (usize, f64)| Point {
        demonstrations,
        accuracy: share(sum),
        open_accuracy: f64::NAN,
        asked: sequences,
    };
    Ok(right.into_iter().enumerate().map(point).collect())
}

/// For each word of a sequence the probability that the best answer is right.
fn answer(world: &World, classes: &[Vec<usize>], sequence: &Sequence) -> Vec<f64> {
    let n = world.classes;
    // Of each task the class that each label stands for, as far as it was seen; none once the task is out.
    let mut tasks: Vec<Option<Vec<Option<usize>>>> = vec![Some(vec![None; n]); world.learnable];
    let mut shares = Vec::with_capacity(sequence.classes.len());
    for (pair, right) in sequence.ids.chunks_exact(2).zip(&sequence.classes) {
        let (word, shown) = (pair[0] as usize, pair[1]);
        let label = sequence.labels.iter().position(|id| *id == shown);
        let mut weights = vec![0.0; n];
        for (task, dealt) in tasks.iter_mut().enumerate() {
            let Some(known) = dealt else { continue };
            let class = classes[task][word];
            let open = known.iter().filter(|label| label.is_none()).count();
            match known.iter().position(|of| *of == Some(class)) {
                Some(label) => weights[label] += factorial(open),
                None => {
                    let free = known.iter().enumerate().filter(|(_, of)| of.is_none());
                    free.for_each(|(label, _)| weights[label] += factorial(open - 1));
                }
            }
            let Some(label) = label else { continue };
            let taken = known.iter().position(|of| *of == Some(class));
            if taken.is_some_and(|other| other != label) || known[label].is_some_and(|other| other != class) {
                *dealt = None;
            } else {
                known[label] = Some(class);
            }
        }
        let best = weights.iter().copied().fold(0.0, f64::max);
        let ties = weights.iter().filter(|weight| **weight == best).count().max(1);
        shares.push(if weights.get(*right) == Some(&best) { 1.0 / ties as f64 } else { 0.0 });
    }
    shares
}

fn factorial(n: usize) -> f64 {
    (1..=n).map(|k| k as f64).product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_known_before_and_everything_after_enough_demonstrations() {
        let accuracy = |tasks, classes| -> Vec<f64> {
            let world = World { words: 128, tasks, learnable: tasks, classes, demonstrations: 30, ..World::default() };
            ideal(&world, 2000).unwrap().iter().map(|point| point.accuracy).collect()
        };
        // Standard deviation of a share near one half: 0.011.
        let one = accuracy(1, 2);
        assert!((one[0] - 0.5).abs() < 1e-12, "{}", one[0]);
        assert!(one[1..].iter().all(|share| *share == 1.0));
        // One demonstration, two tasks: the word asked is of the same class in both, or not, or in one of them.
        let two = accuracy(2, 2);
        assert!((two[1] - 0.75).abs() < 0.05 && two[4] > two[1] && two[30] == 1.0, "{two:?}");
        let four = accuracy(2, 4);
        assert!((four[0] - 0.25).abs() < 1e-12 && four[30] > 0.99 && four[2] < four[8], "{four:?}");
    }
}
