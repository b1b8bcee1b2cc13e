//! The launches of `noise.cu`.

use super::{Arg, Config, Kernel, Launcher, striding};

/// Which numbers of a family of generators: `rows` generators from `first` on, `dim` numbers of each.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    /// The key of the family.
    pub key: [u8; 32],
    /// Index of the first generator.
    pub first: u64,
    /// Number of generators.
    pub rows: u64,
    /// Numbers of each.
    pub dim: u32,
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
pub fn noise_normals<L: Launcher>(
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
pub fn noise_uniforms<L: Launcher>(launcher: &mut L, draws: &Draws, out: L::Pointer) -> Result<(), L::Error> {
    launcher.launch(Kernel::plain("noise", "noise_uniforms"), draws.config(), &draws.args(out))
}
