//! What a training run tells about itself. The library prints nothing.

use std::collections::BTreeMap;
use std::path::Path;

/// Something that happened in a run.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The loop begins.
    Start(Start),
    /// One optimiser step was made.
    Step(Step),
    /// The model was validated.
    Validation(ValidationEvent<'a>),
    /// A checkpoint was written to this folder.
    Checkpoint {
        /// Optimiser steps done.
        step: u64,
        /// Its folder.
        path: &'a Path,
    },
    /// A sentence for people.
    Message(&'a str),
    /// Some of a known number of equal pieces of work are done.
    Progress {
        /// Pieces done.
        done: usize,
        /// Pieces in all.
        total: usize,
        /// What is being done, for people.
        what: &'a str,
    },
    /// The loop is over.
    End {
        /// Optimiser steps done.
        step: u64,
        /// Seconds of training, earlier parts of a resumed run included.
        seconds: f64,
    },
}

/// Begin of a loop.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Optimiser steps already done (0 unless resumed).
    pub step: u64,
    /// Planned optimiser steps, if their number is known.
    pub total_steps: Option<u64>,
    /// Planned seconds, if limited.
    pub max_seconds: Option<f64>,
    /// Number of trainable scalars.
    pub parameters: usize,
}

/// One optimiser step.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// Its number, from 1.
    pub step: u64,
    /// Mean loss over the batch, before the update.
    pub loss: f64,
    /// Learning rate of the update.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Units of work ([`super::Task::size`]) per second.
    pub throughput: f64,
}

/// One validation.
#[derive(Clone, Copy, Debug)]
pub struct ValidationEvent<'a> {
    /// Optimiser steps done.
    pub step: u64,
    /// Validation loss.
    pub loss: f64,
    /// Further figures by name.
    pub metrics: &'a BTreeMap<String, f64>,
    /// Whether it is the best so far.
    pub best: bool,
}

/// Listens to a run. Every method does nothing by default; implement [`Observer::on_event`] to get all events in one
/// place or single methods for single kinds.
pub trait Observer {
    /// Every event for which the method of its kind is not implemented.
    fn on_event(&mut self, event: Event<'_>) {
        let _ = event;
    }
    /// The loop begins.
    fn on_start(&mut self, start: Start) {
        self.on_event(Event::Start(start));
    }
    /// One optimiser step was made.
    fn on_step(&mut self, step: Step) {
        self.on_event(Event::Step(step));
    }
    /// The model was validated.
    fn on_validation(&mut self, validation: ValidationEvent<'_>) {
        self.on_event(Event::Validation(validation));
    }
    /// A checkpoint was written.
    fn on_checkpoint(&mut self, step: u64, path: &Path) {
        self.on_event(Event::Checkpoint { step, path });
    }
    /// A sentence for people.
    fn on_message(&mut self, text: &str) {
        self.on_event(Event::Message(text));
    }
    /// `done` of `total` pieces of the work `what` are done.
    fn on_progress(&mut self, done: usize, total: usize, what: &str) {
        self.on_event(Event::Progress { done, total, what });
    }
    /// The loop is over.
    fn on_end(&mut self, step: u64, seconds: f64) {
        self.on_event(Event::End { step, seconds });
    }
}

/// The observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Recorder(Vec<String>);

    impl Observer for Recorder {
        fn on_event(&mut self, event: Event<'_>) {
            self.0.push(format!("{event:?}"));
        }
        fn on_message(&mut self, text: &str) {
            self.0.push(text.to_uppercase());
        }
    }

    #[test]
    fn one_method_hears_all_kinds_and_single_ones_take_precedence() {
        let mut recorder = Recorder::default();
        let observer: &mut dyn Observer = &mut recorder;
        observer.on_message("hello");
        observer.on_end(3, 0.5);
        assert_eq!(recorder.0, ["HELLO", "End { step: 3, seconds: 0.5 }"]);
        Silent.on_message("nothing");
    }
}
