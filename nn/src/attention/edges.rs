//! Multi-head softmax attention over the edges of each node.
//!
//! `out_i = sum_e a_ie v_e`, `a_ie = softmax_e(q_i k_e / sqrt(d) + b_e)` over the edges e that start at node i, for each
//! head (Vaswani et al. 2017, eq. 1, on a graph).

use crate::kernels::{Array, Operation, Real, apply, parallel};
use crate::{Error, Result};
use candle_core::Tensor;
use std::sync::Arc;

/// The edges of each node, as flat lists.
#[derive(Debug)]
pub struct Neighbours {
    starts: Vec<usize>,
    edges: Vec<usize>,
    count: usize,
}

impl Neighbours {
    /// From the node at which each edge starts.
    ///
    /// # Errors
    /// [`Error::Shape`] for a node out of range.
    pub fn new(nodes: usize, sources: &[usize]) -> Result<Self> {
        if let Some(bad) = sources.iter().find(|s| **s >= nodes) {
            return Err(Error::Shape {
                operation: "Neighbours",
                expected: format!("nodes below {nodes}"),
                found: bad.to_string(),
            });
        }
        let mut starts = vec![0; nodes + 1];
        sources.iter().for_each(|s| starts[s + 1] += 1);
        (0..nodes).for_each(|n| starts[n + 1] += starts[n]);
        let mut next = starts.clone();
        let mut edges = vec![0; sources.len()];
        for (edge, source) in sources.iter().enumerate() {
            edges[next[*source]] = edge;
            next[*source] += 1;
        }
        Ok(Neighbours { starts, edges, count: sources.len() })
    }

    fn of(&self, node: usize) -> &[usize] {
        &self.edges[self.starts[node]..self.starts[node + 1]]
    }
}

/// `q` `[nodes, width]`, `kv` `[edges, 2 width]` (keys, then values), `bias` `[edges, heads]`; width is a multiple of
/// the number of heads. Returns `[nodes, width]`; a node without edges gets zeros.
///
/// # Errors
/// [`Error::Shape`] when these do not fit.
pub fn edge_attention(neighbours: &Arc<Neighbours>, q: &Tensor, kv: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let ((nodes, width), (edges, double), (rows, heads)) = (q.dims2()?, kv.dims2()?, bias.dims2()?);
    let fits = nodes + 1 == neighbours.starts.len() && edges == neighbours.count && rows == edges;
    if !fits || double != 2 * width || heads == 0 || width % heads != 0 {
        return Err(Error::Shape {
            operation: "edge_attention",
            expected: format!(
                "{} nodes, {} edges, kv twice as wide as q",
                neighbours.starts.len() - 1,
                neighbours.count
            ),
            found: format!("q {:?}, kv {:?}, bias {:?}", q.dims(), kv.dims(), bias.dims()),
        });
    }
    Ok(apply(EdgeAttention { neighbours: neighbours.clone() }, &[q, kv, bias])?)
}

struct EdgeAttention {
    neighbours: Arc<Neighbours>,
}

impl EdgeAttention {
    /// Softmax weights of one node and head over its edges.
    fn weights<T: Real>(&self, node: usize, head: usize, x: &[Array<T>]) -> Vec<T> {
        let (width, heads) = (x[0].dims[1], x[2].dims[1]);
        let d = width / heads;
        let scale = T::of(1.0 / (d as f64).sqrt());
        let q = &x[0].data[node * width + head * d..][..d];
        let score = |edge: &usize| {
            let k = &x[1].data[edge * 2 * width + head * d..][..d];
            let dot: T = q.iter().zip(k).map(|(q, k)| *q * *k).sum();
            dot * scale + x[2].data[edge * heads + head]
        };
        let mut weights: Vec<T> = self.neighbours.of(node).iter().map(score).collect();
        let top = weights.iter().fold(T::of(f64::NEG_INFINITY), |m, w| if *w > m { *w } else { m });
        weights.iter_mut().for_each(|w| *w = (*w - top).exp());
        let total: T = weights.iter().copied().sum();
        weights.iter_mut().for_each(|w| *w /= total);
        weights
    }
}

impl Operation for EdgeAttention {
    const NAME: &'static str = "edge-attention";

    fn forward<T: Real>(&self, x: &[Array<T>]) -> candle_core::Result<(Vec<T>, Vec<usize>)> {
        let (nodes, width, heads) = (x[0].dims[0], x[0].dims[1], x[2].dims[1]);
        let d = width / heads;
        let mut out = vec![T::zero(); nodes * width];
        parallel::for_each(out.chunks_mut(width).enumerate(), |(node, out)| {
            for head in 0..heads {
                let out = &mut out[head * d..][..d];
                for (edge, w) in self.neighbours.of(node).iter().zip(self.weights(node, head, x)) {
                    let v = &x[1].data[edge * 2 * width + width + head * d..][..d];
                    out.iter_mut().zip(v).for_each(|(o, v)| *o += w * *v);
                }
            }
        });
        Ok((out, vec![nodes, width]))
    }

