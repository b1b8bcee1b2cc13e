//! The CUDA kernels, run on the processor by the launches that a device gets, against the composed operations in f64
//! and, bit for bit, the noise streams.
//!
//! Outputs are poisoned, sizes are multiples of nothing, guards around every buffer must be found unchanged, and
//! barriers that not all threads reach are errors. What stays untested without a device is the driver itself.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "cuda_on_host/distances.rs"]
mod distances;
#[path = "cuda_on_host/host.rs"]
mod host;
#[path = "cuda_on_host/norms.rs"]
mod norms;
#[path = "cuda_on_host/update.rs"]
mod update;

use candle_core::{DType, Device, Tensor, Var};
use distances::distances;
use flowmap_core::{NoiseStream, Stream};
use flowmap_dual::{Activation, Dual};
use flowmap_kernel::cuda::launches::{self, Draws, Grid, Partials};
use host::Host;

/// f32 sums over rows, and a second derivative of two products.
const TOLERANCE: f64 = 1e-5;

/// Numbers that f32 holds exactly, in f64.
fn noise(index: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f32; dims.iter().product()];
    NoiseStream::new(21, Stream::Evaluation).at(index).fill_normal_f32(&mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap().to_dtype(DType::F64).unwrap()
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn tensor(values: Vec<f32>, dims: &[usize]) -> Tensor {
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// y, ẏ and the gradients of w · y + v · ẏ in z, ż and b, by composed operations; and the f64 inputs z, ż, b, w, v.
fn layer_oracle(rows: usize, columns: usize, activation: Option<Activation>) -> (Vec<Tensor>, [Tensor; 5]) {
    let all = [[rows, columns]; 4].map(|dims| dims.to_vec());
    let [z, dz, w, v] = std::array::from_fn(|i| noise(100 + i as u64, &all[i]));
    let b = noise(110, &[columns]);
    let vars = [&z, &dz, &b].map(|t| Var::from_tensor(t).unwrap());
    let x = Dual::new(vars[0].broadcast_add(&vars[2]).unwrap(), vars[1].as_tensor().clone()).unwrap();
    let y = activation.map_or(Ok(x.clone()), |activation| x.activate(activation)).unwrap();
    let dy = y.tangent().unwrap();
    let loss = ((y.primal() * &w).unwrap() + (dy * &v).unwrap()).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    let mut found = vec![y.primal().detach(), dy.detach()];
    found.extend(vars.iter().map(|var| gradients.get(var).unwrap().clone()));
    (found, [z, dz, b, w, v])
}

/// The same five by the kernels.
fn layer_on_host(
    host: &mut Host,
    (rows, columns): (usize, usize),
    activation: Option<Activation>,
    [z, dz, b, w, v]: &[Tensor; 5],
    is_skewed: bool,
) -> Vec<Tensor> {
    let n = rows * columns;
    let both = |a: &Tensor, b: &Tensor| [floats(a), floats(b)].concat();
    let grid = Grid { rows: rows as u32, columns: columns as u32, is_dual: true };
    let name = activation.map(Activation::name);
    let z = if is_skewed { host.skewed(&both(z, dz)) } else { host.floats(&both(z, dz)) };
    let bias = host.floats(&floats(b));
    let gy = host.floats(&both(w, v));
    // Without an activation the bias is added in place, and z̄ is ȳ.
    let y = if name.is_some() { host.poisoned(8 * n) } else { z };
    let of_y = Grid { is_dual: name.is_some(), ..grid };
    launches::layer_forward(host, name, of_y, [z, bias, y]).unwrap();
    let gz = name.map(|_| host.poisoned(8 * n));
    let (partials, gb) =
        (host.poisoned(4 * grid.n_partials() as usize * columns), host.poisoned(4 * columns));
    launches::layer_backward(host, name, grid, [z, bias, gy], gz, partials).unwrap();
    let sizes = Partials { n_segments: 1, n_partials: grid.n_partials(), n_sums: 1, columns: grid.columns };
    launches::segment_sums(host, sizes, partials, gb).unwrap();
    let dims = [rows, columns];
    let mut found = Vec::new();
    for place in [y, gz.unwrap_or(gy)] {
        found.extend([0, n].map(|from| tensor(host.read(host.after(place, from), n), &dims)));
    }
    found.push(tensor(host.read(gb, columns), &[columns]));
    found
}

#[test]
fn layer_kernels_agree_with_the_composed_oracle() {
    if Host::find().is_none() {
        return;
    }
    // Columns that vectors of four divide and others; fewer and more rows and columns than a block has.
    for sizes in [(1, 1), (5, 3), (33, 4), (70, 132), (67, 131), (1500, 2), (9, 260)] {
        for activation in Activation::ALL.into_iter().map(Some).chain([None]) {
            let (expected, inputs) = layer_oracle(sizes.0, sizes.1, activation);
            for is_skewed in [false, true] {
                let mut host = Host::find().unwrap();
                let found = layer_on_host(&mut host, sizes, activation, &inputs, is_skewed);
                for (i, distance) in distances(&found, &expected, 2).into_iter().enumerate() {
                    let case = format!("{activation:?} {sizes:?} skewed {is_skewed} output {i}");
                    assert!(distance < TOLERANCE, "{case}: off by {distance:e}");
                }
            }
        }
    }
}

#[test]
fn layer_kernels_without_a_tangent_give_the_same_values_and_gradients() {
    let Some(mut host) = Host::find() else { return };
    let (rows, columns) = (45, 68);
    let activation = Activation::Silu;
    let z = noise(1, &[rows, columns]);
    let (b, w) = (noise(2, &[columns]), noise(3, &[rows, columns]));
    let vars = [&z, &b].map(|t| Var::from_tensor(t).unwrap());
    let y = Dual::constant(vars[0].broadcast_add(&vars[1]).unwrap()).activate(activation).unwrap();
    let gradients = (y.primal() * &w).unwrap().sum_all().unwrap().backward().unwrap();
    let mut expected = vec![y.primal().detach()];
    expected.extend(vars.iter().map(|var| gradients.get(var).unwrap().clone()));

    let grid = Grid { rows: rows as u32, columns: columns as u32, is_dual: false };
    let (z, bias, gy) = (host.floats(&floats(&z)), host.floats(&floats(&b)), host.floats(&floats(&w)));
    let n = rows * columns;
    let (y, gz, gb) = (host.poisoned(4 * n), host.poisoned(4 * n), host.poisoned(4 * columns));
    let partials = host.poisoned(4 * grid.n_partials() as usize * columns);
    launches::layer_forward(&mut host, Some("silu"), grid, [z, bias, y]).unwrap();
    launches::layer_backward(&mut host, Some("silu"), grid, [z, bias, gy], Some(gz), partials).unwrap();
    let sizes = Partials { n_segments: 1, n_partials: grid.n_partials(), n_sums: 1, columns: grid.columns };
    launches::segment_sums(&mut host, sizes, partials, gb).unwrap();
    let dims = [rows, columns];
    let found = [tensor(host.read(y, n), &dims), tensor(host.read(gz, n), &dims)];
    let found = [&found[..], &[tensor(host.read(gb, columns), &[columns])]].concat();
    for (i, distance) in distances(&found, &expected, 1).into_iter().enumerate() {
        assert!(distance < TOLERANCE, "output {i}: off by {distance:e}");
    }
}

#[test]
fn noise_on_the_device_has_the_bits_of_the_stream() {
    if Host::find().is_none() {
        return;
    }
    // Rows that end within a block of the generator, indices of more than 32 bits, and enough numbers for both tails.
    let cases =
        [(7, 0, 1, 1), (7, u64::from(u32::MAX) - 3, 9, 2), (u64::MAX, 5, 300, 7), (3, 1 << 40, 2500, 24)];
    for (seed, first, rows, dim) in cases {
        let stream = NoiseStream::new(seed, Stream::Base);
        let draws = Draws { key: stream.key(), first, rows, dim };
        let (mut host, n) = (Host::find().unwrap(), rows as usize * dim as usize);
        let (normals, uniforms) = (host.poisoned(4 * n), host.poisoned(8 * n));
        let sigma = 0.7f32;
        launches::noise_normals(&mut host, &draws, sigma, normals).unwrap();
        launches::noise_uniforms(&mut host, &draws, uniforms).unwrap();
        let (normals, uniforms) = (host.read(normals, n), host.read_doubles(uniforms, n));
        for row in 0..rows as usize {
            let at = row * dim as usize..(row + 1) * dim as usize;
            let (mut of_normals, mut of_uniforms) =
                (stream.at(first + row as u64), stream.at(first + row as u64));
            let expected: Vec<u32> =
                at.clone().map(|_| (of_normals.normal() as f32 * sigma).to_bits()).collect();
            let found: Vec<u32> = normals[at.clone()].iter().map(|x| x.to_bits()).collect();
            assert_eq!(found, expected, "normals of row {row}, seed {seed}");
            let expected: Vec<u64> = at.clone().map(|_| of_uniforms.uniform().to_bits()).collect();
            let found: Vec<u64> = uniforms[at].iter().map(|x| x.to_bits()).collect();
            assert_eq!(found, expected, "uniforms of row {row}, seed {seed}");
        }
    }
}
