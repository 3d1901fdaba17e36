//! `tesseral physics predict`.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tesseral::physics::model::Model;
use tesseral::report;

use crate::cli::{Common, listed};
use crate::progress::Progress;

#[derive(Args)]
pub(crate) struct Predict {
    /// A run folder
    run: PathBuf,
    /// Structures, or folders of them
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// Each structure becomes a folder in it, with hamiltonian_pred.h5
    #[arg(long)]
    out: PathBuf,
}

impl Predict {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let model = Model::load(&self.run)?;
        let written = report::predict(&model, &self.structures, &self.out, &mut Progress::new(common.quiet))?;
        let value = json!({"structures": written.len(), "files": written});
        common.print(&value, || listed(&written).replace(' ', "\n"))
    }
}
