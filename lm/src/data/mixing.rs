//! How many rows of each source a run sees, and in which order.
