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

    // One group of B from a row-major matrix [k][source_stride] whose first 16 columns it takes.
    static void pack_rows(int64_t k, const Element* source, int64_t source_stride, Element* b) {
        for (int64_t row = 0; row < k; row += 2) {
            const __m256i even = _mm256_loadu_si256((const __m256i*)(source + row * source_stride));
            const __m256i odd = _mm256_loadu_si256((const __m256i*)(source + (row + 1) * source_stride));
            const __m512i pairs =
                _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
            _mm512_storeu_si512(b + row * width, pairs);
        }
    }

    // One group of B from the transpose of a row-major matrix [16][source_stride].
    static void pack_columns(int64_t k, const Element* source, int64_t source_stride, Element* b) {
        for (int64_t row = 0; row < k; row += 32) {
            __m512i v[16];
            for (int64_t column = 0; column < 16; ++column)
                v[column] = _mm512_loadu_si512(source + column * source_stride + row);
            transpose(v);
            for (int64_t pair = 0; pair < 16; ++pair) _mm512_storeu_si512(b + row * width + pair * 32, v[pair]);
        }
    }

    // [rows][columns] to [columns][padded], zero beyond the rows. columns: a multiple of 16.
    static void transpose(int64_t rows, int64_t padded, int64_t columns, const Element* source, int64_t source_stride,
                          Element* to, int64_t to_stride) {
        transpose_blocks(rows, padded, columns, source, source_stride, to, to_stride);
    }

    // 16 x 16 of 32 bits, in place.
    static void transpose(__m512i (&v)[16]) {
        __m512i w[16];
        for (int i = 0; i < 16; i += 2) {
            w[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
            w[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
        }
        for (int i = 0; i < 16; i += 4) {
            v[i] = _mm512_unpacklo_epi64(w[i], w[i + 2]);
            v[i + 1] = _mm512_unpackhi_epi64(w[i], w[i + 2]);
            v[i + 2] = _mm512_unpacklo_epi64(w[i + 1], w[i + 3]);
            v[i + 3] = _mm512_unpackhi_epi64(w[i + 1], w[i + 3]);
        }
        for (int i = 0; i < 4; ++i) {
            w[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
            w[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
            w[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
            w[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
        }
        for (int i = 0; i < 4; ++i) {
            v[i] = _mm512_shuffle_i32x4(w[i], w[i + 8], 0x88);
            v[i + 4] = _mm512_shuffle_i32x4(w[i + 4], w[i + 12], 0x88);
            v[i + 8] = _mm512_shuffle_i32x4(w[i], w[i + 8], 0xdd);
            v[i + 12] = _mm512_shuffle_i32x4(w[i + 4], w[i + 12], 0xdd);
        }
    }
};
