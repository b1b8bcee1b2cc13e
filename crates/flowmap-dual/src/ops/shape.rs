//! Reshaping, slicing and joining: linear maps that move numbers about.

use candle_core::{D, DType, Tensor};

use crate::{Dual, Error, Result};

impl Dual {
    /// This dual in another shape.
    ///
    /// # Errors
    /// Where the number of elements differs.
    pub fn reshape(&self, dims: &[usize]) -> Result<Self> {
        self.moved(|x| x.reshape(dims), |x| x.reshape([&[2], dims].concat()))
    }

    /// Moves numbers about: in the tensor of both parts at once where an operation made one, so that the next finds it so.
    fn moved(
        &self,
        part: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
        both: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Self> {
        match self.made_stacked() {
            Some(stacked) => Self::from_stacked(both(stacked)?),
            None => self.map_linear(part),
        }
    }

    /// Exchanges two dimensions.
    ///
    /// # Errors
    /// Where a dimension does not exist.
    pub fn transpose(&self, first: usize, second: usize) -> Result<Self> {
        self.moved(|x| x.transpose(first, second), |x| x.transpose(first + 1, second + 1))
    }

    /// Reorders the dimensions.
    ///
    /// # Errors
    /// Where `order` is no permutation of the dimensions.
    pub fn permute(&self, order: &[usize]) -> Result<Self> {
        let below = || [0].into_iter().chain(order.iter().map(|dim| dim + 1)).collect::<Vec<_>>();
        self.moved(|x| x.permute(order), |x| x.permute(below()))
    }

    /// `len` entries of dimension `dim` from `start` on.
    ///
    /// # Errors
    /// Where the range leaves the dimension.
    pub fn narrow(&self, dim: usize, start: usize, len: usize) -> Result<Self> {
        self.moved(|x| x.narrow(dim, start, len), |x| x.narrow(dim + 1, start, len))
    }

    /// Inserts a dimension of size one.
    ///
    /// # Errors
    /// Where `dim` is beyond the rank.
    pub fn unsqueeze(&self, dim: usize) -> Result<Self> {
        self.map_linear(|x| x.unsqueeze(dim))
    }

    /// Repeats dimensions of size one to a shape.
    ///
    /// # Errors
    /// Where the shape does not broadcast.
    pub fn broadcast_as(&self, dims: &[usize]) -> Result<Self> {
        self.map_linear(|x| x.broadcast_as(dims))
    }

    /// Both parts laid out in memory in the order of their dimensions.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn contiguous(&self) -> Result<Self> {
        self.moved(Tensor::contiguous, Tensor::contiguous)
    }

    /// The rows of dimension `dim` named by `ids` (u32), such as the rows of an embedding table.
    ///
    /// # Errors
    /// Where an index lies outside the dimension.
    pub fn index_select(&self, ids: &Tensor, dim: usize) -> Result<Self> {
        self.map_linear(|x| x.index_select(ids, dim))
    }

    /// Both parts in another element type.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        self.moved(|x| x.to_dtype(dtype), |x| x.to_dtype(dtype))
    }

    /// Joins along dimension `dim`; zeros stand in for missing tangents where any part has one.
    ///
    /// # Errors
    /// [`Error::EmptyCat`] for an empty list; where the other dimensions differ.
    pub fn cat(parts: &[Self], dim: usize) -> Result<Self> {
        if parts.is_empty() {
            return Err(Error::EmptyCat);
        }
        if parts.iter().any(|p| p.made_stacked().is_some()) {
            let stacked = parts.iter().map(|p| match p.stacked()? {
                Some(stacked) => Ok(stacked),
                None => Ok(Tensor::stack(&[p.primal(), &p.primal().zeros_like()?], 0)?),
            });
            return Self::from_stacked(Tensor::cat(&stacked.collect::<Result<Vec<_>>>()?, dim + 1)?);
        }
        let primals: Vec<_> = parts.iter().map(Self::primal).collect();
        let primal = Tensor::cat(&primals, dim)?;
        if parts.iter().all(|p| p.tangent().is_none()) {
            return Ok(Self::constant(primal));
        }
        let tangents = parts.iter().map(Self::tangent_or_zeros).collect::<Result<Vec<_>>>()?;
        Ok(Self::from_parts(primal, Some(Tensor::cat(&tangents, dim)?)))
    }

    /// Joins along the last dimension.
    ///
    /// # Errors
    /// As [`Dual::cat`].
    pub fn cat_last(parts: &[Self]) -> Result<Self> {
        let rank = parts.first().ok_or(Error::EmptyCat)?.dims().len();
        Self::cat(parts, rank.saturating_sub(1))
    }

    /// A column `(B,)` as `(B, 1, ..., 1)`, to broadcast against a sample of the given rank.
    ///
    /// # Errors
    /// Candle's error, if an operation fails.
    pub fn column(&self, rank: usize) -> Result<Self> {
        let mut dims = vec![1; rank.max(1)];
        dims[0] = self.primal().elem_count();
        self.reshape(&dims)
    }

    /// Reverses the last two dimensions.
    ///
    /// # Errors
    /// For a rank below two.
    pub fn t(&self) -> Result<Self> {
        self.moved(|x| x.transpose(D::Minus2, D::Minus1), |x| x.transpose(D::Minus2, D::Minus1))
    }
}
