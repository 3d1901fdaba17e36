//! Splitting the rows of a matrix over threads.

use super::{Real, parallel, vectorised};
use smallvec::SmallVec;
use std::mem::MaybeUninit;
use std::ops::{Range, RangeInclusive};

/// Ranges of rows; a few of them need no memory of the heap.
pub type Ranges = SmallVec<[Range<usize>; 8]>;

/// Rows a chunk may have at most: its working set then stays in the second-level cache at the usual widths.
const LARGEST: usize = 128;

/// Cuts each of `parts` into chunks of about equal length, no chunk across two parts; for kernels that take less than a microsecond
/// for a row, so that a few rows are one chunk: where a core is far from the caller's, handing them over takes longer than they do.
pub fn chunks(parts: &[Range<usize>]) -> Ranges {
    const FEWEST: usize = 8;
    chunks_of(FEWEST..=LARGEST, parts)
}

/// Chunks of so many rows, as far as `parts` allow.
fn chunks_of(rows: RangeInclusive<usize>, parts: &[Range<usize>]) -> Ranges {
    let total: usize = parts.iter().map(|p| p.len()).sum();
    let threads = parallel::threads();
    let count = threads * total.div_ceil(threads * rows.end()).max(1);
    cut(parts, total.div_ceil(count).max(*rows.start()))
}

/// Cuts each of `parts` evenly into pieces of at most `target` rows.
fn cut(parts: &[Range<usize>], target: usize) -> Ranges {
    let mut out = Ranges::new();
    for part in parts {
        let pieces = part.len().div_ceil(target).max(1);
        for k in 0..pieces {
            let at = |k: usize| part.start + part.len() * k / pieces;
            if at(k) < at(k + 1) {
                out.push(at(k)..at(k + 1));
            }
        }
    }
    out
}

/// Most rows of a tile.
const TILE: usize = 112;

/// Cuts a chunk into tiles: a kernel that goes over the rows of a chunk many times does so tile by tile, each near at hand. All
/// but the first are cut evenly, because products of a single row may round otherwise than those of more.
///
/// With several threads the first tile is that of the last few rows. Processors seem to read ahead, beyond the last row of a tile,
/// each time a kernel goes over it; behind a chunk lie rows that another thread writes, and each of the two then waits for the
/// other (docs/performance.md). Here that happens while the other thread is at its own last rows, and later what is read ahead is
/// this chunk's.
pub fn tiles(chunk: &Range<usize>) -> Ranges {
    const AHEAD: usize = 16;
    let last = if chunk.len() < 4 * AHEAD || parallel::threads() == 1 { 0 } else { AHEAD };
    let mut tiles = Ranges::new();
    if last > 0 {
        tiles.push(chunk.end - last..chunk.end);
    }
    tiles.extend(cut(std::slice::from_ref(&(chunk.start..chunk.end - last)), TILE));
    tiles
}

/// Cuts all rows evenly into batches whose working set stays in the caches of a few threads.
pub fn batches(count: usize) -> Ranges {
    const ROWS: usize = 256;
    cut(std::slice::from_ref(&(0..count)), ROWS)
}

/// Groups of rows whose contributions to a sum are added up in order. They depend on the rows alone, so that the sum does not
/// depend on the threads; no group is across two of `parts`.
pub fn groups(parts: &[Range<usize>]) -> Ranges {
    const MOST: usize = 16;
    let total: usize = parts.iter().map(|p| p.len()).sum();
    cut(parts, total.div_ceil(MOST).max(LARGEST))
}

/// Cuts so many numbers into blocks of `size`, the last one of what is left.
pub fn blocks(size: usize, length: usize) -> Ranges {
    (0..length).step_by(size).map(|start| start..(start + size).min(length)).collect()
}

/// Moves the border between two chunks that lies close to row `row` there, so that neither side of that row gets a small
/// rest of a chunk.
pub fn border_at(row: usize, mut chunks: Ranges) -> Ranges {
    const CLOSE: usize = 8;
    for k in 1..chunks.len() {
        if chunks[k].start.abs_diff(row) <= CLOSE {
            (chunks[k - 1].end, chunks[k].start) = (row, row);
        }
    }
    chunks.retain(|chunk| chunk.start < chunk.end);
    chunks
}

