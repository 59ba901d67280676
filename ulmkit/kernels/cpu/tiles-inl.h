// The AMX instructions that the engines use, and an emulation in plain C++ to test the engines on processors without AMX.
// With ULMKIT_TILES_OF_BYTES the tile product is of int8, else of bf16.

struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64 && offsetof(TileConfig, bytes) == 16 && offsetof(TileConfig, rows) == 48,
              "the processor reads it so");

#if defined(ULMKIT_EMULATE_AMX)

static thread_local uint8_t emulated_tiles[8][16][64];
static thread_local TileConfig emulated_config;
static thread_local bool emulated_is_configured = false;

#define TILE_CONFIGURE(config) (emulated_config = *(config), emulated_is_configured = true)
#define TILE_RELEASE() emulated_is_configured = false
#define TILE_ZERO(tile) std::memset(emulated_tile(tile), 0, 1024)
#define TILE_LOAD(tile, from, stride_bytes) emulated_load(tile, from, stride_bytes)
#define TILE_STORE(tile, to, stride_bytes) emulated_store(tile, to, stride_bytes)
#define TILE_PRODUCT(sum, a, b) emulated_product(sum, a, b)

// Returns a tile, which must be configured to its full size: the processor traps on a tile that is not configured, and a
// smaller tile holds fewer bytes.
inline uint8_t (*emulated_tile(int tile))[64] {
    const TileConfig& config = emulated_config;
    if (!emulated_is_configured || config.palette != 1 || config.rows[tile] != 16 || config.bytes[tile] != 64)
        std::abort();
    return emulated_tiles[tile];
}

inline void emulated_load(int tile, const void* from, int64_t stride) {
    uint8_t(*rows)[64] = emulated_tile(tile);
    for (int row = 0; row < 16; ++row) std::memcpy(rows[row], static_cast<const char*>(from) + row * stride, 64);
}

inline void emulated_store(int tile, void* to, int64_t stride) {
    const uint8_t(*rows)[64] = emulated_tile(tile);
    for (int row = 0; row < 16; ++row) std::memcpy(static_cast<char*>(to) + row * stride, rows[row], 64);
}

#if defined(ULMKIT_TILES_OF_BYTES)
// sum[m][n] += a[m][4k + j] b[k][4n + j], j from 0 to 3
inline void emulated_product(int sum, int a, int b) {
    const uint8_t(*left)[64] = emulated_tile(a), (*right)[64] = emulated_tile(b);
    for (int m = 0; m < 16; ++m) {
        int32_t row[16];
        std::memcpy(row, emulated_tile(sum)[m], 64);
        for (int k = 0; k < 16; ++k)
            for (int n = 0; n < 16; ++n)
                for (int j = 0; j < 4; ++j)
                    row[n] += int8_t(left[m][4 * k + j]) * int8_t(right[k][4 * n + j]);
        std::memcpy(emulated_tile(sum)[m], row, 64);
    }
}
#else
inline float emulated_float(const uint8_t* half) {
    const uint32_t bits = uint32_t(half[0]) << 16 | uint32_t(half[1]) << 24;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// sum[m][n] += a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1]
inline void emulated_product(int sum, int a, int b) {
    const uint8_t(*left)[64] = emulated_tile(a), (*right)[64] = emulated_tile(b);
    for (int m = 0; m < 16; ++m) {
        float row[16];
        std::memcpy(row, emulated_tile(sum)[m], 64);
        for (int k = 0; k < 16; ++k)
            for (int n = 0; n < 16; ++n)
                for (int half = 0; half < 2; ++half)
                    row[n] += emulated_float(left[m] + 4 * k + 2 * half) *
                              emulated_float(right[k] + 4 * n + 2 * half);
        std::memcpy(emulated_tile(sum)[m], row, 64);
    }
}
#endif

inline bool tiles_are_here() { return true; }

#else

#define TILE_CONFIGURE(config) _tile_loadconfig(config)
#define TILE_RELEASE() _tile_release()
#define TILE_ZERO(tile) _tile_zero(tile)
#define TILE_LOAD(tile, from, stride_bytes) _tile_loadd(tile, from, stride_bytes)
#define TILE_STORE(tile, to, stride_bytes) _tile_stored(tile, to, stride_bytes)
#if defined(ULMKIT_TILES_OF_BYTES)
#define TILE_PRODUCT(sum, a, b) _tile_dpbssd(sum, a, b)
#else
#define TILE_PRODUCT(sum, a, b) _tile_dpbf16ps(sum, a, b)
#endif

#if defined(__linux__)

// True if the processor has AMX tiles of the type and the system lets this process use them, which Linux must be asked for.
inline bool tiles_are_here() {
#if defined(ULMKIT_TILES_OF_BYTES)
    constexpr int type_bit = 25;
#else
    constexpr int type_bit = 22;
#endif
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> type_bit & 1) || !(d >> 24 & 1)) return false;
    constexpr long request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#else
inline bool tiles_are_here() { return false; }
#endif

#endif
