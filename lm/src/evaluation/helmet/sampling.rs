//! Which examples are asked and which are shown as solved: drawn as the original draws, bit for bit.

use super::data::Row;
use crate::python::mersenne::Random;
use crate::python::numpy::{Generator, RandomState};
use crate::python::text_seed;
use crate::{Error, Result};
use std::collections::{HashMap, HashSet};

/// How examples are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Solved examples in the prompt.
    pub shots: usize,
    /// Of everything that is drawn.
    pub seed: u64,
    /// Most examples (of questions with passages: most questions).
    pub samples: Option<usize>,
}

/// A seed below 2^31 of a key: its SHA-256, plus `seed`, modulo 2^31.
pub fn seed_of(key: &str, seed: u64) -> u32 {
    (text_seed(key).wrapping_add(seed as u32)) & 0x7fff_ffff
}

/// `0..count` shuffled as the `datasets` package shuffles.
pub fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    Generator::new(seed).permutation(count)
}

/// The rows with one of `samples` different keys, in their order. Keys are drawn from all different ones, sorted.
///
/// # Errors
/// A row without the key.
pub fn by_key(rows: Vec<Row>, key: &str, sampling: &Sampling) -> Result<Vec<Row>> {
    let Some(samples) = sampling.samples else { return Ok(rows) };
    let keys: Vec<String> = rows.iter().map(|row| row.key(key)).collect::<Result<_>>()?;
    let mut different: Vec<&String> = keys.iter().collect::<HashSet<_>>().into_iter().collect();
    // Numbers are sorted as numbers, where all are.
    let numbers: Option<Vec<i64>> = rows.iter().map(|row| row.integer(key).ok()).collect();
    match numbers {
        Some(_) => different.sort_unstable_by_key(|key| key.parse::<i64>().unwrap_or(i64::MAX)),
        None => different.sort_unstable(),
    }
    let drawn = Random::new(sampling.seed).sample_positions(different.len(), samples.min(different.len()))?;
    let drawn: HashSet<&String> = drawn.into_iter().filter_map(|place| different.get(place).copied()).collect();
    let kept: Vec<bool> = keys.iter().map(|key| drawn.contains(key)).collect();
    Ok(rows.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(row, _)| row).collect())
}

/// The first `samples` of the shuffled examples; all in their order where no number is given.
pub fn by_shuffle<T>(items: Vec<T>, sampling: &Sampling) -> Vec<T> {
    let Some(samples) = sampling.samples else { return items };
    let order = shuffled(items.len(), sampling.seed);
    pick(items, order.into_iter().take(samples))
}

/// The items at some places, each at most once.
pub(super) fn pick<T>(items: Vec<T>, places: impl Iterator<Item = usize>) -> Vec<T> {
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    places.filter_map(|place| items.get_mut(place).and_then(Option::take)).collect()
}

/// The first `shots` of the shuffled rows that differ in `key`.
///
/// # Errors
/// A row without the key; fewer than `shots` different ones.
pub fn demonstrations<'a>(rows: &[&'a Row], key: &str, shots: usize, seed: u64) -> Result<Vec<&'a Row>> {
    let mut seen = HashSet::new();
    let mut demonstrations = Vec::new();
    for place in shuffled(rows.len(), seed) {
        if demonstrations.len() == shots {
            break;
        }
        let Some(row) = rows.get(place) else { continue };
        if seen.insert(row.key(key)?) {
            demonstrations.push(*row);
        }
    }
    if demonstrations.len() < shots {
        let found = demonstrations.len();
        return Err(Error::config("demos", format!("expected at least {shots} different in {key:?}, found {found}")));
    }
    Ok(demonstrations)
}

/// Places of `shots` rows with as many of each label as can be: rounds of one of each, each round in random order.
/// None where there are no rows.
///
/// # Errors
/// Those of the draw.
pub fn balanced(labels: &[i64], shots: usize, seed: u64) -> Result<Vec<usize>> {
    let mut random = Random::new(seed);
    // Labels in the order of their first rows.
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of = HashMap::new();
    for (place, label) in labels.iter().enumerate() {
        let group = *group_of.entry(*label).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[group].push(place);
    }
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    let rounds = shots.div_ceil(groups.len());
    let mut drawn: Vec<Vec<usize>> = vec![Vec::new(); rounds];
    for places in &groups {
        let mut chosen = random.sample_positions(places.len(), rounds % places.len())?;
        while chosen.len() < rounds {
            let more = (rounds - chosen.len()).min(places.len());
            chosen.extend(random.sample_positions(places.len(), more)?);
        }
        for (round, place) in drawn.iter_mut().zip(chosen) {
            round.push(places[place]);
        }
    }
    for round in &mut drawn {
        random.shuffle(round);
    }
    Ok(drawn.into_iter().flatten().take(shots).collect())
}

