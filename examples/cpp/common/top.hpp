// The most probable classes of one image, printed as `edgecnn predict` prints them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

inline void print_top(const float* logits, std::size_t classes, const std::vector<std::string>& labels,
                      std::size_t count = 5) {
    std::vector<std::size_t> order(classes);
    std::iota(order.begin(), order.end(), 0);
    count = std::min(count, classes);
    std::partial_sort(order.begin(), order.begin() + std::ptrdiff_t(count), order.end(),
                      [logits](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
    const double largest = logits[order[0]];
    double sum = 0;
    for (std::size_t i = 0; i < classes; ++i) sum += std::exp(logits[i] - largest);
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t index = order[i];
        const std::string name = labels.size() == classes ? labels[index] : "class " + std::to_string(index);
        std::printf("  %5.1f%%  %s (%zu)\n", 100 * std::exp(logits[index] - largest) / sum, name.c_str(), index);
    }
}
