//! Text as images, patches and masks against the renderer and the collator of PTP.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "a failing test must say where")]

#[path = "../../tests/support/golden.rs"]
mod golden;
#[path = "../../tests/support/tolerances.rs"]
mod tolerances;

use golden::{difference, file, tensors, values};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use tesseral_lm::screenshot::glyphs::{Glyph, Glyphs};
use tesseral_lm::screenshot::patches::{Screenshot, normalised};
use tesseral_lm::screenshot::render::{RenderConfig, Renderer};
use tesseral_lm::screenshot::{masks, positions};
use tesseral_nn::rng::Streams;

const FAMILY: &str = "ptp";

fn json(name: &str) -> Option<Value> {
    Some(serde_json::from_str(&std::fs::read_to_string(file(FAMILY, name)?).unwrap()).unwrap())
}

/// The glyph tables of a file, by their key.
fn tables(golden: &Value) -> BTreeMap<String, HashMap<char, Glyph>> {
    let number = |value: &Value| {
        // Negative bearings are stored as unsigned 26.6 numbers without their fraction.
        let number = value.as_i64().unwrap();
        (if number > 1 << 25 { number - (1 << 26) } else { number }) as i32
    };
    let glyph = |(code, g): (&String, &Value)| {
        let glyph = Glyph {
            advance: number(&g["advance"]),
            bearing_x: number(&g["horiBearingX"]),
            bearing_y: number(&g["horiBearingY"]),
            width: g["w"].as_u64().unwrap() as usize,
            coverage: serde_json::from_value(g["bitmap"].clone()).unwrap(),
        };
        assert_eq!(g["w"], g["pitch"]);
        (char::from_u32(code.parse().unwrap()).unwrap(), glyph)
    };
    let fonts = golden.as_object().unwrap().iter().filter(|(key, _)| key.starts_with("glyphs_"));
    fonts.map(|(key, table)| (key.clone(), table.as_object().unwrap().iter().map(glyph).collect())).collect()
}

#[test]
fn golden_text_is_drawn_pixel_by_pixel() {
    let Some((golden, ink)) = json("render.json").zip(tensors(FAMILY, "render")) else { return };
    let table = tables(&golden).into_values().next().unwrap();
    let mut cases = 0;
    for (name, case) in golden["cases"].as_object().unwrap() {
        let size = |key: &str| case[key].as_u64().unwrap() as usize;
        let config = RenderConfig {
            height: size("height"),
            width: size("width"),
            font_size: size("font_size"),
            line_space: size("line_space"),
            ..RenderConfig::default()
        };
        let text = case["text"].as_str().unwrap();
        let image = Renderer::with_glyphs(&config, Glyphs::of_table(table.clone())).render(text);
        let expected = ink[&format!("ink_{name}")].flatten_all().unwrap().to_vec1::<u8>().unwrap();
        assert!(image.ink == expected, "{name}");
        // Of a word wider than the line the original counts one letter that it does not draw.
        let (rendered, ours) = (case["rendered_text"].as_str().unwrap(), &text[..image.drawn]);
        let cut_word = !ours.contains(' ') && ours.len() < text.len();
        assert_eq!(&rendered[..rendered.len() - usize::from(cut_word)], ours, "{name}");
        cases += 1;
    }
    assert!(cases > 0);
}

/// Our own glyphs against FreeType's, where `TESSERAL_FONTS` is a folder with the font of the golden.
#[test]
fn golden_glyphs_of_the_same_font() {
    let Some(golden) = json("render.json") else { return };
    for (key, table) in tables(&golden) {
        let name = format!("{}.ttf", key.split('_').nth(1).unwrap());
        let font = std::env::var_os("TESSERAL_FONTS").map(|folder| std::path::Path::new(&folder).join(&name));
        let Some(font) = font.filter(|font| font.is_file()) else {
            println!("skipped: {name} is not in TESSERAL_FONTS");
            continue;
        };
        let glyphs = Glyphs::open(&font, 10.0 * 100.0 / 72.0).unwrap();
        let mut worst = 0;
        for (character, expected) in table.iter().filter(|(c, _)| !c.is_control()) {
            let found = glyphs.glyph(*character);
            let place = |g: &Glyph| (g.advance, g.bearing_x, g.bearing_y, g.width, g.coverage.len());
            assert_eq!(place(&found), place(expected), "{character:?}");
            let far = found.coverage.iter().zip(&expected.coverage).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
            worst = worst.max(far);
        }
        println!("{name}: {worst} of 255");
        assert!(worst <= tolerances::GLYPH, "{name}: {worst}");
    }
}

