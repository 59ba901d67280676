// int8 with AMX tiles.
#include "kernels.h"
#if defined(ULMKIT_WITH_AMX)
#if defined(__linux__)
#include <cpuid.h>
#endif
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,amx-tile,amx-int8"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,amx-tile,amx-int8")
#endif
#define ULMKIT_TILES_OF_BYTES
#define PATH amx_int8
#define ULMKIT_WIDTH 16
#define ULMKIT_REGISTERS 32
#define ULMKIT_ENGINE "engine_amx_int8-inl.h"
#define ULMKIT_SERVES
#include "path.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
ULMKIT_PATH(amx_int8, amx_int8::tiles_are_here() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl"))
#endif
