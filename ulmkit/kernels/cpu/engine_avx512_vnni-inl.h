// Matrix products of int8 by AVX-512 dot products of four values. These take one unsigned operand, so 128 is added to
// A, and 128 times the sum of each column of B is subtracted from the result.

#include "engine_int8-inl.h"

struct VnniKind : ByteSums {
    using Line = __m512i;
    using Value = __m512i;
    static constexpr int64_t block_rows = 6;

    static Line line(const Element* b) { return _mm512_loadu_si512(b); }
    static Value everywhere(const Element* a) { return _mm512_set1_epi32(four(a) ^ int32_t(0x80808080)); }
    static Ints add_product(Ints sum, Line line, Value value) {
        return (Ints)_mm512_dpbusd_epi32((__m512i)sum, value, line);
    }
    static void end(Ints sum, const Element* a_end, const Element* b_end, float* c, bool accumulate) {
        Ints shifts;
        std::memcpy(&shifts, b_end + 4 * width, sizeof shifts);
        ByteSums::end(sum - shifts, a_end, b_end, c, accumulate);
    }
};

struct Engine : Int8, BlockedProduct<RegisterTile<VnniKind>> {
    using Element = PATH::Element;
};
