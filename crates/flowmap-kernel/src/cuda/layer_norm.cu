// LayerNorm and RMSNorm over rows with modulation and activation: equations (1) to (7) of kernel/norm.rs.
//
// n = r c,  z = g n + h,  y = f(z);  y' = f'(z) (g n' + g' n + h')               (1), (2)
// and back through both; c = x - <x>, or c = x for RMSNorm (`is_centered` = 0).
//
// A null tangent is zero. `offset` is added to the gain; every `tokens` rows share a gain and a shift.
// Forward: one warp a row, three passes of which two find the row in the cache. It leaves <x>, r, <x'> and m = <n c'>.
// Backward: one block for a chunk of rows of one run, all threads on one row; thread i owns columns i, i + blockDim, ...,
// so that the sums (4) grow in shared memory without a race: four numbers a column, in the order
// gain, gain', shift, shift'. sums.cu adds those of the chunks.

#ifndef FLOWMAP_CURVE
#include "curve.cuh"
#endif
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(TYPE, NAME) extern __shared__ TYPE NAME[]
#endif

typedef unsigned int u32;
typedef unsigned long long u64;

const u32 MAX_WARPS = 8;

// Each sum over the lanes of a warp, the same bits in all of them.
template <u32 N>
__device__ __forceinline__ void warp_sums(float (&sums)[N]) {
#pragma unroll
    for (u32 distance = 16; distance > 0; distance /= 2) {
#pragma unroll
        for (u32 k = 0; k < N; ++k) sums[k] += __shfl_xor_sync(0xffffffffu, sums[k], distance);
    }
}

// Each sum over the threads of a block, in the order of its warps.
template <u32 N>
__device__ __forceinline__ void block_sums(float (&sums)[N]) {
    __shared__ float parts[MAX_WARPS][N];
    warp_sums(sums);
    if (threadIdx.x % 32 == 0) {
        for (u32 k = 0; k < N; ++k) parts[threadIdx.x / 32][k] = sums[k];
    }
    __syncthreads();
#pragma unroll
    for (u32 k = 0; k < N; ++k) {
        sums[k] = 0.0f;
        for (u32 warp = 0; warp < blockDim.x / 32; ++warp) sums[k] += parts[warp][k];
    }
    __syncthreads();
}

__device__ __forceinline__ float at_or_zero(const float *values, u64 i) { return values ? values[i] : 0.0f; }

// (1) and, where y' is wanted, (2) for one row.
template <class F>
__device__ __forceinline__ void forward(const float *x, const float *dx, const float *gain, const float *dgain,
                                        const float *shift, const float *dshift, float *y, float *dy, float *stats,
                                        u32 rows, u32 tokens, u32 channels, u32 is_centered, float offset,
                                        double eps) {
    const u32 lane = threadIdx.x % 32;
    const u64 row = (u64)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    const u64 start = row * channels, run = row / tokens * channels;
    float mean = 0.0f, tangent_mean = 0.0f;
    if (is_centered) {
        float sums[2] = {0.0f, 0.0f};
        for (u32 i = lane; i < channels; i += 32) {
            sums[0] += x[start + i];
            sums[1] += at_or_zero(dx, start + i);
        }
        warp_sums(sums);
        mean = sums[0] / channels, tangent_mean = sums[1] / channels;
    }
    float sums[2] = {0.0f, 0.0f};
    for (u32 i = lane; i < channels; i += 32) {
        const float c = x[start + i] - mean, dc = at_or_zero(dx, start + i) - tangent_mean;
        sums[0] += c * c, sums[1] += c * dc;
    }
    warp_sums(sums);
    const double root = 1.0 / sqrt((double)sums[0] / channels + eps);
    const float inverse = (float)root, slope = (float)(root * sums[1] / channels);
    if (lane == 0) {
        const float all[4] = {mean, inverse, tangent_mean, slope};
        for (u32 k = 0; k < 4; ++k) stats[4 * row + k] = all[k];
    }
    for (u32 i = lane; i < channels; i += 32) {
        const float n = (x[start + i] - mean) * inverse, g = offset + gain[run + i];
        const Point f = F::at(n * g + shift[run + i]);
        y[start + i] = f.y;
        if (dy) {
            const float dn = ((at_or_zero(dx, start + i) - tangent_mean) - slope * n) * inverse;
            dy[start + i] = f.slope * (dn * g + n * at_or_zero(dgain, run + i) + at_or_zero(dshift, run + i));
        }
    }
}

