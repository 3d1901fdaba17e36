//! Winners by log-probability: after "Output (" the model is asked how probable "a" and "b" are, so that it need not
//! write an answer in the right form.

use super::outcome::{Answer, Outcome};
use super::strategy::{Kind, Strategy};
use super::winner::{Order, Winner};
use crate::evaluation::request::{Prompt, Request};
use crate::model::chat::Message;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How a comparison is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The completion is read with the pattern of the settings.
    #[default]
    Text,
    /// The more probable of the two names, in each order.
    LogProbability,
    /// The output whose name is more probable over both orders, which takes the preference for a place away; both
    /// orders have the same winner.
    AveragedLogProbability,
}

impl Verdict {
    /// Whether a comparison is asked by log-probability.
    pub fn is_log_probability(self) -> bool {
        self != Verdict::Text
    }

    /// Whether a strategy can be decided so.
    ///
    /// # Errors
    /// [`Error::Config`]: log-probabilities decide a comparison that is answered at once, not one with an explanation,
    /// nor a rating.
    pub fn check(self, strategy: &Strategy) -> Result<()> {
        let direct = strategy.modules.iter().all(|module| match &module.kind {
            Kind::Auxiliary => true,
            Kind::Comparison(parser) => parser.is_direct(),
            Kind::SwapAndSynthesize(_) | Kind::Rating => false,
        });
        if self.is_log_probability() && !direct {
            let what = format!(
                "expected text for a strategy that explains or rates ({}), found log-probability",
                strategy.name
            );
            return Err(Error::config("verdict", what));
        }
        Ok(())
    }
}

/// Asks for the log-probabilities of both names after a comparison's turns: first "a", then "b".
pub fn requests(turns: &[Message]) -> [Request; 2] {
    ["a", "b"].map(|name| {
        let mut turns = turns.to_vec();
        turns.push(Message::new("assistant", "Output ("));
        Request::log_likelihood(Prompt::Chat(turns), name)
    })
}

/// Of the log-probabilities of both names, in both orders of [`Order::BOTH`]. There is no winner where they are equal, or
/// not numbers.
pub fn decide(verdict: Verdict, log_probabilities: [[f64; 2]; 2]) -> Outcome {
    let odds = log_probabilities.map(|[first, second]| first - second);
    let [as_given, swapped] = odds;
    // In favour of `output_1`: in the swapped order that is the one shown second.
    let average = (as_given - swapped) / 2.0;
    let answer = |order: Order, odds: f64| {
        let place = match verdict {
            Verdict::AveragedLogProbability => larger(average).map(|output| order.turn(output)),
            _ => larger(odds),
        };
        let completion = match place {
            Some(Winner::First) => "Output (a)",
            Some(Winner::Second) => "Output (b)",
            None => "",
        };
        Answer { completion: completion.into(), winner: place.map(|place| order.turn(place)), log_odds: Some(odds) }
    };
    Outcome::Comparison([answer(Order::AsGiven, as_given), answer(Order::Swapped, swapped)])
}

fn larger(odds: f64) -> Option<Winner> {
    if odds > 0.0 {
        Some(Winner::First)
    } else if odds < 0.0 {
        Some(Winner::Second)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_probable_name_wins_in_each_order_or_over_both() {
        let (one, two) = (Some(Winner::First), Some(Winner::Second));
        // The first place is preferred in both orders, by more where output_2 stands there.
        let biased = [[-0.5, -1.0], [-0.2, -2.0]];
        assert_eq!(decide(Verdict::LogProbability, biased).winners(), [one, two]);
        assert_eq!(decide(Verdict::AveragedLogProbability, biased).winners(), [two, two]);
        assert_eq!(decide(Verdict::LogProbability, [[-1.0, -1.0], [f64::NAN, -1.0]]).winners(), [None, None]);
        let Outcome::Comparison([as_given, swapped]) = decide(Verdict::AveragedLogProbability, biased) else {
            panic!()
        };
        assert_eq!([as_given.completion.as_str(), &swapped.completion], ["Output (b)", "Output (a)"]);
        assert_eq!(as_given.log_odds, Some(0.5));
    }
}
