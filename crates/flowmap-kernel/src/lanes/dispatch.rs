//! Choosing vector instructions when the program runs.

/// A loop that is compiled once for each set of vector instructions.
pub(crate) trait Kernel {
    /// Runs the loop; must be `#[inline(always)]` for the instructions to reach it.
    fn run(self);
}

/// Runs `kernel` with the widest vectors that this processor has.
pub(crate) fn dispatch(kernel: impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            #[expect(unsafe_code, reason = "calls a function compiled for other instructions")]
            // SAFETY: the processor has AVX-512F, as just detected.
            return unsafe { avx512(kernel) };
        }
        if is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "calls a function compiled for other instructions")]
            // SAFETY: the processor has AVX2, as just detected.
            return unsafe { avx2(kernel) };
        }
    }
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(kernel: impl Kernel) {
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(kernel: impl Kernel) {
    kernel.run();
}
