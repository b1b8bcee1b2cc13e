//! Images in squares: as rows of tokens for a transformer, or folded into channels for a convolution.

use flowmap_dual::Dual;

use crate::Result;

/// Squares of `side` x `side` pixels in images of `channels` channels, `rows` x `columns` squares of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patches {
    pub(super) side: usize,
    pub(super) channels: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Patches {
    /// The squares of images `(C, H, W)` whose sides `side` divides.
    pub(super) fn new([channels, height, width]: [usize; 3], side: usize) -> Self {
        Self { side, channels, rows: height / side, columns: width / side }
    }

    /// Squares of an image.
    pub(super) fn n(&self) -> usize {
        self.rows * self.columns
    }

    /// Numbers in a square.
    pub(super) fn len(&self) -> usize {
        self.channels * self.side * self.side
    }

    /// `(B, C, H, W)` as tokens `(B, N, C p p)`, the numbers of a square in the order (C, p, p).
    pub(super) fn tokens(&self, x: &Dual) -> Result<Dual> {
        let batch = x.dims()[0];
        let squares = x.reshape(&[batch, self.channels, self.rows, self.side, self.columns, self.side])?;
        let squares = squares.permute(&[0, 2, 4, 1, 3, 5])?;
        Ok(squares.contiguous()?.reshape(&[batch, self.n(), self.len()])?)
    }

    /// Tokens `(B, N, p p C)`, the numbers of a square in the order (p, p, C), as images `(B, C, H, W)`.
    pub(super) fn images(&self, tokens: &Dual) -> Result<Dual> {
        let batch = tokens.dims()[0];
        let squares =
            tokens.reshape(&[batch, self.rows, self.columns, self.side, self.side, self.channels])?;
        let squares = squares.permute(&[0, 5, 1, 3, 2, 4])?;
        Ok(squares.contiguous()?.reshape(&self.image_dims(batch))?)
    }

    /// `(B, C, H, W)` as `(B, C p p, H/p, W/p)`.
    pub(super) fn folded(&self, x: &Dual) -> Result<Dual> {
        let batch = x.dims()[0];
        let squares = x.reshape(&[batch, self.channels, self.rows, self.side, self.columns, self.side])?;
        let squares = squares.permute(&[0, 1, 3, 5, 2, 4])?;
        Ok(squares.contiguous()?.reshape(&[batch, self.len(), self.rows, self.columns])?)
    }

    /// The inverse of [`Patches::folded`].
    pub(super) fn unfolded(&self, x: &Dual) -> Result<Dual> {
        let batch = x.dims()[0];
        let squares = x.reshape(&[batch, self.channels, self.side, self.side, self.rows, self.columns])?;
        let squares = squares.permute(&[0, 1, 4, 2, 5, 3])?;
        Ok(squares.contiguous()?.reshape(&self.image_dims(batch))?)
    }

    fn image_dims(&self, batch: usize) -> [usize; 4] {
        [batch, self.channels, self.rows * self.side, self.columns * self.side]
    }
}