/// A matrix of `width` columns, filled by `body(chunk, rows of the chunk)` over ascending, adjacent `chunks` from row 0.
/// The rows are zero when `body` gets them.
pub fn build<T: Real>(width: usize, chunks: &[Range<usize>], body: impl Fn(Range<usize>, &mut [T]) + Sync) -> Vec<T> {
    build_parts(parts(width, chunks), body)
}

/// As [`build`] for two matrices with the same rows.
pub fn build_pair<T: Real>(
    widths: [usize; 2],
    chunks: &[Range<usize>],
    body: impl Fn(Range<usize>, &mut [T], &mut [T]) + Sync,
) -> (Vec<T>, Vec<T>) {
    let [a, b] = build_each(widths, chunks, |chunk, [a, b]| body(chunk, a, b));
    (a, b)
}

/// As [`build`] for several matrices with the same rows.
pub fn build_each<T: Real, const N: usize>(
    widths: [usize; N],
    chunks: &[Range<usize>],
    body: impl Fn(Range<usize>, [&mut [T]; N]) + Sync,
) -> [Vec<T>; N] {
    build_parts_of_each(chunks.iter().map(|chunk| (widths.map(|width| chunk.len() * width), chunk.clone())), body)
}

/// Some rows of a matrix of `width` columns.
pub fn slice<'a, T>(matrix: &'a [T], width: usize, rows: &Range<usize>) -> &'a [T] {
    &matrix[rows.start * width..rows.end * width]
}

/// The terms, each several vectors of these lengths, added up in order; zeros if there is none.
pub fn sum_each<T: Real, const N: usize>(lengths: [usize; N], terms: Vec<[Vec<T>; N]>) -> [Vec<T>; N] {
    let mut terms = terms.into_iter();
    let mut sums = terms.next().unwrap_or_else(|| lengths.map(|length| vec![T::zero(); length]));
    let others = terms.as_slice();
    if !others.is_empty() {
        let blocks = |(vector, sum)| <[T]>::chunks_mut(sum, BLOCK).enumerate().map(move |(k, sum)| (vector, k, sum));
        let tasks = sums.iter_mut().map(Vec::as_mut_slice).enumerate().flat_map(blocks);
        parallel::for_each(tasks, |(vector, k, sum)| {
            others.iter().for_each(|term| add(sum, &term[vector][k * BLOCK..]));
        });
    }
    sums
}

/// Elements of a block that stays in the first-level cache between two loops.
const BLOCK: usize = 1 << 12;

/// As [`build`] for a body that goes row by row: it gets a few rows at a time, which are still at hand from being zeroed.
pub fn build_by_row<T: Real>(
    width: usize,
    chunks: &[Range<usize>],
    body: impl Fn(Range<usize>, &mut [T]) + Sync,
) -> Vec<T> {
    let few = (BLOCK / width.max(1)).max(1);
    let mut out = Unfilled::new(parts(width, chunks));
    parallel::for_each(out.split(parts(width, chunks)), |(chunk, mut rows)| {
        for start in chunk.clone().step_by(few) {
            let piece = start..(start + few).min(chunk.end);
            let own = split_off(&mut rows, piece.len() * width);
            body(piece, zeroed(own));
        }
    });
    out.filled()
}

/// `sum += term`, on all threads.
pub(crate) fn add_in_blocks<T: Real>(sum: &mut [T], term: &[T]) {
    parallel::for_each(sum.chunks_mut(BLOCK).zip(term.chunks(BLOCK)), |(sum, term)| add(sum, term));
}

vectorised! {
    /// `sum += term`.
    pub(crate) fn add<T>(sum: &mut [T], term: &[T]) {
        for (sum, term) in sum.iter_mut().zip(term) {
            *sum += *term;
        }
    }
}

vectorised! {
    /// Adds up columns of rows of `width`, from column `first` on, one for each number of `sum`.
    pub(crate) fn add_columns<T>(sum: &mut [T], rows: &[T], width: usize, first: usize) {
        for row in rows.chunks_exact(width.max(1)) {
            for (sum, x) in sum.iter_mut().zip(&row[first..]) {
                *sum += *x;
            }
        }
    }
}

