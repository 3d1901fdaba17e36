//! Resume to the bit: a 20-step run stopped after any step and continued by a new trainer gives the same weights and
//! the same `metrics.jsonl` as the run that was never stopped.

#![allow(clippy::unwrap_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use rand_distr::{Distribution, StandardNormal};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tesseral_nn::optim::{AdamConfig, Clip, EmaConfig, ParamGroup, PlateauConfig, ScheduleConfig, ScheduleKind};
use tesseral_nn::rng::Streams;
use tesseral_nn::train::observer::Step;
use tesseral_nn::train::{Observer, Silent, StepContext, Task, TrainConfig, Trainer, Validation, checkpoint};
use tesseral_nn::{Error, Init, Parameters, Result};

/// Two layers with tanh, noise on the hidden layer as dropout would put it there, random data.
struct Mlp {
    parameters: Parameters,
    data: Vec<(Tensor, Tensor)>,
    noisy: bool,
}

impl Mlp {
    fn new(seed: u64) -> Self {
        let streams = Streams::new(seed);
        let parameters = Parameters::new(streams, DType::F32, &Device::Cpu);
        let data = (0..7).map(|i| (normal(streams, "x", i, (4, 5)), normal(streams, "y", i, (4, 2)))).collect();
        let mlp = Mlp { parameters, data, noisy: true };
        mlp.forward(&mlp.data[0].0, None).unwrap();
        mlp
    }

    fn forward(&self, x: &Tensor, noise: Option<&Tensor>) -> Result<Tensor> {
        let (first, second) = (self.parameters.root().enter("first"), self.parameters.root().enter("second"));
        let hidden = x.matmul(&first.parameter("weight", (5, 16), Init::Normal(0.5))?)?;
        let mut hidden = hidden.broadcast_add(&first.parameter("bias", 16, Init::Constant(0.0))?)?.tanh()?;
        if let Some(noise) = noise {
            hidden = (hidden * noise)?;
        }
        let out = hidden.matmul(&second.parameter("weight", (16, 2), Init::Normal(0.25))?)?;
        Ok(out.broadcast_add(&second.parameter("bias", 2, Init::Constant(0.0))?)?)
    }
}

fn normal(streams: Streams, name: &str, number: u64, shape: (usize, usize)) -> Tensor {
    let numbers = StandardNormal.sample_iter(streams.stream(name, &[number]));
    let values: Vec<f32> = numbers.take(shape.0 * shape.1).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

impl Task for Mlp {
    fn samples(&self) -> usize {
        self.data.len()
    }

    fn loss(&mut self, sample: usize, context: &StepContext) -> Result<Tensor> {
        let (x, y) = &self.data[sample];
        let number = context.step * 100 + context.micro_batch;
        let noise = (normal(context.streams, "noise", number, (4, 16)) * 0.1)?.affine(1.0, 1.0)?;
        let out = self.forward(x, self.noisy.then_some(&noise))?;
        Ok((out - y)?.sqr()?.mean_all()?)
    }

    fn validate(&mut self) -> Result<Option<Validation>> {
        let (x, y) = &self.data[0];
        let loss = (self.forward(x, None)? - y)?.sqr()?.mean_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        Ok(Some(Validation { loss, metrics: [("root".to_string(), loss.sqrt())].into() }))
    }
}

fn cosine() -> TrainConfig {
    TrainConfig {
        steps: Some(20),
        batch: 2,
        validate_every: 3,
        checkpoint_every: 6,
        optimizer: AdamConfig {
            learning_rate: 0.02,
            weight_decay: 0.01,
            clip: Clip::Norm(0.5),
            groups: vec![ParamGroup { pattern: "*.bias".into(), weight_decay: Some(0.0), ..ParamGroup::default() }],
            ..AdamConfig::default()
        },
        schedule: ScheduleConfig { kind: ScheduleKind::Cosine, warmup_steps: 3, ..ScheduleConfig::default() },
        ema: Some(EmaConfig { decay: 0.9, warm_up: true }),
        ..TrainConfig::default()
    }
}

/// Plateau settings so nervous that reductions and returns to the best weights happen within 20 steps.
fn plateau() -> TrainConfig {
    let plateau = PlateauConfig {
        patience: 1,
        cooldown: 1,
        threshold: 0.5,
        average: 0.7,
        revert_after: 2,
        revert_above: 1.0,
        ..PlateauConfig::default()
    };
    let schedule = ScheduleConfig { kind: ScheduleKind::Plateau, plateau, ..ScheduleConfig::default() };
    TrainConfig {
        validate_every: 1,
        schedule,
        optimizer: AdamConfig { learning_rate: 0.3, ..cosine().optimizer },
        ..cosine()
    }
}

/// Raises the stop flag after one step, and keeps what it was told.
struct StopAfter<'a> {
    step: u64,
    flag: &'a AtomicBool,
    messages: Vec<String>,
}

impl Observer for StopAfter<'_> {
    fn on_step(&mut self, step: Step) {
        self.flag.store(step.step == self.step, Ordering::Relaxed);
    }
    fn on_message(&mut self, text: &str) {
        self.messages.push(text.into());
    }
}

/// Names and the bits of the values.
type Weights = Vec<(String, Vec<u32>)>;

