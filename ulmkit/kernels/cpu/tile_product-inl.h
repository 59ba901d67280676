// Matrix products by AMX tiles: 16 rows of 64 bytes of A times a block of B (64 bytes deep, 16 columns, 1 KiB), added to
// 16 x 16 sums of C, 4 bytes each. The tile instruction decides whether the bytes are int8 or bf16.
//
// Up to the next multiple of 16 rows, A is read but the values beyond its rows do not affect the result.

#include "tiles-inl.h"

template <class Sum>
class TileProduct {
public:
    // A thread can use tiles while it holds a session.
    struct Session {
        Session() {
            const TileConfig config;
            asm volatile("" ::: "memory");
            TILE_CONFIGURE(&config);
        }
        ~Session() { TILE_RELEASE(); }
    };

    // C [rows][groups * 16] = (C +) A [rows][bytes] B; strides of A and B in bytes, bytes a multiple of 64
    static void product(int64_t rows, int64_t groups, int64_t bytes,
                        const void* a, int64_t a_stride,      // [rows][a_stride]
                        const void* b, int64_t group_stride,  // [groups][group_stride]
                        Sum* c, int64_t c_stride,             // [rows][c_stride]
                        bool accumulate) {
        asm volatile("" ::: "memory");  // the compiler does not know that tiles read memory
        int64_t count;
        for (int64_t row = 0, blocks = (rows + 47) / 48; row < rows; row += count, --blocks) {
            const int64_t tiles = (rows - row + 15) / 16, share = 16 * ((tiles + blocks - 1) / blocks);  // equal blocks
            count = rows - row < share ? rows - row : share;
            const char* block = static_cast<const char*>(a) + row * a_stride;
            Sum* out = c + row * c_stride;
            for (int64_t group = 0; group < groups; group += 2) {
                const char* columns = static_cast<const char*>(b) + group * group_stride;
                const int64_t next = group + 1 < groups ? group_stride : 0;
                const Place place{out + group * 16, c_stride, count, group + 1 < groups ? 2 : 1, accumulate};
                if (count > 32)
                    run<3>(bytes, block, a_stride, columns, next, place);
                else if (count > 16)
                    run<2>(bytes, block, a_stride, columns, next, place);
                else
                    run<1>(bytes, block, a_stride, columns, next, place);
            }
        }
        asm volatile("" ::: "memory");
    }

private:
    static constexpr int64_t ahead = 16;  // blocks of K to prefetch ahead of use

    // Destination of up to 3 x 2 tiles, and how much of it lies within C.
    struct Place {
        Sum* c;
        int64_t stride, rows;
        int columns;
        bool accumulate;

        bool whole(int row, int column) const { return column < columns && rows >= 16 * (row + 1); }
        int64_t rows_of(int row) const { return rows - 16 * row < 16 ? rows - 16 * row : 16; }

        // Where to load the tile's previous sums from: C if the whole tile lies within it, else a copy in `spare`.
        const Sum* source(int row, int column, Sum* spare) const {
            asm volatile("" ::: "memory");  // the previous tile has been loaded from `spare`
            if (whole(row, column)) return c + row * 16 * stride + column * 16;
            if (column < columns)
                for (int64_t n = 0; n < rows_of(row); ++n)
                    std::memcpy(spare + n * 16, c + (row * 16 + n) * stride + column * 16, 64);
            asm volatile("" ::: "memory");
            return spare;
        }
        void copy_back(int row, int column, const Sum* spare) const {
            asm volatile("" ::: "memory");
            if (column < columns)
                for (int64_t n = 0; n < rows_of(row); ++n)
                    std::memcpy(c + (row * 16 + n) * stride + column * 16, spare + n * 16, 64);
            asm volatile("" ::: "memory");  // the next tile must not be stored to `spare` before
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

    // Computes up to 3 x 2 tiles of C, in tile registers 0 to 5; A is in 6, B in 7.
    template <int rows>
    static void run(int64_t bytes, const char* a, int64_t stride, const char* b, int64_t next, const Place& place) {
        alignas(64) Sum spare[256];
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
        for (int64_t step = 0; step < bytes; step += 64, a += 64, b += 1024) {
            for (int line = 0; line < 16; ++line) {
                _mm_prefetch(b + 1024 * ahead + 64 * line, _MM_HINT_T0);
                _mm_prefetch(b + next + 1024 * ahead + 64 * line, _MM_HINT_T0);
            }
            TILE_LOAD(7, b, 64);
            TILE_LOAD(6, a, stride);
            TILE_PRODUCT(0, 6, 7);
            if constexpr (rows > 1) {
                TILE_LOAD(6, a + 16 * stride, stride);
                TILE_PRODUCT(2, 6, 7);
            }
            if constexpr (rows > 2) {
                TILE_LOAD(6, a + 32 * stride, stride);
                TILE_PRODUCT(4, 6, 7);
            }
            TILE_LOAD(7, b + next, 64);
            if constexpr (rows > 2) {
                TILE_PRODUCT(5, 6, 7);
                TILE_LOAD(6, a + 16 * stride, stride);
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