/// A vector of adjacent parts, each of the given length and filled by `body(description, part)`.
///
/// A part is zero when `body` gets it, and the thread that fills it makes it so: zeroing the whole on one thread
/// beforehand would send all of it through that thread's caches for nothing.
pub fn build_parts<T: Real, P: Send>(
    parts: impl Iterator<Item = (usize, P)> + Clone,
    body: impl Fn(P, &mut [T]) + Sync,
) -> Vec<T> {
    let mut out = Unfilled::new(parts.clone());
    parallel::for_each(out.split(parts), |(part, data)| body(part, zeroed(data)));
    out.filled()
}

/// As [`build_parts`] for several vectors; a part is given by its lengths in all of them.
pub fn build_parts_of_each<T: Real, P: Send, const N: usize>(
    parts: impl Iterator<Item = ([usize; N], P)> + Clone,
    body: impl Fn(P, [&mut [T]; N]) + Sync,
) -> [Vec<T>; N] {
    let mut all: [Unfilled<T>; N] = std::array::from_fn(|k| Unfilled::new(parts.clone().map(|part| (part.0[k], ()))));
    let mut rest = all.each_mut().map(Unfilled::whole);
    let tasks = parts.map(|(lengths, part)| {
        let mut own = lengths.into_iter();
        let own = rest.each_mut().map(|rest| split_off(rest, own.next().unwrap_or_default()));
        (part, own)
    });
    parallel::for_each(tasks, |(part, own)| body(part, own.map(zeroed)));
    all.map(Unfilled::filled)
}

/// Adds to the parts of `sum`, as [`build_parts`] describes them, what `body` does; to zeros if `sum` is empty.
pub fn add_to_parts<T: Real, P: Send>(
    sum: &mut Vec<T>,
    parts: impl Iterator<Item = (usize, P)> + Clone,
    body: impl Fn(P, &mut [T]) + Sync,
) {
    if sum.is_empty() {
        *sum = build_parts(parts, body);
        return;
    }
    let mut rest = sum.as_mut_slice();
    let tasks = parts.map(|(length, part)| (part, split_off(&mut rest, length)));
    parallel::for_each(tasks, |(part, own)| body(part, own));
}

/// Each chunk with its number of elements.
fn parts(width: usize, chunks: &[Range<usize>]) -> impl Iterator<Item = (usize, Range<usize>)> + Clone {
    chunks.iter().map(move |chunk| (chunk.len() * width, chunk.clone()))
}

/// A matrix of `width` columns as [`build`] makes one, by a body that also gets the same rows of `beside`, of `beside_width`
/// columns, as they are.
pub fn build_beside<T: Real>(
    [width, beside_width]: [usize; 2],
    chunks: &[Range<usize>],
    beside: &mut [T],
    body: impl Fn(Range<usize>, &mut [T], &mut [T]) + Sync,
) -> Vec<T> {
    let mut out = Unfilled::new(parts(width, chunks));
    let mut rest = beside;
    let rows_beside = chunks.iter().map(|chunk| split_off(&mut rest, chunk.len() * beside_width));
    parallel::for_each(out.split(parts(width, chunks)).zip(rows_beside), |((chunk, rows), beside)| {
        body(chunk, zeroed(rows), beside);
    });
    out.filled()
}

/// A matrix of `width` columns as [`build`] makes one, or what there is in `sum` already, and what `body` returns for each
/// chunk.
pub fn build_onto<T: Real, R: Send>(
    sum: Vec<T>,
    width: usize,
    chunks: &[Range<usize>],
    body: impl Fn(Range<usize>, &mut [T]) -> R + Sync,
) -> (Vec<T>, Vec<R>) {
    let mut sum = if sum.is_empty() { Unfilled::new(parts(width, chunks)) } else { Unfilled::of(sum) };
    let zero = sum.zero;
    let mut results: Vec<Option<R>> = chunks.iter().map(|_| None).collect();
    parallel::for_each(sum.split(parts(width, chunks)).zip(&mut results), |((chunk, rows), result)| {
        // SAFETY: all elements were there before.
        let rows = if zero { zeroed(rows) } else { unsafe { rows.assume_init_mut() } };
        *result = Some(body(chunk, rows));
    });
    (sum.filled(), results.into_iter().flatten().collect())
}

/// Memory whose parts will be filled by tasks.
struct Unfilled<T> {
    data: Vec<T>,
    length: usize,
    /// Whether tasks make it zero first.
    zero: bool,
}

impl<T: Real> Unfilled<T> {
    fn new<P>(parts: impl Iterator<Item = (usize, P)>) -> Self {
        let length = parts.map(|part| part.0).sum();
        Unfilled { data: Vec::with_capacity(length), length, zero: true }
    }

