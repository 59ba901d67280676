// C = A B, divided into pieces that fit the registers and the L1 cache.

// Base of engines whose products read elements without conversion.
template <class Element>
struct ElementsAreFactors {
    using Factor = Element;
    static constexpr int64_t row_end = 0, group_end = 0;  // extra bytes after K in a row of A and in a group of B
    static int64_t factor_bytes(int64_t, int64_t) { return 0; }
    static const Element* factors(int64_t, int64_t, const Element* rows, void*) { return rows; }
};

// Float sums that are accumulated in C.
struct FloatSums {
    using Sum = Floats;
    static Floats begin(const float* c, bool accumulate) { return accumulate ? load(c) : Floats{}; }
    static void end(Floats sum, const void*, const void*, float* c, bool) { store(c, sum); }
};

// The piece that stays in registers: rows * groups sums, a line of B for each group, and a value of A. Kind defines how
// many values of k a line has, the types of lines, values and sums, and how a sum starts and is written to C.
template <class Kind>
struct RegisterTile {
    using Element = typename Kind::Element;
    static constexpr int64_t block_rows = Kind::block_rows, block_depth = Kind::block_depth;

    template <int groups, int rows>
    static void run(int64_t k, const Element* a, int64_t a_stride, const Element* b, int64_t group_stride, float* c,
                    int64_t c_stride, bool accumulate) {
        typename Kind::Sum sum[rows][groups];
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
            for (int g = 0; g < groups; ++g) sum[r][g] = Kind::begin(c + r * c_stride + g * width, accumulate);
        for (int64_t step = 0; step < k; step += Kind::step) {
            typename Kind::Line lines[groups];
#pragma GCC unroll 4
            for (int g = 0; g < groups; ++g) lines[g] = Kind::line(b + g * group_stride + step * width);
#pragma GCC unroll 8
            for (int r = 0; r < rows; ++r) {
                const typename Kind::Value value = Kind::everywhere(a + r * a_stride + step);
#pragma GCC unroll 4
                for (int g = 0; g < groups; ++g) sum[r][g] = Kind::add_product(sum[r][g], lines[g], value);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
            for (int g = 0; g < groups; ++g)
                Kind::end(sum[r][g], a + r * a_stride + k, b + g * group_stride + k * width, c + r * c_stride + g * width,
                          accumulate);
    }
};

// A product in pieces Tile::run<groups, rows> of at most block_rows rows and block_depth values of k.
template <class Tile>
struct BlockedProduct {
    using Element = typename Tile::Element;

    struct Session {};  // held by a thread while it multiplies; AMX needs one

    // C [rows][groups * width] = (C +) A [rows][k] B, groups <= 4
    static void product(int64_t rows, int64_t groups, int64_t k,
                        const Element* a, int64_t a_stride,        // [rows][a_stride]
                        const Element* b, int64_t group_stride,    // [groups][group_stride]
                        float* c, int64_t c_stride,                // [rows][c_stride]
                        bool accumulate) {
        switch (groups) {
            case 1: return by_rows<1>(rows, k, a, a_stride, b, group_stride, c, c_stride, accumulate);
            case 2: return by_rows<2>(rows, k, a, a_stride, b, group_stride, c, c_stride, accumulate);
            case 3: return by_rows<3>(rows, k, a, a_stride, b, group_stride, c, c_stride, accumulate);
            default: return by_rows<4>(rows, k, a, a_stride, b, group_stride, c, c_stride, accumulate);
        }
    }

private:
    template <int groups>
    static void by_rows(int64_t rows, int64_t k, const Element* a, int64_t a_stride, const Element* b,
                        int64_t group_stride, float* c, int64_t c_stride, bool accumulate) {
        const int64_t blocks = (rows + Tile::block_rows - 1) / Tile::block_rows;
        for (int64_t row = 0; row < rows && k == 0 && !accumulate; ++row)
            std::memset(c + row * c_stride, 0, groups * width * sizeof(float));
        for (int64_t from = 0; from < k; from += Tile::block_depth) {
            const int64_t deep = k - from < Tile::block_depth ? k - from : Tile::block_depth;
            for (int64_t block = 0; block < blocks; ++block) {
                const int64_t first = rows * block / blocks, count = rows * (block + 1) / blocks - first;
                of_rows<groups, Tile::block_rows>(count, deep, a + first * a_stride + from, a_stride, b + from * width,
                                                  group_stride, c + first * c_stride, c_stride, accumulate || from > 0);
            }
        }
    }

    template <int groups, int rows>
    static void of_rows(int64_t count, int64_t k, const Element* a, int64_t a_stride, const Element* b,
                        int64_t group_stride, float* c, int64_t c_stride, bool accumulate) {
        if (count == rows)
            Tile::template run<groups, rows>(k, a, a_stride, b, group_stride, c, c_stride, accumulate);
        else if constexpr (rows > 1)
            of_rows<groups, rows - 1>(count, k, a, a_stride, b, group_stride, c, c_stride, accumulate);
    }
};
