// Activation functions with their first two derivatives, as on the CPU (kernel/curve.rs): y = f(x), slope = f'(x), bend = f''(x).
//
// Every .cu file that needs them includes this one; NVRTC gets both in one string (SOURCES of cuda.rs).

#ifndef FLOWMAP_CURVE
#define FLOWMAP_CURVE

struct Point {
    float y, slope, bend;
};

__device__ __forceinline__ float clamped(float x, float limit) { return fminf(fmaxf(x, -limit), limit); }

// s = 1/(1 + e^-x) and rest = 1 - s, each with all its digits; the clamp keeps the sum below 2^126.
__device__ __forceinline__ void sigmoid(float x, float &s, float &rest) {
    const float e = expf(-clamped(x, 87.0f));
    s = __fdividef(1.0f, 1.0f + e);
    rest = e * s;
}

// x s(w) with w(x), its derivatives w1 and w2; c is x clamped to where s is neither 0 nor 1.
__device__ __forceinline__ Point gated(float x, float c, float w, float w1, float w2) {
    float s, rest;
    sigmoid(w, s, rest);
    const float slope = s * rest;
    return {x * s, s + c * slope * w1, slope * (2.0f * w1 + c * w2 + c * w1 * w1 * (rest - s))};
}

// (1 + tanh u)/2 = s(2u) with u = sqrt(2/pi) (x + 0.044715 x^3).
struct GeluTanh {
    static __device__ __forceinline__ Point at(float x) {
        const float C = 1.5957691f, A = 0.044715f;
        const float c = clamped(x, 30.0f), square = c * c;
        return gated(x, c, C * c * (1.0f + A * square), C * (1.0f + 3.0f * A * square), 6.0f * C * A * c);
    }
};

// x (1 + erf(x/sqrt 2))/2.
struct GeluErf {
    static __device__ __forceinline__ Point at(float x) {
        const float c = clamped(x, 30.0f);
        const float cdf = 0.5f * (1.0f + erff(c * 0.70710678f)), pdf = 0.39894228f * expf(-0.5f * c * c);
        return {x * cdf, cdf + c * pdf, pdf * (2.0f - c * c)};
    }
};

// x s(x).
struct Silu {
    static __device__ __forceinline__ Point at(float x) {
        const float c = clamped(x, 87.0f);
        return gated(x, c, c, 1.0f, 0.0f);
    }
};

// tanh x = 2 s(2x) - 1.
struct Tanh {
    static __device__ __forceinline__ Point at(float x) {
        float s, rest;
        sigmoid(2.0f * x, s, rest);
        const float y = 2.0f * s - 1.0f, slope = 4.0f * s * rest;
        return {y, slope, -2.0f * y * slope};
    }
};

// max(x, 0)^2.
struct ReluSquared {
    static __device__ __forceinline__ Point at(float x) {
        const float positive = fmaxf(x, 0.0f);
        return {positive * positive, 2.0f * positive, x > 0.0f ? 2.0f : 0.0f};
    }
};

// x: no activation.
struct Identity {
    static __device__ __forceinline__ Point at(float x) { return {x, 1.0f, 0.0f}; }
};

// Expands a kernel under the name that `Activation::name` gives its curve: for every curve, or for the one that the
// program needs and defines, which compiles in a sixth of the time.
#ifdef ONLY_CURVE
#define FOR_CURVE(KERNEL, NAME, F) KERNEL(NAME, F)
#define FOR_EACH_CURVE(KERNEL) FOR_CURVE(KERNEL, ONLY_CURVE_NAME, ONLY_CURVE)
#else
#define FOR_EACH_CURVE(KERNEL) \
    KERNEL(identity, Identity) \
    KERNEL(gelu_tanh, GeluTanh) \
    KERNEL(gelu_erf, GeluErf) \
    KERNEL(silu, Silu) \
    KERNEL(tanh, Tanh) \
    KERNEL(relu_squared, ReluSquared)
#endif

#endif
