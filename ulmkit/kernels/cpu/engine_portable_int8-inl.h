// Matrix products of int8 in plain C++.

#include "engine_int8-inl.h"

struct PlainKind : ByteSums {
    using Line = const Element*;
    using Value = const Element*;
    static constexpr int64_t block_rows = 2;

    static Line line(const Element* b) { return b; }
    static Value everywhere(const Element* a) { return a; }
    static Ints add_product(Ints sum, Line line, Value value) {
        for (int64_t column = 0; column < width; ++column)
            for (int64_t n = 0; n < 4; ++n) sum[column] += line[column * 4 + n] * value[n];
        return sum;
    }
};

struct Engine : Int8, BlockedProduct<RegisterTile<PlainKind>> {
    using Element = PATH::Element;
};
