// The second stage of every sum: partial sums, added in their order, so that the bits do not depend on the launch.
//
// `partials` holds `n_segments` segments of `n_partials` rows of n_sums x columns numbers;
// out[sum][segment][column] = sum over the rows of the segment.
// A block takes 32 columns of one segment, one warp every 32nd row; the warps meet in shared memory, in their order.
// Sums in f64: there are few of them, and what they are made of was added up in f32 before.

typedef unsigned int u32;
typedef unsigned long long u64;

extern "C" __global__ void __launch_bounds__(1024)
    segment_sums(const float *partials, float *out, u32 n_segments, u32 n_partials, u32 n_sums, u32 columns) {
    __shared__ double sums[32][32];
    const u32 width = n_sums * columns, n_tiles = (width + 31) / 32;
    const u32 segment = blockIdx.x / n_tiles, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 column = blockIdx.x % n_tiles * 32 + lane;
    double sum = 0.0;
    if (column < width) {
        const float *from = partials + (u64)segment * n_partials * width + column;
#pragma unroll 4
        for (u32 i = warp; i < n_partials; i += 32) sum += from[(u64)i * width];
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && column < width) {
        double total = 0.0;
        for (u32 w = 0; w < 32; ++w) total += sums[w][lane];
        out[((u64)(column / columns) * n_segments + segment) * columns + column % columns] = (float)total;
    }
}
