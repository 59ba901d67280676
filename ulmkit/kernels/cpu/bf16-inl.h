// What both bf16 engines share: conversions, and how B is laid out.
//
// B is in groups of 16 columns, K in blocks of 32, pairs of k side by side: [group][k / 32][16 pairs][16 columns][2].
// A block of a group is one AMX tile, and a line of it one operand of the AVX-512 dot product.

using Element = uint16_t;  // the upper half of a float

struct Bf16 {
    static constexpr int64_t depth = 32;

    static Floats load(const Element* from) {
        const __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
        return (Floats)_mm512_slli_epi32(low, 16);
    }

    static void store(Element* to, Floats v) {
        const __m256bh rounded = _mm512_cvtneps_pbh((__m512)v);
        std::memcpy(to, &rounded, sizeof rounded);
    }

    // 16 columns of a row and of the one below it, side by side.
    static __m512i pair(const Element* row, int64_t stride) {
        const __m256i even = _mm256_loadu_si256((const __m256i*)row);
        const __m256i odd = _mm256_loadu_si256((const __m256i*)(row + stride));
        return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
    }

    // Packs one group of B from the first 16 columns of a row-major matrix [k][source_stride].
    static void pack_rows(int64_t k, const Element* source, int64_t source_stride, Element* b) {
        for (int64_t row = 0; row < k; row += 2)
            _mm512_storeu_si512(b + row * width, pair(source + row * source_stride, source_stride));
    }

    // Packs one group of B from the transpose of a row-major matrix [16][source_stride].
    static void pack_columns(int64_t k, const Element* source, int64_t source_stride, Element* b) {
        for (int64_t row = 0; row < k; row += 32) {
            __m512i v[16];
            for (int64_t column = 0; column < 16; ++column)
                v[column] = _mm512_loadu_si512(source + column * source_stride + row);
            transpose_lines(v);
            for (int64_t pair = 0; pair < 16; ++pair) _mm512_storeu_si512(b + row * width + pair * 32, v[pair]);
        }
    }

    // Transposes [rows][columns] to [columns][padded], with zeros beyond the rows. columns: a multiple of 16.
    static void transpose(int64_t rows, int64_t padded, int64_t columns, const Element* source, int64_t source_stride,
                          Element* to, int64_t to_stride) {
        for (int64_t column = 0; column < columns; column += 16) {
            int64_t row = 0;
            for (; row + 32 <= rows; row += 32) {
                __m512i pairs[16];
                for (int64_t n = 0; n < 16; ++n) pairs[n] = pair(source + (row + 2 * n) * source_stride + column, source_stride);
                transpose_lines(pairs);
                for (int64_t n = 0; n < 16; ++n) _mm512_storeu_si512(to + (column + n) * to_stride + row, pairs[n]);
            }
            transpose_blocks(rows - row, padded - row, 16, source + row * source_stride + column, source_stride,
                             to + column * to_stride + row, to_stride);
        }
    }
};
