//! Progress for people: a bar on a terminal, else a line now and then; Ctrl-C ends a training run in order.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use tesseral::nn::train::observer::{Observer, Start, Step, ValidationEvent};
use tracing::{Level, debug, info};
use tracing_subscriber::EnvFilter;

/// Messages go to standard error; `RUST_LOG` chooses which.
pub(crate) fn log_to_stderr(quiet: bool) {
    let level = if quiet { Level::WARN } else { Level::INFO };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    // A line of no length in a picture is no news.
    let filter = "tiny_skia=error".parse().map_or(filter.clone(), |quieter| filter.add_directive(quieter));
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    format.without_time().with_target(false).with_level(false).with_ansi(false).init();
}

static STOP: AtomicBool = AtomicBool::new(false);

/// A flag that Ctrl-C sets; a second Ctrl-C ends the process at once.
pub(crate) fn stop_on_interrupt() -> &'static AtomicBool {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let installed = ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            eprintln!("\ninterrupted: saving after this step; once more to end at once");
        });
        if let Err(error) = installed {
            tracing::warn!("Ctrl-C will not save the run: {error}");
        }
    });
    &STOP
}

/// What a run counts and measures.
#[derive(Clone, Copy)]
pub(crate) struct Units {
    /// What it works on.
    work: &'static str,
    /// Of the validation, which is multiplied by `factor`.
    loss: &'static str,
    factor: f64,
}

/// Hamiltonians: edges, and errors in meV.
pub(crate) const HAMILTONIANS: Units = Units { work: "edges", loss: "meV", factor: 1e3 };
/// Language models: tokens, and losses in nats.
pub(crate) const TEXT: Units = Units { work: "tokens", loss: "nats", factor: 1.0 };
/// Tuning to a task: examples, and what is right of those for development.
pub(crate) const EXAMPLES: Units = Units { work: "examples", loss: "right", factor: -1.0 };

/// Shows a run.
pub(crate) struct Progress {
    units: Units,
    bar: ProgressBar,
    seconds: Option<f64>,
    began: std::time::Instant,
    /// When a line about progress was last written, where there is no bar.
    told: std::time::Instant,
    last: String,
}

/// Seconds between lines about progress where there is no bar.
const PAUSE: u64 = 10;

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        Self::with_units(quiet, HAMILTONIANS)
    }

    pub(crate) fn with_units(quiet: bool, units: Units) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        if !quiet && std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        }
        let now = std::time::Instant::now();
        Progress { units, bar, seconds: None, began: now, told: now, last: String::new() }
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| info!("{text}"));
    }
}

impl Observer for Progress {
    fn on_start(&mut self, start: Start) {
        self.began = std::time::Instant::now();
        self.seconds = start.total_steps.is_none().then_some(start.max_seconds).flatten();
        let length = start.total_steps.or(self.seconds.map(|s| s as u64));
        self.bar.reset();
        self.bar.set_length(length.unwrap_or(0));
        self.bar.set_position(if self.seconds.is_none() { start.step } else { 0 });
        let unit = if self.seconds.is_some() { " s" } else { "" };
        let template = format!("{{bar:24}} {{pos}}/{{len}}{unit} {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            self.bar.set_style(style);
        }
    }

    fn on_step(&mut self, step: Step) {
        let position = if self.seconds.is_some() { self.began.elapsed().as_secs() } else { step.step };
        self.bar.set_position(position);
        let (loss, rate, speed, work) = (step.loss, step.learning_rate, step.throughput, self.units.work);
        self.bar.set_message(format!("loss {loss:.3e}  rate {rate:.1e}  {speed:.0} {work}/s{}", self.last));
    }

    fn on_validation(&mut self, validation: ValidationEvent<'_>) {
        let mark = if validation.best { " (best)" } else { "" };
        let value = format!("validation {:.3} {}", self.units.factor * validation.loss, self.units.loss);
        self.last = format!("  {value}");
        if self.bar.is_hidden() {
            info!("step {}: {value}{mark}", validation.step);
        }
    }

    fn on_checkpoint(&mut self, step: u64, path: &Path) {
        debug!("step {step}: saved {}", path.display());
    }

    fn on_message(&mut self, text: &str) {
        self.say(text);
    }

    fn on_progress(&mut self, done: usize, total: usize, what: &str) {
        if self.bar.is_hidden() {
            if self.told.elapsed().as_secs() >= PAUSE {
                self.told = std::time::Instant::now();
                info!("{what}: {done} of {total}");
            }
            return;
        }
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
            self.bar.set_style(style);
        }
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(what.to_owned());
        if done == total {
            self.bar.finish_and_clear();
            self.bar.reset();
        }
    }

    fn on_end(&mut self, step: u64, seconds: f64) {
        let last = std::mem::take(&mut self.last);
        self.say(&format!("{step} steps in {seconds:.1} s{last}"));
        self.bar.finish_and_clear();
    }
}
