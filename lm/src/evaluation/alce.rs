//! ALCE (arXiv 2305.14627): answers with citations.
