// Shapes and helpers of packing, forward and backward.
//
// Hidden units are processed in groups of `width`, all four gates of a group together, and divided among the threads in
// fixed slices. Each sum is computed by one thread in one order, so the number of threads does not change the result.

using Element = Engine::Element;  // of inputs and outputs
using Factor = Engine::Factor;    // of products

inline int64_t minimum(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t maximum(int64_t a, int64_t b) { return a < b ? b : a; }
inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

struct Shape {
    int64_t inputs, hidden;          // E, H
    int64_t inputs_wide, hidden_wide;  // padded for use as K
    int64_t groups;                  // of hidden units
    int64_t units;                   // groups * width
    int64_t gates;                   // 4 * units: [group][gate][unit], the K of the backward's products
    int64_t input_group, hidden_group;  // factors of a group of 4 gates of W_ih and W_hh, laid out for the forward

    explicit Shape(Layer layer) : inputs(layer.inputs), hidden(layer.hidden) {
        const int64_t multiple = maximum(Engine::depth, width);
        inputs_wide = round_up(inputs, multiple);
        hidden_wide = round_up(hidden, multiple);
        groups = (hidden + width - 1) / width;
        units = groups * width;
        gates = 4 * units;
        input_group = 4 * (inputs_wide * width + Engine::group_end);
        hidden_group = 4 * (hidden_wide * width + Engine::group_end);
    }
    int64_t present(int64_t group) const { return minimum(width, hidden - group * width); }
};

struct Slice {
    int64_t first, last;
    Slice(int64_t count, int thread, int threads) : first(count * thread / threads), last(count * (thread + 1) / threads) {}
};

inline Floats load_some(const float* from, int64_t count) {
    if (count == width) return load(from);
    float values[width] = {};
    for (int64_t n = 0; n < count; ++n) values[n] = from[n];
    return load(values);
}

inline void store_some(float* to, Floats v, int64_t count) {
    if (count == width) return store(to, v);
    float values[width];
    store(values, v);
    for (int64_t n = 0; n < count; ++n) to[n] = values[n];
}

// Clears the lanes beyond the last unit. They are part of K in other products, and infinite inputs may have made them NaN.
inline Floats first_lanes(Floats v, int64_t count) {
    for (int64_t lane = count; lane < width; ++lane) v[lane] = 0.0f;
    return v;
}

inline Floats load_elements(const Element* from, int64_t count) {
    if (count == width) return Engine::load(from);
    Element values[width] = {};
    for (int64_t n = 0; n < count; ++n) values[n] = from[n];
    return Engine::load(values);
}

inline void store_elements(Element* to, Floats v, int64_t count) {
    if (count == width) return Engine::store(to, v);
    Element values[width];
    Engine::store(values, v);
    for (int64_t n = 0; n < count; ++n) to[n] = values[n];
}

inline int64_t total_rows(const Sequences& sequences) {
    int64_t rows = 0;
    for (int64_t t = 0; t < sequences.steps; ++t) rows += sequences.running[t];
    return rows;
}

// Allocates pieces of a workspace, each on cache lines of its own; with a null start it only counts bytes.
class Workspace {
public:
    explicit Workspace(void* start) : start_(static_cast<char*>(start)) {}
    template <class T>
    T* take(int64_t count) {
        char* piece = start_ == nullptr ? nullptr : start_ + bytes_;
        bytes_ += round_up(count * int64_t(sizeof(T)), 64);
        return reinterpret_cast<T*>(piece);
    }
    int64_t bytes() const { return bytes_; }

private:
    char* start_;
    int64_t bytes_ = 0;
};
