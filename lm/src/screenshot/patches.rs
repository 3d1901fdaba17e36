//! Images as patches: squares of 16 pixels of three channels, and where their text ends.

use super::render::Image;
use crate::{Error, Result};

/// Pixels of a side of a patch.
pub const SIDE: usize = 16;
/// Colours of a pixel; those of drawn text are equal.
pub const CHANNELS: usize = 3;
/// Numbers of a patch.
pub const PATCH: usize = SIDE * SIDE * CHANNELS;

/// The patches of an image, row by row from the left.
#[derive(Clone, Debug, PartialEq)]
pub struct Screenshot {
    /// `[patches, 768]`: rows, columns and channels of each, 0 (black) to 1 (white).
    pub values: Vec<f32>,
    /// Which patches are seen: those up to the end of the text.
    pub seen: Vec<bool>,
}

impl Screenshot {
    /// The patches of a drawn text up to its end, and a black one that marks it; white ones behind are left out, as they
    /// are never seen. An image that is full has no mark.
    ///
    /// # Errors
    /// [`Error::Config`] for an image that is not made of whole patches.
    pub fn of_text(image: &Image) -> Result<Self> {
        let (across, down) = (image.width / SIDE, image.height / SIDE);
        if across * SIDE != image.width || down * SIDE != image.height || across * down == 0 {
            let found = format!("{} x {}", image.height, image.width);
            return Err(Error::config("render", format!("expected sides that are multiples of {SIDE}, found {found}")));
        }
        let last = image.ink.iter().rposition(|ink| *ink > 0);
        // The last ink in memory is in the last row of patches that has any: of that row the rightmost patch counts.
        let count = last.map_or(0, |last| {
            let row = last / image.width / SIDE;
            let rows = image.ink[row * SIDE * image.width..(row + 1) * SIDE * image.width].chunks_exact(image.width);
            let right = rows.filter_map(|row| row.iter().rposition(|ink| *ink > 0)).max().unwrap_or(0);
            row * across + right / SIDE + 1
        });
        let marked = usize::from(count < across * down);
        let mut values = vec![0.0; (count + marked) * PATCH];
        for (patch, values) in values.chunks_exact_mut(PATCH).take(count).enumerate() {
            for (row, values) in values.chunks_exact_mut(SIDE * CHANNELS).enumerate() {
                let start = (patch / across * SIDE + row) * image.width + patch % across * SIDE;
                for (values, ink) in values.chunks_exact_mut(CHANNELS).zip(&image.ink[start..start + SIDE]) {
                    values.fill(f32::from(255 - *ink) / 255.0);
                }
            }
        }
        Ok(Screenshot { seen: vec![true; values.len() / PATCH], values })
    }

    /// The patches of an image of three channels, `[rows, columns, 3]`, all kept: those behind the text are not seen, the
    /// first of them is black and is.
    ///
    /// # Errors
    /// [`Error::Config`] for another number of values.
    pub fn of_pixels(pixels: &[u8], height: usize, width: usize) -> Result<Self> {
        let (across, down) = (width / SIDE, height / SIDE);
        if pixels.len() != across * down * PATCH || across * SIDE != width {
            let expected = format!("{height} x {width} pixels in whole patches");
            return Err(Error::config("image", format!("expected {expected}, found {} values", pixels.len())));
        }
        let mut values = Vec::with_capacity(pixels.len());
        for patch in 0..across * down {
            for row in 0..SIDE {
                let start = ((patch / across * SIDE + row) * width + patch % across * SIDE) * CHANNELS;
                values.extend(pixels[start..start + SIDE * CHANNELS].iter().map(|x| f32::from(*x) / 255.0));
            }
        }
        let written = |patch: &[f32]| patch.iter().any(|x| *x <= 1.0 - 1e-6);
        let end = values.chunks_exact(PATCH).rposition(written).map_or(0, |last| last + 1);
        if let Some(mark) = values.chunks_exact_mut(PATCH).nth(end) {
            mark.fill(0.0);
        }
        let seen = (0..across * down).map(|patch| patch <= end).collect();
        Ok(Screenshot { values, seen })
    }

    /// Patches.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// The numbers of a patch.
    pub fn patch(&self, number: usize) -> &[f32] {
        &self.values[number * PATCH..(number + 1) * PATCH]
    }

    /// The same as if nothing were written: white patches, as many.
    pub fn blank(&self) -> Self {
        Screenshot { values: vec![1.0; self.values.len()], seen: self.seen.clone() }
    }
}

/// What the pixel decoders should predict of a patch: its values less their mean, over the root of their unbiased variance.
pub fn normalised(patch: &[f32]) -> impl Iterator<Item = f32> + '_ {
    let n = patch.len() as f64;
    let mean = patch.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = patch.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let scale = 1.0 / (variance + 1e-6).sqrt();
    patch.iter().map(move |x| ((f64::from(*x) - mean) * scale) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screenshot::render::{RenderConfig, Renderer};

    fn image(text: &str, width: usize, height: usize) -> Image {
        Renderer::new(&RenderConfig { width, height, ..RenderConfig::default() }).unwrap().render(text)
    }

    #[test]
    fn text_ends_in_a_black_patch_and_nothing_white_follows() {
        for (text, width, height) in [("some words", 320, 16), ("more words on two lines", 96, 32), ("", 64, 16)] {
            let image = image(text, width, height);
            let short = Screenshot::of_text(&image).unwrap();
            let colours: Vec<u8> = image.ink.iter().flat_map(|ink| [255 - ink; 3]).collect();
            let whole = Screenshot::of_pixels(&colours, height, width).unwrap();
            let seen = whole.seen.iter().filter(|s| **s).count();
            assert_eq!((short.len(), whole.len()), (seen, width * height / SIDE / SIDE));
            assert_eq!(short.values, whole.values[..seen * PATCH]);
            assert!(short.patch(seen - 1).iter().all(|x| *x == 0.0));
            assert!(whole.values[seen * PATCH..].iter().all(|x| *x == 1.0));
        }
        assert!(Screenshot::of_text(&image("a", 40, 16)).is_err());
    }

    #[test]
    fn a_full_image_has_no_mark() {
        let mut full = image("a", 32, 16);
        full.ink[31] = 9;
        let found = Screenshot::of_text(&full).unwrap();
        assert!(found.len() == 2 && found.patch(1).iter().any(|x| *x > 0.9));
    }

    #[test]
    fn targets_have_no_mean_and_unit_variance() {
        let patch: Vec<f32> = (0..PATCH).map(|k| (k as f32 * 0.37).sin()).collect();
        let target: Vec<f32> = normalised(&patch).collect();
        let sum: f32 = target.iter().sum();
        let squares: f32 = target.iter().map(|x| x * x).sum();
        assert!(sum.abs() < 1e-3 && (squares / (PATCH - 1) as f32 - 1.0).abs() < 1e-4);
        assert!(normalised(&[1.0; PATCH]).all(|x| x == 0.0));
    }
}
