//! Whether statements are supported by what they cite (recall), and whether each citation is needed (precision).
//!
//! What one statement asks of the entailment model depends on the answers before. [`score`] asks for all statements at
//! once, in three waves (all cited documents together; each alone; all but one), and then reads every statement in the
//! original's order from the memory: so `Statement::judge` alone says what counts.

use super::data::{Dataset, Document};
use super::text;
use crate::Result;
use crate::evaluation::compat::Compat;
use crate::evaluation::entailment::cached::Cached;
use crate::evaluation::entailment::{Entailment, Pair};
use crate::evaluation::python::text::strip;
use std::collections::BTreeMap;

/// An answer to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The question.
    pub question: &'a str,
    /// The answer, citations and all.
    pub output: &'a str,
    /// What it may cite.
    pub documents: &'a [Document],
}

/// How citations are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Sentences or a list.
    pub dataset: Dataset,
    /// Most citations of a statement that count; the first ones.
    pub at_most: Option<usize>,
    /// Sentences with fewer characters are no statements; HELMET's rule. 0: all are.
    pub shortest: usize,
    /// Whether `[0]` is the last document.
    pub compat: Compat,
}

impl Rules {
    /// As ALCE has them: three citations, sentences of any length.
    pub fn alce(dataset: Dataset, compat: Compat) -> Self {
        Rules { dataset, at_most: Some(3), shortest: 0, compat }
    }

    /// As HELMET has them: sentences of at least 5 characters.
    pub fn helmet(dataset: Dataset, compat: Compat) -> Self {
        Rules { shortest: 5, ..Rules::alce(dataset, compat) }
    }
}

/// How many statements cite too much.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Statements.
    pub statements: usize,
    /// Of those, the ones with several citations.
    pub multiple: usize,
    /// Of those, the ones that all citations together support.
    pub supported: usize,
    /// Citations of those that are not needed.
    pub needless: usize,
    /// How often each document is cited, by its place; -1 for `[0]`; out-of-range places too.
    pub places: BTreeMap<i64, usize>,
}

impl Counts {
    /// Adds those of another answer.
    pub fn add(&mut self, other: &Counts) {
        self.statements += other.statements;
        self.multiple += other.multiple;
        self.supported += other.supported;
        self.needless += other.needless;
        for (place, count) in &other.places {
            *self.places.entry(*place).or_default() += count;
        }
    }

    /// What the original prints; nothing where no statement with several citations is supported.
    pub fn line(&self) -> Option<String> {
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole as f64;
        (self.multiple > 0 && self.supported > 0).then(|| {
            format!(
                "Among all sentences, {:.2}% have multiple citations, among which {:.2}% are supported by the joint set, \
                 among which {:.2}% overcite.",
                share(self.multiple, self.statements),
                share(self.supported, self.multiple),
                share(self.needless, self.supported)
            )
        })
    }
}

/// Of one answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Citations {
    /// Share of the statements that are supported, 0 to 1.
    pub recall: f64,
    /// Share of the citations that are needed, 0 to 1; 0 without citations.
    pub precision: f64,
    /// Counts of it.
    pub counts: Counts,
}

/// Asks whether a premise entails a hypothesis.
pub type Ask<'a> = dyn FnMut(Pair<'_>) -> Result<bool> + 'a;

/// One statement and what it cites.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    hypothesis: String,
    /// Documents cited, at most those that count; `None` where nothing is cited or a citation is out of range.
    cited: Option<Vec<usize>>,
    /// Citations, those that do not count apart if all are in range.
    citations: usize,
}

/// What a statement adds to the scores.
#[derive(Clone, Copy, Debug, Default)]
struct Verdict {
    supported: bool,
    needed: usize,
    needless: usize,
}

impl Statement {
    fn read(sentence: &str, documents: usize, rules: Rules, places: &mut BTreeMap<i64, usize>) -> Self {
        let citations = text::citations(sentence);
        citations.iter().for_each(|place| *places.entry(*place).or_default() += 1);
        let hypothesis = strip(&text::remove_citations(sentence)).to_string();
        let found: Option<Vec<usize>> =
            citations.iter().map(|place| text::document(*place, documents, rules.compat)).collect();
        match found.filter(|found| !found.is_empty()) {
            Some(mut cited) => {
                cited.truncate(rules.at_most.unwrap_or(usize::MAX));
                Statement { hypothesis, citations: cited.len(), cited: Some(cited) }
            }
            None => Statement { hypothesis, cited: None, citations: citations.len() },
        }
    }

    /// Asks what the original asks, in its order.
    fn judge(&self, premises: &[String], ask: &mut Ask<'_>) -> Result<Verdict> {
        let Some(cited) = &self.cited else { return Ok(Verdict::default()) };
        if !ask((&join(premises, cited, None), &self.hypothesis))? {
            return Ok(Verdict::default());
        }
        if cited.len() <= 1 {
            return Ok(Verdict { supported: true, needed: 1, needless: 0 });
        }
        let mut verdict = Verdict { supported: true, ..Verdict::default() };
        for document in cited {
            let alone = ask((&join(premises, &[*document], None), &self.hypothesis))?;
            match alone || !ask((&join(premises, cited, Some(*document)), &self.hypothesis))? {
                true => verdict.needed += 1,
                false => verdict.needless += 1,
            }
        }
        Ok(verdict)
    }
}

