// Matrix products of bytes by AVX2: its products of bytes want one side unsigned, so the sign goes from A to B.

#include "engine_int8-inl.h"

struct SignedKind : ByteSums {
    using Line = __m256i;
    struct Value {
        __m256i signs, sizes;
    };
    static constexpr int64_t block_rows = 2;  // times 4 groups: 8 sums, 4 lines, values and sizes of A in 16 registers

    static Line line(const Element* b) { return _mm256_loadu_si256((const __m256i*)b); }
    static Value everywhere(const Element* a) {
        const __m256i values = _mm256_set1_epi32(four(a));
        return {values, _mm256_abs_epi8(values)};
    }
    // No pair of products is above 2 * 127 * 127, so 16 bits hold it.
    static Ints add_product(Ints sum, Line line, Value value) {
        const __m256i pairs = _mm256_maddubs_epi16(value.sizes, _mm256_sign_epi8(line, value.signs));
        return sum + (Ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    }
};

struct Engine : Int8, BlockedProduct<RegisterTile<SignedKind>> {
    using Element = PATH::Element;
};
