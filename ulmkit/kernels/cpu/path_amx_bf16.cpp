// bf16 with AMX tiles.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16,fma")
#endif
#define PATH amx_bf16
#define ULMKIT_WIDTH 16
#define ULMKIT_REGISTERS 32
#include "path.h"
#include <immintrin.h>
#if defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace ulmkit {
namespace PATH {
#include "vectors.h"
#include "transpose.h"
#include "bf16.h"
#include "tiles.h"
#include "engine_amx_bf16.h"
#include "all.h"
}  // namespace PATH
}  // namespace ulmkit
#if defined(__clang__)
#pragma clang attribute pop
#endif
ULMKIT_PATH(amx_bf16, amx_bf16::tiles_are_here() && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
#endif
