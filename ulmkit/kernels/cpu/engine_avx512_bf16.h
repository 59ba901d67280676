// Matrix products of bf16 with fp32 sums, by AVX-512 dot products of pairs. K is even.

struct Bf16Tile {
    using Element = PATH::Element;
    static constexpr int64_t block_rows = 6;  // times 4 groups: 24 sums, 4 lines of B and values of A in 32 registers
    static constexpr int64_t block_depth = 1536;

    template <int groups, int rows>
    static void run(int64_t k, const Element* a, int64_t a_stride, const Element* b, int64_t group_stride, float* c,
                    int64_t c_stride, bool accumulate) {
        __m512 sum[rows][groups];
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
            for (int g = 0; g < groups; ++g)
                sum[r][g] = accumulate ? _mm512_loadu_ps(c + r * c_stride + g * width) : _mm512_setzero_ps();
        for (int64_t step = 0; step < k; step += 2) {
            __m512bh column[groups];
#pragma GCC unroll 4
            for (int g = 0; g < groups; ++g)
                column[g] = (__m512bh)_mm512_loadu_si512(b + g * group_stride + step * width);
#pragma GCC unroll 8
            for (int r = 0; r < rows; ++r) {
                int32_t pair;
                std::memcpy(&pair, a + r * a_stride + step, sizeof pair);
                const __m512bh value = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
                for (int g = 0; g < groups; ++g) sum[r][g] = _mm512_dpbf16_ps(sum[r][g], column[g], value);
            }
        }
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
            for (int g = 0; g < groups; ++g) _mm512_storeu_ps(c + r * c_stride + g * width, sum[r][g]);
    }
};

struct Engine : Bf16, BlockedProduct<Bf16Tile> {
    using Element = PATH::Element;
};
