// Matrix products of bf16 with fp32 sums, by AMX tiles.

#include "bf16-inl.h"
#include "blocked_product-inl.h"
#include "tile_product-inl.h"

struct Engine : Bf16, ElementsAreFactors<Element> {
    using Element = PATH::Element;
    using Session = TileProduct<float>::Session;

    // C [rows][groups * 16] = (C +) A [rows][k] B, groups <= 4, k a multiple of 32
    static void product(int64_t rows, int64_t groups, int64_t k,
                        const Element* a, int64_t a_stride,      // [rows][a_stride]
                        const Element* b, int64_t group_stride,  // [groups][group_stride]
                        float* c, int64_t c_stride,              // [rows][c_stride]
                        bool accumulate) {
        TileProduct<float>::product(rows, groups, 2 * k, a, 2 * a_stride, b, 2 * group_stride, c, c_stride, accumulate);
    }
};
