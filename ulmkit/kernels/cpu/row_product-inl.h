// Products with weights that are not laid out: if the other factor has few rows, laying the weights out costs more than it
// saves. Only for fp32 paths.

constexpr int register_sums = ULMKIT_REGISTERS == 32 ? 24 : 8, dot_lines = 4;  // dot_lines: lines multiplied at once

// Returns a vector whose lane n is the sum of all lanes of v[n].
inline Floats lane_sums(const Floats (&v)[width]) {
#if ULMKIT_WIDTH == 16
    __m512i lines[16];
    for (int64_t n = 0; n < width; ++n) lines[n] = (__m512i)v[n];
    transpose_lines(lines);
    for (int64_t half = width / 2; half > 0; half /= 2)
        for (int64_t n = 0; n < half; ++n) lines[n] = (__m512i)((Floats)lines[n] + (Floats)lines[n + half]);
    return (Floats)lines[0];
#else
    Floats sum{};
    for (int64_t n = 0; n < width; ++n)
        for (int64_t lane = 0; lane < width; ++lane) sum[n] += v[n][lane];
    return sum;
#endif
}

// Multiplies rows of A [rows][k] by lines of W [lines][k] into found [rows][width], without adding up the lanes.
template <int rows, int lines>
inline void multiply_lanes(int64_t k, const float* a, int64_t a_stride, const float* w, int64_t w_stride, Floats* found) {
    Floats sum[rows][lines] = {};
    const auto add_step = [&](int64_t step, auto load_line) {
        Floats line[lines];
#pragma GCC unroll 4
        for (int n = 0; n < lines; ++n) {
            line[n] = load_line(w + n * w_stride + step);
            __builtin_prefetch(w + (n + lines) * w_stride + step, 0, 2);
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
            const Floats value = load(a + r * a_stride + step);
#pragma GCC unroll 4
            for (int n = 0; n < lines; ++n) sum[r][n] += value * line[n];
        }
    };
    const int64_t whole = k / width * width;
    for (int64_t step = 0; step < whole; step += width) add_step(step, load);
    if (whole < k) add_step(whole, [&](const float* from) { return load_some(from, k - whole); });
    for (int r = 0; r < rows; ++r)
        for (int n = 0; n < lines; ++n) found[r * width + n] = sum[r][n];
}

template <int rows>
inline void times_lines_of_rows(int64_t count, int64_t lines, int64_t k, const float* a, int64_t a_stride, const float* w,
                                int64_t w_stride, float* c, int64_t c_stride, bool accumulate) {
    if (count < rows) {
        if constexpr (rows > 1)
            times_lines_of_rows<rows - 1>(count, lines, k, a, a_stride, w, w_stride, c, c_stride, accumulate);
        return;
    }
    Floats sums[rows][width] = {};
    int64_t line = 0;
    for (; line + dot_lines <= lines; line += dot_lines)
        multiply_lanes<rows, dot_lines>(k, a, a_stride, w + line * w_stride, w_stride, &sums[0][line]);
    for (; line < lines; ++line)
        multiply_lanes<rows, 1>(k, a, a_stride, w + line * w_stride, w_stride, &sums[0][line]);
    for (int r = 0; r < rows; ++r) {
        const Floats sum = lane_sums(sums[r]);
        store(c + r * c_stride, accumulate ? load(c + r * c_stride) + sum : sum);
    }
}

// C [rows][width] = (C +) A W^T for W [lines][k], lines <= width; columns beyond the lines are zero.
inline void times_lines(int64_t rows, int64_t lines, int64_t k, const float* a, int64_t a_stride, const float* w,
                        int64_t w_stride, float* c, int64_t c_stride, bool accumulate) {
    constexpr int most_rows = register_sums / dot_lines;
    const int blocks = (rows + most_rows - 1) / most_rows;
    for (int block = 0; block < blocks; ++block) {
        const Slice part(rows, block, blocks);
        times_lines_of_rows<most_rows>(part.last - part.first, lines, k, a + part.first * a_stride, a_stride, w, w_stride,
                                       c + part.first * c_stride, c_stride, accumulate);
    }
}

// A factor with its strides: between rows (row), between values of k within a run of `width` (k), and between runs (ks).
struct Strided {
    const float* first;
    int64_t row, k, ks;
    Strided from_row(int64_t n) const { return {first + n * row, row, k, ks}; }
};

