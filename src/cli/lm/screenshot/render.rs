//! `tesseral lm screenshot render`.

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use tesseral::lm::screenshot::patches::Screenshot;
use tesseral::lm::screenshot::render::{RenderConfig, Renderer};
use tesseral::nn::train::files::write_atomic;
use tesseral::plot::png;

use crate::cli::{Common, Usage};

#[derive(Args)]
pub(crate) struct Render {
    /// The text; `-` reads it from standard input
    text: String,
    /// The PNG file to write
    #[arg(long)]
    out: PathBuf,
    /// A TrueType or OpenType file, instead of the font inside the program
    #[arg(long)]
    font: Option<PathBuf>,
    /// Points
    #[arg(long, default_value_t = 10)]
    font_size: usize,
    /// Columns of pixels, a multiple of 16
    #[arg(long, default_value_t = 8176)]
    width: usize,
    /// Rows of pixels, a multiple of 16
    #[arg(long, default_value_t = 16)]
    height: usize,
    /// Words begin at multiples of so many pixels
    #[arg(long, default_value_t = 0)]
    cell: usize,
}

impl Render {
    pub(crate) fn run(&self, common: &Common) -> Result<()> {
        let text = match self.text.as_str() {
            "-" => std::io::read_to_string(std::io::stdin())?,
            text => text.to_string(),
        };
        let config = RenderConfig {
            font: self.font.clone(),
            font_size: self.font_size,
            width: self.width,
            height: self.height,
            cell: self.cell,
            ..RenderConfig::default()
        };
        if let Some(problem) = config.problems().into_iter().next() {
            return Err(anyhow::anyhow!("render: {problem}").context(Usage("size")));
        }
        let image = Renderer::new(&config)?.render(&text);
        let patches = Screenshot::of_text(&image).context(Usage("size"))?.len();
        write_atomic(&self.out, &png::from_ink(&image.ink, image.width, image.height, &self.out)?)?;
        let found = json!({"file": self.out, "width": image.width, "height": image.height, "patches": patches,
            "drawn_bytes": image.drawn, "bytes": text.len()});
        common.print(&found, || {
            let (file, whole) = (self.out.display(), text.len());
            format!(
                "{file}: {} of {whole} bytes of text on {patches} patches, the mark of its end included",
                image.drawn
            )
        })
    }
}
