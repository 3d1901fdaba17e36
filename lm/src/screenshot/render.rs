//! Text drawn as an image of one or a few lines: the placement of PTP's renderer (arXiv 2402.14073, `image_utils.py` and
//! its C++), learnt from its output.
//!
//! The base line lies two rows above the foot of the font size; the pen starts in the corner. Glyphs are put so far to
//! the left as the widest left bearing seen so far exceeds their own (a negative one counts as zero), never beyond the
//! edge. Words that no longer fit go to the next line; a word longer than a line is cut.

use super::glyphs::{Glyph, Glyphs, Table};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Points in an inch.
const POINTS: f64 = 72.0;

/// How text is drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RenderConfig {
    /// A TrueType or OpenType file; none: the font inside the program. Relative paths are taken from the configuration file.
    pub font: Option<PathBuf>,
    /// Size of the font, points; a line is two pixels more above its base line.
    pub font_size: usize,
    /// Pixels to the inch.
    pub dpi: usize,
    /// Pixels between the sizes of two lines.
    pub line_space: usize,
    /// Rows of the image, pixels.
    pub height: usize,
    /// Columns of the image, pixels.
    pub width: usize,
    /// Words begin at multiples of so many pixels and look the same in each place; 0: where the one before ends.
    pub cell: usize,
}

impl Default for RenderConfig {
    fn default() -> Self {
        RenderConfig { font: None, font_size: 10, dpi: 100, line_space: 6, height: 16, width: 8176, cell: 0 }
    }
}

impl RenderConfig {
    /// Everything that is wrong, as `key: expected .., found ..`.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, value, most) in [
            ("font_size", self.font_size, 1 << 10),
            ("dpi", self.dpi, 1 << 12),
            ("height", self.height, 1 << 16),
            ("width", self.width, 1 << 20),
        ] {
            if !(1..=most).contains(&value) {
                problems.push(format!("{key}: expected 1 to {most}, found {value}"));
            }
        }
        if self.line_space > 1 << 16 || self.cell > 1 << 16 {
            problems.push("line_space, cell: expected at most 65536".into());
        }
        problems
    }
}

/// A text as pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Ink, 0 (white) to 255 (black), row by row.
    pub ink: Vec<u8>,
    /// Bytes of the text that are drawn.
    pub drawn: usize,
}

/// Draws texts; one is enough for all threads.
#[derive(Debug)]
pub struct Renderer {
    config: RenderConfig,
    glyphs: Glyphs,
}

impl Renderer {
    /// A renderer with the font that the configuration names.
    ///
    /// # Errors
    /// [`Error::Config`] for a value out of range; those of the font.
    pub fn new(config: &RenderConfig) -> Result<Self> {
        if let Some(problem) = config.problems().into_iter().next() {
            return Err(Error::config("render", problem));
        }
        let pixels = config.font_size as f64 * config.dpi as f64 / POINTS;
        let glyphs = match &config.font {
            Some(path) => Glyphs::open(path, pixels)?,
            None => Glyphs::built_in(pixels),
        };
        Ok(Self::with_glyphs(config, glyphs))
    }

    /// A renderer with glyphs of another source.
    pub fn with_glyphs(config: &RenderConfig, glyphs: Glyphs) -> Self {
        Renderer { config: config.clone(), glyphs }
    }

    /// How it draws.
    pub fn config(&self) -> &RenderConfig {
        &self.config
    }

    /// Draws as much of the text as the image holds.
    pub fn render(&self, text: &str) -> Image {
        self.glyphs.with(text, |glyphs| Drawing::new(&self.config, glyphs).text(text))
    }
}

struct Drawing<'a> {
    config: &'a RenderConfig,
    glyphs: &'a Table,
    ink: Vec<u8>,
    pen: [usize; 2],
    widest_bearing: i32,
}

impl<'a> Drawing<'a> {
    fn new(config: &'a RenderConfig, glyphs: &'a Table) -> Self {
        let ink = vec![0; config.height * config.width];
        Drawing { config, glyphs, ink, pen: [0, 0], widest_bearing: 0 }
    }

