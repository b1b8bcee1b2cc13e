// The norm of all gradients, the factor that clips it, and Adam's step with its averages, without a visit to the host.
//
// |g| = sqrt(sum g^2),  c = min(1, max_norm / |g|)                               (1)
// m <- b1 m + (1 - b1) c g,  v <- b2 v + (1 - b2) (c g)^2                        (2)
// t <- keep t - rate m / (sqrt(v) / root + eps),  or  t <- keep t - rate m       (3)
// a <- d a + (1 - d) t  for every average a                                      (4)
//
// square_sums leaves one f64 for each block, clip adds them in their order and writes norm[0] = |g| and norm[1] = c.
// A norm that is not finite stops adam_step: nothing is written.
// One pass over memory, in vectors of four where every operand begins at a multiple of 16 bytes.

typedef unsigned int u32;
typedef unsigned long long u64;

// The sum over the threads of a block, in a fixed order; valid in thread 0.
__device__ double block_sum(double sum) {
    __shared__ double sums[256];
    sums[threadIdx.x] = sum;
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    return sums[0];
}

// The first part of (1); four sums side by side, since one alone would wait for each addition.
extern "C" __global__ void __launch_bounds__(256) square_sums(const float *g, double *partials, u64 n) {
    double sums[4] = {0.0, 0.0, 0.0, 0.0};
    const u64 stride = (u64)gridDim.x * blockDim.x, thread = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    u64 i = thread;
    for (; i + 3 * stride < n; i += 4 * stride) {
#pragma unroll
        for (u32 k = 0; k < 4; ++k) sums[k] += (double)g[i + k * stride] * (double)g[i + k * stride];
    }
    for (; i < n; i += stride) sums[0] += (double)g[i] * (double)g[i];
    const double total = block_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
    if (threadIdx.x == 0) partials[blockIdx.x] = total;
}

// (1); a max_norm of zero or less does not clip. One block.
extern "C" __global__ void __launch_bounds__(256)
    clip(const double *partials, double *norm, u32 n_partials, double max_norm) {
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < n_partials; i += blockDim.x) sum += partials[i];
    const double total = block_sum(sum);
    if (threadIdx.x == 0) {
        const double length = sqrt(total);
        norm[0] = length;
        norm[1] = max_norm > 0.0 && length > max_norm ? max_norm / length : 1.0;
    }
}

struct Rule {
    float beta1, one_less_beta1, beta2, one_less_beta2, rate, inverse_root, eps, keep;
    float factor;
};

// (2) and (3) for one number; an inverse_root of zero leaves the second moment out of (3).
__device__ __forceinline__ void step(const Rule &rule, float &t, float &m, float &v, float g) {
    g *= rule.factor;
    m = rule.beta1 * m + rule.one_less_beta1 * g;
    v = rule.beta2 * v + rule.one_less_beta2 * g * g;
    const float divisor = rule.inverse_root > 0.0f ? sqrtf(v) * rule.inverse_root + rule.eps : 1.0f;
    t = rule.keep * t - rule.rate * m / divisor;
}

__device__ __forceinline__ void follow(float *average, u64 i, float t, float decay, float rest) {
    if (average) average[i] = decay * average[i] + rest * t;
}

__device__ __forceinline__ void follow4(float *average, u64 i, float4 t, float decay, float rest) {
    if (!average) return;
    float4 *at = reinterpret_cast<float4 *>(average) + i;
    const float4 a = *at;
    *at = make_float4(decay * a.x + rest * t.x, decay * a.y + rest * t.y, decay * a.z + rest * t.z,
                      decay * a.w + rest * t.w);
}

// (2) to (4); averages and `norm` may be null. `n_vectors` vectors of four come before the rest.
extern "C" __global__ void __launch_bounds__(256)
    adam_step(float *theta, float *first, float *second, const float *gradient, const double *norm, float *average0,
              float *average1, float *average2, float *average3, u64 n, u64 n_vectors, float beta1,
              float one_less_beta1, float beta2, float one_less_beta2, float rate, float inverse_root, float eps,
              float keep, float scale, float decay0, float rest0, float decay1, float rest1, float decay2,
              float rest2, float decay3, float rest3) {
    Rule rule = {beta1, one_less_beta1, beta2, one_less_beta2, rate, inverse_root, eps, keep, scale};
    if (norm) {
        if (!isfinite(norm[0])) return;
        rule.factor = (float)(scale * norm[1]);
    }
    const u64 stride = (u64)gridDim.x * blockDim.x, thread = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    for (u64 i = thread; i < n_vectors; i += stride) {
        float4 t = reinterpret_cast<float4 *>(theta)[i], m = reinterpret_cast<float4 *>(first)[i];
        float4 v = reinterpret_cast<float4 *>(second)[i];
        const float4 g = reinterpret_cast<const float4 *>(gradient)[i];
        step(rule, t.x, m.x, v.x, g.x);
        step(rule, t.y, m.y, v.y, g.y);
        step(rule, t.z, m.z, v.z, g.z);
        step(rule, t.w, m.w, v.w, g.w);
        reinterpret_cast<float4 *>(theta)[i] = t;
        reinterpret_cast<float4 *>(first)[i] = m;
        reinterpret_cast<float4 *>(second)[i] = v;
        follow4(average0, i, t, decay0, rest0);
        follow4(average1, i, t, decay1, rest1);
        follow4(average2, i, t, decay2, rest2);
        follow4(average3, i, t, decay3, rest3);
    }
    for (u64 i = 4 * n_vectors + thread; i < n; i += stride) {
        float t = theta[i], m = first[i], v = second[i];
        step(rule, t, m, v, gradient[i]);
        theta[i] = t, first[i] = m, second[i] = v;
        follow(average0, i, t, decay0, rest0);
        follow(average1, i, t, decay1, rest1);
        follow(average2, i, t, decay2, rest2);
        follow(average3, i, t, decay3, rest3);
    }
}
