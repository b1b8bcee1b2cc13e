//! What a pass of a network costs, counted from its sizes.

use std::ops::AddAssign;

use super::ActivationMemory;

/// What a plain forward pass of one sample costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Multiplications of its matrix products and convolutions; each comes with an addition.
    pub products: usize,
    /// Numbers that its layers put out and a backward pass needs again.
    pub activations: usize,
    /// The activations that remain if blocks recompute theirs: the inputs of blocks, and everything outside of blocks.
    pub borders: usize,
    /// The most that one block puts out.
    pub largest_block: usize,
}

impl Cost {
    /// Floating-point operations, two for each multiplication.
    pub fn flop(self) -> f64 {
        2.0 * self.products as f64
    }

    /// Numbers that a backward pass needs at once.
    pub fn held(self, activations: ActivationMemory) -> usize {
        match activations {
            ActivationMemory::Keep => self.activations,
            ActivationMemory::Recompute => self.borders + self.largest_block,
        }
    }

    /// A layer of this many multiplications and numbers of output.
    pub(super) fn layer(products: usize, outputs: usize) -> Self {
        Self { products, activations: outputs, borders: outputs, largest_block: 0 }
    }

    /// This cost for layers that form a block with inputs of `inputs` numbers.
    pub(super) fn of_block(self, inputs: usize) -> Self {
        Self { borders: inputs, largest_block: self.activations, ..self }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.products += other.products;
        self.activations += other.activations;
        self.borders += other.borders;
        self.largest_block = self.largest_block.max(other.largest_block);
    }
}