#[test]
fn golden_patches_and_the_end_of_the_text() {
    let Some(io) = tensors(FAMILY, "ptp_tiny_io") else { return };
    let images = &io["image_u8"];
    let (count, height, width, _) = images.dims4().unwrap();
    for number in 0..count {
        let pixels = images.get(number).unwrap().flatten_all().unwrap().to_vec1::<u8>().unwrap();
        let found = Screenshot::of_pixels(&pixels, height, width).unwrap();
        let expected = io["flattened_patches"].get(number).unwrap();
        for (patch, row) in expected.to_vec2::<f32>().unwrap().iter().enumerate() {
            // Row and column come first.
            assert_eq!((row[0], row[1]), (1.0, (patch + 1) as f32));
            assert_eq!(found.patch(patch), &row[2..], "image {number}, patch {patch}");
            let target: Vec<f64> = values(&io["norm_target"].get(number).unwrap().get(patch).unwrap());
            let far = normalised(found.patch(patch)).zip(target).map(|(a, b)| (f64::from(a) - b).abs());
            assert!(far.fold(0.0, f64::max) < tolerances::SCREENSHOT);
        }
        let seen: Vec<f32> = found.seen.iter().map(|seen| f32::from(u8::from(*seen))).collect();
        assert_eq!(seen, io["attention_mask"].get(number).unwrap().to_vec1::<f32>().unwrap());
    }
}

#[test]
fn golden_positions() {
    let Some(weights) = tensors(FAMILY, "ptp_tiny") else { return };
    for name in ["encoder.embeddings.position_embeddings", "mae_decoder.decoder_pos_embed"] {
        let expected = &weights[name];
        let (_, rows, width) = expected.dims3().unwrap();
        let found = positions::table(11, width);
        assert_eq!(found.len(), rows * width);
        let found = candle_core::Tensor::from_vec(found, (1, rows, width), &candle_core::Device::Cpu).unwrap();
        assert!(difference(&found, expected) < 1e-6, "{name}");
    }
    let Some(scalars) = json("scalars.json") else { return };
    let grid = &scalars["pos_grid_511"];
    let rows = grid["table_rows_incl_cls"].as_u64().unwrap() as usize;
    assert_eq!(positions::table(grid["n_patches"].as_u64().unwrap() as usize, 4).len(), rows * 4);
}

#[test]
fn golden_span_masks() {
    let Some(scalars) = json("scalars.json") else { return };
    let golden = &scalars["span_mask"];
    let number = |key: &str| golden[key].as_u64().unwrap() as usize;
    let (patches, rate) = (number("num_patches"), golden["mask_ratio"].as_f64().unwrap());
    assert_eq!(masks::hidden(patches, rate), number("num_masking_patches"));
    let runs = |mask: &[bool]| -> Vec<usize> { mask.split(|m| !m).map(<[bool]>::len).filter(|n| *n > 0).collect() };
    let mut histogram: BTreeMap<usize, f64> = BTreeMap::new();
    for trial in 0..number("n_trials") as u64 {
        let mask = masks::spans(patches, rate, &mut Streams::new(3).stream("spans", &[trial]));
        assert_eq!(mask.iter().filter(|m| **m).count(), number("num_masking_patches"));
        runs(&mask).into_iter().for_each(|n| *histogram.entry(n).or_default() += 1.0);
    }
    let expected = golden["run_length_hist"].as_object().unwrap();
    assert_eq!(histogram.len(), expected.len());
    for (length, count) in expected {
        // Counts of two samples: six standard deviations of their difference at most.
        let (found, count) = (histogram[&length.parse().unwrap()], count.as_f64().unwrap());
        assert!((found - count).abs() < 6.0 * (found + count).sqrt(), "{length}: {found} {count}");
    }
    // The original's samples hide as many.
    for sample in golden["sample_masks_python_seed0"].as_array().unwrap() {
        let places: Vec<usize> = serde_json::from_value(sample.clone()).unwrap();
        assert_eq!(places.len(), number("num_masking_patches"));
    }
    let rate = scalars["text_mask_rate_measured"].as_f64().unwrap();
    let mask = masks::words(67_000, 0.25, &mut Streams::new(3).stream("words", &[]));
    let found = mask.iter().filter(|m| **m).count() as f64 / mask.len() as f64;
    assert!((found - rate).abs() < 0.01, "{found} {rate}");
    let example = &scalars["collator_example"];
    let mask: Vec<u8> = serde_json::from_value(example["patch_mask"].clone()).unwrap();
    assert_eq!(mask.iter().filter(|m| **m == 1).count(), masks::hidden(mask.len(), 0.1));
}
