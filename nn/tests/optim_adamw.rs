//! Adam and AdamW against a plain loop in f64.

#![allow(clippy::unwrap_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use rand_distr::{Distribution, StandardNormal};
use std::collections::BTreeMap;
use tesseral_nn::optim::{AdamConfig, AdamW, Clip, Gradients, ParamGroup};
use tesseral_nn::rng::Streams;
use tesseral_nn::{Error, Init, Parameters};

/// One scalar at a time, straight from the formulas.
#[derive(Default, Clone)]
struct Oracle {
    m: Vec<f64>,
    v: Vec<f64>,
    t: i32,
}

impl Oracle {
    fn step(&mut self, p: &mut [f64], g: &[f64], lr: f64, decay: f64, decoupled: bool) {
        self.m.resize(p.len(), 0.0);
        self.v.resize(p.len(), 0.0);
        self.t += 1;
        let (b1, b2, eps) = (0.9f64, 0.99f64, 1e-8);
        for i in 0..p.len() {
            let mut g = g[i];
            if decoupled {
                p[i] -= lr * decay * p[i];
            } else {
                g += decay * p[i];
            }
            self.m[i] = b1 * self.m[i] + (1.0 - b1) * g;
            self.v[i] = b2 * self.v[i] + (1.0 - b2) * g * g;
            let m = self.m[i] / (1.0 - b1.powi(self.t));
            let v = self.v[i] / (1.0 - b2.powi(self.t));
            p[i] -= lr * m / (v.sqrt() + eps);
        }
    }
}

/// `small` has 6 scalars, `large` enough for the parallel path.
const LARGE: usize = 70_001;

fn parameters(dtype: DType) -> Parameters {
    let parameters = Parameters::new(Streams::new(4), dtype, &Device::Cpu);
    parameters.root().enter("a").parameter("small", (2, 3), Init::Normal(1.0)).unwrap();
    parameters.root().enter("b").parameter("large", LARGE, Init::Normal(1.0)).unwrap();
    parameters
}

fn host(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn gradients(parameters: &Parameters, step: u64) -> Gradients {
    let mut gradients = Gradients::new();
    for (name, variable) in parameters.to_vec() {
        let numbers = StandardNormal.sample_iter(Streams::new(9).stream(&name, &[step]));
        let values: Vec<f64> = numbers.take(variable.elem_count()).collect();
        let tensor = Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap();
        gradients.insert(name, &tensor.to_dtype(variable.dtype()).unwrap());
    }
    gradients
}

fn config(decoupled: bool) -> AdamConfig {
    AdamConfig { betas: (0.9, 0.99), weight_decay: 0.1, decoupled, ..AdamConfig::default() }
}

fn worst(parameters: &Parameters, expected: &BTreeMap<String, Vec<f64>>) -> f64 {
    let difference = |(name, v): &(String, candle_core::Var)| {
        host(v).iter().zip(&expected[name]).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f64::max)
    };
    parameters.to_vec().iter().map(difference).fold(0.0, f64::max)
}

#[test]
fn twenty_steps_follow_the_formulas() {
    for (dtype, tolerance) in [(DType::F64, 1e-13), (DType::F32, 2e-6), (DType::BF16, 0.1)] {
        for decoupled in [false, true] {
            let parameters = parameters(dtype);
            let mut optimizer = AdamW::new(&parameters, config(decoupled)).unwrap();
            let mut expected: BTreeMap<_, _> =
                parameters.to_vec().into_iter().map(|(name, v)| (name, host(&v))).collect();
            let mut oracles: BTreeMap<String, Oracle> = BTreeMap::new();
            for step in 1..=20 {
                let gradients = gradients(&parameters, step);
                let rate = 0.01 / step as f64;
                let report = optimizer.step(&gradients, rate).unwrap();
                assert_eq!(report.updated, 2);
                assert_eq!(report.gradient_norm, gradients.norm().unwrap());
                for (name, values) in &mut expected {
                    let g = host(gradients.get(name).unwrap());
                    oracles.entry(name.clone()).or_default().step(values, &g, rate, 0.1, decoupled);
                }
            }
            let worst = worst(&parameters, &expected);
            assert!(worst < tolerance, "{dtype:?} decoupled {decoupled}: {worst:e}");
        }
    }
}

