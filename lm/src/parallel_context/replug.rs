//! RePlug (Shi et al. 2023): the baseline that reads each context in a pass of its own, before the text, and mixes what
//! the passes predict: `p = sum over contexts of softmax(score / T)_c p_c`.

use crate::{Error, Result};

/// Log-probabilities of the mixture, from the logits of each pass over one vocabulary and the scores of the contexts.
///
/// # Errors
/// [`Error::Config`] for no pass, other numbers of scores, or a temperature that is not above 0.
pub fn mixture(logits: &[&[f32]], scores: &[f64], temperature: f64) -> Result<Vec<f64>> {
    let wrong = logits.is_empty() || logits.len() != scores.len() || !(temperature.is_finite() && temperature > 0.0);
    if wrong {
        let found = format!("{} passes, {} scores, temperature {temperature}", logits.len(), scores.len());
        return Err(Error::config(
            "replug",
            format!("expected a score for each pass and a temperature above 0, found {found}"),
        ));
    }
    let weights = log_softmax(scores.iter().map(|s| s / temperature));
    let rows: Vec<Vec<f64>> = logits.iter().map(|row| log_softmax(row.iter().map(|z| f64::from(*z)))).collect();
    let vocabulary = rows.iter().map(Vec::len).min().unwrap_or(0);
    let mixed = |token: usize| log_sum(weights.iter().zip(&rows).map(|(w, row)| w + row[token]));
    Ok((0..vocabulary).map(mixed).collect())
}

fn log_softmax(values: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let sum = log_sum(values.clone());
    values.map(|x| x - sum).collect()
}

fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY { top } else { top + values.map(|x| (x - top).exp()).sum::<f64>().ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_context_is_its_own_softmax_and_mistakes_are_named() {
        let alone = mixture(&[&[1.0, 2.0]], &[5.0], 1.0).unwrap();
        assert!(
            (alone[1] - alone[0] - 1.0).abs() < 1e-12
                && (alone.iter().map(|l| l.exp()).sum::<f64>() - 1.0).abs() < 1e-12
        );
        assert!(mixture(&[], &[], 1.0).is_err() && mixture(&[&[1.0]], &[1.0], 0.0).is_err());
    }
}