/// Weights, metrics and messages of a whole run; `stop_after` 0 lets it run through.
fn run(folder: &Path, config: &TrainConfig, stop_after: u64) -> (Weights, String, Vec<String>) {
    let flag = AtomicBool::new(false);
    let mut task = Mlp::new(11);
    let mut observer = StopAfter { step: stop_after, flag: &flag, messages: Vec::new() };
    let mut trainer =
        Trainer::new(&task.parameters.clone(), Streams::new(11), config.clone(), Some(folder), "").unwrap();
    let result = trainer.run(&mut task, &mut observer, &flag);
    if (1..20).contains(&stop_after) {
        assert!(matches!(result, Err(Error::Interrupted { step }) if step == stop_after), "{result:?}");
        // A new process: another model with other weights, another trainer; later lines and litter in the folder.
        drop((trainer, task));
        let litter = folder.join("checkpoints/.writing-killed");
        fs::create_dir(&litter).unwrap();
        fs::write(litter.join("model.safetensors"), "half").unwrap();
        let log = folder.join("metrics.jsonl");
        let mut text = fs::read_to_string(&log).unwrap();
        text.push_str("{\"step\":99,\"loss\":1.0}\n{\"step\":1");
        fs::write(&log, text).unwrap();

        task = Mlp::new(11);
        for (_, variable) in task.parameters.to_vec() {
            variable.set(&variable.zeros_like().unwrap()).unwrap();
        }
        trainer = Trainer::new(&task.parameters.clone(), Streams::new(11), config.clone(), Some(folder), "").unwrap();
        let latest = checkpoint::latest(folder).unwrap().unwrap();
        assert_eq!(latest, checkpoint::path(folder, stop_after));
        trainer.resume(&latest).unwrap();
        flag.store(false, Ordering::Relaxed);
        let summary = trainer.run(&mut task, &mut Silent, &flag).unwrap();
        assert_eq!(summary.step, 20);
        assert!(!litter.exists());
    } else {
        assert_eq!(result.unwrap().step, 20);
    }
    let bits = |t: &Tensor| -> Vec<u32> {
        t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
    };
    let mut weights: Vec<_> =
        task.parameters.to_vec().iter().map(|(name, v)| (name.clone(), bits(v.as_tensor()))).collect();
    for (name, t) in &trainer.best().unwrap().weights {
        weights.push((format!("best.{name}"), bits(t)));
    }
    (weights, fs::read_to_string(folder.join("metrics.jsonl")).unwrap(), observer.messages)
}

fn twenty_of_twenty(config: &TrainConfig) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let (weights, metrics, messages) = run(&root.path().join("whole"), config, 0);
    assert_eq!(metrics.lines().filter(|line| line.contains("gradient_norm")).count(), 20);
    let mut same = 0;
    for k in 1..=20 {
        let folder = root.path().join(format!("stopped-{k}"));
        let (other, other_metrics, _) = run(&folder, config, k);
        assert_eq!(other_metrics, metrics, "metrics differ when stopped after step {k}");
        assert_eq!(other, weights, "weights differ when stopped after step {k}");
        let csv = fs::read_to_string(folder.join("metrics.csv")).unwrap();
        assert_eq!(csv.lines().count(), metrics.lines().count() + 1);
        same += 1;
    }
    assert_eq!(same, 20);
    messages
}

#[test]
fn stopped_at_every_step_of_twenty() {
    twenty_of_twenty(&cosine());
}

#[test]
fn stopped_at_every_step_with_plateau_and_reverts() {
    let messages = twenty_of_twenty(&plateau());
    assert!(messages.iter().any(|m| m.contains("ran away")), "{messages:?}");
    assert!(messages.iter().any(|m| m.contains("stopped improving")), "{messages:?}");
}

#[test]
fn two_runs_of_one_seed_are_the_same_files() {
    let root = tempfile::tempdir().unwrap();
    let (a, b) = (root.path().join("a"), root.path().join("b"));
    assert_eq!(run(&a, &cosine(), 0), run(&b, &cosine(), 0));
    for file in ["model.safetensors", "optimizer.safetensors", "config.toml"] {
        let read = |run: &Path| fs::read(checkpoint::path(run, 20).join(file)).unwrap();
        assert_eq!(read(&a), read(&b), "{file}");
    }
}

#[test]
fn another_seed_or_setting_is_refused() {
    let root = tempfile::tempdir().unwrap();
    run(root.path(), &cosine(), 0);
    let latest = checkpoint::latest(root.path()).unwrap().unwrap();
    let refusal = |seed: u64, config: TrainConfig| {
        let task = Mlp::new(11);
        let mut trainer = Trainer::new(&task.parameters, Streams::new(seed), config, None, "").unwrap();
        trainer.resume(&latest).unwrap_err().to_string()
    };
    assert!(refusal(12, cosine()).ends_with("state.json: seed: expected 12, found 11"));
    assert!(refusal(11, TrainConfig { ema: None, ..cosine() }).contains("ema: expected no averaged weights"));
    assert!(refusal(11, plateau()).contains("plateau: expected a plateau schedule"));
    let frozen = ParamGroup { pattern: "first".into(), frozen: true, ..ParamGroup::default() };
    let config = TrainConfig { optimizer: AdamConfig { groups: vec![frozen], ..cosine().optimizer }, ..cosine() };
    assert!(refusal(11, config).contains("exp_avg.first.bias is not expected"));
}
