// The noise streams of flowmap-core on the device, bit for bit: noise.rs (format, version 1) and normal.rs.
//
// Row i of the output is what the generator of index first + i gives: ChaCha with 8 rounds, eight u64 to a block,
// k the upper 53 bits of each; uniform k / 2^53, normal the quantile of (k + 1/2) / 2^53 by AS 241.
// One thread computes one block of the generator, which is eight numbers of a row.
//
// The arithmetic is spelled out by intrinsics that round once (IEEE 754), so that the compiler fuses nothing
// and the bits are those of the CPU.

typedef unsigned int u32;
typedef unsigned long long u64;

__device__ __forceinline__ double plus(double a, double b) { return __dadd_rn(a, b); }
__device__ __forceinline__ double minus(double a, double b) { return __dadd_rn(a, -b); }
__device__ __forceinline__ double times(double a, double b) { return __dmul_rn(a, b); }
__device__ __forceinline__ double over(double a, double b) { return __ddiv_rn(a, b); }

__device__ __forceinline__ u32 rotated(u32 x, u32 by) { return x << by | x >> (32 - by); }

__device__ __forceinline__ void quarter_round(u32 &a, u32 &b, u32 &c, u32 &d) {
    a += b, d = rotated(d ^ a, 16);
    c += d, b = rotated(b ^ c, 12);
    a += b, d = rotated(d ^ a, 8);
    c += d, b = rotated(b ^ c, 7);
}

struct Key {
    u32 words[8];
};

// Block `counter` of the generator of `index`.
__device__ void chacha8(const Key &key, u64 index, u64 counter, u32 (&out)[16]) {
    const u32 start[16] = {0x61707865u,      0x3320646eu,      0x79622d32u,      0x6b206574u,
                           key.words[0],     key.words[1],     key.words[2],     key.words[3],
                           key.words[4],     key.words[5],     key.words[6],     key.words[7],
                           (u32)counter,     (u32)(counter >> 32), (u32)index,   (u32)(index >> 32)};
#pragma unroll
    for (u32 i = 0; i < 16; ++i) out[i] = start[i];
#pragma unroll
    for (u32 round = 0; round < 8; round += 2) {
        quarter_round(out[0], out[4], out[8], out[12]);
        quarter_round(out[1], out[5], out[9], out[13]);
        quarter_round(out[2], out[6], out[10], out[14]);
        quarter_round(out[3], out[7], out[11], out[15]);
        quarter_round(out[0], out[5], out[10], out[15]);
        quarter_round(out[1], out[6], out[11], out[12]);
        quarter_round(out[2], out[7], out[8], out[13]);
        quarter_round(out[3], out[4], out[9], out[14]);
    }
#pragma unroll
    for (u32 i = 0; i < 16; ++i) out[i] += start[i];
}

// Numerators and denominators of AS 241, highest power first: the central region, the near and the far tail.
__device__ const double RATIOS[3][2][8] = {
    {{2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
      1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0},
     {5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
      5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0}},
    {{7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
      3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0},
     {1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
      6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0}},
    {{2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
      2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0},
     {2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
      1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0}}};

__device__ double ratio(u32 region, double x) {
    double numerator = RATIOS[region][0][0], denominator = RATIOS[region][1][0];
#pragma unroll
    for (u32 i = 1; i < 8; ++i) {
        numerator = plus(times(numerator, x), RATIOS[region][0][i]);
        denominator = plus(times(denominator, x), RATIOS[region][1][i]);
    }
    return over(numerator, denominator);
}

// ln of a positive normal number, as in normal.rs.
__device__ double logarithm(double x) {
    const u64 bits = (u64)__double_as_longlong(x);
    int exponent = (int)(bits >> 52) - 1023;
    double m = __longlong_as_double((long long)((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull));
    if (m > 1.41421356237309504880) {
        m = times(m, 0.5);
        exponent += 1;
    }
    const double z = over(minus(m, 1.0), plus(m, 1.0)), z2 = times(z, z);
    double series = 0.0;
#pragma unroll
    for (int n = 11; n > 0; --n) series = times(plus(series, over(1.0, (double)(2 * n + 1))), z2);
    const double e = (double)exponent;
    const double low = plus(times(times(2.0, z), series), times(e, 1.9082149292705877e-10));
    return plus(times(e, 0.6931471803691238), plus(times(2.0, z), low));
}

// The quantile of (k + 1/2) / 2^53.
__device__ double quantile(u64 k) {
    const u64 half = 1ull << 52;
    const u64 folded = k < half ? k : (1ull << 53) - 1 - k;
    const double tail = times((double)(2 * folded + 1), 5.5511151231257827e-17); // 2^-54
    const double q = k < half ? minus(tail, 0.5) : minus(0.5, tail);
    if (fabs(q) <= 0.425) return times(q, ratio(0, minus(times(0.425, 0.425), times(q, q))));
    const double r = __dsqrt_rn(-logarithm(tail));
    const double magnitude = r <= 5.0 ? ratio(1, minus(r, 1.6)) : ratio(2, minus(r, 5.0));
    return copysign(magnitude, q);
}

// The k of the eight numbers of a block.
__device__ __forceinline__ void draws(const Key &key, u64 index, u64 counter, u64 (&k)[8]) {
    u32 words[16];
    chacha8(key, index, counter, words);
#pragma unroll
    for (u32 i = 0; i < 8; ++i) k[i] = ((u64)words[2 * i + 1] << 32 | words[2 * i]) >> 11;
}

// Rows of `dim` standard normals, rounded to f32 and multiplied by `sigma` in f32.
extern "C" __global__ void __launch_bounds__(256)
    noise_normals(float *out, u32 k0, u32 k1, u32 k2, u32 k3, u32 k4, u32 k5, u32 k6, u32 k7, u64 first, u64 rows,
                  u32 dim, float sigma) {
    const Key key = {{k0, k1, k2, k3, k4, k5, k6, k7}};
    const u32 blocks = (dim + 7) / 8;
    const u64 stride = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < rows * blocks; i += stride) {
        const u64 row = i / blocks;
        const u32 from = (u32)(i % blocks) * 8, n = min(dim - from, 8u);
        u64 k[8];
        draws(key, first + row, from / 8, k);
#pragma unroll
        for (u32 j = 0; j < 8; ++j) {
            if (j < n) out[row * dim + from + j] = __fmul_rn((float)quantile(k[j]), sigma);
        }
    }
}

// Rows of `dim` uniforms on [0, 1).
extern "C" __global__ void __launch_bounds__(256)
    noise_uniforms(double *out, u32 k0, u32 k1, u32 k2, u32 k3, u32 k4, u32 k5, u32 k6, u32 k7, u64 first, u64 rows,
                   u32 dim) {
    const Key key = {{k0, k1, k2, k3, k4, k5, k6, k7}};
    const u32 blocks = (dim + 7) / 8;
    const u64 stride = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < rows * blocks; i += stride) {
        const u64 row = i / blocks;
        const u32 from = (u32)(i % blocks) * 8, n = min(dim - from, 8u);
        u64 k[8];
        draws(key, first + row, from / 8, k);
#pragma unroll
        for (u32 j = 0; j < 8; ++j) {
            if (j < n) out[row * dim + from + j] = (double)k[j] * 1.1102230246251565e-16; // 2^-53, exact
        }
    }
}
