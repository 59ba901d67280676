// Matrix products of int8 with 32-bit sums, for inference. Inputs are rounded to int8 at each product.
//
// A row x of A is stored as round(x / s) with s = max |x| / 127, followed by s. A group of B is stored as
// [k / 4][column][4], followed by the scales of its columns and by 128 times their sums, which instructions that take A
// unsigned need.
//
// Source: symmetric quantisation, Jacob et al. 2018, arXiv:1712.05877, section 2.1, with zero-point 0.

#include "blocked_product-inl.h"

using Element = float;

struct Int8 {
    using Factor = int8_t;
    static constexpr int64_t depth = 64;
    static constexpr int64_t row_end = 64, group_end = 8 * width;  // bytes after K; rows start on cache lines

    static Floats load(const float* from) { return PATH::load(from); }
    static void store(float* to, Floats v) { PATH::store(to, v); }

    static int64_t factor_bytes(int64_t rows, int64_t k) { return (rows + 16) * (k + row_end); }

    // Quantizes rows [rows][k] of floats to rows of A. A row with an infinite or NaN value gets a scale that is not finite.
    static const Factor* factors(int64_t rows, int64_t k, const float* from, void* space) {
        Factor* to = static_cast<Factor*>(space);
        for (int64_t row = 0; row < rows; ++row, from += k, to += k + row_end) {
            Floats largest{}, nothing{};
            for (int64_t n = 0; n < k; n += width) {
                const Floats v = load(from + n), size = v < 0.0f ? -v : v;
                largest = size > largest ? size : largest;
                nothing += v * 0.0f;
            }
            float most = largest[0], broken = nothing[0];
            for (int64_t lane = 1; lane < width; ++lane) {
                most = largest[lane] > most ? largest[lane] : most;
                broken += nothing[lane];
            }
            const float scale = most / 127.0f + broken, inverse = scale > 0.0f ? 127.0f / most : 0.0f;
            std::memcpy(to + k, &scale, sizeof scale);
            for (int64_t n = 0; n < k; n += width) store_bytes(to + n, broken == 0.0f ? load(from + n) * inverse : Floats{});
        }
        return static_cast<const Factor*>(space);
    }

    static void store_bytes(Factor* to, Floats v) {
        typedef int8_t Bytes __attribute__((vector_size(ULMKIT_WIDTH)));
        const Floats shift = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
        const Bytes bytes = __builtin_convertvector(__builtin_convertvector((v + shift) - shift, Ints), Bytes);
        std::memcpy(to, &bytes, sizeof bytes);
    }

    // Packs one group of B from `columns` rows [k] of the weights; the remaining columns are zero.
    static void pack_columns(int64_t k, int64_t k_wide, int64_t columns, const int8_t* source, const float* scales,
                             Factor* b) {
        std::memset(b, 0, k_wide * width + group_end);
        for (int64_t column = 0; column < columns; ++column) {
            int32_t sum = 0;
            for (int64_t n = 0; n < k; ++n) {
                const int8_t value = source[column * k + n];
                b[n / 4 * 4 * width + column * 4 + n % 4] = value;
                sum += value;
            }
            sum *= 128;
            std::memcpy(b + k_wide * width + column * 4, scales + column, 4);
            std::memcpy(b + k_wide * width + (width + column) * 4, &sum, 4);
        }
    }

    // Dequantizes sums of products. a_end, b_end: what follows K in a row of A and in a group of B.
    static Floats value(Ints sum, const Factor* a_end, const Factor* b_end) {
        float scale;
        std::memcpy(&scale, a_end, sizeof scale);
        Floats scales;
        std::memcpy(&scales, b_end, sizeof scales);
        Floats result = __builtin_convertvector(sum, Floats) * (scales * scale);
        // Keeps the compiler from fusing this product with the sum that follows. It does so in products of some sizes
        // only, and rounding inputs to int8 makes a last bit that depends on the batch grow to a thousandth.
        asm("" : "+m"(result));
        return result;
    }
};

struct ByteSums {
    using Element = int8_t;
    using Sum = Ints;
    static constexpr int64_t step = 4;
    static constexpr int64_t block_depth = int64_t(1) << 40;  // all of K: sums are dequantized once, at the end

    static Ints begin(const float*, bool) { return Ints{}; }
    static void end(Ints sum, const Element* a_end, const Element* b_end, float* c, bool accumulate) {
        const Floats found = Int8::value(sum, a_end, b_end);
        store(c, accumulate ? load(c) + found : found);
    }
    static int32_t four(const Element* a) {
        int32_t values;
        std::memcpy(&values, a, sizeof values);
        return values;
    }
};
