// From a photograph to a network's input, with the bytes that edgecnn/runtime/images.py gives: resize the
// shorter side, crop the centre. Resampling is Pillow's: separable, antialiased, fixed-point.
// With OpenCV, decode with cv::imread, convert BGR to RGB (of a picture with transparency, read with
// IMREAD_UNCHANGED, BGRA to RGBA), and fill an Image; cv::resize is no substitute, for it does not antialias.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "manifest.hpp"

struct Image {  // rows from the top, channels interleaved: 3 for RGB, 1 for grey, 4 for RGB and opacity
    int width = 0, height = 0, channels = 0;
    std::vector<std::uint8_t> pixels;
};

// Reads a binary PPM or PGM file (P6, P5) with values up to 255.
inline Image read_ppm(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    const auto number = [&stream] {
        for (stream >> std::ws; stream.peek() == '#'; stream >> std::ws) stream.ignore(1 << 20, '\n');
        int value = 0;
        stream >> value;
        return value;
    };
    std::string kind;
    stream >> kind;
    Image image;
    image.channels = kind == "P6" ? 3 : kind == "P5" ? 1 : 0;
    image.width = number();
    image.height = number();
    const int largest = number();
    stream.get();
    constexpr long long most_pixels = 100'000'000;
    if (!stream || image.channels == 0 || largest != 255 || image.width < 1 || image.height < 1 ||
        1LL * image.width * image.height > most_pixels)
        throw std::runtime_error(path + " is not a binary PPM or PGM image of 8 bits");
    image.pixels.resize(std::size_t(image.width) * image.height * image.channels);
    if (!stream.read(reinterpret_cast<char*>(image.pixels.data()), std::streamsize(image.pixels.size())))
        throw std::runtime_error(path + " is cut short");
    return image;
}

// RGB and opacity to RGB: what is transparent is composed on white.
inline Image on_white(const Image& image) {
    Image result{image.width, image.height, 3, {}};
    result.pixels.reserve(image.pixels.size() / 4 * 3);
    for (std::size_t i = 0; i < image.pixels.size(); i += 4) {
        const int alpha = image.pixels[i + 3];
        for (int channel = 0; channel < 3; ++channel)
            result.pixels.push_back(std::uint8_t((alpha * image.pixels[i + channel] + (255 - alpha) * 255 + 127) / 255));
    }
    return result;
}

// Grey to RGB by repetition, RGB to grey by the weights of ITU-R BT.601.
inline Image with_channels(const Image& image, int channels) {
    if (image.channels == 4) return with_channels(on_white(image), channels);
    if (channels == image.channels) return image;
    if (channels != 1 && channels != 3) throw std::runtime_error("an image has 1 or 3 channels");
    Image result{image.width, image.height, channels, {}};
    result.pixels.reserve(std::size_t(image.width) * image.height * channels);
    for (std::size_t i = 0; i < image.pixels.size(); i += image.channels) {
        const std::uint8_t* p = &image.pixels[i];
        if (channels == 3) result.pixels.insert(result.pixels.end(), 3, *p);
        else result.pixels.push_back(std::uint8_t((19595 * p[0] + 38470 * p[1] + 7471 * p[2] + 32768) >> 16));
    }
    return result;
}

inline double filter_weight(const std::string& interpolation, double x) {
    x = std::abs(x);
    if (interpolation == "bilinear") return x < 1 ? 1 - x : 0;
    constexpr double a = -0.5;  // the cubic convolution kernel of Keys, 1981
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

struct Window {  // which pixels of the original make one of the result
    int first;
    std::vector<int> weights;  // fixed-point, with weight_bits of fraction
};
constexpr int weight_bits = 22;

inline std::vector<Window> windows(int length, int wanted, const std::string& interpolation) {
    const double scale = double(length) / wanted, stretch = std::max(scale, 1.0);
    const double support = (interpolation == "bilinear" ? 1 : 2) * stretch;
    std::vector<Window> result;
    for (int to = 0; to < wanted; ++to) {
        const double centre = (to + 0.5) * scale;
        Window window{std::max(0, int(centre - support + 0.5)), {}};
        const int last = std::min(length, int(centre + support + 0.5));
        std::vector<double> exact;
        double sum = 0;
        for (int from = window.first; from < last; ++from) {
            exact.push_back(filter_weight(interpolation, (from - centre + 0.5) / stretch));
            sum += exact.back();
        }
        for (double weight : exact) window.weights.push_back(int(std::round(weight / sum * (1 << weight_bits))));
        result.push_back(window);
    }
    return result;
}

// Resizes one axis of an image seen as (outer, length, inner), and gives (outer, wanted, inner).
inline std::vector<std::uint8_t> resample(const std::vector<std::uint8_t>& in, int outer, int length, int inner,
                                          int wanted, const std::string& interpolation) {
    const std::vector<Window> all = windows(length, wanted, interpolation);
    std::vector<std::uint8_t> out;
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

// The resized and cropped image: size x size pixels, not normalised.
inline Image frame(const Image& original, const Manifest& manifest) {
    if (manifest.interpolation != "bilinear" && manifest.interpolation != "bicubic")
        throw std::runtime_error("interpolation " + manifest.interpolation + " is not written here");
    Image image = with_channels(original, manifest.channels());
    const int side = int(manifest.size / manifest.crop);
    const int shorter = std::min(image.width, image.height), longer = std::max(image.width, image.height);
    const int other = int(double(side) * longer / shorter);
    const int width = image.width <= image.height ? side : other;
    const int height = image.width <= image.height ? other : side;
    if (width != image.width)
        image.pixels = resample(image.pixels, image.height, image.width, image.channels, width,
                                manifest.interpolation);
    if (height != image.height)
        image.pixels = resample(image.pixels, 1, image.height, width * image.channels, height,
                                manifest.interpolation);
    // nearbyint rounds halves to even, as Python does.
    const int left = int(std::nearbyint((width - manifest.size) / 2.0));
    const int top = int(std::nearbyint((height - manifest.size) / 2.0));
    if (left < 0 || top < 0) throw std::runtime_error("a crop larger than the image");
    Image result{manifest.size, manifest.size, image.channels, {}};
    for (int y = top; y < top + manifest.size; ++y) {
        const auto row = image.pixels.begin() + (std::ptrdiff_t(y) * width + left) * image.channels;
        result.pixels.insert(result.pixels.end(), row, row + manifest.size * image.channels);
    }
    return result;
}

// A frame as bytes of the network's input: itself (uint8 NHWC), or normalised (float32 NCHW).
inline std::vector<std::uint8_t> network_input(const Image& image, const Manifest& manifest) {
    const Image picture = frame(image, manifest);
    if (manifest.dtype == "uint8") return picture.pixels;
    std::vector<std::uint8_t> bytes(picture.pixels.size() * sizeof(float));
    float* values = reinterpret_cast<float*>(bytes.data());
    for (int channel = 0; channel < picture.channels; ++channel) {
        const float scale = float(1 / (255 * manifest.std[channel]));
        const float offset = float(-manifest.mean[channel] / manifest.std[channel]);
        for (std::size_t i = channel; i < picture.pixels.size(); i += picture.channels)
            *values++ = picture.pixels[i] * scale + offset;
    }
    return bytes;
}
