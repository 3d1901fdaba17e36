//! Whether statements are supported by what they cite (recall), and whether each citation is needed (precision).
//!
//! What one statement asks of the entailment model depends on the answers before. [`score`] asks for all statements at
//! once, in three waves (all cited documents together; each alone; all but one), and then judges every statement from
//! those answers in the original's order: so `Statement::judge` alone says what counts.

use super::data::{Dataset, Document};
use super::text;
use crate::Result;
use crate::evaluation::compat::Compat;
use crate::evaluation::entailment::cached::Cached;
use crate::evaluation::entailment::{Entailment, Pair};
use crate::python::text::strip;
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, HashMap};

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
    fn judge(&self, ask: &mut dyn FnMut(Question) -> Result<bool>) -> Result<Verdict> {
        let Some(cited) = &self.cited else { return Ok(Verdict::default()) };
        if !ask(Question::Together)? {
            return Ok(Verdict::default());
        }
        if cited.len() <= 1 {
            return Ok(Verdict { supported: true, needed: 1, needless: 0 });
        }
        let mut verdict = Verdict { supported: true, ..Verdict::default() };
        for place in 0..cited.len() {
            match ask(Question::Alone(place))? || !ask(Question::Without(place))? {
                true => verdict.needed += 1,
                false => verdict.needless += 1,
            }
        }
        Ok(verdict)
    }

    /// The premise of a question; nothing where nothing is cited.
    fn premise(&self, premises: &[String], question: Question) -> String {
        let cited = self.cited.as_deref().unwrap_or_default();
        match question {
            Question::Together => join(premises, cited, None),
            Question::Alone(place) => join(premises, &cited[place..=place], None),
            Question::Without(place) => join(premises, cited, Some(cited[place])),
        }
    }
}

/// What the premise of a question is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Question {
    /// All cited documents.
    Together,
    /// The one cited at a place.
    Alone(usize),
    /// All but the first mention of the one cited at a place.
    Without(usize),
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

    /// `ask` gets the place of a statement and what is asked of it.
    fn judge(&self, ask: &mut dyn FnMut(usize, Question) -> Result<bool>) -> Result<Option<Citations>> {
        if self.statements.is_empty() {
            return Ok(None);
        }
        let mut counts = Counts { statements: self.statements.len(), places: self.places.clone(), ..Counts::default() };
        let (mut supported, mut needed, mut all) = (0, 0, 0);
        for (place, statement) in self.statements.iter().enumerate() {
            let verdict = statement.judge(&mut |question| ask(place, question))?;
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
    let reading = Reading::of(item, rules);
    reading.judge(&mut |place, question| {
        let statement = &reading.statements[place];
        ask((&statement.premise(&reading.premises, question), &statement.hypothesis))
    })
}

/// Judges answers, asking in waves. `None` for an answer without statements: it does not count in the mean.
///
/// # Errors
/// Those of the model.
pub fn score<E: Entailment>(items: &[Item<'_>], rules: Rules, model: &Cached<E>) -> Result<Vec<Option<Citations>>> {
    let readings: Vec<Reading> = items.iter().map(|item| Reading::of(item, rules)).collect();
    let mut answers = Answers { readings: &readings, verdicts: HashMap::default() };
    let places = readings.iter().enumerate().flat_map(|(answer, reading)| {
        let cites = reading.statements.iter().enumerate().filter(|(_, statement)| statement.cited.is_some());
        cites.map(move |(statement, _)| (answer, statement))
    });
    let places: Vec<(usize, usize)> = places.collect();
    let each = |(answer, statement): &(usize, usize)| {
        let (answer, statement) = (*answer, *statement);
        let cited = readings[answer].statements[statement].cited.as_ref().map_or(0, Vec::len);
        (0..cited).filter(move |_| cited > 1).map(move |place| (answer, statement, place))
    };
    let together = places.iter().map(|(answer, statement)| (*answer, *statement, Question::Together));
    answers.ask(together.collect(), model)?;
    let several =
        places.iter().filter(|(answer, statement)| answers.is((*answer, *statement, Question::Together), true));
    let several: Vec<(usize, usize, usize)> = several.flat_map(each).collect();
    answers.ask(
        several.iter().map(|(answer, statement, k)| (*answer, *statement, Question::Alone(*k))).collect(),
        model,
    )?;
    let not_alone = several.into_iter().filter(|(a, s, k)| answers.is((*a, *s, Question::Alone(*k)), false));
    let without = not_alone.map(|(answer, statement, place)| (answer, statement, Question::Without(place))).collect();
    answers.ask(without, model)?;
    let judge = |(answer, reading): (usize, &Reading)| {
        reading.judge(&mut |statement, question| Ok(answers.is((answer, statement, question), true)))
    };
    readings.iter().enumerate().map(judge).collect()
}

/// An answer, a statement of it, and what is asked of it.
type Place = (usize, usize, Question);

/// The answers of the model so far.
struct Answers<'a> {
    readings: &'a [Reading],
    verdicts: HashMap<Place, bool, FixedState>,
}

impl Answers<'_> {
    /// Asks a wave of questions, which do not depend on each other.
    fn ask<E: Entailment>(&mut self, places: Vec<Place>, model: &Cached<E>) -> Result<()> {
        let statement = |(answer, statement, _): &Place| &self.readings[*answer].statements[*statement];
        let premise = |place: &Place| statement(place).premise(&self.readings[place.0].premises, place.2);
        let premises: Vec<String> = places.iter().map(premise).collect();
        let pairs = premises.iter().zip(&places).map(|(premise, place)| (&**premise, &*statement(place).hypothesis));
        let verdicts = model.entails(&pairs.collect::<Vec<Pair<'_>>>())?;
        self.verdicts.extend(places.into_iter().zip(verdicts));
        Ok(())
    }

    /// Whether the answer to a question that was asked is this one.
    fn is(&self, place: Place, verdict: bool) -> bool {
        self.verdicts.get(&place) == Some(&verdict)
    }
}

#[cfg(test)]
#[path = "citations_tests.rs"]
mod tests;
