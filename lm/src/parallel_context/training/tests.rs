//! Whole stages on made-up text.

use super::*;
