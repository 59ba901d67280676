// Peak bandwidth and arithmetic of this machine, for the floor of a recurrent step; lstm_cpu.py builds it with
// -march=native.

#include <omp.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif
#if defined(__AMX_BF16__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Bytes per second that all threads together read from memory of `bytes`, each thread its own part repeatedly.
extern "C" double read_bandwidth(int64_t bytes, int threads, int repeats) {
    std::vector<int64_t> memory(bytes / 8, 1);
    double best = 0.0;
    for (int repeat = 0; repeat < repeats; ++repeat) {
        constexpr int passes = 20;
        int64_t total = 0;
        const double start = now();
#pragma omp parallel num_threads(threads) reduction(+ : total)
        {
            const int64_t count = memory.size() / omp_get_num_threads();
            const int64_t* part = memory.data() + count * omp_get_thread_num();
            for (int pass = 0; pass < passes; ++pass) {
                int64_t sums[32] = {};
                for (int64_t n = 0; n + 32 <= count; n += 32)
                    for (int lane = 0; lane < 32; ++lane) sums[lane] += part[n + lane];
                for (int64_t sum : sums) total += sum;
                asm volatile("" ::: "memory");
            }
        }
        const double speed = total == 0 ? 0.0 : passes * double(bytes) / (now() - start);
        best = speed > best ? speed : best;
    }
    return best;
}

// Runs independent instructions on registers, and returns the floating-point operations of one round.
#if defined(__AMX_BF16__)
struct alignas(64) Config {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static double bf16_rounds(int64_t rounds) {
    if (syscall(SYS_arch_prctl, 0x1023, 18) != 0) return 0.0;  // the system does not permit tiles
    const Config config;
    _tile_loadconfig(&config);
    for (int64_t n = 0; n < rounds; ++n) {
        _tile_dpbf16ps(0, 6, 7);
        _tile_dpbf16ps(1, 6, 7);
        _tile_dpbf16ps(2, 6, 7);
        _tile_dpbf16ps(3, 6, 7);
        _tile_dpbf16ps(4, 6, 7);
        _tile_dpbf16ps(5, 6, 7);
    }
    _tile_release();
    return 6.0 * 2 * 16 * 16 * 32;
}
#elif defined(__AVX512BF16__)
static double bf16_rounds(int64_t rounds) {
    __m512 sums[24] = {};
    const __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f803f80), b = a;
    for (int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 24
        for (int k = 0; k < 24; ++k) sums[k] = _mm512_dpbf16_ps(sums[k], a, b);
#pragma GCC unroll 24
        for (int k = 0; k < 24; ++k) asm volatile("" : "+v"(sums[k]));
    }
    return 24.0 * 64;
}
#else
static double bf16_rounds(int64_t) { return 0.0; }
#endif

static double fp32_rounds(int64_t rounds) {
#if defined(__AVX512F__)
    constexpr int width = 16, count = 24;
#else
    constexpr int width = 8, count = 12;
#endif
    typedef float Floats __attribute__((vector_size(4 * width)));
    Floats sums[count] = {}, a{}, b{};
    asm volatile("" : "+m"(a), "+m"(b));
    for (int64_t n = 0; n < rounds; ++n) {
#pragma GCC unroll 24
        for (int k = 0; k < count; ++k) sums[k] += a * b;
#pragma GCC unroll 24
        for (int k = 0; k < count; ++k) asm volatile("" : "+v"(sums[k]), "+v"(a));
    }
    return 2.0 * count * width;
}

// Floating-point operations per second of all threads together; 0 if the processor has no such instructions.
extern "C" double peak(int bf16, int threads, int repeats) {
    double best = 0.0;
    constexpr int64_t rounds = 10000000;  // long enough for all threads to run at the same time
    for (int repeat = 0; repeat < repeats; ++repeat) {
        double each = 0.0;
        const double start = now();
#pragma omp parallel num_threads(threads) reduction(max : each)
        each = bf16 ? bf16_rounds(rounds) : fp32_rounds(rounds);
        const double speed = threads * each * rounds / (now() - start);
        best = speed > best ? speed : best;
    }
    return best;
}
