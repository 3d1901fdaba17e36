//! PNG from the text of an SVG, for slides and for programs that show no SVG.
//!
//! resvg rasterises; the letters come from fonts inside the program (Ubuntu Light, and Hack for what that lacks), so the
//! picture is the same on a cluster node without any font.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};

use crate::physics::{Error, Result};

/// Pixels of the PNG for each of the SVG's.
const SCALE: f32 = 2.0;

/// The bytes of a PNG file of twice the size of the picture.
///
/// # Errors
/// A text that is no SVG, a picture too large for memory; `path` names it in the message.
pub fn from_svg(svg: &str, path: &Path) -> Result<Vec<u8>> {
    let wrong = |reason: String| Error::Io { path: path.into(), source: std::io::Error::other(reason) };
    let family = String::from("Ubuntu");
    let options = Options { fontdb: fonts(), font_family: family, ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|e| wrong(e.to_string()))?;
    let size = tree.size().to_int_size();
    let side = |length: u32| (length as f32 * SCALE) as u32;
    let mut pixels = Pixmap::new(side(size.width()), side(size.height()))
        .ok_or_else(|| wrong(format!("expected a picture that fits memory, found {size:?}")))?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|e| wrong(e.to_string()))
}

/// The bytes of a PNG file of ink, 0 (white) to 255 (black), row by row.
///
/// # Errors
/// Another number of values than pixels, or none; `path` names it in the message.
pub fn from_ink(ink: &[u8], width: usize, height: usize, path: &Path) -> Result<Vec<u8>> {
    let wrong = |reason: String| Error::Io { path: path.into(), source: std::io::Error::other(reason) };
    let size = (u32::try_from(width).unwrap_or(0), u32::try_from(height).unwrap_or(0));
    let pixels = Pixmap::new(size.0, size.1).filter(|_| ink.len() == width * height);
    let mut pixels = pixels.ok_or_else(|| wrong(format!("expected {width} x {height} pixels, found {}", ink.len())))?;
    for (pixel, ink) in pixels.data_mut().chunks_exact_mut(4).zip(ink) {
        let grey = 255 - ink;
        pixel.copy_from_slice(&[grey, grey, grey, 255]);
    }
    pixels.encode_png().map_err(|e| wrong(e.to_string()))
}

/// The fonts of the program, read once.
fn fonts() -> Arc<Database> {
    static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
    let load = || {
        let mut fonts = Database::new();
        fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
        fonts.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
        // "sans-serif" is what the pictures ask for.
        let first = fonts.faces().next().and_then(|face| face.families.first()).map(|family| family.0.clone());
        if let Some(family) = first {
            fonts.set_sans_serif_family(family);
        }
        Arc::new(fonts)
    };
    FONTS.get_or_init(load).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dark(svg: &str) -> usize {
        let png = from_svg(svg, Path::new("x.png")).unwrap();
        let pixels = Pixmap::decode_png(&png).unwrap();
        assert_eq!((pixels.width(), pixels.height()), (80, 40));
        pixels.pixels().iter().filter(|p| p.alpha() > 128 && p.red() < 128).count()
    }

    #[test]
    fn letters_and_greek_need_no_system_font() {
        let svg = |text: &str| {
            format!(
                "<svg width=\"40\" height=\"20\" xmlns=\"http://www.w3.org/2000/svg\"><text x=\"2\" y=\"15\" \
                 font-family=\"sans-serif\" font-size=\"14\">{text}</text></svg>"
            )
        };
        let (nothing, letters, greek) = (dark(&svg("")), dark(&svg("K M")), dark(&svg("Γ")));
        assert!(nothing == 0 && letters > 40 && greek > 20, "{nothing} {letters} {greek}");
    }

    #[test]
    fn ink_is_black_on_white() {
        let png = from_ink(&[0, 255, 100, 0, 0, 0], 3, 2, Path::new("x.png")).unwrap();
        let pixels = Pixmap::decode_png(&png).unwrap();
        assert_eq!(pixels.pixels().iter().map(|p| p.red()).collect::<Vec<_>>(), [255, 0, 155, 255, 255, 255]);
        assert!(from_ink(&[0; 5], 3, 2, Path::new("x.png")).is_err());
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let error = from_svg("no picture", Path::new("x.png")).unwrap_err();
        assert!(error.to_string().starts_with("x.png"), "{error}");
    }
}
