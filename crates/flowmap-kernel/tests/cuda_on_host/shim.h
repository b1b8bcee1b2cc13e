// Enough of CUDA C++ to run the kernels of this crate on the host: one block after the other,
// its threads as fibers that take turns at __syncthreads and at warp shuffles.
//
// A barrier that not all threads of a block (or of a warp) reach ends the program with a message, and so does a write
// beside a buffer. Compile without contraction of products and sums, so that every operation rounds as IEEE 754 says.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(TYPE, NAME) TYPE *NAME = reinterpret_cast<TYPE *>(host::dynamic_shared)

struct Position {
    unsigned int x, y, z;
};
extern Position threadIdx, blockIdx, blockDim, gridDim;

struct alignas(16) float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace host {

extern char dynamic_shared[48 * 1024];

// Let the other threads of the block, or of the warp, come to the same place.
void meet_block();
void meet_warp();

// What the threads of a warp show each other.
extern double shown[1024];

inline double show(double value, unsigned int other) {
    shown[threadIdx.x] = value;
    meet_warp();
    const double found = shown[other];
    meet_warp();
    return found;
}

} // namespace host

inline void __syncthreads() { host::meet_block(); }
inline float __shfl_xor_sync(unsigned int, float value, unsigned int lanes) {
    return static_cast<float>(host::show(value, threadIdx.x ^ lanes));
}

using std::isfinite;
inline unsigned int min(unsigned int a, unsigned int b) { return std::min(a, b); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }

inline long long __double_as_longlong(double x) {
    long long bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

inline double __longlong_as_double(long long bits) {
    double x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
