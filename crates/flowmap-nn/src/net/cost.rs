//! What a pass of a network costs, counted from its sizes.

use std::ops::AddAssign;

/// What a plain forward pass of one sample costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiplications of its matrix products and convolutions; each comes with an addition.
    pub products: usize,
    /// Numbers that its layers put out and a backward pass needs again.
    pub activations: usize,
}

impl Cost {
    /// Floating-point operations, two for each multiplication.
    pub fn flop(self) -> f64 {
        2.0 * self.products as f64
    }

    /// A layer of this many multiplications and numbers of output.
    pub(super) fn layer(products: usize, outputs: usize) -> Self {
        Self { products, activations: outputs }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.products += other.products;
        self.activations += other.activations;
    }
}
