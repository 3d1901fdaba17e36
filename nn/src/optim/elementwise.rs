//! In-place passes over parameter storage: one read and one write of each array, no temporaries.

use crate::kernels::{Real, parallel, vectorised};
use candle_core::{CpuStorage, InplaceOp2, Layout};
use std::cell::RefCell;

/// Up to this many elements one thread does all: other parameters of that size are there for other threads.
pub(super) const PARALLEL: usize = 1 << 14;
/// Elements of one task.
const CHUNK: usize = 1 << 12;

/// The scalars of one Adam update of one parameter, in the order in which they act.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdamScalars {
    /// Factor of the gradient: the clipping coefficient, negative to ascend.
    pub factor: f64,
    /// Elements are cut to this modulus.
    pub limit: f64,
    /// Added to the gradient times the parameter (Adam with L2).
    pub coupled_decay: f64,
    /// Factor of the parameter before the update (AdamW): 1 - rate times decay.
    pub shrink: f64,
    /// Decay rates of the two moments.
    pub betas: (f64, f64),
    /// Learning rate over 1 - beta1^t.
    pub step_size: f64,
    /// sqrt(1 - beta2^t).
    pub root_correction: f64,
    /// Added to the denominator.
    pub epsilon: f64,
}

impl AdamScalars {
    fn whole<T: Real>(&self, p: &mut [T], m: &mut [T], v: &mut [T], g: &[T]) {
        if p.len() < PARALLEL {
            return adam(self, p, m, v, g);
        }
        let parameters = p.chunks_mut(CHUNK).zip(m.chunks_mut(CHUNK));
        let tasks = parameters.zip(v.chunks_mut(CHUNK).zip(g.chunks(CHUNK)));
        parallel::for_each(tasks, |((p, m), (v, g))| adam(self, p, m, v, g));
    }
}

vectorised! {
    fn adam<T>(s: &AdamScalars, p: &mut [T], m: &mut [T], v: &mut [T], g: &[T]) {
        let (factor, limit, coupled) = (T::of(s.factor), T::of(s.limit), T::of(s.coupled_decay));
        let (shrink, beta2) = (T::of(s.shrink), T::of(s.betas.1));
        let (new1, new2) = (T::of(1.0 - s.betas.0), T::of(1.0 - s.betas.1));
        let (step, root, epsilon) = (T::of(-s.step_size), T::of(s.root_correction), T::of(s.epsilon));
        for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
            let g = g * factor;
            let g = if g > limit { limit } else { g };
            let g = if g < -limit { -limit } else { g } + coupled * *p;
            *m += new1 * (g - *m);
            *v = *v * beta2 + new2 * g * g;
            *p = *p * shrink + step * *m / (v.sqrt() / root + epsilon);
        }
    }
}

vectorised! {
    fn lerp<T>(weight: T, a: &mut [T], b: &[T]) {
        for (a, &b) in a.iter_mut().zip(b) {
            *a += weight * (b - *a);
        }
    }
}

/// First and second moment of one parameter on the CPU.
#[derive(Clone, Debug)]
pub(super) enum HostMoments {
    F32(Vec<f32>, Vec<f32>),
    F64(Vec<f64>, Vec<f64>),
}

/// Adam on (parameter, gradient); the moments travel inside.
pub(super) struct AdamPass<'a> {
    pub scalars: AdamScalars,
    pub moments: RefCell<&'a mut HostMoments>,
}

impl InplaceOp2 for AdamPass<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        p: &mut CpuStorage,
        p_layout: &Layout,
        g: &CpuStorage,
        g_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (p0, p1) = contiguous(p_layout)?;
        let (g0, g1) = contiguous(g_layout)?;
        match (p, &mut **self.moments.borrow_mut(), g) {
            (CpuStorage::F32(p), HostMoments::F32(m, v), CpuStorage::F32(g)) => {
                self.scalars.whole(&mut p[p0..p1], m, v, &g[g0..g1]);
            }
            (CpuStorage::F64(p), HostMoments::F64(m, v), CpuStorage::F64(g)) => {
                self.scalars.whole(&mut p[p0..p1], m, v, &g[g0..g1]);
            }
            _ => candle_core::bail!("adam: parameter, moments and gradient have different dtypes"),
        }
        Ok(())
    }
}

/// `a += weight * (b - a)` on (a, b).
pub(super) struct Lerp {
    pub weight: f64,
}

impl Lerp {
    fn whole<T: Real>(&self, a: &mut [T], b: &[T]) {
        let weight = T::of(self.weight);
        if a.len() < PARALLEL {
            return lerp(weight, a, b);
        }
        parallel::for_each(a.chunks_mut(CHUNK).zip(b.chunks(CHUNK)), |(a, b)| lerp(weight, a, b));
    }
}

impl InplaceOp2 for Lerp {
    fn name(&self) -> &'static str {
        "lerp"
    }

    fn cpu_fwd(
        &self,
        a: &mut CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (a0, a1) = contiguous(a_layout)?;
        let (b0, b1) = contiguous(b_layout)?;
        match (a, b) {
            (CpuStorage::F32(a), CpuStorage::F32(b)) => self.whole(&mut a[a0..a1], &b[b0..b1]),
            (CpuStorage::F64(a), CpuStorage::F64(b)) => self.whole(&mut a[a0..a1], &b[b0..b1]),
            _ => candle_core::bail!("lerp: expected two f32 or two f64 tensors"),
        }
        Ok(())
    }
}

fn contiguous(layout: &Layout) -> candle_core::Result<(usize, usize)> {
    match layout.contiguous_offsets() {
        Some(offsets) => Ok(offsets),
        None => candle_core::bail!("expected a contiguous tensor, found strides {:?}", layout.stride()),
    }
}
