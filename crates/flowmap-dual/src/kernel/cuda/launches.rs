//! How each kernel is launched: its blocks, its threads and its arguments in their order.
//!
//! Nothing here knows the driver, so that the test `cuda_on_host` runs the same launches with the kernels compiled
//! for the processor. Sizes that fix the order of a sum depend on the sizes of the data alone, not on the device.

/// Threads of most blocks.
const THREADS: u32 = 256;
/// Warps of such a block.
const WARPS: u32 = THREADS / 32;
/// Most blocks of a launch whose threads stride over the data: several for each multiprocessor of any device.
const MAX_BLOCKS: u64 = 2048;
/// Averages that one launch of Adam's step moves.
pub(crate) const MAX_AVERAGES: usize = 4;

/// An argument of a kernel; a pointer of `None` is null.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arg<P> {
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
pub(crate) struct Config {
    pub(crate) grid: u32,
    pub(crate) block: u32,
    pub(crate) shared_bytes: u32,
}

/// A kernel: its source, its name, and the curve that the name ends with where there is one for each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    pub(crate) source: &'static str,
    pub(crate) stem: &'static str,
    pub(crate) curve: Option<&'static str>,
}

impl Kernel {
    fn plain(source: &'static str, stem: &'static str) -> Self {
        Self { source, stem, curve: None }
    }

    fn curved(source: &'static str, stem: &'static str, activation: Option<&'static str>) -> Self {
        Self { source, stem, curve: Some(activation.unwrap_or("identity")) }
    }

    /// The name of the function.
    pub(crate) fn name(self) -> String {
        self.curve.map_or_else(|| self.stem.to_owned(), |curve| format!("{}_{curve}", self.stem))
    }
}

/// Whatever runs kernels.
pub(crate) trait Launcher {
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
pub(crate) struct Grid {
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) is_dual: bool,
}

impl Grid {
    /// Rows of a block: several for each warp, and not so few that the partial sums weigh.
    fn chunk_rows(self) -> u32 {
        self.rows.div_ceil(1024).max(4 * WARPS)
    }

