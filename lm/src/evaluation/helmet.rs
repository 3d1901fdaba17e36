//! HELMET (arXiv 2410.02694): long-context evaluation in seven categories.
