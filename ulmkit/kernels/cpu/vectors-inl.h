// Vectors of floats by the compiler's own vector types, and e^x on them.
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

inline Floats quotient(Floats a, Floats b) { return a / b; }

// e^x for x <= 0, relative error below 2e-7 (the polynomial of Cephes, expf); clamped at x = -87; NaN stays NaN.
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
