//! Every tolerance of the golden tests, in one place. A change here is its own commit with its own reason.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of them")]

/// Clebsch-Gordan, harmonics, Wigner D: absolute.
pub const TABLES: f64 = 1e-12;
/// One module, output: absolute.
pub const MODULE: f64 = 1e-11;
/// Small networks, features and H (eV): absolute.
pub const SMALL_NET: f64 = 1e-10;
/// The network of default widths, H (eV, up to 113): absolute.
pub const DEFAULT_NET: f64 = 1e-9;
/// Gradients: relative to the norm of the tensor.
pub const GRADIENT: f64 = 1e-8;
/// Parameters after three Adam steps: relative to the norm of the tensor.
pub const ADAM: f64 = 1e-7;
/// Rotated copies of a structure, mean |H| and spread of H: relative.
pub const EQUIVARIANCE: f64 = 1e-10;
/// Eigenvalues of converted SIESTA runs against .EIG (its k have six digits) and .bands (4 decimals): eV.
pub const SIESTA_EIG: f64 = 1.5e-4;
pub const SIESTA_BANDS: f64 = 9e-5;
/// Eigenvalues of converted ABACUS runs against istate.info: eV, the digits of H.
pub const ABACUS_ISTATE: f64 = 1e-6;
/// Eigenvalues of the converted DeePTB example against those of LAPACK, as printed: eV.
pub const DEEPTB_EIGENVALUES: f64 = 1e-7;
/// Single atoms subtracted and added back: eV.
pub const SINGLE_ATOMS: f64 = 1e-12;
/// DeepH-dock's error demo, mean errors of matrix elements (meV): half of the last digit of the documented figures.
pub const DEMO_MAE_MEV: f64 = 5e-6;
/// The same without gauge fix (meV), documented as 1.0459 eV.
pub const DEMO_RAW_MEV: f64 = 0.05;
/// The same, relative error.
pub const DEMO_RELATIVE: f64 = 5e-10;
/// The same, mean over pairs of elements (meV), documented as 1.203e-4 eV.
pub const DEMO_PAIR_MEV: f64 = 5e-5;
/// Rotary frequencies (relative) and rotated vectors (absolute), f32.
pub const ROPE: f64 = 1e-6;
/// Logits and hidden states of the tiny Llama, f32: absolute.
pub const LOGITS: f64 = 1e-4;
/// Losses: relative.
pub const LOSS: f64 = 1e-5;
/// Gradients of language models, f32: relative to the norm of the tensor.
pub const LM_GRADIENT: f64 = 1e-3;
/// Losses, rates and norms along six steps of AdamW, f32: relative.
pub const TRAJECTORY: f64 = 1e-4;
/// Weights after them: relative to the norm of the tensor.
pub const AFTER_SIX_STEPS: f64 = 1e-3;
/// Logits of SmolLM2 (f32, 30 layers, up to 30): absolute.
pub const SMOLLM2_LOGITS: f64 = 2e-3;
/// Weights and losses of zeroth-order steps, f64: absolute.
pub const ZEROTH_ORDER: f64 = 1e-12;
/// The same, derivatives: a difference of losses over 2e-3.
pub const ZEROTH_ORDER_DERIVATIVE: f64 = 1e-10;
/// Weights of zeroth-order steps, f32: the derivative is off by 2e-3, times a rate of 0.05.
pub const ZEROTH_ORDER_F32: f64 = 5e-4;
pub const ZEROTH_ORDER_DERIVATIVE_F32: f64 = 2e-3;
/// Log-probabilities of options, losses, logits with prefixes, f64: absolute.
pub const OPTIONS: f64 = 1e-10;
/// Derivatives of such losses along a direction: a difference over 2e-3.
pub const OPTIONS_DERIVATIVE: f64 = 1e-7;
/// Hard concrete masks, probabilities and their gradients, f32: absolute.
pub const MASKS: f64 = 1e-6;
/// The Lagrangian and its gradients, f32: absolute.
pub const LAGRANGIAN: f64 = 1e-5;
/// Logits of masked and of pruned models, f32: absolute.
pub const PRUNED_LOGITS: f64 = 2e-5;
/// Steps 0 to 4 of a pruning run (loss, Lagrangian; ten times this for the gradient norm), f32: absolute.
pub const PRUNING_EARLY: f64 = 1e-4;
/// Its later steps, which rounding makes chaotic.
pub const PRUNING_LATE: f64 = 5e-2;
/// Weights of domains: absolute.
pub const DOMAIN_WEIGHTS: f64 = 1e-5;
/// Losses by scaling law: absolute, nats.
pub const SCALING_LAW: f64 = 1e-4;
/// Factors of the learning rate: absolute.
pub const SCHEDULE: f64 = 1e-12;
/// One layer of cross-attention, f32: absolute.
pub const CONTEXT_LAYER: f64 = 1e-5;
/// Logits with contexts in another order, f32: absolute.
pub const CONTEXT_ORDER: f64 = 1e-5;
/// Loss of distillation with its cross-entropy: relative.
pub const DISTILLATION: f64 = 1e-6;
/// The tiny screenshot models, f32, outputs: absolute (the golden's own).
pub const SCREENSHOT: f64 = 3e-5;
/// Coverage of a glyph's pixels against FreeType's, of 255: outlines are rounded differently.
pub const GLYPH: u8 = 3;
