// Vectors of documents and of their n-grams: PV-DBOW by stochastic gradient descent, on one thread.
//
//   loss of a token f of document d = -log sigmoid(u_d . v_f) - k log sigmoid(-u_d . v_g),  g: one n-gram of noise
//
// One sample of noise that counts k times takes a third of the time of five: rows of v come from memory, not a cache.
//
// Source: Le & Mikolov 2014, arXiv:1405.4053, section 2.3; Mikolov et al. 2013, arXiv:1310.4546, section 2.2, equation 4.

inline float sigmoid_of(float x) {
    const float e = exp_of_negative(all(x < 0.0f ? x : -x))[0];
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

inline uint64_t draw_below(uint64_t& random, uint64_t end) { return (split_mix(random) >> 32) * end >> 32; }

inline float dot(const float* a, const float* b, int64_t size) {
    Floats sum{};
    for (int64_t i = 0; i < size; i += width) sum += load(a + i) * load(b + i);
    float total = 0.0f;
    for (int64_t lane = 0; lane < width; ++lane) total += sum[lane];
    return total;
}

inline void fetch_row(const float* row, int64_t size) {
    for (int64_t i = 0; i < size; i += 16) __builtin_prefetch(row + i, 1);
}

// Draws which tokens of a document are learned from, in random order. Returns their number.
inline int64_t draw_tokens(const DocumentVectors& task, int64_t document, uint64_t& random, int32_t* tokens) {
    int64_t count = 0;
    for (int64_t at = task.offsets[document]; at < task.offsets[document + 1]; ++at) {
        const int32_t feature = task.features[at];
        for (int32_t copy = 0; copy < task.counts[at]; ++copy)
            if (float(split_mix(random) >> 40) < task.keep[feature] * 0x1p24f) tokens[count++] = feature;
    }
    for (int64_t i = count; i > 1; --i) std::swap(tokens[i - 1], tokens[draw_below(random, i)]);
    return count;
}

// One pass over the documents, in random order.
inline void document_vectors(DocumentVectors task) {
    const int64_t size = task.size, documents = task.documents;
    uint64_t random = task.seed;
    for (int64_t i = 0; i < documents; ++i) task.order[i] = i;
    for (int64_t i = documents; i > 1; --i) std::swap(task.order[i - 1], task.order[draw_below(random, i)]);
    for (int64_t place = 0; place < documents; ++place) {
        const float done = float(place) / float(documents);
        const float rate = task.first_rate + done * (task.last_rate - task.first_rate);
        float* u = task.document_vectors + task.order[place] * size;
        const int64_t count = draw_tokens(task, task.order[place], random, task.tokens);
        int32_t next = task.noise[draw_below(random, task.noise_size)];
        for (int64_t at = 0; at < count; ++at) {
            const int32_t token = task.tokens[at], noise = next;
            next = task.noise[draw_below(random, task.noise_size)];
            if (at + 1 < count) {
                fetch_row(task.feature_vectors + task.tokens[at + 1] * size, size);
                fetch_row(task.feature_vectors + next * size, size);
            }
            float* v = task.feature_vectors + token * size;
            float* w = task.feature_vectors + noise * size;
            const float up = rate * sigmoid_of(-dot(u, v, size));
            const float down = noise == token ? 0.0f : rate * task.noise_weight * sigmoid_of(dot(u, w, size));
            for (int64_t i = 0; i < size; i += width) {
                const Floats old = load(u + i), near = load(v + i), far = load(w + i);
                store(u + i, old + all(up) * near - all(down) * far);
                store(w + i, far - all(down) * old);
                store(v + i, near + all(up) * old);  // last: v may be w
            }
        }
    }
}
