//! Plain differentiable layers.
//!
//! Modules: [`dense`] (linear with bias), [`mod@linear`] (without), [`activation`], [`arrange`], [`bias`],
//! [`embedding`], [`gaussian`] (radial basis), [`mod@gelu`], [`loss`], [`norm`], [`perceptron`], [`mod@rms_norm`], [`rope`], [`scale`] (rows and
//! columns), [`mod@swiglu`], [`mod@cross_entropy`].

pub mod activation;
pub mod arrange;
pub mod bias;
pub mod cross_entropy;
pub mod dense;
pub mod embedding;
pub mod gaussian;
pub mod gelu;
pub mod linear;
pub mod loss;
pub mod norm;
pub mod perceptron;
pub mod rms_norm;
pub mod rope;
pub mod scale;
pub mod swiglu;

pub use bias::add_bias;
pub use cross_entropy::cross_entropy;
pub use dense::Dense;
pub use embedding::embed;
pub use linear::{Compact, linear};
pub use perceptron::Perceptron;
pub use rms_norm::rms_norm;
pub use scale::{scale_columns, scale_rows};
pub use swiglu::swiglu;
