//! Accuracy, agreement of the two orders, and Cohen's kappa of winners.

use super::winner::Winner;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Winners of one example in both orders, by their places in the data, and the better output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// As given, then swapped.
    pub winners: [Option<Winner>; 2],
    /// The better output.
    pub label: Winner,
}

impl Judged {
    /// Whether each order is right.
    pub fn correct(self) -> [bool; 2] {
        self.winners.map(|winner| winner == Some(self.label))
    }

    /// Whether both orders say the same; nothing said twice counts, as in the original.
    pub fn agrees(self) -> bool {
        let [as_given, swapped] = self.winners;
        as_given == swapped
    }

    /// Orders without a winner.
    pub fn unparsed(self) -> usize {
        self.winners.iter().filter(|winner| winner.is_none()).count()
    }
}

/// Cohen's kappa: agreement beyond chance, 1 at most; not a number where there is but one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Kappa {
    /// Of the winners of each order with the labels.
    pub orders: [f64; 2],
    /// Mean of these.
    pub average: f64,
    /// Of the winners of one order with those of the other.
    pub agreement: f64,
}

impl Kappa {
    /// With winners and labels made classes.
    fn of(judged: &[Judged], winner: impl Fn(Option<Winner>) -> usize) -> Self {
        let classes = |one: &Judged| (one.winners.map(&winner), usize::from(one.label.number()));
        let classes: Vec<([usize; 2], usize)> = judged.iter().map(classes).collect();
        let as_given = kappa(classes.iter().map(|([winner, _], label)| (*winner, *label)));
        let swapped = kappa(classes.iter().map(|([_, winner], label)| (*winner, *label)));
        let agreement = kappa(classes.iter().map(|([one, other], _)| (*one, *other)));
        Kappa { orders: [as_given, swapped], average: (as_given + swapped) / 2.0, agreement }
    }
}

/// Numbers of a judge on a data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// How many.
    pub examples: usize,
    /// Right in the given order, and swapped.
    pub correct: [usize; 2],
    /// Right in both orders.
    pub correct_both: usize,
    /// The same winner, or none, in both orders.
    pub agreeing: usize,
    /// No winner in either order.
    pub agreeing_without_winner: usize,
    /// Orders without a winner, of twice the examples.
    pub unparsed: usize,
    /// Of winners as they are, a missing one as a class of its own.
    pub kappa: Kappa,
    /// As the original has it: every winner but 1 becomes 0, and is compared with labels 1 and 2.
    pub kappa_original: Kappa,
}

impl Statistics {
    /// Of all examples of a data set.
    pub fn of(judged: &[Judged]) -> Self {
        let count = |holds: &dyn Fn(&Judged) -> bool| judged.iter().filter(|one| holds(one)).count();
        Statistics {
            examples: judged.len(),
            correct: [count(&|one| one.correct()[0]), count(&|one| one.correct()[1])],
            correct_both: count(&|one| one.correct() == [true; 2]),
            agreeing: count(&|one| one.agrees()),
            agreeing_without_winner: count(&|one| one.unparsed() == 2),
            unparsed: judged.iter().map(|one| one.unparsed()).sum(),
            kappa: Kappa::of(judged, |winner| winner.map_or(0, |winner| winner.number().into())),
            kappa_original: Kappa::of(judged, |winner| usize::from(winner == Some(Winner::First))),
        }
    }

    /// Mean of the accuracies of both orders: the paper's Acc, as a share.
    pub fn accuracy(&self) -> f64 {
        let [as_given, swapped] = self.correct;
        (as_given + swapped) as f64 / 2.0 / self.examples as f64
    }

    /// Share of examples with the same winner in both orders: the paper's Agr.
    pub fn agreement(&self) -> f64 {
        self.agreeing as f64 / self.examples as f64
    }

    /// Share of completions without a winner.
    pub fn unparsed(&self) -> f64 {
        self.unparsed as f64 / (2 * self.examples) as f64
    }

