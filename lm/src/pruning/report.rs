//! What a pruning run did: what was removed where, and what it cost.

use super::extract::{Agreement, Kept};
use super::shape::Shape;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

/// A domain before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DomainReport {
    /// Its name.
    pub name: String,
    /// Where its loss should be, nats.
    pub reference: f64,
    /// Loss of the source on what is held out, nats.
    pub source: f64,
    /// Loss of the smaller model, nats.
    pub pruned: f64,
    /// Loss after continued training, nats.
    pub continued: Option<f64>,
    /// Weight to begin with and at the end.
    pub weight: (f64, f64),
    /// Passes over its rows.
    pub passes: f64,
}

/// What `lm prune` did.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The run folder.
    pub run: PathBuf,
    /// The smaller model, a Hugging Face folder in it.
    pub model: PathBuf,
    /// The model after continued training, where there was any.
    pub continued_model: Option<PathBuf>,
    /// Shape before.
    pub source: Shape,
    /// Shape after.
    pub target: Shape,
    /// Scalars before and after.
    pub parameters: (u64, u64),
    /// Optimiser steps of pruning.
    pub steps: u64,
    /// Seconds of pruning, validation included.
    pub seconds: f64,
    /// Expected sparsity at the end and its target, by kind of mask.
    pub sparsity: BTreeMap<String, (f64, f64)>,
    /// Masked against written model.
    pub agreement: Agreement,
    /// What is left, by numbers of the source.
    pub kept: Kept,
    /// Domains.
    pub domains: Vec<DomainReport>,
}

impl Report {
    /// A table for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let mut line = |part: std::fmt::Arguments<'_>| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{part}");
        };
        let (before, after) = (&self.source, &self.target);
        line(format_args!(
            "{} parameters became {} in {} steps, {:.0} s",
            self.parameters.0, self.parameters.1, self.steps, self.seconds
        ));
        let heads = |shape: &Shape| shape.groups * shape.group_heads;
        line(format_args!(
            "layers {} -> {}, heads {} -> {}, hidden {} -> {}, intermediate {} -> {}",
            before.layers,
            after.layers,
            heads(before),
            heads(after),
            before.hidden,
            after.hidden,
            before.intermediate,
            after.intermediate
        ));
        line(format_args!(
            "masked and written model differ by {:.1e} in logits up to {:.1}",
            self.agreement.difference, self.agreement.largest
        ));
        for (kind, (found, target)) in &self.sparsity {
            line(format_args!("expected sparsity of {kind}: {found:.4}, target {target:.4}"));
        }
        line(format_args!("\nlayer  becomes  groups of heads removed      intermediate kept"));
        for layer in 0..before.layers {
            let Some(number) = self.kept.layers.iter().position(|l| *l == layer) else {
                line(format_args!("{layer:>5}  removed"));
                continue;
            };
            let groups = &self.kept.groups[number];
            let removed: Vec<String> =
                (0..before.groups).filter(|g| !groups.contains(g)).map(|g| g.to_string()).collect();
            let removed = if removed.is_empty() { "none".into() } else { removed.join(" ") };
            let inner = self.kept.intermediate[number].len();
            line(format_args!("{layer:>5}  {number:>7}  {removed:<28} {inner} of {}", before.intermediate));
        }
        line(format_args!("\ndomain            reference   source   pruned  continued  weight          passes"));
        for d in &self.domains {
            let continued = d.continued.map_or("-".into(), |loss| format!("{loss:.4}"));
            line(format_args!(
                "{:<16} {:>10.4} {:>8.4} {:>8.4} {continued:>10}  {:.4} -> {:.4} {:>6.2}",
                d.name, d.reference, d.source, d.pruned, d.weight.0, d.weight.1, d.passes
            ));
        }
        line(format_args!("model: {}", self.continued_model.as_ref().unwrap_or(&self.model).display()));
        text
    }
}
