// int8 with AVX2.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define PATH avx2_int8
#define ULMKIT_WIDTH 8
#define ULMKIT_REGISTERS 16
#define ULMKIT_ENGINE "engine_avx2_int8-inl.h"
#define ULMKIT_SERVES
#include "path.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
ULMKIT_PATH(avx2_int8, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#endif
