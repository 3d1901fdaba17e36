//! What is hidden from the encoder: spans of patches, and words inside the text (PTP section 3, PIXEL's span masks).

use rand::Rng;
use rand::seq::SliceRandom;

/// Probability of a span of 1, 2, .. patches.
const SPANS: [f64; 6] = [0.2, 0.2, 0.2, 0.2, 0.1, 0.1];

/// Spans that are tried.
const TRIES: usize = 100;

/// How many of `count` patches are hidden at this rate: those that are left when the share that stays is rounded down.
pub fn hidden(count: usize, rate: f64) -> usize {
    count - ((count as f64 * (1.0 - rate)) as usize).min(count)
}

/// True for hidden patches, exactly [`hidden`] of them: spans with as many patches free on either side as they are long,
/// then single ones at random for what no span fits. (A long span may take in a short one that lies wholly inside it.)
pub fn spans(count: usize, rate: f64, random: &mut impl Rng) -> Vec<bool> {
    let (wanted, mut mask, mut masked) = (hidden(count, rate), vec![false; count], 0);
    for _ in 0..TRIES {
        if masked >= wanted {
            break;
        }
        let mut draw = random.random::<f64>();
        let length = 1 + SPANS
            .iter()
            .take_while(|p| {
                draw -= **p;
                draw >= 0.0
            })
            .count()
            .min(SPANS.len() - 1);
        if length > wanted - masked || length > count {
            continue;
        }
        let start = random.random_range(0..=count - length);
        let end = start + length;
        let free = |range: std::ops::Range<usize>| !mask[range].contains(&true);
        if free(start.saturating_sub(length)..start) && free(end..(end + length).min(count)) {
            mask[start..end].fill(true);
            masked = mask.iter().filter(|m| **m).count();
        }
    }
    let mut open: Vec<usize> = (0..count).filter(|k| !mask[*k]).collect();
    let (chosen, _) = open.partial_shuffle(random, wanted - masked);
    chosen.iter().for_each(|k| mask[*k] = true);
    mask
}

/// True for tokens whose text is hidden, each with probability `rate`.
pub fn words(count: usize, rate: f64, random: &mut impl Rng) -> Vec<bool> {
    (0..count).map(|_| random.random::<f64>() < rate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tesseral_nn::rng::Streams;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn exactly_so_many_are_hidden(count in 0usize..600, rate in 0.0f64..=1.0, seed: u64) {
            let mask = spans(count, rate, &mut Streams::new(seed).stream("spans", &[]));
            prop_assert_eq!(mask.len(), count);
            prop_assert_eq!(mask.iter().filter(|m| **m).count(), hidden(count, rate));
        }
    }

    #[test]
    fn words_are_hidden_at_their_rate() {
        let mask = words(40_000, 0.25, &mut Streams::new(1).stream("words", &[]));
        let rate = mask.iter().filter(|m| **m).count() as f64 / 40_000.0;
        assert!((rate - 0.25).abs() < 0.01, "{rate}");
        assert_eq!((hidden(511, 0.1), hidden(11, 0.3), hidden(5, 0.0), hidden(5, 1.0)), (52, 4, 0, 5));
    }
}
