// Matrix products in fp32. B is in groups of `width` columns: [group][k][width].

#include "blocked_product-inl.h"

#define ULMKIT_READS_ROWS  // weights need not be laid out: see row_product-inl.h

struct Fp32 {
    using Element = float;
    static constexpr int64_t depth = 1;  // K is padded to a multiple of it

    static Floats load(const float* from) { return PATH::load(from); }
    static void store(float* to, Floats v) { PATH::store(to, v); }

    // Packs one group of B from the first `width` columns of a row-major matrix [k][source_stride].
    static void pack_rows(int64_t k, const float* source, int64_t source_stride, float* b) {
        for (int64_t row = 0; row < k; ++row) store(b + row * width, load(source + row * source_stride));
    }

    // Packs one group of B from the transpose of a row-major matrix [width][source_stride].
    static void pack_columns(int64_t k, const float* source, int64_t source_stride, float* b) {
        int64_t row = 0;
#if ULMKIT_WIDTH == 16
        for (; row + 16 <= k; row += 16) {
            __m512i lines[16];
            for (int64_t n = 0; n < 16; ++n) lines[n] = _mm512_loadu_si512(source + n * source_stride + row);
            transpose_lines(lines);
            for (int64_t n = 0; n < 16; ++n) _mm512_storeu_si512(b + (row + n) * width, lines[n]);
        }
#endif
        for (; row < k; ++row)
            for (int64_t column = 0; column < width; ++column)
                b[row * width + column] = source[column * source_stride + row];
    }

    // Transposes [rows][columns] to [columns][padded], with zeros beyond the rows. columns: a multiple of `width`.
    static void transpose(int64_t rows, int64_t padded, int64_t columns, const float* source, int64_t source_stride,
                          float* to, int64_t to_stride) {
        transpose_blocks(rows, padded, columns, source, source_stride, to, to_stride);
    }
};

struct Fp32Kind : FloatSums {
    using Element = float;
    using Line = Floats;
    using Value = Floats;
    static constexpr int64_t step = 1;
    static constexpr int64_t block_rows = ULMKIT_REGISTERS == 32 ? 6 : 3;  // times 4 groups, 4 lines and values of A
    static constexpr int64_t block_depth = 384;

    static Line line(const float* b) { return load(b); }
    static Line everywhere(const float* a) { return all(*a); }
    static Floats add_product(Floats sum, Line line, Line value) { return sum + value * line; }
};

struct Engine : Fp32, ElementsAreFactors<float>, BlockedProduct<RegisterTile<Fp32Kind>> {
    using Element = float;
};
