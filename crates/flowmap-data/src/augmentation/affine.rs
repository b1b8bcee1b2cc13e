//! Affine maps of the plane, and planes of pixels moved by them.
//!
//! Twice as fine by the low-pass filter h of the wavelet sym6, bilinear there, and back by the same filter:
//!
//! z_m = Σ_i x_i h_{m + 5 − 2i},   g_m = z(A q_m + 2 b − ½),   y_i = Σ_k h_k g_{2i + 1 + k}   along each axis
//!
//! with q_m the places of a grid twice as fine as the plane and three pixels wider at each end, from the middle.
//! h is orthonormal to its shifts by two, so that the identity and moves by whole pixels change nothing.
//!
//! Karras and others 2022, arXiv:2206.00364, appendix F.2, as their code has it; sym6: Daubechies 1992, Ten Lectures on
//! Wavelets.
//! Beyond its ends a line is continued by its mirror images about the last pixels, where the authors' has as much of
//! them as the batch needs, one at most, and then zeros.

/// The low-pass filter of sym6; its squares sum to one.
const FILTER: [f64; 12] = [
    0.015_404_109_327_027_373,
    0.003_490_712_084_217_470_2,
    -0.117_990_111_148_190_57,
    -0.048_311_742_585_633,
    0.491_055_941_926_746_7,
    0.787_641_141_030_194,
    0.337_929_421_727_621_8,
    -0.072_637_522_786_462_52,
    -0.021_060_292_512_300_564,
    0.044_724_901_770_665_78,
    0.001_767_711_864_242_803_6,
    -0.007_800_708_325_034_148,
];
/// How far a fine line begins before its pixel, z_m = Σ_i x_i h_{m + LEAD − 2i}.
const LEAD: i64 = 5;
/// Places of the fine grid beyond each end of the plane.
const MARGIN: usize = 6;

/// p ↦ A p + b, x to the right and y down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    pub(super) a: [[f64; 2]; 2],
    pub(super) b: [f64; 2],
}

impl Affine {
    /// Sets each pixel p of a plane to its value at A p + b, p from the middle of the plane.
    pub(super) fn resample(&self, height: usize, width: usize, plane: &mut [f32]) {
        let (fine_height, fine_width) = (2 * (height + MARGIN), 2 * (width + MARGIN));
        // Where the places of the fine grid come from, in numbers of the fine plane.
        let middle = [width, height].map(|side| (side as f64 - 1.0, (side + MARGIN) as i64 - 1));
        let from = |row: usize, column: usize| {
            let q = [column as i64 - middle[0].1, row as i64 - middle[1].1].map(|q| q as f64);
            let at = |i: usize| self.a[i][0] * q[0] + self.a[i][1] * q[1] + 2.0 * self.b[i] + middle[i].0;
            [at(0), at(1)]
        };
        let corners = [(0, 0), (0, fine_width - 1), (fine_height - 1, 0), (fine_height - 1, fine_width - 1)];
        let reach = |axis: usize| {
            let places = corners.map(|(row, column)| from(row, column)[axis]);
            let low = places.into_iter().fold(f64::INFINITY, f64::min).floor() as i64;
            let high = places.into_iter().fold(f64::NEG_INFINITY, f64::max).floor() as i64;
            low..high.saturating_add(2)
        };
        let (columns, rows) = (reach(0), reach(1));
        let n_columns = columns.clone().count();

        let taps = columns.clone().map(|m| fine_taps(m, width)).collect::<Vec<_>>();
        let lines = plane.chunks_exact(width).flat_map(|line| taps.iter().map(|taps| taps_of(taps, line)));
        let lines: Vec<f64> = lines.collect();
        let mut fine = vec![0.0; rows.clone().count() * n_columns];
        for (m, sum) in rows.clone().zip(fine.chunks_exact_mut(n_columns)) {
            for (row, weight) in fine_taps(m, height) {
                let line = &lines[row * n_columns..][..n_columns];
                sum.iter_mut().zip(line).for_each(|(sum, value)| *sum += weight * value);
            }
        }

        let bilinear = |[x, y]: [f64; 2]| {
            let (x0, y0) = (x.floor(), y.floor());
            let start = (y0 as i64 - rows.start) as usize * n_columns + (x0 as i64 - columns.start) as usize;
            let between = |at: usize| fine[at] + (x - x0) * (fine[at + 1] - fine[at]);
            let (above, below) = (between(start), between(start + n_columns));
            above + (y - y0) * (below - above)
        };
        let halved = |line: &[f64], i: usize| -> f64 {
            FILTER.iter().zip(&line[2 * i + 1..]).map(|(h, g)| h * g).sum()
        };
        let mut moved = Vec::with_capacity(fine_height * width);
        for row in 0..fine_height {
            let line: Vec<f64> = (0..fine_width).map(|column| bilinear(from(row, column))).collect();
            moved.extend((0..width).map(|i| halved(&line, i)));
        }
        for (i, line) in plane.chunks_exact_mut(width).enumerate() {
            for (column, pixel) in line.iter_mut().enumerate() {
                let below = moved[(2 * i + 1) * width + column..].iter().step_by(width);
                *pixel = FILTER.iter().zip(below).map(|(h, g)| h * g).sum::<f64>() as f32;
            }
        }
    }
}