/// The premise of some documents, without the first mention of one of them.
fn join(premises: &[String], cited: &[usize], without: Option<usize>) -> String {
    let left_out = without.and_then(|document| cited.iter().position(|place| *place == document));
    let kept = cited.iter().enumerate().filter(|(place, _)| Some(*place) != left_out);
    kept.filter_map(|(_, document)| premises.get(*document)).map(String::as_str).collect::<Vec<_>>().join("\n")
}

/// An answer read: its statements, and the premises of its documents.
struct Reading {
    statements: Vec<Statement>,
    premises: Vec<String>,
    places: BTreeMap<i64, usize>,
}

impl Reading {
    fn of(item: &Item<'_>, rules: Rules) -> Self {
        let mut places = BTreeMap::new();
        let sentences = text::statements(rules.dataset, item.question, item.output);
        let statements = sentences
            .iter()
            .filter(|sentence| rules.shortest == 0 || strip(sentence).chars().count() >= rules.shortest)
            .map(|sentence| Statement::read(sentence, item.documents.len(), rules, &mut places))
            .collect();
        Reading { statements, premises: item.documents.iter().map(Document::premise).collect(), places }
    }

    fn judge(&self, ask: &mut Ask<'_>) -> Result<Option<Citations>> {
        if self.statements.is_empty() {
            return Ok(None);
        }
        let mut counts = Counts { statements: self.statements.len(), places: self.places.clone(), ..Counts::default() };
        let (mut supported, mut needed, mut all) = (0, 0, 0);
        for statement in &self.statements {
            let verdict = statement.judge(&self.premises, ask)?;
            supported += usize::from(verdict.supported);
            needed += verdict.needed;
            all += statement.cited.as_ref().map_or(0, Vec::len);
            if statement.citations > 1 {
                counts.multiple += 1;
                counts.supported += usize::from(verdict.supported);
            }
            counts.needless += verdict.needless;
        }
        let recall = supported as f64 / self.statements.len() as f64;
        let precision = if all == 0 { 0.0 } else { needed as f64 / all as f64 };
        Ok(Some(Citations { recall, precision, counts }))
    }
}

/// Judges one answer, asking one pair after the other as the original does. `None` for an answer without statements.
///
/// # Errors
/// Those of `ask`.
pub fn in_order(item: &Item<'_>, rules: Rules, ask: &mut Ask<'_>) -> Result<Option<Citations>> {
    Reading::of(item, rules).judge(ask)
}

/// Judges answers, asking in waves. `None` for an answer without statements: it does not count in the mean.
///
/// # Errors
/// Those of the model.
pub fn score<E: Entailment>(items: &[Item<'_>], rules: Rules, model: &Cached<E>) -> Result<Vec<Option<Citations>>> {
    let readings: Vec<Reading> = items.iter().map(|item| Reading::of(item, rules)).collect();
    let cited = readings.iter().flat_map(|reading| {
        let statements = reading.statements.iter();
        statements.filter_map(move |statement| Some((statement, reading, statement.cited.as_deref()?)))
    });
    let joint = Wave::of(cited.map(|(statement, reading, cited)| Asked {
        statement,
        reading,
        cited,
        without: None,
        alone: None,
    }));
    let several = joint.entailed(model, true)?.into_iter().filter(|asked| asked.cited.len() > 1);
    let each =
        several.flat_map(|asked| asked.cited.iter().map(move |document| Asked { alone: Some(*document), ..asked }));
    let singles = Wave::of(each).entailed(model, false)?;
    let rest = singles.into_iter().map(|asked| Asked { without: asked.alone, alone: None, ..asked });
    Wave::of(rest).entailed(model, true)?;
    let mut ask = |pair: Pair<'_>| match model.known(pair) {
        Some(verdict) => Ok(verdict),
        None => Ok(model.entails(&[pair])?.into_iter().all(|verdict| verdict)),
    };
    readings.iter().map(|reading| reading.judge(&mut ask)).collect()
}

/// A question that a statement raises.
#[derive(Clone, Copy)]
struct Asked<'a> {
    statement: &'a Statement,
    reading: &'a Reading,
    cited: &'a [usize],
    /// All but this one.
    without: Option<usize>,
    /// This one alone.
    alone: Option<usize>,
}

/// Questions that do not depend on each other.
struct Wave<'a> {
    asked: Vec<Asked<'a>>,
    premises: Vec<String>,
}

impl<'a> Wave<'a> {
    fn of(asked: impl Iterator<Item = Asked<'a>>) -> Self {
        let asked: Vec<_> = asked.collect();
        let premise = |asked: &Asked<'_>| match asked.alone {
            Some(document) => join(&asked.reading.premises, &[document], None),
            None => join(&asked.reading.premises, asked.cited, asked.without),
        };
        let premises = asked.iter().map(premise).collect();
        Wave { asked, premises }
    }

    /// The questions whose answer is `wanted`.
    fn entailed<E: Entailment>(&self, model: &Cached<E>, wanted: bool) -> Result<Vec<Asked<'a>>> {
        let texts = self.premises.iter().zip(&self.asked);
        let pairs: Vec<Pair<'_>> =
            texts.map(|(premise, asked)| (premise.as_str(), asked.statement.hypothesis.as_str())).collect();
        let verdicts = model.entails(&pairs)?;
        let kept = self.asked.iter().zip(verdicts).filter(|(_, verdict)| *verdict == wanted);
        Ok(kept.map(|(asked, _)| *asked).collect())
    }
}

#[cfg(test)]
#[path = "citations_tests.rs"]
mod tests;
