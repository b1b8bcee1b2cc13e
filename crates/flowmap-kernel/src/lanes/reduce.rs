//! Sums over slices that a compiler turns into vector instructions, with the same bits for every width of vector.

/// Independent partial sums, for one or two sums at once, so that an addition does not wait for the last one.
pub(crate) const WIDE: usize = 32;
/// Partial sums for more sums at once, so that all of them stay in registers.
pub(crate) const NARROW: usize = 16;
/// Terms that are added in f32 before the sum goes on in f64.
const BLOCK: usize = 2048;

/// N sums over the elements of K slices of one length, in `LANES` lanes: Σ_i term(x_i, y_i, ...).
///
/// Every lane adds at most `BLOCK / LANES` terms in f32, so that the error does not grow with the length.
#[inline(always)]
pub(crate) fn sums<const LANES: usize, const K: usize, const N: usize>(
    inputs: [&[f32]; K],
    term: impl Fn([f32; K]) -> [f32; N],
) -> [f64; N] {
    let len = inputs.iter().map(|x| x.len()).min().unwrap_or(0);
    let mut totals = [0f64; N];
    let mut start = 0;
    while start < len {
        let end = (start + BLOCK).min(len);
        let mut lanes = [[0f32; LANES]; N];
        let blocks: [(&[[f32; LANES]], &[f32]); K] =
            std::array::from_fn(|k| inputs[k][start..end].as_chunks::<LANES>());
        for i in 0..(end - start) / LANES {
            let chunk: [&[f32; LANES]; K] = std::array::from_fn(|k| &blocks[k].0[i]);
            // Term after term into an array of its own, then one addition of arrays: each is one vector operation.
            let mut terms = [[0f32; LANES]; N];
            for lane in 0..LANES {
                let at: [f32; N] = term(std::array::from_fn(|k| chunk[k][lane]));
                terms.iter_mut().zip(at).for_each(|(terms, term)| terms[lane] = term);
            }
            for (lanes, terms) in lanes.iter_mut().zip(&terms) {
                lanes.iter_mut().zip(terms).for_each(|(lane, term)| *lane += term);
            }
        }
        for lane in 0..(end - start) % LANES {
            let terms = term(std::array::from_fn(|k| blocks[k].1[lane]));
            for (lanes, term) in lanes.iter_mut().zip(terms) {
                lanes[lane] += term;
            }
        }
        for (total, mut lanes) in totals.iter_mut().zip(lanes) {
            let mut half = LANES / 2;
            while half > 0 {
                let (left, right) = lanes.split_at_mut(half);
                left.iter_mut().zip(right).for_each(|(left, right)| *left += *right);
                half /= 2;
            }
            *total += f64::from(lanes[0]);
        }
        start = end;
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_any_length_are_right() {
        for len in [0, 1, 31, 32, 33, 2047, 2048, 2049, 5000] {
            let x: Vec<f32> = (0..len).map(|i| (i % 13) as f32).collect();
            let [sum, squares] = sums::<NARROW, _, _>([&x, &x], |[x, y]| [x, x * y]);
            assert_eq!(sum, x.iter().map(|&x| f64::from(x)).sum::<f64>());
            assert_eq!(squares, x.iter().map(|&x| f64::from(x * x)).sum::<f64>());
        }
    }
}
