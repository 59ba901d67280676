// Matrix products of bf16 with fp32 sums, by AMX tiles: 16 x 32 of A times 32 x 16 of B into 16 x 16 of C.
//
// A may be read up to the next multiple of 16 rows; what stands there does not matter.

#include "bf16.h"
#include "tiles.h"

class Engine : public Bf16 {
public:
    using Element = PATH::Element;

    // Tiles are there for as long as a thread has a session.
    struct Session {
        Session() {
            const TileConfig config;
            asm volatile("" ::: "memory");
            TILE_CONFIGURE(&config);
        }
        ~Session() { TILE_RELEASE(); }
    };

    // C [rows][groups * 16] = (C +) A [rows][k] B, groups <= 4, k a multiple of 32
    static void product(int64_t rows, int64_t groups, int64_t k,
                        const Element* a, int64_t a_stride,      // [rows][a_stride]
                        const Element* b, int64_t group_stride,  // [groups][group_stride]
                        float* c, int64_t c_stride,              // [rows][c_stride]
                        bool accumulate) {
        asm volatile("" ::: "memory");  // the compiler does not know that tiles read memory
        for (int64_t row = 0; row < rows; row += 48) {
            const int64_t count = rows - row < 48 ? rows - row : 48;
            const Element* block = a + row * a_stride;
            float* out = c + row * c_stride;
            for (int64_t group = 0; group < groups; group += 2) {
                const Element* columns = b + group * group_stride;
                const int64_t next = group + 1 < groups ? group_stride : 0;
                const Place place{out + group * 16, c_stride, count, group + 1 < groups ? 2 : 1, accumulate};
                if (count > 32)
                    run<3>(k, block, a_stride, columns, next, place);
                else if (count > 16)
                    run<2>(k, block, a_stride, columns, next, place);
                else
                    run<1>(k, block, a_stride, columns, next, place);
            }
        }
        asm volatile("" ::: "memory");
    }

private:
    static constexpr int64_t ahead = 16;  // blocks of K that are fetched before they are used

    // Where two columns of tiles go: the rows and columns that are there.
    struct Place {
        float* c;
        int64_t stride, rows;
        int columns;
        bool accumulate;

        bool whole(int row, int column) const { return column < columns && rows >= 16 * (row + 1); }
        int64_t rows_of(int row) const { return rows - 16 * row < 16 ? rows - 16 * row : 16; }

        // The tile's sums so far, where a whole tile can be read; else a copy in `spare`.
        const float* source(int row, int column, float* spare) const {
            asm volatile("" ::: "memory");  // `spare` has been read for the tile before
            if (whole(row, column)) return c + row * 16 * stride + column * 16;
            if (column < columns)
                for (int64_t n = 0; n < rows_of(row); ++n)
                    std::memcpy(spare + n * 16, c + (row * 16 + n) * stride + column * 16, 64);
            asm volatile("" ::: "memory");
            return spare;
        }
        void copy_back(int row, int column, const float* spare) const {
            asm volatile("" ::: "memory");
            if (column < columns)
                for (int64_t n = 0; n < rows_of(row); ++n)
                    std::memcpy(c + (row * 16 + n) * stride + column * 16, spare + n * 16, 64);
        }
        int64_t stride_of(int row, int column) const { return whole(row, column) ? 4 * stride : 64; }
    };

#define ULMKIT_BEGIN(tile, row, column)                                                                           \
    if (place.accumulate)                                                                                         \
        TILE_LOAD(tile, place.source(row, column, spare), place.stride_of(row, column));                          \
    else                                                                                                          \
        TILE_ZERO(tile);
#define ULMKIT_END(tile, row, column)                                                                             \
    if (place.whole(row, column)) {                                                                               \
        TILE_STORE(tile, place.c + row * 16 * place.stride + column * 16, 4 * place.stride);                      \
    } else {                                                                                                      \
        TILE_STORE(tile, spare, 64);                                                                              \
        place.copy_back(row, column, spare);                                                                      \
    }

    // Up to 3 x 2 tiles of C in tiles 0 to 5; A in 6, B in 7.
    template <int rows>
    static void run(int64_t k, const Element* a, int64_t a_stride, const Element* b, int64_t next, const Place& place) {
        alignas(64) float spare[256];
        ULMKIT_BEGIN(0, 0, 0)
        ULMKIT_BEGIN(1, 0, 1)
        if constexpr (rows > 1) {
            ULMKIT_BEGIN(2, 1, 0)
            ULMKIT_BEGIN(3, 1, 1)
        }
        if constexpr (rows > 2) {
            ULMKIT_BEGIN(4, 2, 0)
            ULMKIT_BEGIN(5, 2, 1)
        }
        const int64_t stride = 2 * a_stride;  // bytes
        for (int64_t step = 0; step < k; step += 32, a += 32, b += 512) {
            for (int line = 0; line < 16; ++line) {
                _mm_prefetch((const char*)(b + 512 * ahead + 32 * line), _MM_HINT_T0);
                _mm_prefetch((const char*)(b + next + 512 * ahead + 32 * line), _MM_HINT_T0);
            }
            TILE_LOAD(7, b, 64);
            TILE_LOAD(6, a, stride);
            TILE_PRODUCT(0, 6, 7);
            if constexpr (rows > 1) {
                TILE_LOAD(6, a + 16 * a_stride, stride);
                TILE_PRODUCT(2, 6, 7);
            }
            if constexpr (rows > 2) {
                TILE_LOAD(6, a + 32 * a_stride, stride);
                TILE_PRODUCT(4, 6, 7);
            }
            TILE_LOAD(7, b + next, 64);
            if constexpr (rows > 2) {
                TILE_PRODUCT(5, 6, 7);
                TILE_LOAD(6, a + 16 * a_stride, stride);
            }
            if constexpr (rows > 1) {
                TILE_PRODUCT(3, 6, 7);
                TILE_LOAD(6, a, stride);
            }
            TILE_PRODUCT(1, 6, 7);
        }
        ULMKIT_END(0, 0, 0)
        ULMKIT_END(1, 0, 1)
        if constexpr (rows > 1) {
            ULMKIT_END(2, 1, 0)
            ULMKIT_END(3, 1, 1)
        }
        if constexpr (rows > 2) {
            ULMKIT_END(4, 2, 0)
            ULMKIT_END(5, 2, 1)
        }
    }

#undef ULMKIT_BEGIN
#undef ULMKIT_END
};
