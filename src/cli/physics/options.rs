//! Options that several verbs of `tesseral physics` share.

use anyhow::Result;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use tesseral::batch::Shard;
use tesseral::physics::electronic::smearing::Smearing;
use tesseral::spectrum::{Filling, Level, MeshChoice, Method, Valence};
use tesseral::survey::{self, Verb};

use crate::cli::{Common, divisions};
use crate::progress::Progress;

/// Where k points are, how many electrons there are.
#[derive(Args)]
pub(crate) struct States {
    /// Divisions of the mesh of k points, such as 12,12,1; by default from --spacing
    #[arg(long, value_parser = divisions)]
    mesh: Option<[usize; 3]>,
    /// Distance of mesh points, inverse angstrom (2 pi included)
    #[arg(long, default_value_t = 0.1)]
    spacing: f64,
    /// Electrons in the cell, if info.json does not say
    #[arg(long)]
    electrons: Option<f64>,
    /// Electrons of each element, such as C=4,Mo=14, if info.json does not say
    #[arg(long, conflicts_with = "electrons")]
    valence: Option<Valence>,
}

impl States {
    pub(crate) fn mesh(&self) -> MeshChoice {
        MeshChoice { divisions: self.mesh, spacing: self.spacing }
    }

    pub(crate) fn filling(&self) -> Filling {
        Filling { electrons: self.electrons, valence: self.valence.clone() }
    }
}

/// How a Fermi level is found.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodName {
    /// Half-way between the last filled and the first empty state of the mesh
    Counting,
    /// States smeared over --width
    Smearing,
    /// Bands interpolated in tetrahedra
    Tetrahedra,
    /// As counting, faster: numbers of levels below an energy
    Inertia,
}

/// The shape of a smeared step.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Shape {
    /// 1 / (1 + e^-x)
    FermiDirac,
    /// (1 + erf x) / 2
    Gaussian,
    /// Marzari and Vanderbilt's
    Cold,
}

/// Width and shape of smearing.
#[derive(Args)]
pub(crate) struct Smeared {
    /// Width of the smearing, eV
    #[arg(long, default_value_t = 0.05)]
    width: f64,
    /// Shape of the smearing
    #[arg(long, value_enum, default_value = "fermi-dirac")]
    shape: Shape,
}

impl Smeared {
    pub(crate) fn method(&self, name: MethodName) -> Method {
        match name {
            MethodName::Counting => Method::Counting,
            MethodName::Tetrahedra => Method::Tetrahedra,
            MethodName::Inertia => Method::Inertia,
            MethodName::Smearing => {
                let smearing = match self.shape {
                    Shape::FermiDirac => Smearing::FermiDirac,
                    Shape::Gaussian => Smearing::Gaussian,
                    Shape::Cold => Smearing::Cold,
                };
                Method::Smearing { smearing, width_ev: self.width }
            }
        }
    }
}

/// The Fermi level of a picture.
#[derive(Args)]
pub(crate) struct Zero {
    /// Fermi level: auto (info.json's, else and for predictions by counting), info, a number of eV for all, or how to
    /// compute all of them: counting, smearing, tetrahedra, inertia
    #[arg(long, value_name = "LEVEL", default_value = "auto", allow_hyphen_values = true)]
    fermi: String,
    #[command(flatten)]
    smeared: Smeared,
}

impl Zero {
    pub(crate) fn level(&self) -> Result<Level> {
        Ok(match self.fermi.as_str() {
            "auto" => Level::Auto,
            "info" => Level::Info,
            other => match other.parse::<f64>() {
                Ok(level) if level.is_finite() => Level::Given(level),
                _ => {
                    let name = MethodName::from_str(other, false)
                        .map_err(|_| crate::cli::Usage("--fermi: expected auto, info, a number of eV, or a method"))?;
                    Level::Computed(self.smeared.method(name))
                }
            },
        })
    }
}

/// Job arrays.
#[derive(Args)]
pub(crate) struct Sharded {
    /// Compute shard i of n (from 0) and keep its parts in --out; `physics merge` puts them together
    #[arg(long, value_name = "i/n", requires = "out")]
    pub(crate) shard: Option<Shard>,
}

/// Runs a verb and prints its answer.
pub(crate) fn answer<V: Verb>(verb: &V, out: Option<&Path>, sharded: &Sharded, common: &Common) -> Result<()> {
    let answer = survey::run(verb, out, sharded.shard, &mut Progress::new(common.quiet))?;
    common.print(&answer.value, || answer.text)
}

/// The same paths from the root, so that parts of shards that were started elsewhere agree.
pub(crate) fn absolute(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    Ok(paths.iter().map(std::path::absolute).collect::<std::io::Result<_>>()?)
}