    fn backward<T: Real>(&self, x: &[Array<T>], _: &[T], dy: &[T], _: &[bool]) -> candle_core::Result<Vec<Vec<T>>> {
        let (nodes, width, heads) = (x[0].dims[0], x[0].dims[1], x[2].dims[1]);
        let d = width / heads;
        let scale = T::of(1.0 / (d as f64).sqrt());
        let per_node = |node: &usize| {
            let edges = self.neighbours.of(*node);
            let (mut dq, mut dkv) = (vec![T::zero(); width], vec![T::zero(); edges.len() * 2 * width]);
            let mut db = vec![T::zero(); edges.len() * heads];
            for head in 0..heads {
                let weights = self.weights(*node, head, x);
                let g = &dy[node * width + head * d..][..d];
                let q = &x[0].data[node * width + head * d..][..d];
                let value = |edge: &usize| &x[1].data[edge * 2 * width + width + head * d..][..d];
                let dots: Vec<T> = edges.iter().map(|e| value(e).iter().zip(g).map(|(v, g)| *v * *g).sum()).collect();
                let mean: T = dots.iter().zip(&weights).map(|(d, w)| *d * *w).sum();
                for (place, edge) in edges.iter().enumerate() {
                    let w = weights[place];
                    let ds = w * (dots[place] - mean);
                    db[place * heads + head] = ds;
                    let k = &x[1].data[edge * 2 * width + head * d..][..d];
                    let (dk, dv) = dkv[place * 2 * width..][..2 * width].split_at_mut(width);
                    for c in 0..d {
                        dq[head * d + c] += scale * ds * k[c];
                        dk[head * d + c] = scale * ds * q[c];
                        dv[head * d + c] = w * g[c];
                    }
                }
            }
            (dq, dkv, db)
        };
        let list: Vec<usize> = (0..nodes).collect();
        let mut gradients = x.iter().map(|a| vec![T::zero(); a.data.len()]).collect::<Vec<_>>();
        for (node, (dq, dkv, db)) in parallel::map(&list, per_node).into_iter().enumerate() {
            gradients[0][node * width..(node + 1) * width].copy_from_slice(&dq);
            for (place, edge) in self.neighbours.of(node).iter().enumerate() {
                gradients[1][edge * 2 * width..(edge + 1) * 2 * width]
                    .copy_from_slice(&dkv[place * 2 * width..(place + 1) * 2 * width]);
                gradients[2][edge * heads..(edge + 1) * heads].copy_from_slice(&db[place * heads..(place + 1) * heads]);
            }
        }
        Ok(gradients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn gradient_equals_central_differences_and_weights_sum_to_one() {
        let neighbours = Arc::new(Neighbours::new(3, &[0, 2, 0, 2, 2]).unwrap());
        let wave = |n: usize, f: f64| (0..n).map(|k| (k as f64 * f).sin()).collect::<Vec<_>>();
        let make = |n: usize, m: usize, f: f64| {
            Var::from_tensor(&Tensor::from_vec(wave(n * m, f), (n, m), &Device::Cpu).unwrap()).unwrap()
        };
        let inputs = [make(3, 4, 0.7), make(5, 8, 1.3), make(5, 2, 2.1)];
        let cotangent = Tensor::from_vec(wave(12, 0.31), (3, 4), &Device::Cpu).unwrap();
        let value = || {
            let y = edge_attention(&neighbours, &inputs[0], &inputs[1], &inputs[2]).unwrap();
            (y * &cotangent).unwrap().sum_all().unwrap()
        };
        let grads = value().backward().unwrap();
        for x in &inputs {
            let flat = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let grad = grads.get(x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for k in 0..flat.len() {
                let at = |h: f64| {
                    let mut moved = flat.clone();
                    moved[k] += h;
                    x.set(&Tensor::from_vec(moved, x.dims(), &Device::Cpu).unwrap()).unwrap();
                    value().to_scalar::<f64>().unwrap()
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                x.set(&Tensor::from_vec(flat.clone(), x.dims(), &Device::Cpu).unwrap()).unwrap();
                assert!((slope - grad[k]).abs() < 1e-8, "{slope} {}", grad[k]);
            }
        }
        let ones = Tensor::ones((5, 8), candle_core::DType::F64, &Device::Cpu).unwrap();
        let y = edge_attention(&neighbours, &inputs[0], &ones, &inputs[2]).unwrap().to_vec2::<f64>().unwrap();
        assert!((y[0][0] - 1.0).abs() < 1e-14 && y[1][0] == 0.0);
    }
}
