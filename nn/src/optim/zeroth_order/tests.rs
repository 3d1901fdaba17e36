//! Runs of every configuration: replays to the bit, ranks, what goes down and what is refused.

use super::*;
use crate::Init;
use crate::optim::schedule::{ScheduleConfig, ScheduleKind};
use crate::parameters::digest;
use crate::rng::Streams;
use candle_core::{Device, Tensor};
use config::SamplesSchedule;
use std::collections::BTreeMap;

const STEPS: u64 = 12;

fn parameters(dtype: DType) -> Parameters {
    let parameters = Parameters::new(Streams::new(3), dtype, &Device::Cpu);
    let scope = parameters.root();
    scope.parameter("layers.0.weight", (40, 30), Init::Normal(1.0)).unwrap();
    scope.parameter("layers.0.bias", 30, Init::Normal(1.0)).unwrap();
    scope.parameter("layers.1.weight", (300, 41), Init::Normal(0.5)).unwrap();
    scope.parameter("head.weight", 7, Init::Normal(0.5)).unwrap();
    parameters
}

/// Half the square of the distance to 0.3, each layer with its own stiffness.
fn quadratic(parameters: &Parameters) -> Result<f64> {
    let mut sum = 0.0;
    for (name, variable) in parameters.to_vec() {
        let stiffness = if name.starts_with("layers.1") { 0.01 } else { 1.0 };
        let far = (variable.to_dtype(DType::F64)? - 0.3)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
        sum += 0.5 * stiffness * far;
    }
    Ok(sum)
}

fn every_configuration() -> Vec<ZerothOrderConfig> {
    let base = ZerothOrderConfig { learning_rate: 1e-3, weight_decay: 0.1, ..Default::default() };
    let scaled = ZerothOrderConfig { variant: Variant::Variance, scale_by: ScaleBy::GradientNorm, ..base.clone() };
    vec![
        base.clone(),
        ZerothOrderConfig { samples: 3, rule: Rule::Momentum { momentum: 0.9 }, ..base.clone() },
        ZerothOrderConfig { rule: Rule::Adam { betas: (0.9, 0.999), epsilon: 1e-8 }, ..base.clone() },
        ZerothOrderConfig { clip: Clip::Norm(0.5), samples: 2, ..base.clone() },
        ZerothOrderConfig { clip: Clip::Value(0.5), frozen: vec!["head".into()], ..base.clone() },
        ZerothOrderConfig {
            schedule: ScheduleConfig { kind: ScheduleKind::Cosine, warmup_steps: 2, ..Default::default() },
            samples: 4,
            samples_schedule: SamplesSchedule::Linear,
            ..base.clone()
        },
        ZerothOrderConfig { variant: Variant::Expectation, ..base },
        scaled.clone(),
        ZerothOrderConfig { by_layer: true, running_scales: true, ..scaled },
    ]
}

fn start(parameters: &Parameters, config: &ZerothOrderConfig) -> ZerothOrder {
    ZerothOrder::new(parameters, config.clone(), STEPS, Normal::new(Streams::new(5))).unwrap()
}

fn bits(parameters: &Parameters) -> String {
    let all = parameters.to_vec();
    digest(all.iter().map(|(name, variable)| (name.as_str(), variable.as_tensor()))).unwrap()
}

#[test]
fn a_replay_gives_the_weights_of_the_run_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    for dtype in [DType::F32, DType::F64] {
        for (number, config) in every_configuration().iter().enumerate() {
            let path = folder.path().join(format!("{number}-{dtype:?}.zo"));
            let trained = parameters(dtype);
            let mut run = start(&trained, config);
            let mut writer = TrajectoryWriter::create(&path, &run).unwrap();
            for step in 0..STEPS {
                // One step in between is rejected.
                let loss = |k: u64| if step == 7 && k > 0 { Ok(f64::NAN) } else { quadratic(&trained) };
                let mut asked = 0;
                let report = run.step(&mut || loss(std::mem::replace(&mut asked, 1))).unwrap();
                assert_eq!(report.rejected, step == 7);
                writer.append(&report).unwrap();
                if step == 4 {
                    // A killed process: half a number, and another process that goes on.
                    std::fs::OpenOptions::new().append(true).open(&path).unwrap();
                    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
                    std::io::Write::write_all(&mut file, &[1, 2, 3]).unwrap();
                    let again = parameters(dtype);
                    let mut resumed = start(&again, config);
                    Trajectory::read(&path).unwrap().replay(&mut resumed).unwrap();
                    assert_eq!(bits(&again), bits(&trained), "{config:?}");
                    writer = TrajectoryWriter::resume(&path, &resumed).unwrap();
                }
            }
            let again = parameters(dtype);
            let mut replayed = start(&again, config);
            Trajectory::read(&path).unwrap().replay(&mut replayed).unwrap();
            assert_eq!((bits(&again), replayed.steps_done()), (bits(&trained), STEPS), "{config:?}");
            assert_ne!(bits(&again), bits(&parameters(dtype)));
        }
    }
}

#[test]
fn another_run_is_refused_by_name() {
    let (folder, config) = (tempfile::tempdir().unwrap(), ZerothOrderConfig::default());
    let path = folder.path().join("run.zo");
    let own = parameters(DType::F32);
    TrajectoryWriter::create(&path, &start(&own, &config)).unwrap();
    let saved = Trajectory::read(&path).unwrap();
    let refused = |run: &mut ZerothOrder| saved.replay(run).unwrap_err().to_string();
    let mut other = ZerothOrder::new(&own, config.clone(), STEPS, Normal::new(Streams::new(6))).unwrap();
    assert!(refused(&mut other).ends_with("another directions (the seed)"));
    let other = ZerothOrderConfig { epsilon: 0.1, ..config.clone() };
    assert!(refused(&mut start(&own, &other)).ends_with("another config"));
    let moved = own.get("head.weight").unwrap();
    moved.set(&(moved.as_tensor() + 1.0).unwrap()).unwrap();
    assert!(refused(&mut start(&own, &config)).ends_with("another start (the first weights)"));
    std::fs::write(&path, "{}\n").unwrap();
    assert!(Trajectory::read(&path).unwrap_err().to_string().contains("heading: expected"));
}