// C [rows][vectors] = (C +) A B, in registers. Unless `whole`, the vector has only `last` floats.
template <int rows, int vectors, bool whole>
inline void multiply_rows(int64_t k, Strided a, const float* b, int64_t b_stride, float* c, int64_t c_stride, int64_t last,
                          bool accumulate) {
    const auto load_here = [&](const float* from) { return whole ? load(from) : load_some(from, last); };
    Floats sum[rows][vectors];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 24
        for (int v = 0; v < vectors; ++v) sum[r][v] = accumulate ? load_here(c + r * c_stride + v * width) : Floats{};
    for (int64_t step = 0; step < k; ++step) {
        Floats values[rows];
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) values[r] = all(a.first[r * a.row + step / width * a.ks + step % width * a.k]);
#pragma GCC unroll 24
        for (int v = 0; v < vectors; ++v) {
            const float* from = b + step * b_stride + v * width;
            const Floats line = load_here(from);
            __builtin_prefetch(from + k * b_stride, 0, 2);
#pragma GCC unroll 8
            for (int r = 0; r < rows; ++r) sum[r][v] += values[r] * line;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 24
        for (int v = 0; v < vectors; ++v) {
            float* to = c + r * c_stride + v * width;
            if (whole)
                store(to, sum[r][v]);
            else
                store_some(to, sum[r][v], last);
        }
}

template <int rows, int vectors, bool whole>
inline void multiply_some_rows(int64_t count, int64_t k, Strided a, const float* b, int64_t b_stride, float* c,
                               int64_t c_stride, int64_t last, bool accumulate) {
    if (count == rows)
        multiply_rows<rows, vectors, whole>(k, a, b, b_stride, c, c_stride, last, accumulate);
    else if constexpr (rows > 1)
        multiply_some_rows<rows - 1, vectors, whole>(count, k, a, b, b_stride, c, c_stride, last, accumulate);
}

// C [rows][columns] = (C +) A B for row-major B [k][columns], in pieces of `most_rows` rows and `vectors` vectors; the
// remaining columns in pieces of half as many vectors, down to one.
template <int most_rows, int vectors>
inline void times_rows_in_strips(int64_t rows, int64_t columns, int64_t k, Strided a, const float* b, int64_t b_stride,
                                 float* c, int64_t c_stride, bool accumulate) {
    constexpr bool ends = vectors == 1;  // the last vector may be incomplete
    const int blocks = (rows + most_rows - 1) / most_rows;
    int64_t column = 0;
    for (; ends ? column < columns : column + vectors * width <= columns; column += vectors * width)
        for (int block = 0; block < blocks; ++block) {
            const Slice part(rows, block, blocks);
            multiply_some_rows<most_rows, vectors, !ends>(part.last - part.first, k, a.from_row(part.first), b + column,
                                                          b_stride, c + part.first * c_stride + column, c_stride,
                                                          minimum(width, columns - column), accumulate);
        }
    if constexpr (!ends)
        times_rows_in_strips<most_rows, vectors / 2>(rows, columns - column, k, a, b + column, b_stride, c + column, c_stride,
                                                     accumulate);
}

// C [rows][columns] = (C +) A B for row-major B [k][columns]: the fewer the rows, the more vectors at once. Meanwhile it
// prefetches the k rows of memory that follow B, which the caller multiplies next.
inline void times_rows(int64_t rows, int64_t columns, int64_t k, Strided a, const float* b, int64_t b_stride, float* c,
                       int64_t c_stride, bool accumulate) {
    constexpr int sums = register_sums;
    const auto in_strips = rows == 1   ? times_rows_in_strips<1, sums>
                           : rows == 2 ? times_rows_in_strips<2, sums / 2>
                           : rows <= 4 ? times_rows_in_strips<4, sums / 4>
                                       : times_rows_in_strips<sums / 4, 4>;
    in_strips(rows, columns, k, a, b, b_stride, c, c_stride, accumulate);
}

// Gate sums of a group of units, [rows][4][width] = (sums +) A W^T. w: [4H][columns].
inline void gate_sums(const Shape& shape, int64_t group, int64_t rows, const float* a, int64_t a_stride, const float* w,
                      int64_t columns, float* sums, bool accumulate) {
    for (int64_t gate = 0; gate < 4; ++gate)
        times_lines(rows, shape.present(group), columns, a, a_stride,
                    w + (gate * shape.hidden + group * width) * columns, columns, sums + gate * width, 4 * width, accumulate);
}

// C [rows][first .. last] = dA W, the gradients of gate sums [rows][gates] times w: [4H][columns].
inline void times_weights(const Shape& shape, int64_t rows, const float* d_gates, const float* w, int64_t columns,
                          int64_t first, int64_t last, float* c, int64_t c_stride) {
    constexpr int64_t together = 4 * width;  // lines of w for which the sums stay in registers
    for (int64_t gate = 0; gate < 4; ++gate)
        for (int64_t unit = 0; unit < shape.hidden; unit += together)
            times_rows(rows, last - first, minimum(together, shape.hidden - unit),
                       Strided{d_gates + 4 * unit + gate * width, shape.gates, 1, 4 * width},
                       w + (gate * shape.hidden + unit) * columns + first, columns, c + first, c_stride, gate + unit > 0);
}
