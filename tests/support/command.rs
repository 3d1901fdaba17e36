//! The command from outside: what it prints when it succeeds, and its message when it fails.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot run the command must fail")]

use assert_cmd::Command;
use serde_json::Value;

/// Standard output as JSON of a command that must succeed.
pub fn json(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command that must fail with `code`; its message.
pub fn failure(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(message.contains("error: ") && !message.contains("panicked"), "{message}");
    message
}