// (3) to (7) for a chunk of rows; gdx is written, and must have room, wherever gdy is given.
template <class F>
__device__ __forceinline__ void backward(const float *x, const float *dx, const float *gain, const float *dgain,
                                         const float *shift, const float *dshift, const float *stats,
                                         const float *gy, const float *gdy, float *gx, float *gdx, float *partials,
                                         u32 tokens, u32 channels, u32 is_centered, float offset, u32 chunk_rows) {
    DYNAMIC_SHARED(float, columns); // 4 sums for each channel
    const u32 n_chunks = (tokens + chunk_rows - 1) / chunk_rows;
    const u64 run = blockIdx.x / n_chunks;
    const u32 first = blockIdx.x % n_chunks * chunk_rows, last = min(tokens, first + chunk_rows);
    const u64 gains = run * channels;
    for (u32 i = threadIdx.x; i < channels; i += blockDim.x) {
        for (u32 k = 0; k < 4; ++k) columns[k * channels + i] = 0.0f;
    }
    for (u32 token = first; token < last; ++token) {
        const u64 row = run * tokens + token, start = row * channels;
        const float mean = stats[4 * row], inverse = stats[4 * row + 1];
        const float tangent_mean = stats[4 * row + 2], slope = stats[4 * row + 3];
        float sums[5] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f}; // a, n a, b, n b, b c'
        for (u32 i = threadIdx.x; i < channels; i += blockDim.x) {
            const float n = (x[start + i] - mean) * inverse, dc = at_or_zero(dx, start + i) - tangent_mean;
            const float g = offset + gain[gains + i], dg = at_or_zero(dgain, gains + i);
            const Point f = F::at(n * g + shift[gains + i]);
            float gz = f.slope * gy[start + i], a = g * gz;
            if (gdy) {
                const float dn = (dc - slope * n) * inverse, of_tangent = gdy[start + i];
                gz += f.bend * (dn * g + n * dg + at_or_zero(dshift, gains + i)) * of_tangent;
                const float gdz = f.slope * of_tangent, b = g * gdz;
                a = g * gz + dg * gdz;
                gdx[start + i] = b;
                sums[2] += b, sums[3] += b * n, sums[4] += b * dc;
                columns[i] += dn * gdz;
                columns[channels + i] += n * gdz;
                columns[3 * channels + i] += gdz;
            }
            columns[i] += n * gz;
            columns[2 * channels + i] += gz;
            gx[start + i] = a;
            sums[0] += a, sums[1] += a * n;
        }
        block_sums(sums);
        const float share = 1.0f / channels;
        const float mean_a = is_centered ? sums[0] * share : 0.0f, mean_b = is_centered ? sums[2] * share : 0.0f;
        const float n_b = sums[3] * share;
        const float n_factor = sums[1] * share + inverse * (sums[4] * share - 3.0f * slope * n_b);
        for (u32 i = threadIdx.x; i < channels; i += blockDim.x) {
            const float n = (x[start + i] - mean) * inverse;
            float of_x = (gx[start + i] - mean_a) - n_factor * n;
            if (gdy) {
                const float b = gdx[start + i] - mean_b, dc = at_or_zero(dx, start + i) - tangent_mean;
                gdx[start + i] = inverse * (b - n_b * n);
                of_x -= inverse * (n_b * dc + slope * b);
            }
            gx[start + i] = inverse * of_x;
        }
    }
    for (u32 i = threadIdx.x; i < channels; i += blockDim.x) {
        for (u32 k = 0; k < 4; ++k) {
            partials[((u64)blockIdx.x * 4 + k) * channels + i] = columns[k * channels + i];
        }
    }
}

#define LAYER_NORM(NAME, F)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256) layer_norm_forward_##NAME(                                  \
        const float *x, const float *dx, const float *gain, const float *dgain, const float *shift,               \
        const float *dshift, float *y, float *dy, float *stats, u32 rows, u32 tokens, u32 channels,               \
        u32 is_centered, float offset, double eps) {                                                              \
        forward<F>(x, dx, gain, dgain, shift, dshift, y, dy, stats, rows, tokens, channels, is_centered, offset,  \
                   eps);                                                                                          \
    }                                                                                                             \
    extern "C" __global__ void __launch_bounds__(256) layer_norm_backward_##NAME(                                 \
        const float *x, const float *dx, const float *gain, const float *dgain, const float *shift,               \
        const float *dshift, const float *stats, const float *gy, const float *gdy, float *gx, float *gdx,        \
        float *partials, u32 tokens, u32 channels, u32 is_centered, float offset, u32 chunk_rows) {               \
        backward<F>(x, dx, gain, dgain, shift, dshift, stats, gy, gdy, gx, gdx, partials, tokens, channels,       \
                    is_centered, offset, chunk_rows);                                                             \
    }

FOR_EACH_CURVE(LAYER_NORM)
