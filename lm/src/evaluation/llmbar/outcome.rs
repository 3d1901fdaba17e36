//! What a judge said, module by module, as the benchmark stores it.

use super::parse::rating;
use super::winner::{Order, Winner};
use crate::evaluation::compat::Compat;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// A judge's answer to a pair in one order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// What the judge said; for a verdict by log-probability what it amounts to.
    pub completion: String,
    /// The better output by its place in the data; none where the completion does not say.
    pub winner: Option<Winner>,
    /// Log-probability of the output shown first over the one shown second, nats, where that was measured.
    pub log_odds: Option<f64>,
}

/// What came of one module.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// A text for later modules.
    Auxiliary(String),
    /// A comparison, in the two orders of [`Order::BOTH`].
    Comparison([Answer; 2]),
    /// Ratings of the two outputs, and the winners that the two orders make of them.
    Rating {
        /// As the judge wrote them.
        ratings: [String; 2],
        /// Of the two orders of [`Order::BOTH`].
        winners: [Option<Winner>; 2],
    },
}

impl Outcome {
    /// Of two ratings.
    pub fn rated(ratings: [String; 2], compat: Compat) -> Self {
        let [first, second] = &ratings;
        Outcome::Rating { winners: rated(first, second, compat), ratings }
    }

    /// In the two orders of [`Order::BOTH`]; none of an auxiliary text.
    pub fn winners(&self) -> [Option<Winner>; 2] {
        match self {
            Outcome::Auxiliary(_) => [None; 2],
            Outcome::Comparison([as_given, swapped]) => [as_given.winner, swapped.winner],
            Outcome::Rating { winners, .. } => *winners,
        }
    }
}

/// Winners of two ratings in both orders: of a tie, the one shown second, so that it counts half. Where one is no
/// integer there is none, or, in the original, the one shown first.
pub fn rated(first: &str, second: &str, compat: Compat) -> [Option<Winner>; 2] {
    match (rating(first), rating(second)) {
        (Some(first), Some(second)) => match first.cmp(&second) {
            std::cmp::Ordering::Greater => [Some(Winner::First); 2],
            std::cmp::Ordering::Less => [Some(Winner::Second); 2],
            std::cmp::Ordering::Equal => Order::BOTH.map(|order| Some(order.turn(Winner::Second))),
        },
        _ if compat.is_original() => Order::BOTH.map(|order| Some(order.turn(Winner::First))),
        _ => [None; 2],
    }
}

/// Key of an order in the benchmark's files.
fn key(order: Order) -> &'static str {
    match order {
        Order::AsGiven => "swap = False",
        Order::Swapped => "swap = True",
    }
}

/// A completion as the benchmark stores it: with the reason for which it ended.
fn completion(text: &str) -> [&str; 2] {
    [text, "stop"]
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("completion", &completion(&self.completion))?;
        map.serialize_entry("winner", &self.winner)?;
        if let Some(log_odds) = self.log_odds {
            map.serialize_entry("log_odds", &log_odds)?;
        }
        map.end()
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Outcome::Auxiliary(text) => completion(text).serialize(serializer),
            Outcome::Comparison(answers) => {
                let mut map = serializer.serialize_map(Some(2))?;
                for (order, answer) in Order::BOTH.into_iter().zip(answers) {
                    map.serialize_entry(key(order), answer)?;
                }
                map.end()
            }
            Outcome::Rating { ratings: [first, second], winners } => {
                let mut map = serializer.serialize_map(Some(4))?;
                map.serialize_entry("score_1", &completion(first))?;
                map.serialize_entry("score_2", &completion(second))?;
                for (order, winner) in Order::BOTH.into_iter().zip(winners) {
                    map.serialize_entry(key(order), &serde_json::json!({ "winner": winner }))?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tie_is_a_disagreement_and_no_integer_is_none() {
        let (one, two) = (Some(Winner::First), Some(Winner::Second));
        for compat in [Compat::Mended, Compat::Original] {
            assert_eq!(rated("7", "3", compat), [one, one]);
            assert_eq!(rated("7", "8", compat), [two, two]);
            assert_eq!(rated("7", " 7", compat), [two, one]);
        }
        assert_eq!(rated("seven", "7", Compat::Original), [one, two]);
        assert_eq!(rated("seven", "7", Compat::Mended), [None, None]);
    }
}
