// bf16 with the dot products of AVX-512.
#include "kernels.h"
#if defined(ULMKIT_WITH_AVX512_BF16)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16")
#endif
#define PATH avx512_bf16
#define ULMKIT_WIDTH 16
#define ULMKIT_REGISTERS 32
#define ULMKIT_ENGINE "engine_avx512_bf16-inl.h"
#include "path.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
ULMKIT_PATH(avx512_bf16, __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl"))
#endif
