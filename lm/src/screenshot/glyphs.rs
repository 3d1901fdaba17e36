//! Glyphs as pixels: drawn once for a font and size, then kept.
//!
//! Outlines are hinted as FreeType hints them, so that most glyphs are its bitmaps to a grey level or two.

use super::outline::Outline;
use crate::{Error, Result};
use skrifa::instance::{LocationRef, Size};
use skrifa::outline::{DrawSettings, HintingInstance, HintingOptions};
use skrifa::{FontRef, GlyphId, MetadataProvider};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

/// The bitmap of a character, and where it lies from the pen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glyph {
    /// Pixels that the pen goes on.
    pub advance: i32,
    /// Columns from the pen to the left edge.
    pub bearing_x: i32,
    /// Rows from the base line up to the upper edge.
    pub bearing_y: i32,
    /// Columns.
    pub width: usize,
    /// Coverage, 0 to 255, row by row.
    pub coverage: Vec<u8>,
}

/// Glyphs by character: an array for ASCII, which is most of most texts, and a map.
#[derive(Debug, Default)]
pub(super) struct Table {
    ascii: Vec<Option<Glyph>>,
    others: HashMap<char, Glyph>,
}

impl Table {
    pub(super) fn get(&self, character: char) -> Option<&Glyph> {
        match character {
            '\0'..='\x7f' => self.ascii.get(character as usize)?.as_ref(),
            _ => self.others.get(&character),
        }
    }

    fn insert(&mut self, character: char, glyph: Glyph) {
        if character.is_ascii() {
            self.ascii.resize(128, None);
            self.ascii[character as usize] = Some(glyph);
        } else {
            self.others.insert(character, glyph);
        }
    }
}

/// The glyphs of a font at a size, or a given table. Those of a font are drawn when they are first asked for.
#[derive(Debug)]
pub struct Glyphs {
    fonts: Vec<Cow<'static, [u8]>>,
    pixels: f32,
    table: RwLock<Table>,
}

impl Glyphs {
    /// The fonts inside the program (Ubuntu Light, and Hack for what that lacks), `pixels` to the em.
    pub fn built_in(pixels: f64) -> Self {
        let fonts = [epaint_default_fonts::UBUNTU_LIGHT, epaint_default_fonts::HACK_REGULAR].map(Cow::Borrowed);
        Glyphs { fonts: fonts.into(), pixels: pixels as f32, table: RwLock::default() }
    }

    /// A font file (TrueType or OpenType), `pixels` to the em.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a file that is no font.
    pub fn open(path: &Path, pixels: f64) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        FontRef::new(&bytes).map_err(|e| Error::format(path, format!("expected a font, found: {e}")))?;
        Ok(Glyphs { fonts: vec![bytes.into()], pixels: pixels as f32, table: RwLock::default() })
    }

    /// The glyphs of a table alone; other characters are nothing, of no width.
    pub fn of_table(glyphs: HashMap<char, Glyph>) -> Self {
        let mut table = Table::default();
        glyphs.into_iter().for_each(|(character, glyph)| table.insert(character, glyph));
        Glyphs { fonts: Vec::new(), pixels: 0.0, table: RwLock::new(table) }
    }

    /// The glyph of a character.
    pub fn glyph(&self, character: char) -> Glyph {
        self.with(&character.to_string(), |table| table.get(character).cloned().unwrap_or_default())
    }

    /// Runs `work` with the glyphs of all characters of `text` in the table.
    pub(super) fn with<R>(&self, text: &str, work: impl FnOnce(&Table) -> R) -> R {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        if self.fonts.is_empty() || text.chars().all(|c| table.get(c).is_some()) {
            return work(&table);
        }
        drop(table);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let mut missing: Vec<char> = text.chars().filter(|c| table.get(*c).is_none()).collect();
        missing.sort_unstable();
        missing.dedup();
        for bytes in &self.fonts {
            draw(bytes, self.pixels, &mut missing, &mut table);
        }
        // In no font: the box that the first has for such characters.
        if let (Some(Ok(font)), false) = (self.fonts.first().map(|f| FontRef::new(f)), missing.is_empty()) {
            let glyph = Drawing::new(&font, self.pixels).glyph(GlyphId::NOTDEF);
            missing.into_iter().for_each(|c| table.insert(c, glyph.clone()));
        }
        work(&table)
    }
}

/// Draws those of the missing characters that a font has.
fn draw(bytes: &[u8], pixels: f32, missing: &mut Vec<char>, table: &mut Table) {
    // The bytes were a font when they were read.
    let Ok(font) = FontRef::new(bytes) else { return };
    let (characters, drawing) = (font.charmap(), Drawing::new(&font, pixels));
    missing.retain(|character| {
        let id = characters.map(*character);
        id.inspect(|id| table.insert(*character, drawing.glyph(*id))).is_none()
    });
}

struct Drawing<'a> {
    outlines: skrifa::outline::OutlineGlyphCollection<'a>,
    hinting: Option<HintingInstance>,
    metrics: skrifa::metrics::GlyphMetrics<'a>,
    size: Size,
}

impl<'a> Drawing<'a> {
    fn new(font: &FontRef<'a>, pixels: f32) -> Self {
        let outlines = font.outline_glyphs();
        let size = Size::new(if outlines.fractional_size_hinting() { pixels } else { pixels.round() });
        let location = LocationRef::default();
        let hinting = HintingInstance::new(&outlines, size, location, HintingOptions::default()).ok();
        Drawing { outlines, hinting, metrics: font.glyph_metrics(size, location), size }
    }

    fn glyph(&self, id: GlyphId) -> Glyph {
        let mut outline = Outline::default();
        let settings = match &self.hinting {
            Some(instance) => DrawSettings::hinted(instance, false),
            None => DrawSettings::unhinted(self.size, LocationRef::default()),
        };
        // A glyph whose outline is broken stays empty, as one without outline.
        let drawn = self.outlines.get(id).and_then(|glyph| glyph.draw(settings, &mut outline).ok());
        let advance = drawn.and_then(|drawn| drawn.advance_width).or(self.metrics.advance_width(id)).unwrap_or(0.0);
        let box_ = outline.coverage();
        Glyph {
            advance: advance.round() as i32,
            bearing_x: box_.left,
            bearing_y: box_.top,
            width: box_.width,
            coverage: box_.values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_have_ink_spaces_have_none_and_what_no_font_has_is_a_box() {
        let glyphs = Glyphs::built_in(13.9);
        let [a, space, wide] = ['a', ' ', 'W'].map(|c| glyphs.glyph(c));
        assert!(a.coverage.iter().any(|c| *c > 100) && a.advance > 4 && wide.advance > a.advance);
        assert!(space.coverage.is_empty() && space.advance > 2);
        let missing = glyphs.glyph('\u{10FFFE}');
        assert!(!missing.coverage.is_empty());
        assert_eq!(missing, glyphs.glyph('\u{10FFFD}'));
        // A second font is asked for what the first lacks: one of Hack's arrows for prompts.
        assert_ne!(glyphs.glyph('\u{E0B0}'), missing);
    }

    #[test]
    fn what_is_no_font_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ttf");
        assert!(Glyphs::open(&path, 10.0).is_err());
        std::fs::write(&path, b"no font").unwrap();
        assert!(Glyphs::open(&path, 10.0).unwrap_err().to_string().contains("expected a font"));
    }
}
