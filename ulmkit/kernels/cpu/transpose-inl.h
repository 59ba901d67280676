// Transposes in blocks that stay in the L1 cache.

#if ULMKIT_WIDTH == 16
// Transposes 16 x 16 values of 32 bits in place.
inline void transpose_lines(__m512i (&v)[16]) {
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
#endif

template <class T>
inline void transpose_blocks(int64_t rows, int64_t padded, int64_t columns, const T* source, int64_t source_stride, T* to,
                             int64_t to_stride) {
    constexpr int64_t side = 32;
    for (int64_t row = 0; row < rows; row += side)
        for (int64_t column = 0; column < columns; column += side) {
            const int64_t row_end = row + side < rows ? row + side : rows;
            const int64_t column_end = column + side < columns ? column + side : columns;
            for (int64_t c = column; c < column_end; ++c)
                for (int64_t r = row; r < row_end; ++r) to[c * to_stride + r] = source[r * source_stride + c];
        }
    for (int64_t column = 0; column < columns; ++column)
        for (int64_t row = rows; row < padded; ++row) to[column * to_stride + row] = 0;
}

// Transposes `columns` <= width columns of floats [count][stride] to rows [width][to_stride], added to or overwritten.
inline void write_columns(const float* from, int64_t stride, int64_t count, int64_t columns, float* to, int64_t to_stride,
                          bool adds) {
    int64_t n = 0;
#if ULMKIT_WIDTH == 16
    for (; n + 16 <= count; n += 16) {
        __m512i lines[16];
        for (int64_t line = 0; line < 16; ++line) lines[line] = _mm512_loadu_si512(from + (n + line) * stride);
        transpose_lines(lines);
        for (int64_t column = 0; column < columns; ++column) {
            float* out = to + column * to_stride + n;
            const Floats found = (Floats)lines[column];
            store(out, adds ? load(out) + found : found);
        }
    }
#endif
    for (int64_t column = 0; column < columns; ++column)
        for (int64_t rest = n; rest < count; ++rest) {
            float& out = to[column * to_stride + rest];
            out = from[rest * stride + column] + (adds ? out : 0.0f);
        }
}
