//! What in-context learning learns (arXiv 2305.09731): recognising a task, or learning it.
