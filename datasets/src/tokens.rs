//! Arrays of token ids: `.npy` and `.bin`.