/// Places of `shots` rows of `count`, drawn alike without repeats until all are used.
///
/// # Errors
/// No rows.
pub fn alike(count: usize, shots: usize, seed: u32) -> Result<Vec<usize>> {
    if count == 0 && shots > 0 {
        return Err(Error::config("demos", format!("expected rows to draw {shots} from, found none")));
    }
    let mut random = RandomState::new(seed);
    let mut places = Vec::new();
    while places.len() < shots {
        let missing = shots - places.len();
        places.extend(random.permutation(count).into_iter().take(missing));
    }
    Ok(places)
}

/// Numbers `0..count` given to labels, in random order.
pub fn label_numbers(count: usize, seed: u32) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    Random::new(seed.into()).shuffle(&mut numbers);
    numbers
}

/// The first `shots` of `count` places, shuffled.
///
/// # Errors
/// Fewer than `shots`.
pub(super) fn first_shuffled(count: usize, sampling: &Sampling) -> Result<Vec<usize>> {
    if count < sampling.shots {
        return Err(Error::config("demos", format!("expected at least {} rows, found {count}", sampling.shots)));
    }
    Ok(shuffled(count, sampling.seed).into_iter().take(sampling.shots).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::path::PathBuf;
    use std::sync::Arc;

    fn rows(ids: &[Value]) -> Vec<Row> {
        let file = Arc::new(PathBuf::from("f.jsonl"));
        let row = |(n, id): (usize, &Value)| Row::new(json!({"id": id}), &file, format!("line {}", n + 1)).unwrap();
        ids.iter().enumerate().map(row).collect()
    }

    #[test]
    fn all_rows_of_a_drawn_key_stay_in_order() {
        let ids: Vec<Value> = (0..30).map(|n| json!(format!("q{}", n % 10))).collect();
        let sampling = Sampling { shots: 0, seed: 42, samples: Some(6) };
        let kept: Vec<String> =
            by_key(rows(&ids), "id", &sampling).unwrap().iter().map(|row| row.key("id").unwrap()).collect();
        // python3: random.seed(42); random.sample(sorted("q%d" % n for n in range(10)), 6)
        let expected: Vec<String> = (0..3).flat_map(|_| [0, 1, 4, 5, 6, 9]).map(|n| format!("q{n}")).collect();
        assert_eq!(kept, expected);
        // Numbers are sorted as numbers: among texts, place 10 is that of "8".
        let ids: Vec<Value> = (0..12).map(|n| json!(n)).collect();
        let kept = by_key(rows(&ids), "id", &Sampling { samples: Some(3), ..sampling }).unwrap();
        // python3: random.seed(42); sorted(random.sample(range(12), 3))
        assert_eq!(kept.iter().map(|row| row.integer("id").unwrap()).collect::<Vec<_>>(), [0, 1, 10]);
    }

    #[test]
    fn labels_are_balanced_and_repeat_when_they_must() {
        let labels: Vec<i64> = (0..40).map(|n| if n < 3 { 7 } else { n % 3 }).collect();
        let places = balanced(&labels, 26, 1).unwrap();
        assert_eq!(places.len(), 26);
        let count = |label| places.iter().filter(|place| labels[**place] == label).count();
        assert!([7, 0, 1, 2].into_iter().all(|label| (6..=7).contains(&count(label))));
        assert!(places[..4].iter().map(|place| labels[*place]).collect::<HashSet<_>>().len() == 4);
        assert!(balanced(&[], 3, 1).unwrap().is_empty());
    }

    #[test]
    fn rows_drawn_alike_come_once_until_all_are_used() {
        let places = alike(5, 13, 3).unwrap();
        assert_eq!(places.len(), 13);
        assert_eq!(places[..5].iter().collect::<HashSet<_>>().len(), 5);
        assert!(alike(0, 1, 3).unwrap_err().to_string().starts_with("demos: expected rows to draw 1 from"));
    }

    #[test]
    fn too_few_different_demonstrations_are_told() {
        let rows = rows(&["a", "a", "b"].map(Value::from));
        let rows: Vec<&Row> = rows.iter().collect();
        let found = demonstrations(&rows, "id", 2, 5).unwrap();
        assert_ne!(found[0].key("id").unwrap(), found[1].key("id").unwrap());
        let message = demonstrations(&rows, "id", 3, 5).unwrap_err().to_string();
        assert_eq!(message, "demos: expected at least 3 different in \"id\", found 2");
        let message = demonstrations(&rows, "qid", 1, 5).unwrap_err().to_string();
        assert!(message.starts_with("f.jsonl: line ") && message.contains("qid: expected"), "{message}");
    }
}
