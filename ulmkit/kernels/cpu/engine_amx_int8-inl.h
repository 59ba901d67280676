// Matrix products of int8 by AMX tiles.

#include "engine_int8-inl.h"
#include "tile_product-inl.h"

struct Engine : Int8 {
    using Element = PATH::Element;
    using Session = TileProduct<int32_t>::Session;

    // C [rows][groups * 16] = (C +) A [rows][k] B, groups <= 4, k a multiple of 64
    static void product(int64_t rows, int64_t groups, int64_t k,
                        const Factor* a, int64_t a_stride,      // [rows][a_stride]
                        const Factor* b, int64_t group_stride,  // [groups][group_stride]
                        float* c, int64_t c_stride,             // [rows][c_stride]
                        bool accumulate) {
        alignas(64) int32_t sums[block_rows * 64];
        for (int64_t first = 0; first < rows; first += block_rows) {
            const int64_t count = rows - first < block_rows ? rows - first : block_rows;
            const Factor* block = a + first * a_stride;
            TileProduct<int32_t>::product(count, groups, k, block, a_stride, b, group_stride, sums, 64, false);
            for (int64_t row = 0; row < count; ++row)
                for (int64_t group = 0; group < groups; ++group) {
                    Ints sum;
                    std::memcpy(&sum, sums + row * 64 + group * width, sizeof sum);
                    const Floats found = value(sum, block + row * a_stride + k, b + group * group_stride + k * width);
                    float* to = c + (first + row) * c_stride + group * width;
                    store(to, accumulate ? load(to) + found : found);
                }
        }
    }

private:
    static constexpr int64_t block_rows = 48;
};
