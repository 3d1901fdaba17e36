//! ABACUS's sparse matrices: for each cell R one line "R1 R2 R3 count", then values, columns and row pointers.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use num_complex::Complex64;

use crate::deeph::matrix::{BlockMatrix, Entries};
use crate::error::{Error, Result, Rule};
use crate::files;

/// Cells farther than this from the home cell are no crystal's.
const MAX_CELL: i64 = i32::MAX as i64;

/// Reads a file of matrices `dimension` by `dimension`, calling `add` with the cell, row, column and value of every
/// element; `complex` values are written (re,im).
///
/// Errors: those of `add`; a file that is missing, longer than `max_bytes`, truncated, or breaks the format, with the
/// line.
pub(super) fn read(
    path: &Path,
    dimension: usize,
    complex: bool,
    max_bytes: u64,
    mut add: impl FnMut([i64; 3], usize, usize, Complex64) -> Result<()>,
) -> Result<()> {
    let file = files::open(path, "a sparse matrix of ABACUS (out_mat_hs2 1)")?;
    let bytes = file.metadata().map_err(Error::io(path, "read"))?.len();
    if bytes > max_bytes {
        return Err(Error::invalid(Rule::Size, path, "file", format!("at most {max_bytes} bytes"), bytes.to_string()));
    }
    let mut lines = Lines { reader: BufReader::new(file), line: String::new(), number: 0, path };
    let mut head = lines.next("\"Matrix Dimension of ..\"")?;
    if head.trim_start().starts_with("STEP") {
        head = lines.next("\"Matrix Dimension of ..\"")?;
    }
    let last = |line: &str| line.rsplit([' ', ':']).next().and_then(|word| word.trim().parse::<usize>().ok());
    let stated = if head.contains("Matrix Dimension") { last(head.trim_end()) } else { None };
    if stated != Some(dimension) {
        let found = lines.shown();
        return Err(lines.invalid(Rule::OrbitalCount, format!("\"Matrix Dimension of ..: {dimension}\""), found));
    }
    let head = lines.next("\"Matrix number of ..\"")?;
    let cells = if head.contains("Matrix number") { last(head.trim_end()) } else { None };
    let Some(cells) = cells else {
        let found = lines.shown();
        return Err(lines.invalid(Rule::Format, "\"Matrix number of ..\" and a number".into(), found));
    };
    for _ in 0..cells {
        let head = lines.next("\"R1 R2 R3 count\"")?;
        let words: Option<Vec<i64>> = head.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
        let fits = |words: &[i64]| words.iter().all(|r| r.abs() <= MAX_CELL);
        let (cell, count) = match words.as_deref() {
            Some([a, b, c, count]) if fits(&[*a, *b, *c]) && *count >= 0 => ([*a, *b, *c], *count as usize),
            _ => {
                let found = lines.shown();
                return Err(lines.invalid(Rule::Format, "\"R1 R2 R3 count\"".into(), found));
            }
        };
        if count == 0 {
            continue;
        }
        let value = |word: &str| if complex { complex_number(word) } else { real_number(word) };
        let values = lines.list(&format!("{count} finite values"), count, value)?;
        let index = |word: &str| word.parse::<usize>().ok();
        let columns = lines.list(&format!("{count} columns"), count, index)?;
        let at = lines.number;
        let rows = lines.list(&format!("{} row pointers", dimension + 1), dimension + 1, index)?;
        if rows.first() != Some(&0) || rows.last() != Some(&count) || rows.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err(lines.invalid(
                Rule::Format,
                format!("row pointers that ascend from 0 to {count}"),
                "other".into(),
            ));
        }
        for (row, ends) in rows.windows(2).enumerate() {
            let own = &columns[ends[0]..ends[1]];
            if own.windows(2).any(|pair| pair[0] >= pair[1]) || own.last().is_some_and(|column| *column >= dimension) {
                let expected = format!("ascending columns below {dimension} in row {row}");
                return Err(Error::invalid(Rule::Format, path, format!("line {at}"), expected, "others"));
            }
            for (column, value) in own.iter().zip(&values[ends[0]..ends[1]]) {
                add(cell, row, *column, *value)?;
            }
        }
    }
    if let Some(rest) = lines.rest()? {
        let expected = format!("the end of the file after {cells} cells: one step only");
        return Err(lines.invalid(Rule::Format, expected, rest));
    }
    Ok(())
}

fn real_number(word: &str) -> Option<Complex64> {
    word.parse::<f64>().ok().filter(|x| x.is_finite()).map(Complex64::from)
}

/// "(re,im)".
fn complex_number(word: &str) -> Option<Complex64> {
    let (re, im) = word.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some(Complex64::new(re.parse().ok()?, im.parse().ok()?)).filter(|z| z.is_finite())
}

/// Whether two real matrices have the same pairs and elements within `tolerance`.
pub(super) fn alike(a: &BlockMatrix, b: &BlockMatrix, tolerance: f64) -> bool {
    match (&a.entries, &b.entries) {
        (Entries::Real(x), Entries::Real(y)) => {
            a.pairs == b.pairs && x.len() == y.len() && x.iter().zip(y).all(|(x, y)| (x - y).abs() <= tolerance)
        }
        _ => false,
    }
}

