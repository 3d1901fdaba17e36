//! Passes over a parameter: moved along directions, then updated; one read and one write, directions made on the way.
//!
//! What happens to an element is a sequence of operations that training spreads over several passes and a replay does in
//! one, so that both give the same bits.

use super::noise::{Directions, Place};
use crate::kernels::{Real, parallel, vectorised};
use crate::{Error, Result};
use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Var};
use std::cell::RefCell;

/// Elements of one task; a multiple of [`BLOCK`].
const CHUNK: usize = 1 << 13;
/// Elements whose direction is held at a time; a multiple of the tile of directions.
const BLOCK: usize = 512;

/// Steps of one parameter, in order.
pub(super) struct Pass<'a, D> {
    pub directions: &'a D,
    pub parameter: u32,
    pub steps: Vec<Step>,
}

/// What one pass does of one step.
pub(super) struct Step {
    pub step: u64,
    /// Directions and how far along them.
    pub shifts: Vec<(u32, f64)>,
    pub update: Option<Update>,
}

/// The update of a step.
pub(super) struct Update {
    /// Directions and their shares of the estimated gradient.
    pub estimate: Vec<(u32, f64)>,
    pub scalars: Scalars,
}

/// Numbers of an update of one parameter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalars {
    /// Factor of the estimate: clipping by norm.
    pub factor: f64,
    /// Elements are cut to this modulus.
    pub limit: f64,
    pub rate: f64,
    pub decay: f64,
    pub rule: RuleScalars,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum RuleScalars {
    Sgd,
    Momentum(f64),
    /// Decay rates, sqrt(1 - b2^t) / (1 - b1^t), epsilon.
    Adam {
        betas: (f64, f64),
        correction: f64,
        epsilon: f64,
    },
}

/// Arrays that an optimiser keeps beside a parameter: none, one or two of its size.
#[derive(Clone, Debug)]
pub(super) enum State {
    F32(Vec<Vec<f32>>),
    F64(Vec<Vec<f64>>),
}

impl State {
    /// So many arrays of zeros.
    pub(super) fn zeros(variable: &Var, arrays: usize) -> Result<Self> {
        let n = variable.elem_count();
        match variable.dtype() {
            DType::F32 => Ok(State::F32(vec![vec![0.0; n]; arrays])),
            DType::F64 => Ok(State::F64(vec![vec![0.0; n]; arrays])),
            found => {
                let what = format!("expected weights in f32 or f64, found {found:?}");
                Err(Error::Config { key: "zeroth_order".into(), what })
            }
        }
    }
}

impl<D: Directions> Pass<'_, D> {
    /// Runs over a parameter and its state.
    pub(super) fn run(&self, variable: &Var, state: &mut State) -> Result<()> {
        Ok(variable.inplace_op1(&OnParameter { pass: self, state: RefCell::new(state) })?)
    }

    fn whole<T: Real>(&self, p: &mut [T], state: &mut [Vec<T>]) {
        let mut arrays: Vec<_> = state.iter_mut().map(|array| array.chunks_mut(CHUNK)).collect();
        let tasks = p.chunks_mut(CHUNK).enumerate().map(|(number, p)| {
            let state: Vec<&mut [T]> = arrays.iter_mut().filter_map(Iterator::next).collect();
            (number * CHUNK, p, state)
        });
        parallel::for_each(tasks, |(start, p, mut state)| {
            for (block, p) in p.chunks_mut(BLOCK).enumerate() {
                let range = block * BLOCK..block * BLOCK + p.len();
                let [first, second, ..] = &mut state[..] else {
                    let first = state.first_mut().map_or(&mut [][..], |array| &mut array[range]);
                    self.block(start + block * BLOCK, p, first, &mut []);
                    continue;
                };
                self.block(start + block * BLOCK, p, &mut first[range.clone()], &mut second[range]);
            }
        });
    }

    fn block<T: Real>(&self, start: usize, p: &mut [T], m: &mut [T], v: &mut [T]) {
        let (mut z, mut g) = ([T::zero(); BLOCK], [T::zero(); BLOCK]);
        let (z, g) = (&mut z[..p.len()], &mut g[..p.len()]);
        for Step { step, shifts, update } in &self.steps {
            let mut drawn = None;
            let mut draw = |probe: u32, z: &mut [T]| {
                if drawn.replace(probe) != Some(probe) {
                    self.directions.fill(Place { step: *step, probe, parameter: self.parameter }, start, z);
                }
            };
            for (probe, by) in shifts {
                draw(*probe, z);
                along(*by, z, p);
            }
            let Some(Update { estimate, scalars }) = update else { continue };
            g.fill(T::zero());
            for (probe, share) in estimate {
                draw(*probe, z);
                along(*share, z, g);
            }
            scalars.apply(p, g, m, v);
        }
    }
}