#[test]
fn a_parameter_without_gradient_keeps_its_value_and_step_count() {
    let parameters = parameters(DType::F64);
    let before = host(&parameters.get("b.large").unwrap());
    let mut optimizer = AdamW::new(&parameters, config(true)).unwrap();
    let loss = parameters.get("a.small").unwrap().sqr().unwrap().sum_all().unwrap();
    let report = optimizer.step(&loss.backward().unwrap(), 0.1).unwrap();
    assert_eq!(report.updated, 1);
    assert_eq!(host(&parameters.get("b.large").unwrap()), before);
    let state = optimizer.state_tensors().unwrap();
    assert_eq!(state["step.a.small"].to_scalar::<i64>().unwrap(), 1);
    assert_eq!(state["step.b.large"].to_scalar::<i64>().unwrap(), 0);
}

#[test]
fn groups_scale_ascend_freeze_and_override() {
    let groups = vec![
        ParamGroup {
            pattern: "a".into(),
            ascend: true,
            learning_rate_scale: 2.0,
            weight_decay: Some(0.0),
            frozen: false,
        },
        ParamGroup { pattern: "*.lar?e".into(), frozen: true, ..ParamGroup::default() },
    ];
    let parameters = parameters(DType::F64);
    let mut optimizer = AdamW::new(&parameters, AdamConfig { groups, ..config(true) }).unwrap();
    let mut expected: BTreeMap<_, _> = parameters.to_vec().into_iter().map(|(name, v)| (name, host(&v))).collect();
    let mut oracle = Oracle::default();
    for step in 1..=3 {
        let gradients = gradients(&parameters, step);
        let report = optimizer.step(&gradients, 0.05).unwrap();
        assert_eq!(report.updated, 1);
        let g: Vec<f64> = host(gradients.get("a.small").unwrap()).iter().map(|g| -g).collect();
        oracle.step(expected.get_mut("a.small").unwrap(), &g, 0.1, 0.0, true);
    }
    assert!(worst(&parameters, &expected) < 1e-13);
    assert_eq!(optimizer.names().collect::<Vec<_>>(), ["a.small"]);
    for (pattern, name, fits) in [
        ("a", "a.small", true),
        ("a", "ab.small", false),
        ("a.small", "a.small", true),
        ("*", "anything", true),
        ("*.bias", "x.y.bias", true),
        ("*a*b", "xaxb", true),
        ("*a*b", "xaxbx", false),
        ("?.w", "a.w", true),
        ("?.w", "ab.w", false),
    ] {
        let group = ParamGroup { pattern: pattern.into(), ..ParamGroup::default() };
        assert_eq!(group.matches(name), fits, "{pattern} {name}");
    }
}

#[test]
fn clipping_by_norm_and_by_value() {
    let parameters = parameters(DType::F64);
    let gradients = gradients(&parameters, 1);
    let norm = gradients.norm().unwrap();
    let mut optimizer = AdamW::new(&parameters, AdamConfig { clip: Clip::Norm(1.0), ..config(true) }).unwrap();
    let report = optimizer.step(&gradients, 0.01).unwrap();
    assert_eq!(report.gradient_norm, norm);
    assert_eq!(report.clip_factor, 1.0 / (norm + 1e-6));
    // After one step the first moment is (1 - beta1) times the gradient that was used.
    let used = |optimizer: &AdamW| host(&optimizer.state_tensors().unwrap()["exp_avg.a.small"]);
    for (m, g) in used(&optimizer).iter().zip(host(gradients.get("a.small").unwrap())) {
        assert!((m / 0.1 - g / (norm + 1e-6)).abs() < 1e-15);
    }
    let mut optimizer = AdamW::new(&parameters, AdamConfig { clip: Clip::Value(0.3), ..config(true) }).unwrap();
    optimizer.step(&gradients, 0.01).unwrap();
    for (m, g) in used(&optimizer).iter().zip(host(gradients.get("a.small").unwrap())) {
        assert!((m / 0.1 - g.clamp(-0.3, 0.3)).abs() < 1e-15);
    }
}

