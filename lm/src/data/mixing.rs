//! How many rows of each source a run sees, and in which order (ProLong, arXiv 2410.02660; the rules of MosaicML
//! streaming for proportions and repeats).
//!
//! The order of an epoch is a function of seed and epoch, so that a trainer's place is one number.

use std::str::FromStr;

use rand::seq::{SliceRandom, index};
use tesseral_nn::rng::Streams;

use crate::python::numpy::Generator;
use crate::{Error, Result};

/// How much of a source is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// `path@0.3`: this part of an epoch, relative to the sum over all sources.
    Proportion(f64),
    /// `path#2`: so many times its rows, rounded down. A bare path is once.
    Repeat(f64),
}

/// A folder of rows and how much of it is taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The folder.
    pub path: String,
    /// Its share.
    pub share: Share,
}

impl FromStr for Source {
    type Err = Error;

    /// Parses `path@proportion`, `path#repeat` or `path`; `@` and `#` before the last `/` belong to the path.
    ///
    /// Errors: [`Error::Config`] for a number that is none, is negative or not finite, or an empty path.
    fn from_str(text: &str) -> Result<Self> {
        let name = text.rfind('/').map_or(0, |k| k + 1);
        let (path, mark, number) = match text[name..].rfind(['@', '#']).map(|k| k + name) {
            Some(k) => (&text[..k], &text[k..k + 1], &text[k + 1..]),
            None => (text, "#", "1"),
        };
        let parsed = number.parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.0);
        let number = parsed.ok_or_else(|| {
            Error::config(
                format!("source {text:?}"),
                format!("expected a number from 0 on after {mark}, found {number:?}"),
            )
        })?;
        if path.is_empty() {
            return Err(Error::config(format!("source {text:?}"), "expected a path, found none"));
        }
        let share = if mark == "@" { Share::Proportion(number) } else { Share::Repeat(number) };
        Ok(Source { path: path.into(), share })
    }
}

/// Rows that a run consumes: steps x rows per device x accumulated micro-batches x devices / devices that share a row.
///
/// Errors: [`Error::Config`] when the devices are no multiple of those that share a row, or for a number beyond 2^64.
pub fn rows_of_run(steps: u64, batch: u64, accumulation: u64, devices: u64, sharing: u64) -> Result<u64> {
    if sharing == 0 || !devices.is_multiple_of(sharing) {
        let what = format!("expected a divisor of the {devices} devices, found {sharing}");
        return Err(Error::config("sequence_parallel", what));
    }
    let factors = [batch, accumulation, devices / sharing];
    let rows = factors.iter().try_fold(steps, |n, &factor| n.checked_mul(factor));
    rows.ok_or_else(|| Error::config("steps", "expected fewer than 2^64 rows, found more"))
}

/// Rows of each source in one epoch.
///
/// Proportions: `floor(epoch * p / sum p)`; what is missing to `epoch`, less than the number of sources, goes one each
/// to sources drawn without replacement, by NumPy's generator of this `seed` as in MosaicML streaming, so that the counts
/// are those of the original. Repeats: `floor(repeat * size)`, whatever `epoch`.
///
/// Errors: [`Error::Config`] for proportions beside repeats, a sum of proportions that is 0, proportions without
/// `epoch`, or rows asked of an empty source.
pub fn quotas(sources: &[(usize, Share)], epoch: Option<usize>, seed: u64) -> Result<Vec<usize>> {
    let proportions: Vec<f64> = sources
        .iter()
        .filter_map(|(_, share)| if let Share::Proportion(p) = share { Some(*p) } else { None })
        .collect();
    let quotas = if proportions.is_empty() {
        let repeated = |&(size, share): &(usize, Share)| match share {
            Share::Repeat(times) | Share::Proportion(times) => floor(times * size as f64),
        };
        sources.iter().map(repeated).collect()
    } else if proportions.len() < sources.len() {
        return Err(Error::config("sources", "expected a proportion for all or for none, found both"));
    } else {
        let epoch = epoch.ok_or_else(|| Error::config("epoch", "expected its rows beside proportions, found none"))?;
        apportion(&proportions, epoch, seed)?
    };
    match quotas.iter().zip(sources).position(|(&quota, &(size, _))| quota > 0 && size == 0) {
        Some(k) => {
            Err(Error::config(format!("sources[{k}]"), format!("expected rows for {} picks, found none", quotas[k])))
        }
        None => Ok(quotas),
    }
}

fn apportion(proportions: &[f64], epoch: usize, seed: u64) -> Result<Vec<usize>> {
    let sum: f64 = proportions.iter().sum();
    if !(sum.is_finite() && sum > 0.0) {
        return Err(Error::config("sources", format!("expected proportions with a positive sum, found {sum}")));
    }
    let mut quotas: Vec<usize> = proportions.iter().map(|p| floor(epoch as f64 * (p / sum))).collect();
    let missing = epoch.saturating_sub(quotas.iter().sum());
    // A source that was asked for nothing gets nothing.
    let wanted: Vec<usize> = (0..quotas.len()).filter(|&k| proportions[k] > 0.0).collect();
    let drawn = Generator::new(seed).choice(wanted.len(), missing.min(wanted.len()))?;
    drawn.into_iter().for_each(|k| quotas[wanted[k]] += 1);
    Ok(quotas)
}

/// Rounds down, except a number that only rounding errors hold below a whole one.
fn floor(x: f64) -> usize {
    let up = x.ceil();
    (if up - x <= 1e-12 * up { up } else { x.floor() }) as usize
}

/// One row of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pick {
    /// Which source.
    pub source: u32,
    /// Which of its rows.
    pub row: u32,
}

