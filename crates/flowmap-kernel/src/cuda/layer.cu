// What follows the matrix product of a layer, equations (1) and (2) of kernel/layer.rs:
//
// y = f(z + b),  y' = f'(z + b) z'                                              (1)
// gz = f'(z + b) gy + f''(z + b) z' gy',  gz' = f'(z + b) gy',  gb = sum gz     (2)
//
// z holds `rows` rows of `columns` numbers and, where there is a tangent, as many rows of z' below them.
// A block takes 32 lanes of `width` (1 or 4) columns and a chunk of rows, one warp a row: every access is coalesced,
// and b stays in registers. Each block leaves its part of gb; sums.cu adds the parts in their order.
// One pass over memory; `width` is 4 only where every row of every operand begins at a multiple of 16 bytes.

#ifndef FLOWMAP_CURVE
#include "curve.cuh"
#endif

typedef unsigned int u32;
typedef unsigned long long u64;

const u32 WARPS = 8;

template <u32 WIDTH>
struct Numbers {
    float at[WIDTH];
};

template <u32 WIDTH>
__device__ __forceinline__ Numbers<WIDTH> load(const float *from) {
    Numbers<WIDTH> x;
    if (WIDTH == 4) {
        const float4 four = *reinterpret_cast<const float4 *>(from);
        x.at[0] = four.x, x.at[1 % WIDTH] = four.y, x.at[2 % WIDTH] = four.z, x.at[3 % WIDTH] = four.w;
    } else {
        x.at[0] = *from;
    }
    return x;
}

template <u32 WIDTH>
__device__ __forceinline__ void store(float *to, const Numbers<WIDTH> &x) {
    if (WIDTH == 4) {
        *reinterpret_cast<float4 *>(to) = make_float4(x.at[0], x.at[1 % WIDTH], x.at[2 % WIDTH], x.at[3 % WIDTH]);
    } else {
        *to = x.at[0];
    }
}

// The columns and the rows of a thread.
struct Tile {
    u32 column, row, end, chunk;

    __device__ Tile(u32 rows, u32 columns, u32 width, u32 chunk_rows) {
        const u32 n_tiles = (columns + 32 * width - 1) / (32 * width);
        chunk = blockIdx.x / n_tiles;
        column = (blockIdx.x % n_tiles * 32 + threadIdx.x % 32) * width;
        row = chunk * chunk_rows + threadIdx.x / 32;
        end = min(rows, (chunk + 1) * chunk_rows);
    }
};

// (1)
template <class F, u32 WIDTH>
__device__ __forceinline__ void forward(const float *z, const float *bias, float *y, u32 rows, u32 columns,
                                        bool is_dual, u32 chunk_rows) {
    const Tile tile(rows, columns, WIDTH, chunk_rows);
    if (tile.column >= columns) return;
    const u64 tangent = (u64)rows * columns;
    const Numbers<WIDTH> b = load<WIDTH>(bias + tile.column);
#pragma unroll 4
    for (u32 row = tile.row; row < tile.end; row += WARPS) {
        const u64 at = (u64)row * columns + tile.column;
        Numbers<WIDTH> x = load<WIDTH>(z + at), dx;
        if (is_dual) dx = load<WIDTH>(z + tangent + at);
#pragma unroll
        for (u32 i = 0; i < WIDTH; ++i) {
            const Point f = F::at(x.at[i] + b.at[i]);
            x.at[i] = f.y;
            if (is_dual) dx.at[i] = f.slope * dx.at[i];
        }
        store<WIDTH>(y + at, x);
        if (is_dual) store<WIDTH>(y + tangent + at, dx);
    }
}

// (2); a null `gz` is not written: without an activation it is gy.
template <class F, u32 WIDTH>
__device__ __forceinline__ void backward(const float *z, const float *bias, const float *gy, float *gz,
                                         float *partials, u32 rows, u32 columns, bool is_dual, u32 chunk_rows) {
    __shared__ float sums[WARPS][32 * WIDTH];
    const Tile tile(rows, columns, WIDTH, chunk_rows);
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u64 tangent = (u64)rows * columns;
    Numbers<WIDTH> sum = {};
    if (tile.column < columns) {
        Numbers<WIDTH> b = {};
        if (gz) b = load<WIDTH>(bias + tile.column);
#pragma unroll 2
        for (u32 row = tile.row; row < tile.end; row += WARPS) {
            const u64 at = (u64)row * columns + tile.column;
            Numbers<WIDTH> g = load<WIDTH>(gy + at), dg = {}, x = {}, dx = {};
            if (gz) {
                x = load<WIDTH>(z + at);
                if (is_dual) dx = load<WIDTH>(z + tangent + at), dg = load<WIDTH>(gy + tangent + at);
            }
#pragma unroll
            for (u32 i = 0; i < WIDTH; ++i) {
                if (gz) {
                    const Point f = F::at(x.at[i] + b.at[i]);
                    g.at[i] = f.slope * g.at[i] + f.bend * dx.at[i] * dg.at[i];
                    dg.at[i] = f.slope * dg.at[i];
                }
                sum.at[i] += g.at[i];
            }
            if (gz) {
                store<WIDTH>(gz + at, g);
                if (is_dual) store<WIDTH>(gz + tangent + at, dg);
            }
        }
    }
#pragma unroll
    for (u32 i = 0; i < WIDTH; ++i) sums[warp][lane * WIDTH + i] = sum.at[i];
    __syncthreads();
    const u32 first = tile.column - lane * WIDTH;
    for (u32 i = threadIdx.x; i < 32 * WIDTH && first + i < columns; i += blockDim.x) {
        float total = 0.0f;
#pragma unroll
        for (u32 w = 0; w < WARPS; ++w) total += sums[w][i];
        partials[(u64)tile.chunk * columns + first + i] = total;
    }
}

#define LAYER(NAME, F)                                                                                            \
    extern "C" __global__ void __launch_bounds__(256)                                                             \
        layer_forward_##NAME(const float *z, const float *bias, float *y, u32 rows, u32 columns, u32 width,       \
                             u32 is_dual, u32 chunk_rows) {                                                       \
        if (width == 4) {                                                                                         \
            forward<F, 4>(z, bias, y, rows, columns, is_dual, chunk_rows);                                        \
        } else {                                                                                                  \
            forward<F, 1>(z, bias, y, rows, columns, is_dual, chunk_rows);                                        \
        }                                                                                                         \
    }                                                                                                             \
    extern "C" __global__ void __launch_bounds__(256)                                                             \
        layer_backward_##NAME(const float *z, const float *bias, const float *gy, float *gz, float *partials,     \
                              u32 rows, u32 columns, u32 width, u32 is_dual, u32 chunk_rows) {                    \
        if (width == 4) {                                                                                         \
            backward<F, 4>(z, bias, gy, gz, partials, rows, columns, is_dual, chunk_rows);                        \
        } else {                                                                                                  \
            backward<F, 1>(z, bias, gy, gz, partials, rows, columns, is_dual, chunk_rows);                        \
        }                                                                                                         \
    }

FOR_EACH_CURVE(LAYER)
