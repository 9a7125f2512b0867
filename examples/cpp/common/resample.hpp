// From one size to another, level for level as Pillow or OpenCV does it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

using Pixels = std::vector<std::uint8_t>;

struct Filter {  // one of Pillow's, which antialias
    double reach;
    double (*weight)(double);
};

inline double sinc(double x) { return x == 0 ? 1 : std::sin(x * M_PI) / (x * M_PI); }

inline Filter filter_of(const std::string& interpolation) {
    if (interpolation == "box") return {0.5, [](double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }};
    if (interpolation == "bilinear") return {1, [](double x) { return std::max(0.0, 1 - std::abs(x)); }};
    if (interpolation == "bicubic")
        return {2, [](double x) {
                    constexpr double a = -0.5;  // the cubic convolution kernel of Keys, 1981
                    x = std::abs(x);
                    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
                    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
                }};
    if (interpolation == "lanczos")
        return {3, [](double x) { return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0; }};
    throw std::runtime_error("interpolation " + interpolation + " is not written here");
}

struct Window {  // which pixels of the original make one of the result
    int first;
    std::vector<int> weights;  // fixed-point, with weight_bits of fraction
};
constexpr int weight_bits = 22;

inline std::vector<Window> windows(int length, int wanted, const Filter& filter) {
    const double scale = double(length) / wanted, stretch = std::max(scale, 1.0);
    const double support = filter.reach * stretch;
    std::vector<Window> result;
    for (int to = 0; to < wanted; ++to) {
        const double centre = (to + 0.5) * scale;
        Window window{std::max(0, int(centre - support + 0.5)), {}};
        const int last = std::min(length, int(centre + support + 0.5));
        std::vector<double> exact;
        double sum = 0;
        for (int from = window.first; from < last; ++from) {
            exact.push_back(filter.weight((from - centre + 0.5) / stretch));
            sum += exact.back();
        }
        for (double weight : exact) window.weights.push_back(int(std::round(weight / sum * (1 << weight_bits))));
        result.push_back(window);
    }
    return result;
}

// Resizes one axis of an image seen as (outer, length, inner), and gives (outer, wanted, inner).
inline Pixels resample(const Pixels& in, int outer, int length, int inner, int wanted, const Filter& filter) {
    const std::vector<Window> all = windows(length, wanted, filter);
    Pixels out;
    out.reserve(std::size_t(outer) * wanted * inner);
    for (int o = 0; o < outer; ++o) {
        for (const Window& window : all) {
            for (int i = 0; i < inner; ++i) {
                const std::uint8_t* from = &in[(std::size_t(o) * length + window.first) * inner + i];
                int total = 1 << (weight_bits - 1);
                for (int weight : window.weights) {
                    total += weight * *from;
                    from += inner;
                }
                out.push_back(std::uint8_t(std::clamp(total >> weight_bits, 0, 255)));
            }
        }
    }
    return out;
}

// Pillow's: a place is the one before it plus a step, with what that rounds.
inline std::vector<int> nearest_places(int length, int wanted) {
    const double step = double(length) / wanted;
    double place = step * 0.5;
    std::vector<int> result;
    for (int to = 0; to < wanted; ++to, place += step) result.push_back(int(place));
    return result;
}

inline Pixels nearest(const Pixels& in, int width, int height, int wide, int high, int channels) {
    const std::vector<int> columns = nearest_places(width, wide);
    Pixels out;
    out.reserve(std::size_t(wide) * high * channels);
    for (int y : nearest_places(height, high)) {
        for (int x : columns) {
            const auto pixel = in.begin() + (std::ptrdiff_t(y) * width + x) * channels;
            out.insert(out.end(), pixel, pixel + channels);
        }
    }
    return out;
}

struct Neighbours {  // the pixels before and after a place along an axis, and their weights
    int before, after, first_weight, second_weight;
};
constexpr int opencv_bits = 11;

inline std::vector<Neighbours> neighbours(int length, int wanted, bool whole_at_end) {
    const double scale = 1 / (double(wanted) / length);
    std::vector<Neighbours> result;
    for (int to = 0; to < wanted; ++to) {
        const float place = float((to + 0.5) * scale - 0.5);
        const int first = int(std::floor(place));
        const bool beyond = whole_at_end && (first < 0 || first >= length - 1);
        const float fraction = beyond ? 0 : place - float(first);
        result.push_back({std::clamp(first, 0, length - 1), std::clamp(first + 1, 0, length - 1),
                          int(std::nearbyint((1 - fraction) * (1 << opencv_bits))),
                          int(std::nearbyint(fraction * (1 << opencv_bits)))});
    }
    return result;
}

// cv2.INTER_LINEAR: the four pixels around a place; where both sides are halved, their mean.
inline Pixels opencv_bilinear(const Pixels& in, int width, int height, int wide, int high, int channels) {
    const std::size_t row = std::size_t(width) * channels;
    Pixels out;
    out.reserve(std::size_t(wide) * high * channels);
    if (width == 2 * wide && height == 2 * high) {
        for (int y = 0; y < high; ++y) {
            for (int x = 0; x < wide; ++x) {
                for (int c = 0; c < channels; ++c) {
                    const std::uint8_t* from = &in[2 * y * row + 2 * std::size_t(x) * channels + c];
                    out.push_back(std::uint8_t((from[0] + from[channels] + from[row] + from[row + channels] + 2) >> 2));
                }
            }
        }
        return out;
    }
    const std::vector<Neighbours> columns = neighbours(width, wide, true);
    for (const Neighbours& lines : neighbours(height, high, false)) {
        for (const Neighbours& column : columns) {
            for (int c = 0; c < channels; ++c) {
                const auto mixed = [&](int y) {
                    const std::uint8_t* line = &in[y * row + c];
                    return (line[std::size_t(column.before) * channels] * column.first_weight +
                            line[std::size_t(column.after) * channels] * column.second_weight) >> 4;
                };
                out.push_back(std::uint8_t((((mixed(lines.before) * lines.first_weight) >> 16) +
                                            ((mixed(lines.after) * lines.second_weight) >> 16) + 2) >> 2));
            }
        }
    }
    return out;
}

// Resizes pixels of so many channels each from width x height to wide x high.
inline Pixels resize(Pixels pixels, int width, int height, int wide, int high, int channels,
                     const std::string& interpolation) {
    if (wide == width && high == height) return pixels;
    if (interpolation == "nearest") return nearest(pixels, width, height, wide, high, channels);
    if (interpolation == "opencv-bilinear") return opencv_bilinear(pixels, width, height, wide, high, channels);
    const Filter filter = filter_of(interpolation);
    // Each pass rounds, so that the order is seen: as in Pillow, fewer rows come first where they are many fewer.
    const bool rows_first = height > high && height - high > 2 * (width - wide);
    if (rows_first) pixels = resample(pixels, 1, height, width * channels, high, filter);
    if (wide != width) pixels = resample(pixels, rows_first ? high : height, width, channels, wide, filter);
    if (!rows_first && high != height) pixels = resample(pixels, 1, height, wide * channels, high, filter);
    return pixels;
}
