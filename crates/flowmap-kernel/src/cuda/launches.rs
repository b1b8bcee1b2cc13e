//! How each kernel is launched: its blocks, its threads and its arguments in their order.
//!
//! Nothing here knows the driver, so that the test `cuda_on_host` runs the same launches with the kernels compiled
//! for the processor. Sizes that fix the order of a sum depend on the sizes of the data alone, not on the device.

mod noise;
mod norm;
mod optimizer;

pub use noise::{Draws, noise_normals, noise_uniforms};
pub use norm::{NormGradients, NormInputs, NormShape, norm_backward, norm_forward};
pub use optimizer::{AdamRule, adam_step, clip, n_square_sums, square_sums};

/// Threads of most blocks.
const THREADS: u32 = 256;
/// Warps of such a block.
const WARPS: u32 = THREADS / 32;
/// Most blocks of a launch whose threads stride over the data: several for each multiprocessor of any device.
const MAX_BLOCKS: u64 = 2048;
/// Averages that one launch of Adam's step moves.
pub const MAX_AVERAGES: usize = 4;

/// An argument of a kernel; a pointer of `None` is null.
#[derive(Clone, Copy, Debug)]
pub enum Arg<P> {
    /// An address on the device.
    Pointer(Option<P>),
    /// A 32-bit number.
    U32(u32),
    /// A 64-bit number.
    U64(u64),
    /// A number of single precision.
    F32(f32),
    /// A number of double precision.
    F64(f64),
}

/// Blocks and threads of a launch, and its bytes of dynamic shared memory.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub grid: u32,
    pub block: u32,
    pub shared_bytes: u32,
}

/// A kernel: its source, its name, and the curve that the name ends with if there is one for each.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    pub source: &'static str,
    pub stem: &'static str,
    pub curve: Option<&'static str>,
}

impl Kernel {
    fn plain(source: &'static str, stem: &'static str) -> Self {
        Self { source, stem, curve: None }
    }

    fn curved(source: &'static str, stem: &'static str, activation: Option<&'static str>) -> Self {
        Self { source, stem, curve: Some(activation.unwrap_or("identity")) }
    }

    /// The name of the function.
    pub fn name(self) -> String {
        self.curve.map_or_else(|| self.stem.to_owned(), |curve| format!("{}_{curve}", self.stem))
    }
}

/// Whatever runs kernels.
pub trait Launcher {
    /// An address in the memory that kernels see.
    type Pointer: Copy;
    /// Why a launch was refused.
    type Error;

    /// Whether vectors of four numbers may be read at `pointer`.
    fn is_aligned(&self, pointer: Self::Pointer) -> bool;

    /// Runs a kernel; a grid of zero blocks is nothing to do.
    fn launch(
        &mut self,
        kernel: Kernel,
        config: Config,
        args: &[Arg<Self::Pointer>],
    ) -> Result<(), Self::Error>;
}

fn config(grid: u64, block: u32) -> Config {
    Config { grid: u32::try_from(grid).unwrap_or(u32::MAX), block, shared_bytes: 0 }
}

/// The launch of threads that stride over `n` things.
fn striding(n: u64) -> Config {
    config(n.div_ceil(u64::from(THREADS)).min(MAX_BLOCKS), THREADS)
}

/// Rows and columns of z, and whether ż follows.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    pub rows: u32,
    pub columns: u32,
    pub is_dual: bool,
}

impl Grid {
    /// Rows of a block: several for each warp, and not so few that the partial sums weigh.
    fn chunk_rows(self) -> u32 {
        self.rows.div_ceil(1024).max(4 * WARPS)
    }

    /// Rows of partial sums that the backward pass leaves.
    pub fn n_partials(self) -> u32 {
        self.rows.div_ceil(self.chunk_rows())
    }

    fn config(self, width: u32) -> Config {
        config(u64::from(self.n_partials()) * u64::from(self.columns.div_ceil(32 * width)), THREADS)
    }

    fn width<L: Launcher>(self, launcher: &L, pointers: &[Option<L::Pointer>]) -> u32 {
        let is_wide = self.columns.is_multiple_of(4)
            && pointers.iter().flatten().all(|pointer| launcher.is_aligned(*pointer));
        if is_wide { 4 } else { 1 }
    }
}

/// y = f(z + b) and ẏ; without an activation y may be z.
pub fn layer_forward<L: Launcher>(
    launcher: &mut L,
    activation: Option<&'static str>,
    grid: Grid,
    [z, bias, y]: [L::Pointer; 3],
) -> Result<(), L::Error> {
    let width = grid.width(launcher, &[Some(z), Some(bias), Some(y)]);
    let kernel = Kernel::curved("layer", "layer_forward", activation);
    launcher.launch(
        kernel,
        grid.config(width),
        &[
            Arg::Pointer(Some(z)),
            Arg::Pointer(Some(bias)),
            Arg::Pointer(Some(y)),
            Arg::U32(grid.rows),
            Arg::U32(grid.columns),
            Arg::U32(width),
            Arg::U32(grid.is_dual.into()),
            Arg::U32(grid.chunk_rows()),
        ],
    )
}

/// z̄ and ż̄, and the partial sums of b̄ `(n_partials, columns)`; without a `gz` the sums alone.
pub fn layer_backward<L: Launcher>(
    launcher: &mut L,
    activation: Option<&'static str>,
    grid: Grid,
    [z, bias, gy]: [L::Pointer; 3],
    gz: Option<L::Pointer>,
    partials: L::Pointer,
) -> Result<(), L::Error> {
    let width = grid.width(launcher, &[Some(z), Some(bias), Some(gy), gz]);
    let kernel = Kernel::curved("layer", "layer_backward", activation);
    launcher.launch(
        kernel,
        grid.config(width),
        &[
            Arg::Pointer(Some(z)),
            Arg::Pointer(Some(bias)),
            Arg::Pointer(Some(gy)),
            Arg::Pointer(gz),
            Arg::Pointer(Some(partials)),
            Arg::U32(grid.rows),
            Arg::U32(grid.columns),
            Arg::U32(width),
            Arg::U32(grid.is_dual.into()),
            Arg::U32(grid.chunk_rows()),
        ],
    )
}

/// Partial sums `(segments, partials, sums, columns)`.
#[derive(Clone, Copy, Debug)]
pub struct Partials {
    pub n_segments: u32,
    pub n_partials: u32,
    pub n_sums: u32,
    pub columns: u32,
}

/// The sums `(sums, segments, columns)` of partial ones.
pub fn segment_sums<L: Launcher>(
    launcher: &mut L,
    partials: Partials,
    from: L::Pointer,
    to: L::Pointer,
) -> Result<(), L::Error> {
    let Partials { n_segments, n_partials, n_sums, columns } = partials;
    let tiles = (u64::from(n_sums) * u64::from(columns)).div_ceil(32);
    launcher.launch(
        Kernel::plain("sums", "segment_sums"),
        config(u64::from(n_segments) * tiles, 1024),
        &[
            Arg::Pointer(Some(from)),
            Arg::Pointer(Some(to)),
            Arg::U32(n_segments),
            Arg::U32(n_partials),
            Arg::U32(n_sums),
            Arg::U32(columns),
        ],
    )
}
