//! A run as what it takes to do it again from its first weights: a heading, and the scalars of each step.
//!
//! The file is one line of JSON, then the scalars of the steps in their order, little-endian, in the precision of the
//! weights: 20,000 steps of one direction in f32 are 80 kB. Directions come from the key in the heading.

use super::{Directions, StepReport, ZerothOrder, ZerothOrderConfig};
use crate::parameters::digest;
use crate::train::files::{io_error, write_atomic};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The only format so far.
const FORMAT: u32 = 1;

/// What a run was, but for its scalars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heading {
    /// Version of the file.
    pub format: u32,
    /// Where directions come from, with their key.
    pub directions: String,
    /// `f32` or `f64`.
    pub dtype: String,
    /// Steps of the whole run.
    pub steps: u64,
    /// The configuration.
    pub config: ZerothOrderConfig,
    /// Names and shapes of the tuned parameters, in name order.
    pub parameters: Vec<(String, Vec<usize>)>,
    /// SHA-256 over their names and first values.
    pub start: String,
}

impl Heading {
    /// The heading of a run that has not begun.
    ///
    /// # Errors
    /// Those of candle.
    pub fn of<D: Directions>(run: &ZerothOrder<D>) -> Result<Self> {
        Ok(Heading {
            format: FORMAT,
            directions: run.directions.identity(),
            dtype: run.dtype.as_str().to_string(),
            steps: run.total,
            config: run.config.clone(),
            parameters: run.tuned().map(|(name, variable)| (name.to_string(), variable.dims().to_vec())).collect(),
            start: digest(run.tuned().map(|(name, variable)| (name, variable.as_tensor())))?,
        })
    }

    fn width(&self) -> usize {
        if self.dtype == "f64" { 8 } else { 4 }
    }

    /// Fields that differ from another heading.
    fn differences(&self, other: &Heading) -> Vec<&'static str> {
        let mut fields = Vec::new();
        let mut compare = |equal: bool, field| (!equal).then(|| fields.push(field));
        compare(self.format == other.format, "format");
        compare(self.directions == other.directions, "directions (the seed)");
        compare(self.dtype == other.dtype, "dtype");
        compare(self.steps == other.steps, "steps");
        compare(self.config == other.config, "config");
        compare(self.parameters == other.parameters, "parameters");
        compare(self.start == other.start, "start (the first weights)");
        fields
    }
}

/// A saved run.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// What it was.
    pub heading: Heading,
    /// Scalars of all whole steps, one after the other.
    pub scalars: Vec<f64>,
}

impl Trajectory {
    /// Reads a file; what a killed process left of a last number is dropped.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`].
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(io_error(path))?;
        let fail = |what: String| Error::Format { path: path.into(), what };
        let end = bytes.iter().position(|b| *b == b'\n').unwrap_or(bytes.len());
        let heading: Heading = serde_json::from_slice(&bytes[..end])
            .map_err(|e| fail(format!("heading: expected that of a zeroth-order run: {e}")))?;
        if heading.format != FORMAT {
            return Err(fail(format!("format: expected {FORMAT}, found {}", heading.format)));
        }
        let numbers = bytes.get(end + 1..).unwrap_or_default();
        let scalars = match heading.width() {
            8 => numbers.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            _ => numbers.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        };
        Ok(Trajectory { heading, scalars })
    }

    /// The scalars step by step, as far as steps are whole.
    pub fn records<D: Directions>(&self, run: &ZerothOrder<D>) -> Vec<Vec<f64>> {
        let (mut rest, mut records) = (&self.scalars[..], Vec::new());
        while let Some((scalars, after)) = rest.split_at_checked(run.scalars_of(records.len() as u64)) {
            records.push(scalars.to_vec());
            rest = after;
        }
        records
    }

    /// Brings a run that has not begun to where this one is, to the bit. `run` holds the first weights.
    ///
    /// # Errors
    /// [`Error::Config`] names what differs: seed, steps, configuration, parameters, first weights.
    pub fn replay<D: Directions>(&self, run: &mut ZerothOrder<D>) -> Result<()> {
        let differences = Heading::of(run)?.differences(&self.heading);
        if !differences.is_empty() || run.steps_done() > 0 {
            let what = format!("expected the run that was saved, found another {}", differences.join(", "));
            return Err(Error::Config { key: "trajectory".into(), what });
        }
        run.replay(&self.records(run))
    }
}

/// A trajectory file that grows with its run.
pub struct TrajectoryWriter {
    path: PathBuf,
    file: File,
    width: usize,
}

impl TrajectoryWriter {
    /// A new file, before the first step.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create<D: Directions>(path: &Path, run: &ZerothOrder<D>) -> Result<Self> {
        Self::write(path, &Trajectory { heading: Heading::of(run)?, scalars: Vec::new() })
    }

    /// Goes on with the file of a run that was replayed as far as its steps are whole.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`].
    pub fn resume<D: Directions>(path: &Path, run: &ZerothOrder<D>) -> Result<Self> {
        let mut trajectory = Trajectory::read(path)?;
        let kept = (0..run.steps_done()).map(|step| run.scalars_of(step)).sum();
        trajectory.scalars.truncate(kept);
        Self::write(path, &trajectory)
    }

    fn write(path: &Path, trajectory: &Trajectory) -> Result<Self> {
        let width = trajectory.heading.width();
        let heading = serde_json::to_string(&trajectory.heading);
        let heading = heading.map_err(|e| Error::Format { path: path.into(), what: e.to_string() })?;
        let mut bytes = format!("{heading}\n").into_bytes();
        trajectory.scalars.iter().for_each(|x| push(&mut bytes, *x, width));
        write_atomic(path, &bytes)?;
        let file = OpenOptions::new().append(true).open(path).map_err(io_error(path))?;
        Ok(TrajectoryWriter { path: path.into(), file, width })
    }

    /// Appends a step.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&mut self, report: &StepReport) -> Result<()> {
        let mut bytes = Vec::new();
        report.scalars.iter().for_each(|x| push(&mut bytes, *x, self.width));
        self.file.write_all(&bytes).map_err(io_error(&self.path))
    }

    /// Forces what was written to the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(io_error(&self.path))
    }
}

fn push(bytes: &mut Vec<u8>, x: f64, width: usize) {
    match width {
        8 => bytes.extend(x.to_le_bytes()),
        _ => bytes.extend((x as f32).to_le_bytes()),
    }
}
