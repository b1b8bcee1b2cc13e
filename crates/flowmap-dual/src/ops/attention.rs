//! Scaled dot-product attention.
//!
//! softmax(q kᵀ / √d) v, Vaswani and others 2017, arXiv:1706.03762, eq. (1)

use crate::{Dual, Result};

impl Dual {
    /// Attention of queries `self` `(B, heads, N, d)` over keys `(B, heads, M, d)` and values `(B, heads, M, e)`.
    ///
    /// # Errors
    /// Where the shapes do not fit.
    pub fn attention(&self, keys: &Self, values: &Self) -> Result<Self> {
        let rank = self.dims().len();
        let d = self.dims()[rank - 1] as f64;
        self.matmul(&keys.t()?)?.scale(d.sqrt().recip())?.softmax(rank - 1)?.matmul(values)
    }
}
