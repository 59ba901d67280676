// bf16 with the dot products of AVX-512.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")
#endif
#define PATH avx512_bf16
#define ULMKIT_WIDTH 16
#define ULMKIT_REGISTERS 32
#include "path.h"
#include <immintrin.h>

namespace ulmkit {
namespace PATH {
#include "vectors.h"
#include "transpose.h"
#include "blocked_product.h"
#include "bf16.h"
#include "engine_avx512_bf16.h"
#include "all.h"
}  // namespace PATH
}  // namespace ulmkit
#if defined(__clang__)
#pragma clang attribute pop
#endif
ULMKIT_PATH(avx512_bf16, __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
#endif