    /// What is there stays there.
    fn of(mut data: Vec<T>) -> Self {
        let length = data.len();
        data.clear();
        Unfilled { data, length, zero: false }
    }

    /// All of it, part by part.
    fn split<P>(
        &mut self,
        parts: impl Iterator<Item = (usize, P)>,
    ) -> impl Iterator<Item = (P, &mut [MaybeUninit<T>])> {
        let mut rest = self.whole();
        parts.map(move |(length, part)| (part, split_off(&mut rest, length)))
    }

    fn whole(&mut self) -> &mut [MaybeUninit<T>] {
        &mut self.data.spare_capacity_mut()[..self.length]
    }

    /// After every part was given to [`zeroed`], unless all was there before.
    fn filled(mut self) -> Vec<T> {
        // SAFETY: the parts make up `length` elements, each of which was zeroed or there before.
        unsafe { self.data.set_len(self.length) };
        self.data
    }
}

/// The first so many of `rest`, which keeps the others.
fn split_off<'a, T>(rest: &mut &'a mut [T], length: usize) -> &'a mut [T] {
    let (own, others) = std::mem::take(rest).split_at_mut(length);
    *rest = others;
    own
}

fn zeroed<T: Real>(part: &mut [MaybeUninit<T>]) -> &mut [T] {
    part.fill(MaybeUninit::new(T::zero()));
    // SAFETY: all elements were just written.
    unsafe { part.assume_init_mut() }
}

/// All rows of a matrix, cut into chunks.
pub fn all(count: usize) -> Ranges {
    all_up_to(LARGEST, count)
}

/// The same with chunks of up to `largest` rows.
pub fn all_up_to(largest: usize, count: usize) -> Ranges {
    chunks_of(1..=largest, std::slice::from_ref(&(0..count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_border_moves_if_it_is_close() {
        let moved = |row, chunks: &[Range<usize>]| border_at(row, Ranges::from(chunks)).to_vec();
        let chunks = [0..40, 40..80, 80..120];
        assert_eq!(moved(44, &chunks), [0..44, 44..80, 80..120]);
        assert_eq!(moved(60, &chunks), chunks);
        assert_eq!(moved(2, &[0..5, 5..9, 9..30]), [0..2, 2..30]);
        assert_eq!(moved(30, &[0..20, 20..30, 30..31]), [0..20, 20..30, 30..31]);
        assert_eq!(moved(0, &[0..5, 5..30, 30..40]), [0..30, 30..40]);
    }

    #[test]
    fn tiles_cover_a_chunk_once_and_few_rows_stay_together() {
        for length in [0, 1, 17, 63, 64, 108, 128, 500] {
            let mut tiles = tiles(&(7..7 + length));
            assert!(tiles.iter().all(|tile| !tile.is_empty() && tile.len() <= TILE), "{length}: {tiles:?}");
            tiles.sort_by_key(|tile| tile.start);
            let end = tiles.iter().try_fold(7, |at, tile| (tile.start == at).then_some(tile.end));
            assert_eq!(end, Some(7 + length), "{tiles:?}");
        }
        assert_eq!(chunks(std::slice::from_ref(&(0..8))).as_slice(), std::slice::from_ref(&(0..8)));
    }

    #[test]
    fn every_row_is_zero_before_and_filled_after() {
        for count in [0, 1, 129, 5000] {
            let fill = |chunk: Range<usize>, rows: &mut [f64]| {
                for (row, out) in chunk.zip(rows.chunks_exact_mut(3)) {
                    out.iter_mut().enumerate().for_each(|(k, x)| *x += (3 * row + k) as f64);
                }
            };
            let expected: Vec<f64> = (0..3 * count).map(|k| k as f64).collect();
            assert_eq!(build(3, &all(count), fill), expected);
            assert_eq!(build_by_row(3, &all(count), fill), expected);
            let (a, b) = build_pair([3, 1], &all(count), |chunk, a, b: &mut [f64]| {
                fill(chunk.clone(), a);
                chunk.zip(b).for_each(|(row, b)| *b -= row as f64);
            });
            assert_eq!(a, expected);
            assert!(b.iter().enumerate().all(|(row, b)| *b == -(row as f64)));
        }
    }
}