/// The pixels of a line of `n` that the place m of the fine line is made of, with their weights.
fn fine_taps(m: i64, n: usize) -> [(usize, f64); 6] {
    let (last, rest) = ((m + LEAD).div_euclid(2), (m + LEAD).rem_euclid(2) as usize);
    let period = (2 * (n as i64 - 1)).max(1);
    let mirrored = |place: i64| {
        let place = place.rem_euclid(period);
        place.min(period - place).min(n as i64 - 1) as usize
    };
    std::array::from_fn(|k| (mirrored(last - k as i64), FILTER[rest + 2 * k]))
}

fn taps_of(taps: &[(usize, f64)], line: &[f32]) -> f64 {
    taps.iter().map(|(i, weight)| weight * f64::from(line[*i])).sum()
}

/// R(θ), which turns x toward y.
pub(super) fn turn(angle: f64) -> [[f64; 2]; 2] {
    let (sin, cos) = angle.sin_cos();
    [[cos, -sin], [sin, cos]]
}

pub(super) fn product(a: [[f64; 2]; 2], b: [[f64; 2]; 2]) -> [[f64; 2]; 2] {
    a.map(|row| [0, 1].map(|j| row[0] * b[0][j] + row[1] * b[1][j]))
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    /// Pixels are f32, and the arithmetic between them is f64.
    const ROUNDING: f32 = 1e-6;
    /// The filter of the authors' code is rounded to f32.
    const FILTER_ROUNDING: f32 = 2e-6;

    fn resampled(a: [[f64; 2]; 2], b: [f64; 2], height: usize, width: usize, plane: &[f32]) -> Vec<f32> {
        let mut plane = plane.to_vec();
        Affine { a, b }.resample(height, width, &mut plane);
        plane
    }

    #[test]
    fn whole_pixels_move_exactly_and_edges_are_mirrored() {
        let plane = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let check = |b, height, width, plane: &[f32], expected: &[f32]| {
            let found = resampled([[1.0, 0.0], [0.0, 1.0]], b, height, width, plane);
            let differ = found.iter().zip(expected).any(|(a, b)| (a - b).abs() > 10.0 * ROUNDING);
            assert!(!differ, "{b:?}: {found:?}");
        };
        check([0.0, 0.0], 2, 3, &plane, &plane);
        check([1.0, 0.0], 2, 3, &plane, &[2.0, 3.0, 2.0, 5.0, 6.0, 5.0]);
        check([0.0, -1.0], 2, 3, &plane, &[4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
        check([-7.0, 0.0], 2, 3, &plane, &[2.0, 3.0, 2.0, 5.0, 6.0, 5.0]);
        check([3.0, 3.0], 1, 1, &[7.0], &[7.0]);
    }

    /// Pixels of sin(0.7 i), 16x16, by `AugmentPipe` of the authors' code in PyTorch, in f64.
    #[test]
    fn pixels_are_those_of_edm() {
        let plane: Vec<f32> = (0..256).map(|i| (0.7 * f64::from(i)).sin() as f32).collect();
        let places = [(0, 0), (3, 12), (7, 8), (10, 1), (12, 9), (15, 15)];
        let check = |a, b, expected: [f32; 6]| {
            let found = resampled(a, b, 16, 16, &plane);
            for ((row, column), expected) in places.into_iter().zip(expected) {
                let found = found[row * 16 + column];
                assert!((found - expected).abs() < FILTER_ROUNDING, "{row}, {column}: {found}, {expected}");
            }
        };
        check(
            [[0.6217445357791357, 0.8365131410884834], [-0.8684441945140677, 0.6723515839783905]],
            [0.8479883892557339, -1.2089703008868116],
            [-0.61331866, -0.81614935, -0.9095196, -0.97026587, -0.91793196, 0.79250479],
        );
        check(
            [[0.9028438158973591, -0.04094485199361667], [0.04874711886819311, 0.9182588439033493]],
            [-2.366420566833057, -1.7140003927940857],
            [-0.89018222, -0.71896252, 0.2455049, 0.55117214, -0.17225136, 0.27077103],
        );
        check(
            [[0.5205494499982162, 0.5381218834040837], [-0.3905272766885516, 0.7172842133160318]],
            [1.3331819723730194, -0.7676789266893032],
            [0.83119527, -0.50559308, -0.7172139, 0.78436697, 0.9080107, 0.09775078],
        );
    }

    /// The filter is not quite symmetric, so that a turned picture is not quite the picture turned.
    #[test]
    fn slow_waves_turn_by_a_quarter() {
        let wave = |x: f64, y: f64| ((0.3 * x).sin() * (0.2 * y).cos()) as f32;
        let at = |f: &dyn Fn(f64, f64) -> f32| -> Vec<f32> {
            (0..256).map(|i| f((i % 16) as f64 - 7.5, (i / 16) as f64 - 7.5)).collect()
        };
        let turned = resampled(turn(0.5 * PI), [0.0, 0.0], 16, 16, &at(&wave));
        // y(p) = x(R p), R (x, y) = (−y, x).
        let expected = at(&|x, y| wave(-y, x));
        for place in [5 * 16 + 5, 7 * 16 + 9, 10 * 16 + 6] {
            assert!((turned[place] - expected[place]).abs() < 0.05, "{place}");
        }
    }
}
