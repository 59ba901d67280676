// Matrix products of int8 by AVX2. Its byte products take one unsigned operand: |A|, while B takes A's sign.

#include "engine_int8-inl.h"

struct SignedKind : ByteSums {
    using Line = __m256i;
    struct Value {
        __m256i signs, sizes;
    };
    static constexpr int64_t block_rows = 2;  // times 4 groups: 8 sums, 4 lines, signs and magnitudes of A in 16 registers

    static Line line(const Element* b) { return _mm256_loadu_si256((const __m256i*)b); }
    static Value everywhere(const Element* a) {
        const __m256i values = _mm256_set1_epi32(four(a));
        return {values, _mm256_abs_epi8(values)};
    }
    // Two products sum to at most 2 * 127 * 127, which fits in 16 bits.
    static Ints add_product(Ints sum, Line line, Value value) {
        const __m256i pairs = _mm256_maddubs_epi16(value.sizes, _mm256_sign_epi8(line, value.signs));
        return sum + (Ints)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    }
};

struct Engine : Int8, BlockedProduct<RegisterTile<SignedKind>> {
    using Element = PATH::Element;
};
