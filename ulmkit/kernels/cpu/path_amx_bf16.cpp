// bf16 with AMX tiles.
#include "kernels.h"
#if defined(ULMKIT_WITH_AMX)
#if defined(__linux__)
#include <cpuid.h>
#endif
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16,amx-tile,amx-bf16"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16,amx-tile,amx-bf16")
#endif
#define PATH amx_bf16
#define ULMKIT_WIDTH 16
#define ULMKIT_REGISTERS 32
#define ULMKIT_ENGINE "engine_amx_bf16-inl.h"
#include "path.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
ULMKIT_PATH(amx_bf16, amx_bf16::tiles_are_here() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl"))
#endif
