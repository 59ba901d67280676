// All of a path, in its own namespace: its source file names PATH, ULMKIT_WIDTH and ULMKIT_REGISTERS and switches its
// instructions on before it includes this, then an engine, then all.h.

#include <omp.h>

#include <cstdint>
#include <cstring>

#include "kernels.h"

// The path's row of the table in library.cpp.
#define ULMKIT_PATH(name, condition)                                                               \
    namespace ulmkit {                                                                             \
    extern const Path path_##name;                                                                 \
    const Path path_##name{#name,          [] { return bool(condition); }, name::sizes,            \
                           name::pack,     name::forward,                  name::backward,         \
                           name::cross_entropy_bytes, name::cross_entropy};                        \
    }
