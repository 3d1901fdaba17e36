//! electronic
