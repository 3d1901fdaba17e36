//! Weights by Hugging Face name, from folders and GGUF files.