#[test]
fn the_step_does_not_depend_on_threads() {
    let run = || {
        let parameters = parameters(DType::F32);
        let mut optimizer = AdamW::new(&parameters, AdamConfig { clip: Clip::Norm(0.1), ..config(true) }).unwrap();
        for step in 1..=3 {
            optimizer.step(&gradients(&parameters, step), 0.01).unwrap();
        }
        host(&parameters.get("b.large").unwrap())
    };
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(run);
    let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap().install(run);
    assert_eq!(one, three);
}

#[test]
fn state_goes_round_to_the_bit_and_wrong_state_is_refused() {
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        let (one, two) = (parameters(dtype), parameters(dtype));
        let mut first = AdamW::new(&one, config(true)).unwrap();
        for step in 1..=3 {
            first.step(&gradients(&one, step), 0.01).unwrap();
        }
        two.load(&one.snapshot().unwrap()).unwrap();
        let mut second = AdamW::new(&two, config(true)).unwrap();
        second.load_state(&first.state_tensors().unwrap()).unwrap();
        first.step(&gradients(&one, 4), 0.01).unwrap();
        second.step(&gradients(&one, 4), 0.01).unwrap();
        for (name, variable) in one.to_vec() {
            assert_eq!(host(&variable), host(&two.get(&name).unwrap()), "{name} {dtype:?}");
        }
        let mut state = first.state_tensors().unwrap();
        let moved = state.remove("exp_avg.a.small").unwrap();
        state.insert("exp_avg.c".into(), moved);
        state.insert("exp_avg_sq.a.small".into(), Tensor::new(0f32, &Device::Cpu).unwrap());
        let message = second.load_state(&state).unwrap_err().to_string();
        assert_eq!(
            message,
            "optimizer state: exp_avg.a.small is missing; exp_avg_sq.a.small: expected shape [2, 3], found []; \
             exp_avg.c is not expected"
        );
    }
}

#[test]
fn faults_are_named_and_change_nothing() {
    let parameters = parameters(DType::F64);
    let before = host(&parameters.get("a.small").unwrap());
    let mut optimizer = AdamW::new(&parameters, config(true)).unwrap();
    let mut bad = gradients(&parameters, 1);
    bad.insert("b.large", &(bad.get("b.large").unwrap() / 0.0).unwrap());
    let error = optimizer.step(&bad, 0.1).unwrap_err();
    assert!(matches!(error, Error::NonFinite { .. }));
    assert_eq!(error.to_string(), "gradient of b.large is not finite at step 1");
    let mut bad = gradients(&parameters, 1);
    bad.insert("b.large", &bad.get("a.small").unwrap().clone());
    assert!(optimizer.step(&bad, 0.1).unwrap_err().to_string().contains("b.large [70001]"));
    assert!(optimizer.step(&gradients(&parameters, 1), f64::NAN).is_err());
    assert_eq!(host(&parameters.get("a.small").unwrap()), before);
    for (config, key) in [
        (AdamConfig { betas: (0.9, 1.0), ..AdamConfig::default() }, "optimizer.betas"),
        (AdamConfig { epsilon: -1.0, ..AdamConfig::default() }, "optimizer.epsilon"),
        (
            AdamConfig {
                groups: vec![ParamGroup { pattern: "nothing".into(), ..ParamGroup::default() }],
                ..AdamConfig::default()
            },
            "optimizer.groups[0].pattern",
        ),
    ] {
        let error = AdamW::new(&parameters, config).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(key), "{error}");
    }
}
