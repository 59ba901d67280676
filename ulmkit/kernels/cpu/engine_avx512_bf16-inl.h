// Matrix products of bf16 with fp32 sums, by AVX-512 dot products of pairs. K must be even.

#include "bf16-inl.h"
#include "blocked_product-inl.h"

struct PairKind : FloatSums {
    using Element = PATH::Element;
    using Line = __m512bh;
    using Value = __m512bh;
    static constexpr int64_t step = 2;
    static constexpr int64_t block_rows = 6;  // times 4 groups: 24 sums, 4 lines and values of A in 32 registers
    static constexpr int64_t block_depth = 1536;

    static Line line(const Element* b) { return (Line)_mm512_loadu_si512(b); }
    static Line everywhere(const Element* a) {
        int32_t pair;
        std::memcpy(&pair, a, sizeof pair);
        return (Line)_mm512_set1_epi32(pair);
    }
    static Floats add_product(Floats sum, Line line, Line value) {
        return (Floats)_mm512_dpbf16_ps((__m512)sum, line, value);
    }
};

struct Engine : Bf16, ElementsAreFactors<Element>, BlockedProduct<RegisterTile<PairKind>> {
    using Element = PATH::Element;
};
