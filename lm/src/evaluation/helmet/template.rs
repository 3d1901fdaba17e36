//! The texts around a task: what the user says, and what the answer begins with.

use super::dataset::{Book, Kind, Ruler};
use crate::{Error, Result};

/// A task's texts, with `{fields}`. A chat model gets `user`; another `user`, `separator` and `system`, and `system` is
/// put before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// The question with everything before it.
    pub user: &'static str,
    /// What the answer begins with.
    pub system: &'static str,
    /// Between the two.
    pub separator: &'static str,
}

impl Template {
    /// The template of a kind.
    pub fn of(kind: &Kind) -> Self {
        let (user, system, separator) = match kind {
            Kind::Passages { .. } => (PASSAGES, "Answer:", "\n"),
            Kind::KeyValue => (KEY_VALUE, "Corresponding value:", "\n"),
            Kind::Ranking => (RANKING, "Ranking:", "\n"),
            Kind::Labels(_) => (LABELS, "label:", "\n"),
            Kind::Ruler(task) => {
                let (user, system) = ruler(*task);
                (user, system, "\n")
            }
            Kind::Story => (STORY, "Answer:", "\n"),
            Kind::Book(Book::Questions) => (BOOK_QUESTION, "Answer:", "\n\n"),
            Kind::Book(Book::Choice) => (BOOK_CHOICE, "Answer:", "\n\n"),
            Kind::Book(Book::Summary) => (BOOK_SUMMARY, "Summary:", "\n\n"),
            Kind::Cases => (CASES, "Summary:", "\n\n"),
            Kind::Citation { .. } => ("{demos}{instruction}\n\nQuestion: {question}\n\n{context}", "Answer:", "\n\n"),
        };
        Template { user, system, separator }
    }
}

const PASSAGES: &str = "Use the given documents to write a concise and short answer to the question. Write your answer \
    in the following format:\nAnswer: [answer]\n\n{demos}{context}\n\nQuestion: {question}";

const KEY_VALUE: &str = "{context}\n\nExtract the value corresponding to the specified key in the JSON object \
    below.\n\n{demos}Key: {question}";

// "relelvant" is the benchmark's own.
const RANKING: &str = "You are provided with a list of documents, each indicated by their ID. Rank each document based \
    on their relevance to the question in descending order from most relelvant to least relevant texts. Include all \
    documents in the rankings. Write your answer using the unique IDs, with the following format:\nRanking: ID3 > ID1 > \
    ID2\n\n{demos}{context}\n\nQuery: {question}";

const LABELS: &str = "Use the provided mapping from the text to label to assign a label to the text. Only output \
    \"label: {{label}}\" and nothing else. \n\n{context}\n\n{question}";

const STORY: &str = "You are given a story, which can be either a novel or a movie script, and a question. Answer the \
    question as concisely as you can, using a single phrase if possible.\n\n{demos}{context}\n\nQuestion: {question}";

const BOOK_QUESTION: &str = "You are given a story and a question. Answer the question as concisely as you can, using a \
    single phrase if possible.\n\n{demos}{context}\n\nQuestion: {question}";

const BOOK_CHOICE: &str = "You are given a story and a question with multiple choices. Choose the best answer from the \
    options provided. Only one of the following options is correct, output the answer using one single letter (A, B, C, \
    or D). Don't say anything else.\n\n{demos}{context}\n\nQuestion: {question}\nOptions:\n{options}";

const BOOK_SUMMARY: &str = "You are given a book and you are tasked to summarize it. Write a summary of about 1000 to \
    1200 words. Only write about the plot and characters of the story. Do not discuss the themes or background of the \
    book. Do not provide any analysis or commentary.\n\n{demos}{context}\n\nNow summarize the book.";

const CASES: &str = "You are given the legal documents in a civil rights lawsuit, and you are tasked to summarize the \
    case. Write a concise summary of one paragraph (200 to 250 words). The summary should contain a short description of \
    the background, the parties involved, and the outcomes of the case.\n\n{demos}Legal documents:\n{context}\n\nNow \
    please summarize the case.";

/// User text and beginning of the answer of a task of RULER.
fn ruler(task: Ruler) -> (&'static str, &'static str) {
    match task {
        Ruler::Needles => (
            "Some special magic {type_needle_v} are hidden within the following text. Make sure to memorize it. I will \
             quiz you about the {type_needle_v} afterwards.\n{context}\nWhat are all the special magic {type_needle_v} \
             for {query} mentioned in the provided text?",
            "The special magic {type_needle_v} for {query} mentioned in the provided text are",
        ),
        Ruler::Needle => (
            "A special magic {type_needle_v} is hidden within the following text. Make sure to memorize it. I will quiz \
             you about the {type_needle_v} afterwards.\n{context}\nWhat is the special magic {type_needle_v} for {query} \
             mentioned in the provided text?",
            "The special magic {type_needle_v} for {query} mentioned in the provided text is",
        ),
        Ruler::Variables => (
            "{example}Memorize and track the chain(s) of variable assignment hidden in the following \
             text.\n\n{context}\nQuestion: Find all variables that are assigned the value {query} in the text above.",
            "Answer: According to the chain(s) of variable assignment in the text above, {num_v} variables are assigned \
             the value {query}, they are:",
        ),
        Ruler::CommonWords => (
            "{example}Below is a numbered list of words. In these words, some appear more often than others. Memorize \
             the ones that appear most often.\n{context}\nQuestion: What are the 10 most common words in the above list?",
            "Answer: The top 10 words that appear most often in the list are:",
        ),
        Ruler::FrequentWords => (
            "Read the following coded text and track the frequency of each coded word. Find the three most frequently \
             appeared coded words.\n{context}\nQuestion: Do not provide any explanation. Please ignore the dots '....'. \
             What are the three most frequently appeared words in the above coded text?",
            "Answer: According to the coded text above, the three most frequently appeared words are:",
        ),
        Ruler::Questions => (
            "Answer the question based on the given documents. Only give me the answer and do not output any other \
             words.\n\nThe following are given documents.\n\n{context}\n\nAnswer the question based on the given \
             documents. Only give me the answer and do not output any other words.\n\nQuestion: {question}",
            "Answer:",
        ),
    }
}

/// Fills `{fields}` in as Python's `str.format` does (`{{` and `}}` are braces); values are not looked at again.
///
/// # Errors
/// [`Error::Config`] named `template` for a field that has no value, or a brace without its partner.
pub fn fill<'a>(template: &str, value: impl Fn(&str) -> Option<&'a str>) -> Result<String> {
    let mut text = String::with_capacity(template.len() + 256);
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').filter(|_| brace == "{").ok_or_else(|| {
            Error::config("template", format!("expected each brace with its partner, found {:?}", start(&rest[at..])))
        })?;
        let value = value(name).ok_or_else(|| {
            Error::config("template", format!("expected a value for each field, found none for {{{}}}", start(name)))
        })?;
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

/// The first characters, for a message.
fn start(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_once_and_braces_doubled_are_braces() {
        let value = |name: &str| (name == "a").then_some("{b}");
        assert_eq!(fill("{{x}} {a}!", value).unwrap(), "{x} {b}!");
        assert_eq!(fill("", value).unwrap(), "");
        let message = fill("{b}", value).unwrap_err().to_string();
        assert_eq!(message, "template: expected a value for each field, found none for {b}");
        assert!(fill("{a", value).is_err());
        assert!(fill("a}", value).is_err());
    }
}
