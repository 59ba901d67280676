// Includes all of a path in a namespace of its own. The source file first defines PATH, ULMKIT_WIDTH (floats per vector),
// ULMKIT_REGISTERS and ULMKIT_ENGINE, and enables the instruction set. ULMKIT_SERVES makes it an int8 path.

#include <omp.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels.h"

namespace ulmkit {
namespace PATH {
#include "vectors-inl.h"
#define ULMKIT_INLINE inline
#include "../lstm_cell-inl.h"
#include "transpose-inl.h"
#include ULMKIT_ENGINE
#include "lstm_shape-inl.h"
#if defined(ULMKIT_READS_ROWS)
#include "row_product-inl.h"
#endif
#include "lstm_forward-inl.h"
#if defined(ULMKIT_SERVES)
#include "lstm_int8-inl.h"
#else
#include "lstm_pack-inl.h"
#include "lstm_backward-inl.h"
#include "sizes-inl.h"
#include "cross_entropy-inl.h"
#include "keep_bits-inl.h"
#include "document_vectors-inl.h"
#endif
}  // namespace PATH
}  // namespace ulmkit

// The path's row of the table in library.cpp.
#if defined(ULMKIT_SERVES)
#define ULMKIT_PATH(name, condition)                                                               \
    namespace ulmkit {                                                                             \
    extern const Path path_##name;                                                                 \
    const Path path_##name{#name,      [] { return bool(condition); }, name::sizes, name::pack,    \
                           name::forward, nullptr, nullptr, nullptr, nullptr, nullptr};\
    }
#else
#define ULMKIT_PATH(name, condition)                                                               \
    namespace ulmkit {                                                                             \
    extern const Path path_##name;                                                                 \
    const Path path_##name{#name,          [] { return bool(condition); }, name::sizes,            \
                           name::pack,     name::forward,                  name::backward,         \
                           name::cross_entropy_bytes, name::cross_entropy, name::keep_bits,        \
                           name::document_vectors};                                                \
    }
#endif
