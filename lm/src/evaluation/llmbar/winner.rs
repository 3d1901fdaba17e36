//! Which output is better, and in which order two outputs are shown.

use serde::{Deserialize, Serialize};

/// One of two outputs: by its place in the data, or, where it says so, by the place it is shown at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Winner {
    /// The first, `output_1`, or the one shown as Output (a).
    #[serde(rename = "1")]
    First,
    /// The second, `output_2`, or the one shown as Output (b).
    #[serde(rename = "2")]
    Second,
}

impl Winner {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Winner::First => Winner::Second,
            Winner::Second => Winner::First,
        }
    }

    /// Of a label of the data: 1 or 2.
    pub fn from_label(label: u64) -> Option<Self> {
        match label {
            1 => Some(Winner::First),
            2 => Some(Winner::Second),
            _ => None,
        }
    }

    /// 1 or 2.
    pub fn number(self) -> u8 {
        match self {
            Winner::First => 1,
            Winner::Second => 2,
        }
    }
}

/// Order in which two outputs are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// `output_1` first; `swap = False` in the original.
    AsGiven,
    /// `output_2` first; `swap = True` in the original.
    Swapped,
}

impl Order {
    /// Both, in the order asked.
    pub const BOTH: [Order; 2] = [Order::AsGiven, Order::Swapped];

    /// The output of the data that is shown at a place, or the place at which an output of the data is shown: going
    /// there and back are the same.
    pub fn turn(self, output: Winner) -> Winner {
        match self {
            Order::AsGiven => output,
            Order::Swapped => output.other(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_is_its_own_inverse() {
        assert_eq!(Order::Swapped.turn(Winner::First), Winner::Second);
        for order in Order::BOTH {
            for output in [Winner::First, Winner::Second] {
                assert_eq!(order.turn(order.turn(output)), output);
            }
        }
    }

    #[test]
    fn a_winner_is_stored_as_its_number_in_text() {
        assert_eq!(serde_json::to_string(&Some(Winner::Second)).unwrap(), "\"2\"");
        assert_eq!(serde_json::from_str::<Option<Winner>>("null").unwrap(), None);
        assert!(serde_json::from_str::<Winner>("\"3\"").is_err());
        assert_eq!([0, 1, 2, 3].map(Winner::from_label), [None, Some(Winner::First), Some(Winner::Second), None]);
    }
}
