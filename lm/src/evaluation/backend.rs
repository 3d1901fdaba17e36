//! Who answers: a model on this machine, an endpoint, a recorded table, or a simple rule.

pub mod endpoint;
pub mod local;
pub mod rule;
pub mod table;

use super::request::{Request, Response};
use crate::Result;
use crate::model::tokenizer::Tokenizer;

/// Takes an answer as soon as it is known: the place of its request, and the answer.
pub type Tell<'a> = dyn FnMut(usize, Response) -> Result<()> + 'a;

/// Answers requests.
pub trait Backend {
    /// Names the model and everything else on which its answers depend, the request apart.
    fn identity(&self) -> &str;

    /// Answers every request through `tell`, in any order. An answer depends on its request alone, not on the others.
    ///
    /// # Errors
    /// The first request that cannot be answered, once the answers already known have been told; those of `tell`.
    fn answer(&self, requests: &[Request], tell: &mut Tell<'_>) -> Result<()>;

    /// The model's tokenizer, where there is one: lengths are built with it.
    fn tokenizer(&self) -> Option<&Tokenizer> {
        None
    }

    /// Most tokens of a prompt and its answer together, where the model says.
    fn context(&self) -> Option<usize> {
        None
    }
}
