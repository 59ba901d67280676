// fp32 with AVX2 and FMA.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define PATH avx2
#define ULMKIT_WIDTH 8
#define ULMKIT_REGISTERS 16
#include "path.h"
#include <immintrin.h>

namespace ulmkit {
namespace PATH {
#include "vectors.h"
#include "transpose.h"
#include "blocked_product.h"
#include "engine_fp32.h"
#include "all.h"
}  // namespace PATH
}  // namespace ulmkit
#if defined(__clang__)
#pragma clang attribute pop
#endif
ULMKIT_PATH(avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#endif
