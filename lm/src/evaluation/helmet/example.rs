//! One example: the units its context is made of, and the prompt they give.

use super::template::{Template, fill};
use crate::Result;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// A piece of a context that can be left out to make it shorter: a passage, a pair, an example.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// As it is shown.
    pub text: String,
    /// Whether the answer is in it, so that it stays.
    pub keep: bool,
    /// Id and relevance, of a passage that is to be ranked.
    pub judged: Option<(String, i64)>,
}

/// Which units go first where there are too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thin {
    /// Those at the end.
    #[default]
    End,
    /// Evenly over the whole, so that the depth of what stays is about the same.
    Evenly,
}

/// One example of a data set.
#[derive(Clone, Debug, Default)]
pub struct Example {
    /// Names it in its data.
    pub id: String,
    /// The question, as it stands in the prompt.
    pub question: String,
    /// Other fields of the template.
    pub fields: Vec<(&'static str, String)>,
    /// Pieces of the context.
    pub units: Vec<Unit>,
    /// Before, between and after the pieces.
    pub around: [&'static str; 3],
    /// How the context is made shorter.
    pub thin: Thin,
    /// The right answers.
    pub answers: Vec<String>,
    /// Whether there is one answer, not a list (so it is written in results).
    pub single: bool,
    /// Where in the context the answer is, as the data say: the place of a needle among those tried.
    pub depth: Option<f64>,
    /// What scoring needs besides (documents and question-answer pairs of ALCE, key points of summaries).
    pub details: Map<String, Value>,
}

/// What a model is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What the user of a conversation says.
    pub user: String,
    /// What the answer of a model without a conversation begins with.
    pub prefill: String,
    /// The prompt of a model without a conversation; ends with `prefill`.
    pub completion: String,
}

impl Example {
    /// The places of `count` units, in order; those that must stay are among them, whatever the count.
    pub fn chosen(&self, count: usize) -> Vec<usize> {
        if count >= self.units.len() {
            return (0..self.units.len()).collect();
        }
        let (mut kept, others): (Vec<usize>, Vec<usize>) =
            (0..self.units.len()).partition(|place| self.units.get(*place).is_some_and(|unit| unit.keep));
        let wanted = count.saturating_sub(kept.len());
        let other = |n: usize| match self.thin {
            Thin::End => n,
            // The middle of each of `wanted` equal stretches.
            Thin::Evenly => (2 * n + 1) * others.len() / (2 * wanted),
        };
        kept.extend((0..wanted).filter_map(|n| others.get(other(n))));
        kept.sort_unstable();
        kept
    }

    /// The context of some units.
    pub fn context(&self, units: &[usize]) -> String {
        let [before, between, after] = self.around;
        let mut text = String::from(before);
        for (n, unit) in units.iter().filter_map(|place| self.units.get(*place)).enumerate() {
            if n > 0 {
                text.push_str(between);
            }
            text.push_str(&unit.text);
        }
        text.push_str(after);
        text
    }

    /// The whole context.
    pub fn full_context(&self) -> String {
        self.context(&(0..self.units.len()).collect::<Vec<_>>())
    }

    /// The prompt with a context.
    ///
    /// # Errors
    /// A field that the template wants and the example has not.
    pub fn render(&self, template: &Template, context: &str) -> Result<Rendered> {
        let value = |name: &str| match name {
            "context" => Some(context),
            "question" => Some(self.question.as_str()),
            name => self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str()),
        };
        let user = fill(template.user, value)?;
        let prefill = fill(template.system, value)?;
        let completion = [&user, template.separator, &prefill].concat();
        Ok(Rendered { user, prefill, completion })
    }

    /// Depth by the data; without one, where the first unit that must stay is among `units`, 0 to 1.
    pub fn depth_among(&self, units: &[usize]) -> Option<f64> {
        self.depth.or_else(|| {
            let found = units.iter().position(|place| self.units.get(*place).is_some_and(|unit| unit.keep))?;
            Some(found as f64 / units.len().saturating_sub(1).max(1) as f64)
        })
    }

    /// The right answer as JSON: a text, or a list of texts.
    pub fn target(&self) -> Value {
        match self.answers.as_slice() {
            [answer] if self.single => Value::from(answer.as_str()),
            answers => Value::from(answers),
        }
    }

    /// The output with what it began with put before it, where the prompt held that.
    pub fn whole_output<'a>(&self, prefill: &str, output: &'a str, chat: bool) -> Cow<'a, str> {
        if chat { Cow::Borrowed(output) } else { Cow::Owned([prefill, output].concat()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(kept: usize, thin: Thin) -> Example {
        let unit = |n: usize| Unit { text: format!("u{n}"), keep: n == kept, judged: None };
        Example { units: (0..11).map(unit).collect(), around: ["<", ",", ">"], thin, ..Example::default() }
    }

    #[test]
    fn thinning_keeps_what_must_stay_and_its_depth() {
        let of = |kept, thin, count| example(kept, thin).chosen(count);
        assert_eq!(of(10, Thin::End, 3), [0, 1, 10]);
        assert_eq!(of(5, Thin::Evenly, 5), [1, 3, 5, 7, 9]);
        assert_eq!(of(5, Thin::Evenly, 0), [5]);
        assert_eq!(of(5, Thin::Evenly, 40).len(), 11);
        for depth in 0..11 {
            let example = example(depth, Thin::Evenly);
            let chosen = example.chosen(6);
            assert_eq!(chosen.len(), 6);
            assert!((example.depth_among(&chosen).unwrap() - depth as f64 / 10.0).abs() <= 0.1);
        }
    }

    #[test]
    fn contexts_and_prompts_are_joined() {
        let example = example(0, Thin::End);
        assert_eq!(example.context(&[0, 2]), "<u0,u2>");
        let template = Template { user: "{context}?", system: "A:", separator: "\n" };
        let rendered = example.render(&template, "{x}").unwrap();
        assert_eq!(rendered.completion, "{x}?\nA:");
        assert!(example.render(&Template { user: "{demos}", ..template }, "").is_err());
        assert_eq!(example.whole_output("A:", " b", false), "A: b");
        assert_eq!(example.whole_output("A:", " b", true), " b");
    }
}
