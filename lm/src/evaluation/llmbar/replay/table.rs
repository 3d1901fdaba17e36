//! The paper's tables: accuracy and agreement by LLM, strategy and subset.

use crate::evaluation::llmbar::statistics::{Kappa, Statistics};
use crate::evaluation::llmbar::stored::ResultFolder;
use serde::Serialize;
use std::collections::BTreeMap;

/// Subsets whose outputs were chosen against judges, in the paper's order.
pub const ADVERSARIAL: [&str; 4] = ["Neighbor", "GPTInst", "GPTOut", "Manual"];

/// One subset of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// How many.
    pub examples: usize,
    /// Share, mean of both orders.
    pub accuracy: f64,
    /// Share with the same winner, or none, in both orders.
    pub agreement: f64,
    /// Share of completions without a winner.
    pub unparsed: f64,
    /// Mended, not the original's.
    pub kappa: Kappa,
}

/// Means over subsets, each of the same weight.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Average {
    /// Share.
    pub accuracy: f64,
    /// Share.
    pub agreement: f64,
}

/// A judge and a strategy.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The judge.
    pub llm: String,
    /// The strategy.
    pub strategy: String,
    /// By the subset's name.
    pub subsets: BTreeMap<String, Cell>,
    /// Over [`ADVERSARIAL`], where all are there.
    pub adversarial: Option<Average>,
    /// Over Natural and these, where all are there.
    pub average: Option<Average>,
}

/// Rows by LLM and strategy, of the statistics of each folder.
pub(super) fn rows<'a>(statistics: impl Iterator<Item = (&'a ResultFolder, Statistics)>) -> Vec<Row> {
    let mut rows: BTreeMap<(&str, &str), BTreeMap<String, Cell>> = BTreeMap::new();
    for (result, statistics) in statistics {
        let cell = Cell {
            examples: statistics.examples,
            accuracy: statistics.accuracy(),
            agreement: statistics.agreement(),
            unparsed: statistics.unparsed(),
            kappa: statistics.kappa,
        };
        rows.entry((&result.llm, &result.strategy)).or_default().insert(result.subset.clone(), cell);
    }
    let row = |((llm, strategy), subsets): ((&str, &str), BTreeMap<String, Cell>)| Row {
        adversarial: average(&subsets, ADVERSARIAL.into_iter()),
        average: average(&subsets, ["Natural"].into_iter().chain(ADVERSARIAL)),
        llm: llm.into(),
        strategy: strategy.into(),
        subsets,
    };
    rows.into_iter().map(row).collect()
}

fn average<'a>(subsets: &BTreeMap<String, Cell>, names: impl Iterator<Item = &'a str>) -> Option<Average> {
    let cells: Vec<&Cell> = names.map(|name| subsets.get(name)).collect::<Option<_>>()?;
    let mean = |value: fn(&Cell) -> f64| cells.iter().map(|cell| value(cell)).sum::<f64>() / cells.len() as f64;
    Some(Average { accuracy: mean(|cell| cell.accuracy), agreement: mean(|cell| cell.agreement) })
}