/// The endless sequence of picks, epoch after epoch.
#[derive(Clone, Debug)]
pub struct Mixture {
    sizes: Vec<usize>,
    quotas: Vec<usize>,
    streams: Streams,
    cached: Option<(u64, Vec<Pick>)>,
}

impl Mixture {
    /// A mixture over sources of the given sizes. Errors: those of [`quotas`]; [`Error::Config`] for no row at all, or
    /// more than 2^32 of one source.
    pub fn new(sources: &[(usize, Share)], epoch: Option<usize>, streams: Streams) -> Result<Self> {
        let quotas = quotas(sources, epoch, streams.seed())?;
        let sizes: Vec<usize> = sources.iter().map(|&(size, _)| size).collect();
        if quotas.iter().all(|&quota| quota == 0) {
            return Err(Error::config("sources", "expected one row at least, found none"));
        }
        if let Some(size) = sizes.iter().find(|&&size| u32::try_from(size).is_err()) {
            return Err(Error::config("sources", format!("expected fewer than 2^32 rows each, found {size}")));
        }
        Ok(Mixture { sizes, quotas, streams, cached: None })
    }

    /// Rows of each source in one epoch.
    pub fn quotas(&self) -> &[usize] {
        &self.quotas
    }

    /// Rows of one epoch.
    pub fn epoch_len(&self) -> usize {
        self.quotas.iter().sum()
    }

    /// The order of an epoch: every source as often whole as its quota allows and a random part of it, all shuffled.
    pub fn epoch(&self, epoch: u64) -> Vec<Pick> {
        let mut picks = Vec::with_capacity(self.epoch_len());
        for (k, (&size, &quota)) in
            self.sizes.iter().zip(&self.quotas).enumerate().filter(|(_, (_, quota))| **quota > 0)
        {
            let pick = |row: usize| Pick { source: k as u32, row: row as u32 };
            picks.extend((0..quota / size * size).map(|row| pick(row % size)));
            let mut stream = self.streams.stream("mixing.part", &[epoch, k as u64]);
            picks.extend(index::sample(&mut stream, size, quota % size).into_iter().map(pick));
        }
        picks.shuffle(&mut self.streams.stream("mixing.order", &[epoch]));
        picks
    }

    /// The pick at a place of the sequence, counted from 0 over all epochs; the epoch at hand is kept.
    pub fn at(&mut self, position: u64) -> Pick {
        let length = self.epoch_len() as u64;
        let (epoch, place) = (position / length, (position % length) as usize);
        match &self.cached {
            Some((cached, order)) if *cached == epoch => order[place],
            _ => {
                let order = self.epoch(epoch);
                let pick = order[place];
                self.cached = Some((epoch, order));
                pick
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sources_as_they_are_written() {
        let parse = |text: &str| text.parse::<Source>().map(|s| (s.path, s.share));
        assert_eq!(parse("a/b@0.3").unwrap(), ("a/b".into(), Share::Proportion(0.3)));
        assert_eq!(parse("a@b/c#2").unwrap(), ("a@b/c".into(), Share::Repeat(2.0)));
        assert_eq!(parse("s3/a@b/c").unwrap(), ("s3/a@b/c".into(), Share::Repeat(1.0)));
        for text in ["a@x", "a@-1", "a#inf", "@1", ""] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn rows_of_a_run() {
        // ProLong's two stages: 5000 steps of 64 rows; 2500 of 128 over 8 devices that share a row.
        assert_eq!(rows_of_run(5000, 1, 8, 8, 1).unwrap(), 320_000);
        assert_eq!(rows_of_run(2500, 1, 16, 8, 8).unwrap(), 40_000);
        assert!(rows_of_run(1, 1, 1, 8, 3).is_err());
        assert!(rows_of_run(u64::MAX, 2, 1, 1, 1).is_err());
    }

    #[test]
    fn shares_that_contradict_each_other() {
        let seed = 1;
        assert!(quotas(&[(1, Share::Repeat(1.0)), (1, Share::Proportion(1.0))], Some(2), seed).is_err());
        assert!(quotas(&[(1, Share::Proportion(1.0))], None, seed).is_err());
        assert!(quotas(&[(1, Share::Proportion(0.0))], Some(1), seed).is_err());
        assert!(quotas(&[(0, Share::Proportion(1.0))], Some(1), seed).is_err());
        assert!(Mixture::new(&[(5, Share::Repeat(0.0))], None, Streams::new(seed)).is_err());
        assert_eq!(quotas(&[(5, Share::Repeat(2.5)), (3, Share::Repeat(1.0))], None, seed).unwrap(), [12, 3]);
    }

    proptest! {
        #[test]
        fn an_epoch_keeps_its_quotas_and_uses_rows_evenly(
            sizes in prop::collection::vec(1usize..20, 1..6), epoch in 1usize..200, seed in any::<u64>(),
        ) {
            let sources: Vec<_> = sizes.iter().enumerate().map(|(k, &n)| (n, Share::Proportion(1.0 + k as f64))).collect();
            let mut mixture = Mixture::new(&sources, Some(epoch), Streams::new(seed)).unwrap();
            prop_assert_eq!(mixture.epoch_len(), epoch);
            let order = mixture.epoch(1);
            prop_assert_eq!(order.len(), epoch);
            for (k, &size) in sizes.iter().enumerate() {
                let quota = mixture.quotas()[k];
                for row in 0..size {
                    let times = order.iter().filter(|p| p.source as usize == k && p.row as usize == row).count();
                    prop_assert!(times == quota / size || times == quota.div_ceil(size));
                }
            }
            // Any place can be reached first.
            let place = epoch / 2;
            prop_assert_eq!(mixture.at((epoch + place) as u64), order[place]);
            prop_assert_eq!(mixture.clone().at((epoch + place) as u64), order[place]);
        }
    }
}
