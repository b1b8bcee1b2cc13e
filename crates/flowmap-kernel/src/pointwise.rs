//! What is computed number by number: activation functions, gated and scaled sums, sine and cosine.

pub(crate) mod curve;
pub(crate) mod gate;
pub(crate) mod scaled_sum;
pub(crate) mod sin_cos;
