//! The `tesseral` command: reads its arguments, runs one command, turns errors into messages and exit codes.
//!
//! 0 done, 1 failed, 2 usage or configuration, 130 interrupted.

mod cli;
mod progress;

use clap::Parser;
use std::process::ExitCode;
use tesseral::{lm, nn, physics};

fn main() -> ExitCode {
    nn::kernels::memory::keep_freed_blocks();
    let arguments = cli::Arguments::parse();
    progress::log_to_stderr(arguments.common.quiet);
    // candle's backward pass needs a deep stack.
    let outcome = nn::train::on_large_stack(|| cli::run(&arguments)).map_err(anyhow::Error::from);
    match outcome.and_then(|result| result) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", message(&error));
            ExitCode::from(exit_code(&error))
        }
    }
}

/// An error and its causes; those that the one before it says already are left out.
fn message(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// The exit code of an error.
fn exit_code(error: &anyhow::Error) -> u8 {
    let primitive = |error: &nn::Error| match error {
        nn::Error::Interrupted { .. } => 130,
        nn::Error::Config { .. } => 2,
        _ => 1,
    };
    if error.downcast_ref::<cli::Usage>().is_some() {
        return 2;
    }
    match error.downcast_ref::<lm::Error>() {
        Some(lm::Error::Config { .. }) => return 2,
        Some(lm::Error::Nn(error)) => return primitive(error),
        _ => {}
    }
    match error.downcast_ref::<physics::Error>() {
        Some(physics::Error::Config { .. }) => 2,
        Some(physics::Error::Primitive(error)) => primitive(error),
        Some(_) => 1,
        None => error.downcast_ref().map_or(1, primitive),
    }
}
