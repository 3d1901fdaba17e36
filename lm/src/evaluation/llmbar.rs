//! LLMBar (arXiv 2310.07641): judges of instruction following, judged.
