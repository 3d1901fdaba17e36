//! In-place passes over parameter storage: one read and one write of each array, no temporaries.

use candle_core::{CpuStorage, InplaceOp2, Layout};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Sub};

/// Below this many elements one thread does all.
const PARALLEL: usize = 1 << 15;
/// Elements of one task.
const CHUNK: usize = 1 << 13;

/// The two float types with a fast path.
pub(super) trait Real:
    Copy + Send + Sync + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    fn of(x: f64) -> Self;
    fn root(self) -> Self;
    fn cut(self, limit: Self) -> Self;
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn cut(self, limit: Self) -> Self {
                self.min(limit).max(-limit)
            }
        }
    };
}
real!(f32);
real!(f64);

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
    fn chunk<T: Real>(&self, p: &mut [T], m: &mut [T], v: &mut [T], g: &[T]) {
        let (factor, limit, coupled) = (T::of(self.factor), T::of(self.limit), T::of(self.coupled_decay));
        let (shrink, beta2) = (T::of(self.shrink), T::of(self.betas.1));
        let (new1, new2) = (T::of(1.0 - self.betas.0), T::of(1.0 - self.betas.1));
        let (step, root, epsilon) = (T::of(-self.step_size), T::of(self.root_correction), T::of(self.epsilon));
        for (((p, m), v), &g) in p.iter_mut().zip(m).zip(v).zip(g) {
            let g = (g * factor).cut(limit) + coupled * *p;
            *m = *m + new1 * (g - *m);
            *v = *v * beta2 + new2 * g * g;
            *p = *p * shrink + step * *m / (v.root() / root + epsilon);
        }
    }

    fn whole<T: Real>(&self, p: &mut [T], m: &mut [T], v: &mut [T], g: &[T]) {
        if p.len() < PARALLEL {
            return self.chunk(p, m, v, g);
        }
        p.par_chunks_mut(CHUNK)
            .zip(m.par_chunks_mut(CHUNK))
            .zip(v.par_chunks_mut(CHUNK))
            .zip(g.par_chunks(CHUNK))
            .for_each(|(((p, m), v), g)| self.chunk(p, m, v, g));
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
        let chunk = |a: &mut [T], b: &[T]| {
            for (a, &b) in a.iter_mut().zip(b) {
                *a = *a + weight * (b - *a);
            }
        };
        if a.len() < PARALLEL {
            return chunk(a, b);
        }
        a.par_chunks_mut(CHUNK).zip(b.par_chunks(CHUNK)).for_each(|(a, b)| chunk(a, b));
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
