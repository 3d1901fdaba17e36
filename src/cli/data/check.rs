//! `tesseral data check`.

use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use tesseral::batch::{self, Shard};
use tesseral::data;
use tesseral::datasets::deeph::validate::Limits;
use tesseral::physics::check::{KPoints, Options};
use tesseral::report;

use crate::cli::{Common, three_counts};
use crate::progress::Progress;

#[derive(Args)]
pub(crate) struct Check {
    /// Structures, or folders of them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Largest |O_ij(R) - O_ji(-R)^dagger| that is accepted: eV for H, 1 for S
    #[arg(long, default_value_t = Limits::default().hermiticity)]
    hermiticity: f64,
    /// Distance of the k points at which S(k) must be positive definite, inverse angstrom (2 pi included)
    #[arg(long, default_value_t = 0.3)]
    spacing: f64,
    /// Or their number along each reciprocal vector
    #[arg(long, value_parser = three_counts, value_name = "N1,N2,N3", conflicts_with = "spacing")]
    mesh: Option<[usize; 3]>,
    /// Warn where an eigenvalue of S(k) is below this
    #[arg(long, default_value_t = Options::default().least_overlap)]
    min_overlap: f64,
    /// Nearest that two atoms may be, images included, angstrom
    #[arg(long, default_value_t = Options::default().least_distance)]
    min_distance: f64,
    /// Compare rotated copies of structures; H may differ by this root mean square, eV
    #[arg(long, value_name = "EV", num_args = 0..=1, require_equals = true, default_missing_value = "1e-3")]
    equivariance: Option<f64>,
    /// Keep the parts of shards, or check.json, here
    #[arg(long)]
    out: Option<PathBuf>,
    /// Check shard i of n (from 0) and keep its parts in --out; `physics merge` puts them together
    #[arg(long, value_name = "i/n", requires = "out", conflicts_with = "equivariance")]
    shard: Option<Shard>,
}

impl Check {
    pub(crate) fn run(&self, common: &Common) -> Result<ExitCode> {
        let options = Options {
            limits: Limits { hermiticity: self.hermiticity, ..Limits::default() },
            k_points: self.mesh.map_or(KPoints::Spacing(self.spacing), KPoints::Divisions),
            least_overlap: self.min_overlap,
            least_distance: self.min_distance,
            equivariance: self.equivariance,
            ..Options::default()
        };
        if let (Some(shard), Some(out)) = (self.shard, &self.out) {
            let roots = self.paths.iter().map(std::path::absolute).collect::<std::io::Result<_>>()?;
            let report = batch::check::Check { roots, options }.run(out, shard, &mut Progress::new(common.quiet))?;
            common.print(&report, || report.line())?;
            return Ok(ExitCode::SUCCESS);
        }
        let checked = data::check(&self.paths, &options, &mut Progress::new(common.quiet))?;
        if let Some(out) = &self.out {
            report::create_folder(out)?;
            report::write_json(&out.join("check.json"), &checked)?;
        }
        common.print(&checked, || checked.screen())?;
        Ok(if checked.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