    fn text(mut self, text: &str) -> Image {
        let mut drawn = 0;
        let mut at_word = true;
        for (place, character) in text.char_indices() {
            let blank = character == ' ';
            if character == '\n' {
                self.next_line();
            } else {
                if at_word && !blank {
                    self.begin_word(&text[place..]);
                }
                let Some(glyph) = self.glyphs.get(character) else { continue };
                if self.pen[0] > 0 && !self.fits(glyph.advance) {
                    self.next_line();
                }
                if self.pen[1] + self.base() > self.config.height {
                    break;
                }
                self.put(glyph);
            }
            at_word = blank || character == '\n';
            drawn = place + character.len_utf8();
        }
        Image { height: self.config.height, width: self.config.width, ink: self.ink, drawn }
    }

    /// Rows from the top of a line to its base line.
    fn base(&self) -> usize {
        self.config.font_size + 2
    }

    fn fits(&self, advance: i32) -> bool {
        self.pen[0] as i64 + i64::from(advance) <= self.config.width as i64
    }

    fn next_line(&mut self) {
        self.pen = [0, self.pen[1] + self.config.font_size + self.config.line_space];
    }

    /// Moves the pen to where the word at the beginning of `text` fits.
    fn begin_word(&mut self, text: &str) {
        if self.config.cell > 0 {
            self.pen[0] = self.pen[0].next_multiple_of(self.config.cell);
            self.widest_bearing = 0;
        }
        let advance = |c: char| self.glyphs.get(c).map_or(0, |glyph| glyph.advance);
        // A word is followed no farther than the line is wide.
        let mut word = 0;
        for character in text.chars().take_while(|c| !matches!(c, ' ' | '\n')) {
            word += advance(character);
            if word as i64 > self.config.width as i64 {
                break;
            }
        }
        if self.pen[0] > 0 && !self.fits(word) {
            self.next_line();
        }
    }

    fn put(&mut self, glyph: &Glyph) {
        let bearing = glyph.bearing_x.max(0);
        self.widest_bearing = self.widest_bearing.max(bearing);
        let left = self.pen[0].saturating_sub((self.widest_bearing - bearing) as usize);
        let top = self.pen[1] as i64 + self.base() as i64 - i64::from(glyph.bearing_y);
        let columns = glyph.width.min(self.config.width.saturating_sub(left));
        if columns > 0 {
            for (row, coverage) in (top..).zip(glyph.coverage.chunks_exact(glyph.width)) {
                if (0..self.config.height as i64).contains(&row) {
                    let start = row as usize * self.config.width + left;
                    self.ink[start..start + columns].copy_from_slice(&coverage[..columns]);
                }
            }
        }
        self.pen[0] = (self.pen[0] as i64 + i64::from(glyph.advance)).max(0) as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renderer(width: usize, height: usize, cell: usize) -> Renderer {
        Renderer::new(&RenderConfig { width, height, cell, ..RenderConfig::default() }).unwrap()
    }

    #[test]
    fn words_that_do_not_fit_are_not_drawn_and_a_wider_image_begins_the_same() {
        let text = "one two three thirteen";
        let (narrow, wide) = (renderer(64, 16, 0).render(text), renderer(400, 16, 0).render(text));
        assert_eq!((&text[..narrow.drawn], wide.drawn), ("one two ", text.len()));
        for row in 0..16 {
            let last = (0..64).rev().find(|x| narrow.ink[row * 64 + x] > 0).unwrap_or(0);
            assert_eq!(narrow.ink[row * 64..][..last], wide.ink[row * 400..][..last]);
        }
        let two = renderer(64, 32, 0).render(text);
        assert_eq!(&text[..two.drawn], "one two three ");
        assert_eq!(renderer(64, 16, 0).render("").drawn, 0);
    }

    #[test]
    fn words_begin_at_cells() {
        let cells = renderer(256, 16, 32).render("ab cd");
        let one = renderer(32, 16, 0);
        for (place, word) in [(0, "ab"), (32, "cd")] {
            let alone = one.render(word);
            for row in 0..16 {
                assert_eq!(cells.ink[row * 256 + place..][..32], alone.ink[row * 32..][..32], "{word}");
            }
        }
    }

    #[test]
    fn odd_text_and_sizes_are_drawn_or_refused() {
        for text in ["\n\n\n\n\n", "\u{0}\u{7f}", "e\u{301}\u{200b}漢字🙂", "a b c d e f g h", &"x".repeat(5000)] {
            let image = renderer(40, 20, 0).render(text);
            assert!(text.is_char_boundary(image.drawn));
        }
        let config = RenderConfig { width: 0, ..RenderConfig::default() };
        assert_eq!(Renderer::new(&config).unwrap_err().to_string(), "render: width: expected 1 to 1048576, found 0");
    }
}
