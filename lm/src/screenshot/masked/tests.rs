//! The model's function: gradients, and what it does not depend on.

use super::*;
use crate::screenshot::masks;
use crate::screenshot::patches::Screenshot;
use crate::screenshot::render::{RenderConfig, Renderer};
use crate::screenshot::shape::{TextShape, VisionShape};
use candle_core::Device;
use tesseral_nn::Parameters;
use tesseral_nn::optim::Gradients;
use tesseral_nn::optim::gradients::assert_every_variable_has_gradient;
use tesseral_nn::rng::Streams;
use tesseral_nn::train::gradcheck::worst_directional_error;

const WIDTH: usize = 160;

fn model() -> (Parameters, MaskedModel) {
    let vision_config = VisionShape {
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        intermediate_size: 12,
        image_size: [16, WIDTH],
        decoder_hidden_size: 8,
        decoder_num_hidden_layers: 1,
        decoder_num_attention_heads: 1,
        decoder_intermediate_size: 6,
        initializer_range: 0.2,
        ..VisionShape::default()
    };
    let text_config = TextShape {
        vocab_size: 13,
        hidden_size: 8,
        d_kv: 3,
        d_ff: 6,
        num_layers: 1,
        num_heads: 2,
        max_positions: 7,
        ..TextShape::default()
    };
    let shape = MaskedShape { vision_config, text_config, ..MaskedShape::default() };
    assert!(shape.problems().is_empty(), "{:?}", shape.problems());
    let parameters = Parameters::new(Streams::new(5), DType::F64, &Device::Cpu);
    let model = MaskedModel::declare(&parameters.root(), &shape).unwrap();
    (parameters, model)
}

fn screenshot(text: &str) -> Screenshot {
    let config = RenderConfig { width: WIDTH, ..RenderConfig::default() };
    Screenshot::of_text(&Renderer::new(&config).unwrap().render(text)).unwrap()
}

fn examples() -> Vec<Example> {
    let texts = [("some words", vec![3, 1, 4]), ("others, longer", vec![1, 5, 9, 2, 6, 5, 3]), ("", vec![5])];
    let example = |(number, (text, ids)): (usize, (&str, Vec<u32>))| {
        let hidden = masks::spans(WIDTH / 16, 0.4, &mut Streams::new(7).stream("spans", &[number as u64]));
        Example { view: View::masked(screenshot(text), &hidden), text: ids }
    };
    texts.into_iter().enumerate().map(example).collect()
}

#[test]
fn every_parameter_has_its_gradient() {
    let (parameters, model) = model();
    let loss = model.losses(&examples()).unwrap();
    assert_eq!(tesseral_nn::kernels::reverse::foreign_operations(&loss.total), 0);
    let gradients = Gradients::collect(&parameters, &tesseral_nn::kernels::backward(loss.total.clone()).unwrap());
    assert_every_variable_has_gradient(&parameters, &gradients).unwrap();
    assert!((scalar(&loss.total).unwrap() - loss.pixels.unwrap() - loss.text.unwrap()).abs() < 1e-12);
    let loss = || Ok(model.losses(&examples()).unwrap().total);
    assert!(worst_directional_error(&parameters, Streams::new(1), 4, 1e-5, loss).unwrap() < 1e-6);
}

#[test]
fn the_order_of_kept_patches_and_white_ones_behind_the_text_change_nothing() {
    let (_, model) = model();
    let values = |examples: &[Example]| {
        let losses = model.losses(examples).unwrap();
        (losses.pixels.unwrap(), losses.text.unwrap())
    };
    let plain = values(&examples());
    let mut other = examples();
    for example in &mut other {
        let screenshot = &mut example.view.screenshot;
        let count = screenshot.len();
        screenshot.values.resize(WIDTH / 16 * PATCH, 1.0);
        screenshot.seen.resize(WIDTH / 16, false);
        // Some of the white patches are hidden, some are not.
        example.view.kept.extend((count..WIDTH / 16).step_by(2));
        example.view.kept.reverse();
    }
    let moved = values(&other);
    assert!((plain.0 - moved.0).abs() < 1e-12 && (plain.1 - moved.1).abs() < 1e-12, "{plain:?} {moved:?}");
    // Examples do not see each other.
    let tokens = model.token_losses(&examples()).unwrap();
    for (example, together) in examples().into_iter().zip(tokens) {
        let alone = model.token_losses(&[example]).unwrap().remove(0);
        assert!(alone.iter().zip(&together).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}

#[test]
fn where_no_hidden_patch_has_text_the_pixels_count_nothing() {
    let (_, model) = model();
    let mut white = examples().remove(0);
    white.view = View::whole(white.view.screenshot);
    let losses = model.losses(std::slice::from_ref(&white)).unwrap();
    assert!(losses.pixels.is_none() && scalar(&losses.total).unwrap() == losses.text.unwrap());
    white.text.clear();
    let nothing = model.losses(&[white]).unwrap();
    assert!(nothing.text.is_none() && scalar(&nothing.total).unwrap() == 0.0);
    let mut long = examples().remove(0);
    long.text = vec![1; 8];
    assert!(model.losses(&[long]).is_err());
}
