//! Logistic regression over features, its strength chosen by cross-validation: what scikit-learn's `LogisticRegressionCV`
//! does with its defaults (ten strengths from 1e-4 to 1e4, five stratified folds, then all rows with the best).

use crate::{Error, Result};
use argmin::core::{CostFunction, Executor, Gradient, State};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;
use rayon::prelude::*;

/// Folds of the cross-validation.
const FOLDS: usize = 5;
/// Most iterations of a fit.
const ITERATIONS: u64 = 500;
/// A fit ends when the gradient's norm is below.
const TOLERANCE: f64 = 1e-4;

/// One row of weights a class: the class of a row of features is that of the largest product.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifier {
    /// `[classes][features]`.
    pub weights: Vec<Vec<f64>>,
    /// The strength that was chosen, the inverse of the regularisation.
    pub strength: f64,
}

impl Classifier {
    /// The likeliest class, the first of equals.
    pub fn class(&self, features: &[f64]) -> usize {
        let scores: Vec<f64> = self.weights.iter().map(|weights| dot(weights, features)).collect();
        (0..scores.len()).fold(0, |best, k| if scores[k] > scores[best] { k } else { best })
    }

    fn accuracy(&self, rows: &[&[f64]], classes: &[usize]) -> f64 {
        let right = rows.iter().zip(classes).filter(|(row, class)| self.class(row) == **class).count();
        right as f64 / rows.len().max(1) as f64
    }
}

/// Fits rows of features to their classes `0..count`.
///
/// # Errors
/// [`Error::Config`] for fewer than two classes, a class without a row, rows of other lengths, or a fit that fails.
pub fn fit(rows: &[Vec<f64>], classes: &[usize], count: usize) -> Result<Classifier> {
    let width = rows.first().map_or(0, Vec::len);
    if rows.len() != classes.len() || rows.iter().any(|row| row.len() != width) {
        return Err(Error::config("probe", "expected as many classes as rows, and rows of one length"));
    }
    if count < 2 || (0..count).any(|class| !classes.contains(&class)) {
        let what = format!("expected at least two classes with examples of each, found {count} classes");
        return Err(Error::config("probe", what));
    }
    // Stratified: the k-th row of a class belongs to fold k mod 5.
    let mut seen = vec![0; count];
    let folds: Vec<usize> = classes
        .iter()
        .map(|class| {
            seen[*class] += 1;
            (seen[*class] - 1) % FOLDS
        })
        .collect();
    let strengths: Vec<f64> = (0..10).map(|k| 10f64.powf(-4.0 + 8.0 * f64::from(k) / 9.0)).collect();
    let of_fold = |fold: usize| -> Result<Vec<f64>> {
        let part = |inside: bool| -> (Vec<&[f64]>, Vec<usize>) {
            let all = rows.iter().zip(classes).zip(&folds).filter(|(_, f)| (**f == fold) == inside);
            all.map(|((row, class), _)| (row.as_slice(), *class)).unzip()
        };
        let ((train, train_classes), (test, test_classes)) = (part(false), part(true));
        let (mut start, mut accuracies) = (vec![0.0; count * width], Vec::new());
        for strength in &strengths {
            let found = regression(&train, &train_classes, count, *strength, start)?;
            accuracies.push(found.accuracy(&test, &test_classes));
            start = found.weights.concat();
        }
        Ok(accuracies)
    };
    let by_fold = (0..FOLDS).into_par_iter().map(of_fold).collect::<Result<Vec<_>>>()?;
    let accuracies: Vec<f64> = (0..strengths.len()).map(|k| by_fold.iter().map(|fold| fold[k]).sum()).collect();
    // The weakest of equally good ones.
    let best = (0..strengths.len()).fold(0, |best, k| if accuracies[k] > accuracies[best] { k } else { best });
    let all: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
    regression(&all, classes, count, strengths[best], vec![0.0; count * width])
}

struct Problem<'a> {
    rows: &'a [&'a [f64]],
    classes: &'a [usize],
    count: usize,
    strength: f64,
}

impl Problem<'_> {
    /// Probabilities of the classes of a row, and its loss.
    fn probabilities(&self, weights: &[f64], row: usize) -> (Vec<f64>, f64) {
        let features = self.rows[row];
        let scores: Vec<f64> = weights.chunks(features.len()).map(|weights| dot(weights, features)).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - top).exp()).sum();
        let loss = top + sum.ln() - scores[self.classes[row]];
        (scores.iter().map(|s| (s - top).exp() / sum).collect(), loss)
    }
}

