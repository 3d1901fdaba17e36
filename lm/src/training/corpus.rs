//! What a model is trained on: batches by number.

use crate::Result;
use crate::objective::Batch;

/// A fixed list of batches; a batch is a function of its number alone, so that the place in the data is one number.
pub trait Corpus {
    /// Number of batches.
    fn len(&self) -> usize;

    /// Batch `number`, below [`Self::len`].
    ///
    /// # Errors
    /// A source that cannot be read.
    fn batch(&self, number: usize) -> Result<Batch>;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Corpus for Vec<Batch> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn batch(&self, number: usize) -> Result<Batch> {
        Ok(self[number].clone())
    }
}

/// Some corpora one after the other.
pub struct Joined<'a>(pub Vec<&'a dyn Corpus>);

impl Corpus for Joined<'_> {
    fn len(&self) -> usize {
        self.0.iter().map(|corpus| corpus.len()).sum()
    }

    fn batch(&self, mut number: usize) -> Result<Batch> {
        for corpus in &self.0 {
            if number < corpus.len() {
                return corpus.batch(number);
            }
            number -= corpus.len();
        }
        Err(crate::Error::config("batch", format!("expected a number below {}", self.len())))
    }
}
