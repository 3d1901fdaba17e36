//! Which examples are shown: as many of each class as of any other, drawn anew for every question.

use super::dataset::Example;
use crate::{Error, Result};
use rand::Rng;
use rand::seq::SliceRandom;
use rand::seq::index::sample;

/// Examples that may be shown, by class.
#[derive(Clone, Debug)]
pub struct Pool<'a> {
    examples: Vec<Vec<&'a Example>>,
}

impl<'a> Pool<'a> {
    /// Of `classes` classes.
    ///
    /// # Errors
    /// [`Error::Config`] for an example of another class.
    pub fn new(examples: impl IntoIterator<Item = &'a Example>, classes: usize) -> Result<Self> {
        let mut pool = vec![Vec::new(); classes];
        for example in examples {
            let place = pool.get_mut(example.class);
            place.ok_or_else(|| beyond(example, classes))?.push(example);
        }
        Ok(Pool { examples: pool })
    }

    /// `count` examples in random order, none twice and none with the content of `asked`: `count / classes` of each
    /// class, and one more of as many classes, drawn at random, as are needed.
    ///
    /// # Errors
    /// [`Error::Config`] names the class that has too few.
    pub fn draw(&self, count: usize, asked: &Example, random: &mut impl Rng) -> Result<Vec<&'a Example>> {
        let classes = self.examples.len().max(1);
        let mut quotas: Vec<usize> = (0..classes).map(|k| count / classes + usize::from(k < count % classes)).collect();
        quotas.shuffle(random);
        let mut drawn = Vec::with_capacity(count);
        for (class, (examples, quota)) in self.examples.iter().zip(quotas).enumerate() {
            let usable: Vec<&Example> = examples.iter().copied().filter(|e| e.content != asked.content).collect();
            if usable.len() < quota {
                let what =
                    format!("expected at least {quota} examples of class {class} to show, found {}", usable.len());
                return Err(Error::config("demonstrations", what));
            }
            drawn.extend(sample(random, usable.len(), quota).iter().filter_map(|place| usable.get(place).copied()));
        }
        drawn.shuffle(random);
        Ok(drawn)
    }
}

fn beyond(example: &Example, classes: usize) -> Error {
    Error::config(
        format!("example {}", example.id),
        format!("expected a class below {classes}, found {}", example.class),
    )
}

#[cfg(test)]
mod tests {
    use super::super::template::Content;
    use super::*;
    use std::collections::BTreeSet;
    use tesseral_nn::rng::Streams;

    fn example(number: usize, class: usize) -> Example {
        Example { id: number.to_string(), content: Content::One(format!("text {number}")), class }
    }

    #[test]
    fn demonstrations_are_balanced_distinct_and_fresh() {
        let examples: Vec<Example> = (0..30).map(|k| example(k, k % 3)).collect();
        let pool = Pool::new(&examples, 3).unwrap();
        let (mut random, mut seen, mut larger) =
            (Streams::new(3).stream("draw", &[]), BTreeSet::new(), BTreeSet::new());
        for _ in 0..50 {
            let drawn = pool.draw(7, &examples[4], &mut random).unwrap();
            let ids: BTreeSet<&str> = drawn.iter().map(|e| e.id.as_str()).collect();
            assert!(ids.len() == 7 && !ids.contains("4"));
            let counts: Vec<usize> = (0..3).map(|c| drawn.iter().filter(|e| e.class == c).count()).collect();
            assert!(counts.iter().all(|n| *n == 2 || *n == 3), "{counts:?}");
            larger.insert(counts.iter().position(|n| *n == 3));
            seen.insert(drawn.iter().map(|e| e.id.clone()).collect::<Vec<_>>());
        }
        assert_eq!((seen.len(), larger.len()), (50, 3));
        assert!(pool.draw(0, &examples[0], &mut random).unwrap().is_empty());
    }

    #[test]
    fn too_few_examples_and_unknown_classes_are_told() {
        let examples = [example(0, 0), example(1, 1)];
        let pool = Pool::new(&examples, 2).unwrap();
        let message = pool.draw(4, &example(9, 0), &mut Streams::new(1).stream("d", &[])).unwrap_err().to_string();
        assert_eq!(message, "demonstrations: expected at least 2 examples of class 0 to show, found 1");
        assert!(Pool::new(&examples, 1).unwrap_err().to_string().contains("example 1: expected a class below 1"));
    }
}
