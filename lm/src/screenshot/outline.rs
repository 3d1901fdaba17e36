//! Coverage of pixels by the outline of a glyph: the exact area inside, as FreeType's smooth rasteriser has it. Each edge
//! adds its signed area to the pixels that it crosses and its height to all pixels right of them.

use skrifa::outline::OutlinePen;

/// Straight pieces that a cubic curve becomes.
const PIECES: usize = 8;

/// Straight pieces that a quadratic curve becomes in FreeType: halves, until the second difference of the points is at most
/// a quarter of a pixel (a half makes it a quarter).
fn pieces(second_difference: f32) -> usize {
    let (mut left, mut pieces) = (second_difference, 1);
    while left > 0.25 && pieces < 1 << 8 {
        (left, pieces) = (0.25 * left, 2 * pieces);
    }
    pieces
}

/// Edges of an outline, y upward, and the box around all its points, those that steer curves included.
#[derive(Default)]
pub(super) struct Outline {
    edges: Vec<[f32; 4]>,
    start: [f32; 2],
    at: [f32; 2],
    bounds: Option<[f32; 4]>,
}

/// Coverage, 0 to 255, row by row from the top, with the place of its box: the column of its left edge and the height of
/// its upper one above the base line.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Coverage {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) width: usize,
    pub(super) rows: usize,
    pub(super) values: Vec<u8>,
}

impl Outline {
    fn note(&mut self, x: f32, y: f32) {
        let [left, low, right, high] = self.bounds.unwrap_or([x, y, x, y]);
        self.bounds = Some([left.min(x), low.min(y), right.max(x), high.max(y)]);
    }

    fn edge_to(&mut self, [x, y]: [f32; 2]) {
        self.edges.push([self.at[0], self.at[1], x, y]);
        self.at = [x, y];
    }

    /// A curve by its points from 0 (the present one) to 1.
    fn curve(&mut self, pieces: usize, at: impl Fn(f32) -> [f32; 2]) {
        (1..=pieces).for_each(|k| self.edge_to(at(k as f32 / pieces as f32)));
    }

    pub(super) fn coverage(&self) -> Coverage {
        let Some([left, low, right, high]) = self.bounds else { return Coverage::default() };
        let (left, top) = (left.floor() as i32, high.ceil() as i32);
        let (width, rows) = ((right.ceil() as i32 - left) as usize, (top - low.floor() as i32) as usize);
        // One column more than the box: what an edge on its right side adds beyond it.
        let mut areas = vec![0.0_f32; (width + 2) * rows];
        for [x0, y0, x1, y1] in &self.edges {
            let place = |x: f32, y: f32| [x - left as f32, top as f32 - y];
            add_edge(&mut areas, width + 2, place(*x0, *y0), place(*x1, *y1));
        }
        let mut values = Vec::with_capacity(width * rows);
        for row in areas.chunks_exact(width + 2) {
            let mut sum = 0.0;
            values.extend(row[..width].iter().map(|area| {
                sum += area;
                (sum.abs() * 256.0).min(255.0) as u8
            }));
        }
        Coverage { left, top, width, rows, values }
    }
}

/// Adds the edge to the areas, row by row of pixels and in each column by column.
fn add_edge(areas: &mut [f32], width: usize, [x0, y0]: [f32; 2], [x1, y1]: [f32; 2]) {
    if y0 == y1 {
        return;
    }
    let sign = if y0 < y1 { 1.0 } else { -1.0 };
    let ([xa, ya], [xb, yb]) = if y0 < y1 { ([x0, y0], [x1, y1]) } else { ([x1, y1], [x0, y0]) };
    let slope = (xb - xa) / (yb - ya);
    for row in ya.floor() as usize..(yb.ceil() as usize).min(areas.len() / width) {
        let (from, to) = (ya.max(row as f32), yb.min(row as f32 + 1.0));
        let [a, b] = [from, to].map(|y| xa + slope * (y - ya));
        let (low, high) = (a.min(b).max(0.0), a.max(b).max(0.0));
        let height = sign * (to - from);
        for column in low.floor() as usize..=(high as usize).min(width - 2) {
            let (l, r) = (low.max(column as f32), high.min(column as f32 + 1.0));
            let share = if high > low { (r - l).max(0.0) / (high - low) } else { 1.0 };
            let right = (0.5 * (l + r) - column as f32).clamp(0.0, 1.0);
            areas[row * width + column] += height * share * (1.0 - right);
            areas[row * width + column + 1] += height * share * right;
        }
    }
}

impl OutlinePen for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.note(x, y);
        (self.start, self.at) = ([x, y], [x, y]);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.note(x, y);
        self.edge_to([x, y]);
    }

    fn quad_to(&mut self, cx: f32, cy: f32, x: f32, y: f32) {
        self.note(cx, cy);
        self.note(x, y);
        let from = self.at;
        let second = (from[0] - 2.0 * cx + x).abs().max((from[1] - 2.0 * cy + y).abs());
        self.curve(pieces(second), |t| {
            let [a, b, c] = [(1.0 - t) * (1.0 - t), 2.0 * t * (1.0 - t), t * t];
            [a * from[0] + b * cx + c * x, a * from[1] + b * cy + c * y]
        });
    }

    fn curve_to(&mut self, cx0: f32, cy0: f32, cx1: f32, cy1: f32, x: f32, y: f32) {
        [[cx0, cy0], [cx1, cy1], [x, y]].into_iter().for_each(|[x, y]| self.note(x, y));
        let from = self.at;
        self.curve(PIECES, |t| {
            let u = 1.0 - t;
            let [a, b, c, d] = [u * u * u, 3.0 * t * u * u, 3.0 * t * t * u, t * t * t];
            [a * from[0] + b * cx0 + c * cx1 + d * x, a * from[1] + b * cy0 + c * cy1 + d * y]
        });
    }

    fn close(&mut self) {
        self.edge_to(self.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rectangle_and_its_hole_by_area() {
        let mut outline = Outline::default();
        let mut rectangle = |[l, b, r, t]: [f32; 4], reverse: bool| {
            let mut corners = [[l, b], [r, b], [r, t], [l, t]];
            if reverse {
                corners.reverse();
            }
            outline.move_to(corners[0][0], corners[0][1]);
            corners[1..].iter().for_each(|c| outline.line_to(c[0], c[1]));
            outline.close();
        };
        rectangle([0.5, -1.0, 4.0, 1.5], false);
        rectangle([2.0, 0.0, 3.0, 1.0], true);
        let found = outline.coverage();
        assert_eq!((found.left, found.top, found.width, found.rows), (0, 2, 4, 3));
        assert_eq!(found.values, [64, 128, 128, 128, 128, 255, 0, 255, 128, 255, 255, 255]);
    }

    #[test]
    fn the_area_of_a_circle() {
        let (mut outline, r, k) = (Outline::default(), 20.3_f32, 0.552_284_8 * 20.3_f32);
        outline.move_to(r, 0.0);
        for [a, b, c, d, e, f] in [[r, k, k, r, 0.0, r], [-k, r, -r, k, -r, 0.0], [-r, -k, -k, -r, 0.0, -r]] {
            outline.curve_to(a, b, c, d, e, f);
        }
        outline.curve_to(k, -r, r, -k, r, 0.0);
        outline.close();
        let area: f32 = outline.coverage().values.iter().map(|v| f32::from(*v) / 255.0).sum();
        assert!((area / (std::f32::consts::PI * r * r) - 1.0).abs() < 0.01, "{area}");
    }
}
