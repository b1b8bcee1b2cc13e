// GroupNorm of (B, C, ...) with modulation and activation: equations (1) to (7) of kernel/norm.rs.
//
// n = r (x - <x>),  z = g n + h,  y = f(z);  y' = f'(z) (g n' + g' n + h')       (1), (2)
// and back through both. <.> is the mean over a group: `depth` channels of `area` numbers, one slice of memory.
//
// Where `is_scaled` is 0, n is x itself: mean 0, r = 1, and none of the terms that follow from means.
// A null tangent is zero. `offset` is added to the gain, which belongs to a channel of one sample, or of all
// (`is_shared`). One block a group; within a channel gain and shift are two numbers, so that all sums of the backward
// pass are made of five for each channel, which one warp adds: gz, n gz, gz', n gz' and c' gz'.
// It leaves four sums (4) a channel and sample, in the order gain, gain', shift, shift'; sums.cu adds them.

#ifndef FLOWMAP_CURVE
#include "curve.cuh"
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

// Each sum over the warps of a block, in their order; every lane of a warp brings the same number.
template <u32 N>
__device__ __forceinline__ void sums_of_warps(float (&sums)[N]) {
    __shared__ float parts[MAX_WARPS][N];
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

// Gain and shift of a channel, counted over all samples.
struct Channel {
    float gain, dgain, shift, dshift;

    __device__ Channel(const float *gains, const float *dgains, const float *shifts, const float *dshifts,
                       float offset, u32 channel, u32 channels, bool is_shared) {
        const u32 i = is_shared ? channel % channels : channel;
        gain = offset + gains[i], dgain = at_or_zero(dgains, i);
        shift = shifts[i], dshift = at_or_zero(dshifts, i);
    }
};

// (1) and, where y' is wanted, (2) for one group.
template <class F>
__device__ __forceinline__ void forward(const float *x, const float *dx, const float *gain, const float *dgain,
                                        const float *shift, const float *dshift, float *y, float *dy, float *stats,
                                        u32 channels, u32 depth, u32 area, u32 is_shared, u32 is_scaled,
                                        float offset, double eps) {
    const u32 group = blockIdx.x, len = depth * area;
    const u64 start = (u64)group * len;
    float mean = 0.0f, inverse = 1.0f, tangent_mean = 0.0f, slope = 0.0f;
    if (is_scaled) {
        float sums[2] = {0.0f, 0.0f};
        for (u32 i = threadIdx.x; i < len; i += blockDim.x) {
            sums[0] += x[start + i];
            sums[1] += at_or_zero(dx, start + i);
        }
        warp_sums(sums);
        sums_of_warps(sums);
        mean = sums[0] / len, tangent_mean = sums[1] / len;
        sums[0] = sums[1] = 0.0f;
        for (u32 i = threadIdx.x; i < len; i += blockDim.x) {
            const float c = x[start + i] - mean, dc = at_or_zero(dx, start + i) - tangent_mean;
            sums[0] += c * c, sums[1] += c * dc;
        }
        warp_sums(sums);
        sums_of_warps(sums);
        const double root = 1.0 / sqrt((double)sums[0] / len + eps);
        inverse = (float)root, slope = (float)(root * sums[1] / len);
    }
    if (threadIdx.x == 0) {
        const float all[4] = {mean, inverse, tangent_mean, slope};
        for (u32 k = 0; k < 4; ++k) stats[4 * (u64)group + k] = all[k];
    }
    for (u32 i = threadIdx.x; i < len; i += blockDim.x) {
        const Channel c(gain, dgain, shift, dshift, offset, group * depth + i / area, channels, is_shared);
        const float n = (x[start + i] - mean) * inverse;
        const Point f = F::at(n * c.gain + c.shift);
        y[start + i] = f.y;
        if (dy) {
            const float dn = ((at_or_zero(dx, start + i) - tangent_mean) - slope * n) * inverse;
            dy[start + i] = f.slope * (dn * c.gain + n * c.dgain + c.dshift);
        }
    }
}

// (3) to (7) for one group; gdx is written wherever gdy is given and gdx is not null.
template <class F>
__device__ __forceinline__ void backward(const float *x, const float *dx, const float *gain, const float *dgain,
                                         const float *shift, const float *dshift, const float *stats,
                                         const float *gy, const float *gdy, float *gx, float *gdx, float *partials,
                                         u32 channels, u32 depth, u32 area, u32 is_shared, u32 is_scaled,
                                         float offset) {
    const u32 group = blockIdx.x, len = depth * area, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u64 start = (u64)group * len;
    const float mean = stats[4 * (u64)group], inverse = stats[4 * (u64)group + 1];
    const float tangent_mean = stats[4 * (u64)group + 2], slope = stats[4 * (u64)group + 3];
    float total[5] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f}; // a, n a, b, n b, b c'
    for (u32 d = warp; d < depth; d += blockDim.x / 32) {
        const u32 channel = group * depth + d;
        const Channel c(gain, dgain, shift, dshift, offset, channel, channels, is_shared);
        const u64 from = start + (u64)d * area;
        float sums[5] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f}; // gz, n gz, gz', n gz', c' gz'
        for (u32 i = lane; i < area; i += 32) {
            const float n = (x[from + i] - mean) * inverse;
            const Point f = F::at(n * c.gain + c.shift);
            float gz = f.slope * gy[from + i];
            if (gdy) {
                const float dc = at_or_zero(dx, from + i) - tangent_mean, dn = (dc - slope * n) * inverse;
                const float gdz = f.slope * gdy[from + i];
                gz += f.bend * (dn * c.gain + n * c.dgain + c.dshift) * gdy[from + i];
                sums[2] += gdz, sums[3] += n * gdz, sums[4] += dc * gdz;
            }
            sums[0] += gz, sums[1] += n * gz;
        }
        warp_sums(sums);
        total[0] += c.gain * sums[0] + c.dgain * sums[2];
        total[1] += c.gain * sums[1] + c.dgain * sums[3];
        for (u32 k = 2; k < 5; ++k) total[k] += c.gain * sums[k];
        if (lane == 0) {
            const u64 sample = channel / channels, place = channel % channels;
            float *to = partials + sample * 4 * channels + place;
            to[0] = sums[1] + inverse * (sums[4] - slope * sums[3]);
            to[channels] = sums[3];
            to[2 * (u64)channels] = sums[0];
            to[3 * (u64)channels] = sums[2];
        }
    }
    sums_of_warps(total);
    const float share = is_scaled ? 1.0f / len : 0.0f;
    const float mean_a = total[0] * share, mean_b = total[2] * share, n_b = total[3] * share;
    const float n_factor = total[1] * share + inverse * (total[4] * share - 3.0f * slope * n_b);
    for (u32 i = threadIdx.x; i < len; i += blockDim.x) {
        const Channel c(gain, dgain, shift, dshift, offset, group * depth + i / area, channels, is_shared);
        const float n = (x[start + i] - mean) * inverse;
        const Point f = F::at(n * c.gain + c.shift);
        float gz = f.slope * gy[start + i], of_x = 0.0f;
        if (gdy) {
            const float dc = at_or_zero(dx, start + i) - tangent_mean, dn = (dc - slope * n) * inverse;
            const float gdz = f.slope * gdy[start + i], b = c.gain * gdz - mean_b;
            gz += f.bend * (dn * c.gain + n * c.dgain + c.dshift) * gdy[start + i];
            of_x = c.dgain * gdz - inverse * (n_b * dc + slope * b);
            if (gdx) gdx[start + i] = inverse * (b - n_b * n);
        }
        gx[start + i] = inverse * (c.gain * gz + of_x - mean_a - n_factor * n);
    }
}

#define GROUP_NORM(NAME, F)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256) group_norm_forward_##NAME(                                  \
        const float *x, const float *dx, const float *gain, const float *dgain, const float *shift,               \
        const float *dshift, float *y, float *dy, float *stats, u32 channels, u32 depth, u32 area,                \
        u32 is_shared, u32 is_scaled, float offset, double eps) {                                                 \
        forward<F>(x, dx, gain, dgain, shift, dshift, y, dy, stats, channels, depth, area, is_shared, is_scaled,  \
                   offset, eps);                                                                                  \
    }                                                                                                             \
    extern "C" __global__ void __launch_bounds__(256) group_norm_backward_##NAME(                                 \
        const float *x, const float *dx, const float *gain, const float *dgain, const float *shift,               \
        const float *dshift, const float *stats, const float *gy, const float *gdy, float *gx, float *gdx,        \
        float *partials, u32 channels, u32 depth, u32 area, u32 is_shared, u32 is_scaled, float offset) {         \
        backward<F>(x, dx, gain, dgain, shift, dshift, stats, gy, gdy, gx, gdx, partials, channels, depth, area,  \
                    is_shared, is_scaled, offset);                                                                \
    }

FOR_EACH_CURVE(GROUP_NORM)
