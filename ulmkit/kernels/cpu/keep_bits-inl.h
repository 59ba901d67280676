// Random bits that are 1 with probability keep / 2^16, one for each weight.
//
// The probability's binary digits, lowest first, are folded with random bits: random | kept for a 1, random & kept for a 0.
// The random bits come from xoshiro256++ in 8 lanes, seeded by SplitMix64. Each piece of the output has its own stream, so
// the bits do not depend on the number of threads or the width of vectors.
//
// Source: Blackman & Vigna 2021, ACM Transactions on Mathematical Software 47, 36; Steele, Lea & Flood 2014 (SplitMix).

typedef uint64_t Lanes __attribute__((vector_size(64)));

inline uint64_t split_mix(uint64_t& state) {
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

class RandomLanes {
public:
    explicit RandomLanes(uint64_t seed) {
        for (Lanes& word : state_)
            for (int lane = 0; lane < 8; ++lane) word[lane] = split_mix(seed);
    }
    Lanes next() {
        Lanes& a = state_[0];
        Lanes &b = state_[1], &c = state_[2], &d = state_[3];
        const Lanes sum = a + d, found = (sum << 23 | sum >> 41) + a, shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d << 45 | d >> 19;
        return found;
    }

private:
    Lanes state_[4];
};

inline void keep_bits(uint64_t seed, int32_t keep, int64_t bytes, uint8_t* bits, int threads) {
    constexpr int64_t piece = 1 << 14;
#pragma omp parallel for num_threads(threads)
    for (int64_t first = 0; first < bytes; first += piece) {
        uint64_t stream = seed + uint64_t(first / piece);
        RandomLanes random(split_mix(stream));
        const int64_t end = minimum(first + piece, bytes);
        for (int64_t at = first; at < end; at += 64) {
            Lanes kept{};
            for (int digit = __builtin_ctz(keep); digit < 16; ++digit) {
                const Lanes drawn = random.next();
                kept = keep >> digit & 1 ? drawn | kept : drawn & kept;
            }
            std::memcpy(bits + at, &kept, minimum(64, end - at));
        }
    }
}
