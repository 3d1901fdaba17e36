//! The loop's limits, faults and bookkeeping.

#![allow(clippy::unwrap_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use std::fs;
use std::sync::atomic::AtomicBool;
use tesseral_nn::optim::{AdamConfig, ScheduleConfig, ScheduleKind, ScheduleUnit};
use tesseral_nn::rng::Streams;
use tesseral_nn::train::{
    Event, NonFinitePolicy, Observer, Silent, StepContext, Task, TrainConfig, Trainer, Validation, checkpoint,
    on_large_stack,
};
use tesseral_nn::{Error, Init, Parameters, Result};

/// Minimises (w - 3)^2; can turn bad at some steps.
struct Parabola {
    parameters: Parameters,
    samples: usize,
    bad_steps: Vec<u64>,
    bad_gradient: bool,
    pause: std::time::Duration,
}

impl Parabola {
    fn new() -> Self {
        let parameters = Parameters::new(Streams::new(0), DType::F64, &Device::Cpu);
        parameters.root().parameter("w", 1, Init::Constant(0.0)).unwrap();
        Parabola {
            parameters,
            samples: 4,
            bad_steps: Vec::new(),
            bad_gradient: false,
            pause: std::time::Duration::ZERO,
        }
    }

    fn distance(&self) -> Result<Tensor> {
        let w = self.parameters.get("w").unwrap();
        Ok((w.as_tensor() - 3.0)?.sqr()?.sum_all()?)
    }
}

impl Task for Parabola {
    fn samples(&self) -> usize {
        self.samples
    }
    fn loss(&mut self, _sample: usize, context: &StepContext) -> Result<Tensor> {
        std::thread::sleep(self.pause);
        let loss = self.distance()?;
        match (self.bad_steps.contains(&context.step), self.bad_gradient) {
            (false, _) => Ok(loss),
            (true, false) => Ok((loss * f64::NAN)?),
            // A finite value with a slope that is not a number: 0 times infinity.
            (true, true) => {
                let w = self.parameters.get("w").unwrap();
                Ok((loss + w.mul(&w.zeros_like()?)?.sqrt()?.sum_all()?)?)
            }
        }
    }
    fn validate(&mut self) -> Result<Option<Validation>> {
        Ok(Some(self.distance()?.to_scalar::<f64>()?.into()))
    }
}

fn config(steps: u64) -> TrainConfig {
    let optimizer = AdamConfig { learning_rate: 0.1, ..AdamConfig::default() };
    TrainConfig { steps: Some(steps), checkpoint_every: 2, validate_every: 5, optimizer, ..TrainConfig::default() }
}

fn trainer(task: &Parabola, config: TrainConfig, run: Option<&std::path::Path>) -> Trainer {
    Trainer::new(&task.parameters, Streams::new(0), config, run, "text").unwrap()
}

static GO: AtomicBool = AtomicBool::new(false);

#[test]
fn learns_and_keeps_the_best() {
    let run = tempfile::tempdir().unwrap();
    let mut task = Parabola::new();
    let mut trainer = trainer(&task, config(100), Some(run.path()));
    let summary = trainer.run(&mut task, &mut Silent, &GO).unwrap();
    assert_eq!((summary.step, summary.epochs), (100, 25));
    let (best_step, best) = summary.best.unwrap();
    assert!(best < 1e-2 && summary.last_loss.unwrap() < 0.1);
    assert!(trainer.restore_best().unwrap());
    assert_eq!(task.validate().unwrap().unwrap().loss, best);
    let kept: Vec<u64> = checkpoint::list(run.path()).unwrap().into_iter().map(|(step, _)| step).collect();
    assert!(kept.contains(&100) && kept.contains(&98) && kept.len() <= 3, "{kept:?} best {best_step}");
    // Called again, a finished run does nothing.
    let metrics = fs::read(run.path().join("metrics.jsonl")).unwrap();
    assert_eq!(trainer.run(&mut task, &mut Silent, &GO).unwrap().step, 100);
    assert_eq!(fs::read(run.path().join("metrics.jsonl")).unwrap(), metrics);
}

#[test]
fn a_loss_that_is_not_a_number_ends_the_run_and_leaves_the_last_checkpoint() {
    for (bad_gradient, what) in [(false, "loss of sample"), (true, "gradient of w")] {
        let run = tempfile::tempdir().unwrap();
        let mut task = Parabola { bad_steps: vec![6], bad_gradient, ..Parabola::new() };
        let error = trainer(&task, config(9), Some(run.path())).run(&mut task, &mut Silent, &GO).unwrap_err();
        assert!(matches!(&error, Error::NonFinite { step: 6, what: found } if found.contains(what)), "{error}");
        let latest = checkpoint::latest(run.path()).unwrap().unwrap();
        assert_eq!(checkpoint::load(&latest).unwrap().step, 4);
        assert!(task.validate().unwrap().unwrap().loss.is_finite());
    }
}