    /// As `statistics.json` of the original has them, digit by digit.
    pub fn original(&self) -> Map<String, Value> {
        let of_all =
            |count: usize| format!("{count} / {} = {:?}%", self.examples, count as f64 / self.examples as f64 * 100.0);
        let [as_given, swapped] = self.correct;
        let kappa = self.kappa_original;
        let values = [
            ("correct_False", json!(of_all(as_given))),
            ("correct_True", json!(of_all(swapped))),
            ("correct_average", json!(format!("{:?}%", self.accuracy() * 100.0))),
            ("correct_both", json!(of_all(self.correct_both))),
            ("equal", json!(of_all(self.agreeing))),
            ("kappa_False", json!(kappa.orders[0])),
            ("kappa_True", json!(kappa.orders[1])),
            ("kappa_average", json!(kappa.average)),
            ("kappa_agreement", json!(kappa.agreement)),
        ];
        values.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }
}

/// Cohen's kappa of pairs of classes below 3. The order of the operations is that of scikit-learn with the first of a
/// pair as its first argument, so that the last digit is the same.
fn kappa(pairs: impl Iterator<Item = (usize, usize)>) -> f64 {
    const CLASSES: usize = 3;
    let mut counts = [[0usize; CLASSES]; CLASSES];
    for (first, second) in pairs {
        if let Some(count) = counts.get_mut(first).and_then(|row| row.get_mut(second)) {
            *count += 1;
        }
    }
    let row: [usize; CLASSES] = counts.map(|row| row.iter().sum());
    let column: [usize; CLASSES] = [0, 1, 2].map(|class| counts.iter().map(|row| row[class]).sum());
    let total: usize = row.iter().sum();
    let differing = total - (0..CLASSES).map(|class| counts[class][class]).sum::<usize>();
    // Classes that nobody names are none.
    let classes: Vec<usize> = (0..CLASSES).filter(|class| row[*class] + column[*class] > 0).collect();
    let mut expected = Vec::with_capacity(CLASSES * CLASSES);
    for first in &classes {
        for second in &classes {
            let chance = (column[*first] * row[*second]) as f64 / total as f64;
            expected.push(if first == second { 0.0 } else { chance });
        }
    }
    1.0 - differing as f64 / numpy_sum(&expected)
}

/// Sum in the order in which NumPy adds up to 128 values.
fn numpy_sum(values: &[f64]) -> f64 {
    let mut eights = values.chunks_exact(8);
    let mut partial = [0.0; 8];
    for eight in eights.by_ref() {
        partial.iter_mut().zip(eight).for_each(|(sum, value)| *sum += value);
    }
    let [a, b, c, d, e, f, g, h] = partial;
    let start = ((a + b) + (c + d)) + ((e + f) + (g + h));
    eights.remainder().iter().fold(start, |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(winners: [u64; 2], label: u64) -> Judged {
        Judged { winners: winners.map(Winner::from_label), label: Winner::from_label(label).unwrap() }
    }

    #[test]
    fn a_perfect_judge_has_kappa_one_when_the_bug_is_mended() {
        let statistics = Statistics::of(&[judged([1, 1], 1), judged([2, 2], 2)]);
        assert_eq!(statistics.kappa, Kappa { orders: [1.0; 2], average: 1.0, agreement: 1.0 });
        // A third, as golden/llmbar/aggregate.json has it.
        assert!((statistics.kappa_original.average - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((statistics.accuracy(), statistics.agreement(), statistics.unparsed()), (1.0, 1.0, 0.0));
    }

    #[test]
    fn missing_winners_are_a_class_of_their_own_and_are_counted() {
        let all = [judged([1, 1], 1), judged([0, 0], 2), judged([0, 2], 2), judged([1, 2], 1)];
        let statistics = Statistics::of(&all);
        assert_eq!((statistics.agreeing, statistics.agreeing_without_winner, statistics.unparsed), (2, 1, 3));
        // By hand: half agree as given, and 1 x 2 + 2 x 0 + 2 x 2 of 16 ... are expected by chance.
        let expected = (2.0 * 2.0 + 0.0 * 2.0) / 16.0;
        assert!((statistics.kappa.orders[0] - (0.5 - expected) / (1.0 - expected)).abs() < 1e-12);
    }

    #[test]
    fn kappa_of_one_class_is_not_a_number() {
        let statistics = Statistics::of(&[judged([1, 1], 1)]);
        assert!(statistics.kappa.average.is_nan() && statistics.kappa_original.agreement.is_nan());
        assert_eq!(statistics.original()["kappa_False"], Value::Null);
    }
}