    /// Rows of partial sums that the backward pass leaves.
    pub(crate) fn n_partials(self) -> u32 {
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
pub(crate) fn layer_forward<L: Launcher>(
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
pub(crate) fn layer_backward<L: Launcher>(
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
pub(crate) struct Partials {
    pub(crate) n_segments: u32,
    pub(crate) n_partials: u32,
    pub(crate) n_sums: u32,
    pub(crate) columns: u32,
}

/// The sums `(sums, segments, columns)` of partial ones.
pub(crate) fn segment_sums<L: Launcher>(
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

/// x, gain and shift with their tangents, where they have one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormInputs<P> {
    pub(crate) x: P,
    pub(crate) dx: Option<P>,
    pub(crate) gain: P,
    pub(crate) dgain: Option<P>,
    pub(crate) shift: P,
    pub(crate) dshift: Option<P>,
}

impl<P: Copy> NormInputs<P> {
    fn args(&self) -> Vec<Arg<P>> {
        let Self { x, dx, gain, dgain, shift, dshift } = *self;
        [Some(x), dx, Some(gain), dgain, Some(shift), dshift].map(Arg::Pointer).to_vec()
    }
}

/// What is normalised together, as the kernels take it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum NormShape {
    /// Rows of `channels`; every `tokens` share a gain.
    Rows { runs: u32, tokens: u32, channels: u32, is_centered: bool },
    /// Groups of channels of `area` numbers, left as they are where `is_scaled` is false.
    Groups { batch: u32, channels: u32, groups: u32, area: u32, is_shared: bool, is_scaled: bool },
}

impl NormShape {
    /// How many rows or groups there are; forward leaves four numbers of each.
    pub(crate) fn n_stats(self) -> u32 {
        match self {
            Self::Rows { runs, tokens, .. } => runs * tokens,
            Self::Groups { batch, groups, .. } => batch * groups,
        }
    }

    /// The partial sums of the gradients of gain and shift that the backward pass leaves.
    pub(crate) fn partials(self) -> Partials {
        match self {
            Self::Rows { runs, tokens, channels, .. } => Partials {
                n_segments: runs,
                n_partials: tokens.div_ceil(chunk_tokens(tokens)),
                n_sums: 4,
                columns: channels,
            },
            Self::Groups { batch, channels, is_shared, .. } => {
                let (n_segments, n_partials) = if is_shared { (1, batch) } else { (batch, 1) };
                Partials { n_segments, n_partials, n_sums: 4, columns: channels }
            }
        }
    }
}

/// Rows of a block of the backward pass over rows.
fn chunk_tokens(tokens: u32) -> u32 {
    tokens.div_ceil(1024).max(WARPS)
}

/// y and ẏ, and the four numbers of each row or group that the backward pass needs.
pub(crate) fn norm_forward<L: Launcher>(
    launcher: &mut L,
    activation: Option<&'static str>,
    shape: NormShape,
    (offset, eps): (f32, f64),
    inputs: &NormInputs<L::Pointer>,
    [y, stats]: [L::Pointer; 2],
    dy: Option<L::Pointer>,
) -> Result<(), L::Error> {
    let mut args = inputs.args();
    args.extend([Some(y), dy, Some(stats)].map(Arg::Pointer));
    match shape {
        NormShape::Rows { tokens, channels, is_centered, .. } => {
            let rows = shape.n_stats();
            args.extend([rows, tokens, channels, is_centered.into()].map(Arg::U32));
            args.extend([Arg::F32(offset), Arg::F64(eps)]);
            let kernel = Kernel::curved("layer_norm", "layer_norm_forward", activation);
            launcher.launch(kernel, config(rows.div_ceil(WARPS).into(), THREADS), &args)
        }
        NormShape::Groups { channels, groups, area, is_shared, is_scaled, .. } => {
            let flags = [is_shared.into(), is_scaled.into()];
            args.extend([channels, channels / groups, area].into_iter().chain(flags).map(Arg::U32));
            args.extend([Arg::F32(offset), Arg::F64(eps)]);
            let kernel = Kernel::curved("group_norm", "group_norm_forward", activation);
            launcher.launch(kernel, config(shape.n_stats().into(), THREADS), &args)
        }
    }
}

/// ȳ with, where the output is stacked, ẏ̄; and where the gradients of x go, that of ẋ with ẏ̄ alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormGradients<P> {
    pub(crate) gy: P,
    pub(crate) gdy: Option<P>,
    pub(crate) gx: P,
    pub(crate) gdx: Option<P>,
}

/// The gradients of x and ẋ, and the partial sums of those of gain and shift.
pub(crate) fn norm_backward<L: Launcher>(
    launcher: &mut L,
    activation: Option<&'static str>,
    shape: NormShape,
    offset: f32,
    inputs: &NormInputs<L::Pointer>,
    gradients: NormGradients<L::Pointer>,
    [stats, partials]: [L::Pointer; 2],
) -> Result<(), L::Error> {
    let mut args = inputs.args();
    let NormGradients { gy, gdy, gx, gdx } = gradients;
    args.extend([Some(stats), Some(gy), gdy, Some(gx), gdx, Some(partials)].map(Arg::Pointer));
    match shape {
        NormShape::Rows { runs, tokens, channels, is_centered } => {
            args.extend([tokens, channels, is_centered.into()].map(Arg::U32));
            args.extend([Arg::F32(offset), Arg::U32(chunk_tokens(tokens))]);
            let blocks = u64::from(runs) * u64::from(shape.partials().n_partials);
            // Wide enough for a column or more a thread, and not wider: all of them meet twice a row.
            let block = (channels.div_ceil(3).div_ceil(32) * 32).clamp(32, THREADS);
            let config = Config { shared_bytes: 16 * channels, ..config(blocks, block) };
            launcher.launch(Kernel::curved("layer_norm", "layer_norm_backward", activation), config, &args)
        }
        NormShape::Groups { channels, groups, area, is_shared, is_scaled, .. } => {
            let flags = [is_shared.into(), is_scaled.into()];
            args.extend([channels, channels / groups, area].into_iter().chain(flags).map(Arg::U32));
            args.push(Arg::F32(offset));
            let kernel = Kernel::curved("group_norm", "group_norm_backward", activation);
            launcher.launch(kernel, config(shape.n_stats().into(), THREADS), &args)
        }
    }
}

/// Partial sums of squares that a gradient of `n` numbers leaves.
pub(crate) fn n_square_sums(n: usize) -> u32 {
    u32::try_from(n.div_ceil(16 * THREADS as usize)).unwrap_or(u32::MAX).min(512)
}

/// Σ g² in [`n_square_sums`] parts of f64, from `partials` on.
pub(crate) fn square_sums<L: Launcher>(
    launcher: &mut L,
    n: usize,
    gradient: L::Pointer,
    partials: L::Pointer,
) -> Result<(), L::Error> {
    launcher.launch(
        Kernel::plain("optimizer", "square_sums"),
        config(n_square_sums(n).into(), THREADS),
        &[Arg::Pointer(Some(gradient)), Arg::Pointer(Some(partials)), Arg::U64(n as u64)],
    )
}

/// The norm and the factor that clips it to `max_norm`, from the parts of its square.
pub(crate) fn clip<L: Launcher>(
    launcher: &mut L,
    n_partials: u32,
    max_norm: Option<f64>,
    partials: L::Pointer,
    norm: L::Pointer,
) -> Result<(), L::Error> {
    launcher.launch(
        Kernel::plain("optimizer", "clip"),
        config(1, THREADS),
        &[
            Arg::Pointer(Some(partials)),
            Arg::Pointer(Some(norm)),
            Arg::U32(n_partials),
            Arg::F64(max_norm.unwrap_or(0.0)),
        ],
    )
}

/// The constants of one of Adam's steps; see `AdamRule`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamConstants {
    pub(crate) beta1: f64,
    pub(crate) beta2: f64,
    pub(crate) gradient_scale: f64,
    pub(crate) rate: f64,
    pub(crate) root: Option<f64>,
    pub(crate) eps: f64,
    pub(crate) keep: f64,
}

/// A step of `n` parameters, their moments and at most [`MAX_AVERAGES`] averages with their decays.
///
/// `numbers` are the parameters, the two moments and the gradient; `norm` is what [`clip`] wrote.
pub(crate) fn adam_step<L: Launcher>(
    launcher: &mut L,
    rule: AdamConstants,
    n: usize,
    numbers: [L::Pointer; 4],
    norm: Option<L::Pointer>,
    averages: &[(L::Pointer, f64)],
) -> Result<(), L::Error> {
    let is_aligned = numbers.iter().chain(averages.iter().map(|(average, _)| average));
    let n_vectors = if is_aligned.copied().all(|p| launcher.is_aligned(p)) { n as u64 / 4 } else { 0 };
    let mut args: Vec<Arg<L::Pointer>> = numbers.map(|p| Arg::Pointer(Some(p))).to_vec();
    args.push(Arg::Pointer(norm));
    args.extend((0..MAX_AVERAGES).map(|i| Arg::Pointer(averages.get(i).map(|(average, _)| *average))));
    args.extend([Arg::U64(n as u64), Arg::U64(n_vectors)]);
    let inverse_root = rule.root.map_or(0.0, f64::recip);
    let constants = [
        rule.beta1,
        1.0 - rule.beta1,
        rule.beta2,
        1.0 - rule.beta2,
        rule.rate,
        inverse_root,
        rule.eps,
        rule.keep,
        rule.gradient_scale,
    ];
    args.extend(constants.map(|c| Arg::F32(c as f32)));
    for i in 0..MAX_AVERAGES {
        let decay = averages.get(i).map_or(0.0, |(_, decay)| *decay);
        args.extend([Arg::F32(decay as f32), Arg::F32((1.0 - decay) as f32)]);
    }
    launcher.launch(
        Kernel::plain("optimizer", "adam_step"),
        striding(if n_vectors > 0 { n_vectors } else { n as u64 }),
        &args,
    )
}

/// Which numbers of a family of generators: `rows` generators from `first` on, `dim` numbers of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    pub(crate) key: [u8; 32],
    pub(crate) first: u64,
    pub(crate) rows: u64,
    pub(crate) dim: u32,
}