/// The lines of a file, one at a time.
struct Lines<'a> {
    reader: BufReader<File>,
    line: String,
    number: usize,
    path: &'a Path,
}

impl Lines<'_> {
    fn next(&mut self, expected: &str) -> Result<&str> {
        if self.advance()? == 0 {
            return Err(self.invalid(Rule::Format, expected.into(), "the end of the file".into()));
        }
        Ok(&self.line)
    }

    fn advance(&mut self) -> Result<usize> {
        self.line.clear();
        self.number += 1;
        self.reader.read_line(&mut self.line).map_err(Error::io(self.path, "read"))
    }

    /// A line of `count` words that `read` understands; memory grows with the line, not with the count it should have.
    fn list<T>(&mut self, expected: &str, count: usize, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
        self.next(expected)?;
        let mut all = Vec::new();
        for word in self.line.split_ascii_whitespace() {
            match read(word) {
                Some(value) => all.push(value),
                None => {
                    let cut: String = word.chars().take(60).collect();
                    let rule = if cut.to_lowercase().contains("nan") || cut.to_lowercase().contains("inf") {
                        Rule::NotFinite
                    } else {
                        Rule::Format
                    };
                    return Err(self.invalid(rule, expected.into(), format!("{cut:?} at place {}", all.len() + 1)));
                }
            }
        }
        match all.len() == count {
            true => Ok(all),
            false => Err(self.invalid(Rule::Size, expected.into(), all.len().to_string())),
        }
    }

    /// The first line that is not blank after all that belongs to the format; `None` at the end.
    fn rest(&mut self) -> Result<Option<String>> {
        while self.advance()? > 0 {
            if !self.line.trim().is_empty() {
                return Ok(Some(self.shown()));
            }
        }
        Ok(None)
    }

    fn shown(&self) -> String {
        format!("{:?}", self.line.trim_end().chars().take(60).collect::<String>())
    }

    fn invalid(&self, rule: Rule, expected: String, found: String) -> Error {
        Error::invalid(rule, self.path, format!("line {}", self.number), expected, found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "STEP: 0\nMatrix Dimension of H(R): 2\nMatrix number of H(R): 2\n0 0 0 3\n 1.0 2e-1 -3\n 0 1 1\n \
        0 2 3\n1 0 -1 0\n";

    type Element = ([i64; 3], usize, usize, Complex64);

    fn elements(text: &str, complex: bool) -> Result<Vec<Element>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("H.csr");
        std::fs::write(&path, text).unwrap();
        let mut all = Vec::new();
        read(&path, 2, complex, 1 << 20, |cell, row, column, value| {
            all.push((cell, row, column, value));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn reads_real_and_complex_elements() {
        let real = |x: f64| Complex64::new(x, 0.0);
        let expected = [([0; 3], 0, 0, real(1.0)), ([0; 3], 0, 1, real(0.2)), ([0; 3], 1, 1, real(-3.0))];
        assert_eq!(elements(GOOD, false).unwrap(), expected);
        assert_eq!(elements(GOOD.trim_start_matches("STEP: 0\n"), false).unwrap(), expected);
        let text = GOOD.replace("1.0 2e-1 -3", "(1,0) (0.5,-2) (0,0)");
        assert_eq!(elements(&text, true).unwrap()[1].3, Complex64::new(0.5, -2.0));
    }

    #[test]
    fn every_mistake_names_its_line() {
        let cases = [
            ("H(R): 2\nM", "H(R): 3\nM", "line 2: expected \"Matrix Dimension of ..: 2\", found \"Matrix Dimension"),
            ("number of H(R): 2", "number of H(R): x", "line 3: expected \"Matrix number of ..\" and a number"),
            (
                "number of H(R): 2",
                "number of H(R): 3",
                "line 9: expected \"R1 R2 R3 count\", found the end of the file",
            ),
            ("number of H(R): 2", "number of H(R): 1", "line 8: expected the end of the file after 1 cells"),
            ("0 0 0 3", "0 0 0 -3", "line 4: expected \"R1 R2 R3 count\""),
            ("0 0 0 3", "0 0 9999999999 3", "line 4: expected \"R1 R2 R3 count\""),
            ("0 0 0 3", "0 0 0 99999999999999", "line 5: expected 99999999999999 finite values, found 3"),
            ("2e-1", "nan", "line 5: expected 3 finite values, found \"nan\" at place 2"),
            ("2e-1", "1e999", "line 5: expected 3 finite values, found \"1e999\" at place 2"),
            ("0 1 1", "0 1 2", "line 6: expected ascending columns below 2 in row 1"),
            ("0 1 1", "1 0 1", "line 6: expected ascending columns below 2 in row 0"),
            ("0 1 1", "0 1 -1", "line 6: expected 3 columns, found \"-1\""),
            ("0 2 3", "0 4 3", "line 7: expected row pointers that ascend from 0 to 3"),
            ("0 2 3", "0 3", "line 7: expected 3 row pointers, found 2"),
        ];
        for (from, to, message) in cases {
            let text = elements(&GOOD.replacen(from, to, 1), false).unwrap_err().to_string();
            assert!(text.contains(&format!("H.csr: {message}")), "{text}");
        }
        let text = elements(&GOOD[..GOOD.len() - 9], false).unwrap_err().to_string();
        assert!(text.contains("end of the file"), "{text}");
    }
}
