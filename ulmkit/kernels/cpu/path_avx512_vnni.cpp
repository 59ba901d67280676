// int8 with the dot products of AVX-512.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512vnni"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512vnni")
#endif
#define PATH avx512_vnni
#define ULMKIT_WIDTH 16
#define ULMKIT_REGISTERS 32
#define ULMKIT_ENGINE "engine_avx512_vnni-inl.h"
#define ULMKIT_SERVES
#include "path.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
ULMKIT_PATH(avx512_vnni, __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl"))
#endif
