//! Questions, choices and summaries of books (InfiniteBench).

use crate::evaluation::helmet::data::Row;
use crate::evaluation::helmet::dataset::Book;
use crate::evaluation::helmet::example::Example;
use crate::evaluation::helmet::sampling::{Sampling, by_shuffle, shuffled};
use crate::python::text::strip;
use crate::{Error, Result};

pub(super) fn examples(task: Book, rows: Vec<Row>, sampling: &Sampling) -> Result<Vec<Example>> {
    let ids: Vec<String> = rows.iter().map(|row| row.key("id")).collect::<Result<_>>()?;
    let one = |(row, id): (&Row, &String)| {
        let mut fields = vec![("demos", demonstrations(task, &rows, &ids, id, sampling)?)];
        let mut answers = row.texts("answer")?;
        if task == Book::Choice {
            let (options, letter) = options(row)?;
            fields.push(("options", options));
            let right = answers.first().map_or("", String::as_str);
            answers = vec![letter.to_string(), format!("{letter}. {right}")];
        }
        Ok(Example {
            id: id.clone(),
            question: row.text("input")?.into(),
            fields,
            units: super::whole(row.text("context")?.into()),
            answers,
            ..Example::default()
        })
    };
    let examples = rows.iter().zip(&ids).map(one).collect::<Result<Vec<_>>>()?;
    Ok(by_shuffle(examples, sampling))
}

/// Other books' questions with their answers.
fn demonstrations(task: Book, rows: &[Row], ids: &[String], own: &str, sampling: &Sampling) -> Result<String> {
    if sampling.shots == 0 {
        return Ok(String::new());
    }
    let others: Vec<&Row> = rows.iter().zip(ids).filter(|(_, id)| *id != own).map(|(row, _)| row).collect();
    if others.len() < sampling.shots {
        let what = format!("expected at least {} rows of other ids, found {}", sampling.shots, others.len());
        return Err(Error::config("demos", what));
    }
    let order = shuffled(others.len(), sampling.seed).into_iter().take(sampling.shots);
    let mut texts = Vec::new();
    for row in order.filter_map(|place| others.get(place)) {
        let answers = row.texts("answer")?;
        let answer = answers.first().map_or("", String::as_str);
        let question = row.text("input")?;
        texts.push(match task {
            Book::Questions => format!("[story text]\nQuestion: {question}\nAnswer: {answer}"),
            Book::Choice => {
                let (options, letter) = options(row)?;
                format!("[story text]\nQuestion: {question}\nOptions:\n{options}\nAnswer: {letter}")
            }
            Book::Summary => format!("[story text]\nSummary: {}", strip(answer)),
        });
    }
    Ok(format!("For example:\n\n{}\n\nNow, read the following story:\n\n", texts.join("\n\n")))
}

/// The four options, one a line, and the letter of the right one.
fn options(row: &Row) -> Result<(String, char)> {
    let options = row.texts("options")?;
    let answers = row.texts("answer")?;
    let [a, b, c, d] = options.as_slice() else { return Err(row.wrong("options", "four texts")) };
    let right =
        options.iter().zip('A'..).find(|(option, _)| answers.first() == Some(*option)).map(|(_, letter)| letter);
    let letter = right.ok_or_else(|| row.wrong("answer", "one of the options"))?;
    Ok((format!("A. {a}\nB. {b}\nC. {c}\nD. {d}"), letter))
}