impl CostFunction for Problem<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, weights: &Vec<f64>) -> std::result::Result<f64, argmin::core::Error> {
        let losses: f64 = (0..self.rows.len()).map(|row| self.probabilities(weights, row).1).sum();
        Ok(self.strength * losses + 0.5 * dot(weights, weights))
    }
}

impl Gradient for Problem<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, weights: &Vec<f64>) -> std::result::Result<Vec<f64>, argmin::core::Error> {
        let mut gradient = weights.clone();
        for (row, features) in self.rows.iter().enumerate() {
            let (probabilities, _) = self.probabilities(weights, row);
            for (class, part) in gradient.chunks_mut(features.len()).enumerate() {
                let error = probabilities[class] - f64::from(u8::from(class == self.classes[row]));
                part.iter_mut().zip(*features).for_each(|(g, x)| *g += self.strength * error * x);
            }
        }
        Ok(gradient)
    }
}

fn regression(rows: &[&[f64]], classes: &[usize], count: usize, strength: f64, start: Vec<f64>) -> Result<Classifier> {
    let problem = Problem { rows, classes, count, strength };
    let width = start.len() / problem.count.max(1);
    let fail = |e: argmin::core::Error| Error::config("probe", format!("the fit failed: {e}"));
    let solver = LBFGS::new(MoreThuenteLineSearch::new(), 10).with_tolerance_grad(TOLERANCE).map_err(fail)?;
    let run = Executor::new(problem, solver).configure(|state| state.param(start).max_iters(ITERATIONS)).run();
    let run = run.map_err(fail)?;
    let best = run.state().get_best_param().ok_or_else(|| Error::config("probe", "the fit found nothing"))?;
    Ok(Classifier { weights: best.chunks(width.max(1)).map(<[f64]>::to_vec).collect(), strength })
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use tesseral_nn::rng::Streams;

    #[test]
    fn finds_a_boundary_through_noise() {
        let mut stream = Streams::new(1).stream("test", &[]);
        let (mut rows, mut classes) = (Vec::new(), Vec::new());
        for k in 0..150 {
            let class = k % 3;
            let centre = [[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]][class];
            rows.push(centre.iter().map(|c| c + 0.6 * (stream.random::<f64>() - 0.5)).chain([1.0]).collect());
            classes.push(class);
        }
        let found = fit(&rows, &classes, 3).unwrap();
        assert!(rows.iter().zip(&classes).all(|(row, class)| found.class(row) == *class));
        // Classes that say nothing of the features: near chance on others.
        let noise: Vec<usize> = (0..150).map(|_| stream.random_range(0..3)).collect();
        let found = fit(&rows[..100], &noise[..100], 3).unwrap();
        let right = rows[100..].iter().zip(&noise[100..]).filter(|(row, class)| found.class(row) == **class).count();
        assert!(right < 30, "{right}");
    }

    #[test]
    fn the_gradient_is_that_of_the_cost_and_vanishes_at_the_fit() {
        let rows: [&[f64]; 4] = [&[1.0, 2.0], &[-0.5, 1.0], &[0.3, -1.0], &[2.0, 0.1]];
        let problem = Problem { rows: &rows, classes: &[0, 1, 1, 0], count: 2, strength: 0.7 };
        let weights = vec![0.3, -0.2, 0.5, 0.1];
        let gradient = problem.gradient(&weights).unwrap();
        for k in 0..4 {
            let at = |by: f64| {
                let mut moved = weights.clone();
                moved[k] += by;
                problem.cost(&moved).unwrap()
            };
            assert!(((at(1e-5) - at(-1e-5)) / 2e-5 - gradient[k]).abs() < 1e-8);
        }
        let found = regression(&rows, problem.classes, 2, 0.7, vec![0.0; 4]).unwrap();
        let gradient = problem.gradient(&found.weights.concat()).unwrap();
        assert!(dot(&gradient, &gradient).sqrt() < 1e-3);
        // Two classes: the weights are opposite.
        assert!((found.weights[0][0] + found.weights[1][0]).abs() < 1e-6);
    }

    #[test]
    fn too_few_classes_are_refused() {
        assert!(fit(&[vec![1.0], vec![2.0]], &[0, 0], 2).unwrap_err().to_string().contains("two classes"));
        assert!(fit(&[vec![1.0], vec![2.0, 3.0]], &[0, 1], 2).is_err());
    }
}
