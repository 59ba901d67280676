// Vectors of floats by the compiler's own vector types, and the LSTM's two functions on them.
//
// Included once for each path, inside its namespace, with ULMKIT_WIDTH floats to a vector.

typedef float Floats __attribute__((vector_size(4 * ULMKIT_WIDTH)));
typedef int32_t Ints __attribute__((vector_size(4 * ULMKIT_WIDTH)));

constexpr int64_t width = ULMKIT_WIDTH;

inline Floats all(float value) { return value - Floats{}; }

inline Floats load(const float* from) {
    Floats v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

inline void store(float* to, Floats v) { std::memcpy(to, &v, sizeof v); }

// e^x for x <= 0, relative error below 2e-7 (the polynomial of Cephes, expf); below -87 as at -87; NaN stays.
inline Floats exp_of_negative(Floats x) {
    const Floats lowest = all(-87.0f);
    x = x < lowest ? lowest : x;
    const Floats shift = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
    const Floats shifted = x * 1.44269504088896341f + shift;
    const Floats power = shifted - shift;
    const Floats r = (x - power * 0.693359375f) + power * 2.12194440e-4f;
    Floats p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const Ints exponent = __builtin_convertvector(power, Ints) << 23;
    return (Floats)((Ints)p + exponent);
}

// 1 / (1 + e^-x)
inline Floats sigmoid(Floats x) {
    const Floats e = exp_of_negative(x < 0.0f ? x : -x);
    const Floats rest = 1.0f / (1.0f + e);
    return x < 0.0f ? e * rest : rest;
}

// (1 - e^-2|x|) / (1 + e^-2|x|), and near zero, where that cancels, a polynomial (Cephes, tanhf).
inline Floats tanh(Floats x) {
    const Floats size = x < 0.0f ? -x : x;
    const Floats e = exp_of_negative(-2.0f * size);
    const Floats far = (1.0f - e) / (1.0f + e);
    const Floats square = x * x;
    Floats p = all(-5.70498872745e-3f);
    p = p * square + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    const Floats near = p * square * x + x;
    return size < 0.625f ? near : (x < 0.0f ? -far : far);
}
