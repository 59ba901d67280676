// Functions that library.py calls.

#include "kernels.h"

#if defined(_WIN32)
#define ULMKIT_EXPORT extern "C" __declspec(dllexport)
#else
#define ULMKIT_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace ulmkit {

extern const Path path_portable, path_portable_int8;
#if defined(__x86_64__)
extern const Path path_avx2, path_avx512, path_avx512_bf16, path_amx_bf16;
extern const Path path_avx2_int8, path_avx512_vnni, path_amx_int8;
#endif

static const Path* const paths[] = {
#if defined(ULMKIT_WITH_AMX)
    &path_amx_bf16, &path_amx_int8,
#endif
#if defined(ULMKIT_WITH_AVX512_BF16) && !defined(ULMKIT_EMULATE_AMX)
    &path_avx512_bf16,
#endif
#if defined(__x86_64__) && !defined(ULMKIT_EMULATE_AMX)  // the emulation is built without them, in less time
    &path_avx512, &path_avx2, &path_avx512_vnni, &path_avx2_int8,
#endif
    &path_portable, &path_portable_int8,
};
static constexpr int count = sizeof paths / sizeof *paths;

}  // namespace ulmkit

using namespace ulmkit;

// Version of kernels.h; library.py refuses any other.
ULMKIT_EXPORT int ulmkit_version() { return 8; }

// Returns the name of a path, null after the last.
ULMKIT_EXPORT const char* ulmkit_path_name(int path) { return path < count ? paths[path]->name : nullptr; }

ULMKIT_EXPORT int ulmkit_path_runs_here(int path) { return paths[path]->runs_here(); }

ULMKIT_EXPORT void ulmkit_sizes(int path, const Layer* layer, const Sequences* sequences, int requires_grad, int threads,
                                Sizes* sizes) {
    *sizes = paths[path]->sizes(*layer, *sequences, requires_grad, threads);
}

ULMKIT_EXPORT void ulmkit_pack(int path, const Layer* layer, const Packing* packing, int threads) {
    paths[path]->pack(*layer, *packing, threads);
}

ULMKIT_EXPORT void ulmkit_forward(int path, const Layer* layer, const Sequences* sequences, const Forward* forward,
                                  int threads) {
    paths[path]->forward(*layer, *sequences, *forward, threads);
}

ULMKIT_EXPORT void ulmkit_backward(int path, const Layer* layer, const Sequences* sequences, const Backward* backward,
                                   int threads) {
    paths[path]->backward(*layer, *sequences, *backward, threads);
}

ULMKIT_EXPORT int64_t ulmkit_cross_entropy_bytes(int path, const CrossEntropy* task, int threads) {
    return paths[path]->cross_entropy_bytes(*task, threads);
}

ULMKIT_EXPORT void ulmkit_cross_entropy(int path, const CrossEntropy* task, int threads) {
    paths[path]->cross_entropy(*task, threads);
}

ULMKIT_EXPORT void ulmkit_keep_bits(int path, uint64_t seed, int32_t keep, int64_t bytes, uint8_t* bits, int threads) {
    paths[path]->keep_bits(seed, keep, bytes, bits, threads);
}

ULMKIT_EXPORT void ulmkit_document_vectors(int path, const DocumentVectors* task) {
    paths[path]->document_vectors(*task);
}