#[test]
fn twenty_thousand_steps_fit_in_two_hundred_kilobytes() {
    let folder = tempfile::tempdir().unwrap();
    for (dtype, most) in [(DType::F32, 82_000), (DType::F64, 162_000)] {
        let path = folder.path().join(dtype.as_str());
        let own = parameters(dtype);
        let run = start(&own, &ZerothOrderConfig::default());
        let mut writer = TrajectoryWriter::create(&path, &run).unwrap();
        let report = StepReport { step: 0, loss: 1.0, scalars: vec![0.25], learning_rate: 1e-6, rejected: false };
        (0..20_000).for_each(|_| writer.append(&report).unwrap());
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!((80_000..most).contains(&bytes), "{dtype:?}: {bytes}");
        assert_eq!(Trajectory::read(&path).unwrap().scalars, vec![0.25; 20_000]);
    }
}

#[test]
fn the_estimate_is_unbiased() {
    // d = 8, f(p) = sum a_k p_k: along z the derivative is a z exactly, and the mean of (a z) z is a.
    let parameters = Parameters::new(Streams::new(1), DType::F64, &Device::Cpu);
    let weight = parameters.root().parameter("w", 8, Init::Constant(0.0)).unwrap();
    let slope = Tensor::arange(1f64, 9.0, &Device::Cpu).unwrap();
    for variant in [Variant::Plain, Variant::Variance] {
        weight.zero_set().unwrap();
        let config = ZerothOrderConfig {
            learning_rate: 1.0,
            samples: 20_000,
            variant,
            scales: BTreeMap::from([("w".to_string(), 3.0)]),
            ..Default::default()
        };
        let mut run = ZerothOrder::new(&parameters, config, 1, Normal::new(Streams::new(2))).unwrap();
        run.step(&mut || Ok((&weight * &slope)?.sum_all()?.to_scalar::<f64>()?)).unwrap();
        let moved = weight.to_vec1::<f64>().unwrap();
        let norm = (204.0_f64 / 20_000.0).sqrt();
        for (k, found) in moved.iter().enumerate() {
            let error = -found - (k as f64 + 1.0);
            assert!(error.abs() < 4.5 * norm, "{variant:?} {k}: {found}");
        }
    }
}

#[test]
fn every_rule_goes_downhill() {
    for config in every_configuration() {
        let own = parameters(DType::F64);
        let rate = match (config.rule, config.variant) {
            (Rule::Adam { .. }, _) => 3e-3,
            // Divided by norms of some tens.
            (_, Variant::Expectation) => 1e-2,
            // Layers of small slope are seen through the noise of steep ones.
            (_, Variant::Variance) => 2e-5,
            _ => 4e-4,
        };
        let config = ZerothOrderConfig { learning_rate: rate, weight_decay: 0.0, clip: Clip::None, ..config };
        let before = quadratic(&own).unwrap();
        let mut run = ZerothOrder::new(&own, config.clone(), 60, Normal::new(Streams::new(5))).unwrap();
        (0..60).for_each(|_| assert!(!run.step(&mut || quadratic(&own)).unwrap().rejected));
        let after = quadratic(&own).unwrap();
        assert!(after < 0.999 * before, "{config:?}: {before} {after}");
    }
}

#[test]
fn a_run_that_diverges_is_ended_and_a_failed_loss_leaves_the_weights() {
    let own = parameters(DType::F64);
    let config = ZerothOrderConfig { largest_loss: Some(5.0), patience: 3, ..Default::default() };
    let mut run = start(&own, &config);
    let mut steps = 0;
    let error = loop {
        match run.step(&mut || Ok(6.0)) {
            Ok(report) => assert!(report.rejected),
            Err(error) => break error,
        }
        steps += 1;
    };
    assert!(steps == 2 && error.to_string().contains("3 steps in a row"), "{error}");
    let before = quadratic(&own).unwrap();
    for fails_at in [1, 2] {
        let mut asked = 0;
        let mut loss = || {
            asked += 1;
            if asked == fails_at { Err(Error::NonFinite { what: "x".into(), step: 0 }) } else { Ok(1.0) }
        };
        assert!(run.step(&mut loss).is_err());
        assert!((quadratic(&own).unwrap() - before).abs() < 1e-9 * before);
    }
}

#[test]
fn ranks_stay_together() {
    // Two processes with other losses go the way of one with their mean.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let rank = |k: usize| {
        let address = free.clone();
        std::thread::spawn(move || {
            let (own, share) = (parameters(DType::F64), [1.5, 0.5][k]);
            let mut run = start(&own, &ZerothOrderConfig::default());
            let exchange = exchange::Tcp::join(&address, k, 2).unwrap();
            for _ in 0..6 {
                run.step_with(&exchange, &mut || Ok(share * quadratic(&own)?)).unwrap();
            }
            (bits(&own), quadratic(&own).unwrap())
        })
    };
    let [first, second] = [rank(0), rank(1)].map(|r| r.join().unwrap());
    assert_eq!(first, second);
    let own = parameters(DType::F64);
    let mut alone = start(&own, &ZerothOrderConfig::default());
    (0..6).for_each(|_| drop(alone.step(&mut || quadratic(&own)).unwrap()));
    assert!((quadratic(&own).unwrap() - first.1).abs() < 1e-9);
}