/// The sum of the squares of an estimate over a parameter, f64, the same for any number of threads.
pub(super) fn squared_norm<D: Directions>(
    directions: &D,
    parameter: u32,
    step: u64,
    estimate: &[(u32, f64)],
    elements: usize,
) -> f64 {
    let starts: Vec<usize> = (0..elements).step_by(CHUNK).collect();
    let sums = parallel::map(&starts, |start| {
        let (mut z, mut sum) = ([0f64; BLOCK], 0.0);
        let end = elements.min(start + CHUNK);
        for from in (*start..end).step_by(BLOCK) {
            let mut g = [0f64; BLOCK];
            let n = BLOCK.min(end - from);
            for (probe, share) in estimate {
                directions.fill(Place { step, probe: *probe, parameter }, from, &mut z[..n]);
                along(*share, &z[..n], &mut g[..n]);
            }
            sum += g[..n].iter().map(|g| g * g).sum::<f64>();
        }
        sum
    });
    sums.iter().sum()
}

impl Scalars {
    fn apply<T: Real>(&self, p: &mut [T], g: &mut [T], m: &mut [T], v: &mut [T]) {
        let Scalars { factor, limit, rate, decay, rule } = *self;
        clip(factor, limit, g);
        match rule {
            RuleScalars::Sgd => sgd(rate, decay, p, g),
            RuleScalars::Momentum(momentum) => with_momentum(rate, decay, momentum, p, g, m),
            RuleScalars::Adam { betas, correction, epsilon } => {
                adam(betas, rate * correction, rate * decay, epsilon, p, g, m, v);
            }
        }
    }
}

vectorised! {
    fn along<T>(by: f64, z: &[T], p: &mut [T]) {
        let by = T::of(by);
        for (p, &z) in p.iter_mut().zip(z) {
            *p += by * z;
        }
    }
}

vectorised! {
    fn clip<T>(factor: f64, limit: f64, g: &mut [T]) {
        let (factor, limit) = (T::of(factor), T::of(limit));
        for g in g.iter_mut() {
            let x = *g * factor;
            let x = if x > limit { limit } else { x };
            *g = if x < -limit { -limit } else { x };
        }
    }
}

vectorised! {
    fn sgd<T>(rate: f64, decay: f64, p: &mut [T], g: &[T]) {
        let (rate, decay) = (T::of(rate), T::of(decay));
        for (p, &g) in p.iter_mut().zip(g) {
            *p -= rate * (g + decay * *p);
        }
    }
}

vectorised! {
    fn with_momentum<T>(rate: f64, decay: f64, momentum: f64, p: &mut [T], g: &[T], m: &mut [T]) {
        let (rate, decay, momentum) = (T::of(rate), T::of(decay), T::of(momentum));
        for ((p, &g), m) in p.iter_mut().zip(g).zip(m) {
            *m = momentum * *m + (g + decay * *p);
            *p -= rate * *m;
        }
    }
}

vectorised! {
    fn adam<T>(
        betas: (f64, f64), size: f64, shrink: f64, epsilon: f64, p: &mut [T], g: &[T], m: &mut [T], v: &mut [T],
    ) {
        let (beta1, beta2) = (T::of(betas.0), T::of(betas.1));
        let (new1, new2) = (T::of(1.0 - betas.0), T::of(1.0 - betas.1));
        let (size, shrink, epsilon) = (T::of(size), T::of(shrink), T::of(epsilon));
        for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
            *m = beta1 * *m + new1 * g;
            *v = beta2 * *v + new2 * g * g;
            *p -= size * *m / (v.sqrt() + epsilon);
            *p -= shrink * *p;
        }
    }
}

struct OnParameter<'a, 'b, D> {
    pass: &'a Pass<'b, D>,
    state: RefCell<&'a mut State>,
}

impl<D: Directions> InplaceOp1 for OnParameter<'_, '_, D> {
    fn name(&self) -> &'static str {
        "zeroth-order"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("zeroth-order: expected a contiguous parameter, found strides {:?}", layout.stride())
        };
        match (storage, &mut **self.state.borrow_mut()) {
            (CpuStorage::F32(p), State::F32(state)) => self.pass.whole(&mut p[start..end], state),
            (CpuStorage::F64(p), State::F64(state)) => self.pass.whole(&mut p[start..end], state),
            _ => candle_core::bail!("zeroth-order: expected parameter and state in the same dtype, f32 or f64"),
        }
        Ok(())
    }
}