#[test]
fn bad_updates_can_be_skipped_but_not_for_ever() {
    struct Messages(Vec<String>);
    impl Observer for Messages {
        fn on_event(&mut self, event: Event<'_>) {
            if let Event::Message(text) = event {
                self.0.push(text.into());
            }
        }
    }
    let skip = TrainConfig { non_finite: NonFinitePolicy::Skip, ..config(20) };
    let run = tempfile::tempdir().unwrap();
    let mut task = Parabola { bad_steps: vec![3, 4], ..Parabola::new() };
    let mut heard = Messages(Vec::new());
    assert_eq!(trainer(&task, skip.clone(), Some(run.path())).run(&mut task, &mut heard, &GO).unwrap().step, 20);
    assert_eq!(heard.0.len(), 2);
    assert!(heard.0[0].ends_with("is not finite at step 3; update skipped"), "{heard:?}", heard = heard.0);
    let metrics = fs::read_to_string(run.path().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("\"skipped\":true").count(), 2);
    task.bad_steps = (1..=20).collect();
    let error = trainer(&task, skip, None).run(&mut task, &mut Silent, &GO).unwrap_err();
    assert!(matches!(error, Error::NonFinite { step: 11, .. }), "{error}");
}

#[test]
fn a_time_budget_ends_the_run_and_drives_the_schedule() {
    let schedule = ScheduleConfig { kind: ScheduleKind::Cosine, by: ScheduleUnit::Time, ..ScheduleConfig::default() };
    let config = TrainConfig { steps: None, max_seconds: Some(0.4), schedule, ..config(1) };
    struct Rates(Vec<f64>);
    impl Observer for Rates {
        fn on_step(&mut self, step: tesseral_nn::train::observer::Step) {
            self.0.push(step.learning_rate);
        }
    }
    let mut task = Parabola { pause: std::time::Duration::from_millis(10), ..Parabola::new() };
    let mut rates = Rates(Vec::new());
    let summary = trainer(&task, config, None).run(&mut task, &mut rates, &GO).unwrap();
    assert!(summary.seconds >= 0.4 && summary.step >= 2, "{summary:?}");
    assert_eq!(rates.0[0], 0.1);
    assert!(rates.0.windows(2).all(|pair| pair[1] < pair[0]), "{rates:?}", rates = rates.0);
}