impl Draws {
    fn args<P>(&self, out: P) -> Vec<Arg<P>> {
        let mut args = vec![Arg::Pointer(Some(out))];
        for word in self.key.chunks_exact(4) {
            let word = word.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
            args.push(Arg::U32(word));
        }
        args.extend([Arg::U64(self.first), Arg::U64(self.rows), Arg::U32(self.dim)]);
        args
    }

    fn config(&self) -> Config {
        striding(self.rows * u64::from(self.dim.div_ceil(8)))
    }
}

/// Standard normals in f32 times `sigma`, `(rows, dim)`.
pub(crate) fn noise_normals<L: Launcher>(
    launcher: &mut L,
    draws: &Draws,
    sigma: f32,
    out: L::Pointer,
) -> Result<(), L::Error> {
    let mut args = draws.args(out);
    args.push(Arg::F32(sigma));
    launcher.launch(Kernel::plain("noise", "noise_normals"), draws.config(), &args)
}

/// Uniforms on [0, 1) in f64, `(rows, dim)`.
pub(crate) fn noise_uniforms<L: Launcher>(
    launcher: &mut L,
    draws: &Draws,
    out: L::Pointer,
) -> Result<(), L::Error> {
    launcher.launch(Kernel::plain("noise", "noise_uniforms"), draws.config(), &draws.args(out))
}
