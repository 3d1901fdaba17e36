//! Longest common subsequences, 64 rows of the table at a time (Hyyrö 2004, after Crochemore et al. 2001).
//!
//! Of a column of the table only its steps are kept: bit i is 0 where the value grows from row i to row i + 1.

/// The words of one side, with the rows where each stands.
pub(super) struct Rows<'a> {
    words: &'a [u32],
    /// For each word of the vocabulary, as far as it is needed, a column of bits: its rows.
    places: Vec<u64>,
    /// Words of 64 bits in a column.
    height: usize,
    /// Columns of the table, kept for the way back.
    columns: Vec<u64>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(words: &'a [u32]) -> Self {
        let height = words.len().div_ceil(64);
        let known = words.iter().max().map_or(0, |&most| most as usize + 1);
        let mut places = vec![0; height * known];
        for (row, &word) in words.iter().enumerate() {
            places[word as usize * height + row / 64] |= 1 << (row % 64);
        }
        Rows { words, places, height, columns: Vec::new() }
    }

    /// Rows of a word; `None` if it stands in none.
    fn rows(&self, word: u32) -> Option<&[u64]> {
        let start = word as usize * self.height;
        self.places.get(start..start + self.height)
    }

    /// Length of the longest common subsequence.
    pub(super) fn longest(&self, others: &[u32]) -> usize {
        let mut column = vec![u64::MAX; self.height];
        for &word in others {
            if let Some(rows) = self.rows(word) {
                step(&mut column, rows);
            }
        }
        column.iter().map(|bits| bits.count_zeros() as usize).sum()
    }

    /// Marks the rows of one longest common subsequence: the one found from the end, going up where going left is no
    /// better.
    pub(super) fn mark(&mut self, others: &[u32], marked: &mut [bool]) {
        let height = self.height;
        if height == 0 {
            return;
        }
        let mut columns = std::mem::take(&mut self.columns);
        columns.clear();
        let mut column = vec![u64::MAX; height];
        for &word in others {
            if let Some(rows) = self.rows(word) {
                step(&mut column, rows);
            }
            columns.extend_from_slice(&column);
        }
        let (mut row, mut place) = (self.words.len(), others.len());
        while row > 0 && place > 0 {
            let last = row - 1;
            if self.words[last] == others[place - 1] {
                marked[last] = true;
                row -= 1;
                place -= 1;
            } else if (columns[(place - 1) * height + last / 64] >> (last % 64)) & 1 == 0 {
                // The words differ, so a value that grows here came from the left.
                place -= 1;
            } else {
                row -= 1;
            }
        }
        self.columns = columns;
    }
}

/// One word further on the other side.
fn step(column: &mut [u64], rows: &[u64]) {
    let mut carry = false;
    for (bits, &rows) in column.iter_mut().zip(rows) {
        let (sum, over) = bits.overflowing_add(*bits & rows);
        let (sum, over_too) = sum.overflowing_add(u64::from(carry));
        carry = over || over_too;
        *bits = sum | (*bits & !rows);
    }
}

#[cfg(test)]
mod tests {
    use super::Rows;
    use crate::python::mersenne::Random;

    /// The table as it is defined.
    fn table(rows: &[u32], others: &[u32]) -> Vec<Vec<usize>> {
        let mut table = vec![vec![0; others.len() + 1]; rows.len() + 1];
        for i in 1..=rows.len() {
            for j in 1..=others.len() {
                table[i][j] = if rows[i - 1] == others[j - 1] {
                    table[i - 1][j - 1] + 1
                } else {
                    table[i - 1][j].max(table[i][j - 1])
                };
            }
        }
        table
    }

    #[test]
    fn as_the_table_has_it() {
        let mut random = Random::new(5);
        for case in 0..400 {
            let mut words = |most| -> Vec<u32> {
                let length = random.randbelow(most);
                (0..length).map(|_| random.randbelow(2 + case / 20) as u32).collect()
            };
            let (rows, others) = (words(200), words(150));
            let table = table(&rows, &others);
            assert_eq!(Rows::new(&rows).longest(&others), table[rows.len()][others.len()]);
            let mut expected = vec![false; rows.len()];
            let (mut i, mut j) = (rows.len(), others.len());
            while i > 0 && j > 0 {
                if rows[i - 1] == others[j - 1] {
                    expected[i - 1] = true;
                    (i, j) = (i - 1, j - 1);
                } else if table[i][j - 1] > table[i - 1][j] {
                    j -= 1;
                } else {
                    i -= 1;
                }
            }
            let mut marked = vec![false; rows.len()];
            Rows::new(&rows).mark(&others, &mut marked);
            assert_eq!(marked, expected);
        }
    }
}
