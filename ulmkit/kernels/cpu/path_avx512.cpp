// fp32 with AVX-512.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#endif
#define PATH avx512
#define ULMKIT_WIDTH 16
#define ULMKIT_REGISTERS 32
#define ULMKIT_ENGINE "engine_fp32-inl.h"
#include "path.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
ULMKIT_PATH(avx512, __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl"))
#endif