#[test]
fn unfit_settings_and_data_are_named() {
    let mut task = Parabola::new();
    let refusal = |config: TrainConfig| {
        Trainer::new(&Parabola::new().parameters, Streams::new(0), config, None, "")
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(refusal(TrainConfig::default()).starts_with("steps: "));
    assert!(refusal(TrainConfig { batch: 0, ..config(1) }).starts_with("batch: "));
    task.samples = 0;
    let error = trainer(&task, config(1), None).run(&mut task, &mut Silent, &GO).unwrap_err();
    assert_eq!(error.to_string(), "training data: expected samples, found none");
}

#[test]
fn a_used_run_folder_is_not_overwritten() {
    let run = tempfile::tempdir().unwrap();
    let mut task = Parabola::new();
    trainer(&task, config(4), Some(run.path())).run(&mut task, &mut Silent, &GO).unwrap();
    let metrics = fs::read(run.path().join("metrics.jsonl")).unwrap();
    let error = trainer(&task, config(9), Some(run.path())).run(&mut task, &mut Silent, &GO).unwrap_err();
    assert!(error.to_string().contains("expected no checkpoint after step 0, found one of step 4"), "{error}");
    assert_eq!(fs::read(run.path().join("metrics.jsonl")).unwrap(), metrics);
    // Resumed with a longer plan it goes on.
    let mut longer = trainer(&task, config(9), Some(run.path()));
    longer.resume(&checkpoint::latest(run.path()).unwrap().unwrap()).unwrap();
    assert_eq!(longer.run(&mut task, &mut Silent, &GO).unwrap().step, 9);
}

#[test]
fn a_deep_graph_fits_the_large_stack() {
    let norm = on_large_stack(|| {
        let task = Parabola::new();
        let mut x = task.parameters.get("w").unwrap().as_tensor().clone();
        for _ in 0..40_000 {
            x = (x + 1.0).unwrap();
        }
        let gradients = x.sum_all().unwrap().backward().unwrap();
        let norm = gradients.get(task.parameters.get("w").unwrap().as_tensor()).unwrap().to_vec1::<f64>().unwrap()[0];
        // Dropping a graph is recursive too.
        drop(x);
        norm
    });
    assert_eq!(norm.unwrap(), 1.0);
}

/// Two samples with losses (w - 1)^2 and (w - 5)^2 that count 3 and 1.
struct Weighted {
    parameters: Parameters,
    weights: [f64; 2],
}

impl Task for Weighted {
    fn samples(&self) -> usize {
        2
    }
    fn loss(&mut self, sample: usize, _: &StepContext) -> Result<Tensor> {
        let w = self.parameters.get("w").unwrap();
        Ok((w.as_tensor() - [1.0, 5.0][sample])?.sqr()?.sum_all()?)
    }
    fn weight(&self, sample: usize) -> f64 {
        self.weights[sample]
    }
    fn describe(&self, sample: usize) -> Option<serde_json::Value> {
        Some(serde_json::json!({"name": format!("sample {sample}")}))
    }
}

fn weighted(weights: [f64; 2]) -> Weighted {
    let parameters = Parameters::new(Streams::new(0), DType::F64, &Device::Cpu);
    parameters.root().parameter("w", 1, Init::Constant(0.0)).unwrap();
    Weighted { parameters, weights }
}

fn one_step() -> TrainConfig {
    TrainConfig { steps: Some(1), batch: 2, ..TrainConfig::default() }
}

#[test]
fn a_step_is_the_weighted_mean_of_its_samples() {
    struct Norm(f64, f64);
    impl Observer for Norm {
        fn on_step(&mut self, step: tesseral_nn::train::observer::Step) {
            (self.0, self.1) = (step.loss, step.gradient_norm);
        }
    }
    for (weights, loss, slope) in [([3.0, 1.0], 28.0 / 4.0, 4.0), ([1.0, 1.0], 13.0, 6.0), ([0.0, 0.0], 0.0, 0.0)] {
        let mut task = weighted(weights);
        let mut trainer = Trainer::new(&task.parameters.clone(), Streams::new(1), one_step(), None, "").unwrap();
        let mut seen = Norm(f64::NAN, f64::NAN);
        trainer.run(&mut task, &mut seen, &AtomicBool::new(false)).unwrap();
        assert!((seen.0 - loss).abs() < 1e-12 && (seen.1 - slope).abs() < 1e-12, "{} {}", seen.0, seen.1);
    }
}

#[test]
fn the_batch_of_a_fault_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let mut task = weighted([1.0, 1.0]);
    task.parameters.get("w").unwrap().set(&Tensor::new(&[f64::INFINITY], &Device::Cpu).unwrap()).unwrap();
    let parameters = task.parameters.clone();
    let mut trainer = Trainer::new(&parameters, Streams::new(1), one_step(), Some(folder.path()), "").unwrap();
    let error = trainer.run(&mut task, &mut Silent, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, Error::NonFinite { step: 1, .. }));
    let text = fs::read_to_string(folder.path().join("non-finite-step-1.json")).unwrap();
    let saved: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut names: Vec<_> = saved["batch"].as_array().unwrap().iter().map(|s| s["data"]["name"].clone()).collect();
    names.sort_by_key(ToString::to_string);
    assert_eq!(names, ["sample 0", "sample 1"]);
    assert!(checkpoint::latest(folder.path()).unwrap().is_none());
}

#[test]
fn a_second_stage_takes_weights_and_moments_and_counts_from_zero() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = weighted([1.0, 1.0]);
    let parameters = first.parameters.clone();
    let config = TrainConfig { steps: Some(5), ..one_step() };
    let mut trainer =
        Trainer::new(&parameters, Streams::new(1), config.clone(), Some(&folder.path().join("a")), "").unwrap();
    trainer.run(&mut first, &mut Silent, &AtomicBool::new(false)).unwrap();
    let last = checkpoint::latest(&folder.path().join("a")).unwrap().unwrap();
    let ends = [true, false].map(|keep_optimizer| {
        let mut second = weighted([1.0, 1.0]);
        let parameters = second.parameters.clone();
        let run = folder.path().join(format!("b-{keep_optimizer}"));
        let mut trainer = Trainer::new(&parameters, Streams::new(1), config.clone(), Some(&run), "").unwrap();
        trainer.start_from(&last, keep_optimizer).unwrap();
        assert_eq!(trainer.step(), 0);
        let start = parameters.get("w").unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(start, first.parameters.get("w").unwrap().to_vec1::<f64>().unwrap());
        assert_eq!(trainer.run(&mut second, &mut Silent, &AtomicBool::new(false)).unwrap().step, 5);
        parameters.get("w").unwrap().to_vec1::<f64>().unwrap()[0]
    });
    assert!((ends[0] - ends[1]).abs() > 1e-9, "{ends:?}");
}
