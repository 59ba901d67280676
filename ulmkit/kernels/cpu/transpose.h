// Transposes in blocks that stay in the first cache.

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
