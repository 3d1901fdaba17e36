//! Parameter groups: which parameters an exception holds for.

use serde::{Deserialize, Serialize};

/// Parameters that are treated differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParamGroup {
    /// A full name, a prefix of it that ends at a dot (`encoder` holds `encoder.w`), or a glob with `*` and `?`.
    pub pattern: String,
    /// Factor of the learning rate.
    pub learning_rate_scale: f64,
    /// Instead of the common weight decay.
    pub weight_decay: Option<f64>,
    /// Climb the gradient (Lagrange multipliers); torch's `maximize`.
    pub ascend: bool,
    /// Never change; such parameters have no state and do not count in the gradient norm.
    pub frozen: bool,
}

impl Default for ParamGroup {
    fn default() -> Self {
        ParamGroup { pattern: "*".into(), learning_rate_scale: 1.0, weight_decay: None, ascend: false, frozen: false }
    }
}

impl ParamGroup {
    /// Whether the group holds for this parameter.
    pub fn matches(&self, name: &str) -> bool {
        let pattern = self.pattern.as_str();
        if pattern.contains(['*', '?']) {
            return glob(pattern.as_bytes(), name.as_bytes());
        }
        name.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// Glob of `*` (any run) and `?` (any byte), with one point to go back to.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut back) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match back {
                Some((after, from)) => {
                    back = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}
