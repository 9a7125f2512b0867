// From a photograph to a network's input, with the bytes that edgecnn/runtime/preprocessing.py gives: fit it into
// the input, order the channels, normalize.
// With OpenCV, decode with cv::imread, convert BGR to RGB (of a picture with transparency, read with
// IMREAD_UNCHANGED, BGRA to RGBA), and fill an Image; cv::resize is no substitute for Pillow's filters, for it
// does not antialias.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "manifest.hpp"
#include "resample.hpp"

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

struct Size {
    int width, height;
};

struct Fitted {  // what a picture is resized to, and where the input's corner lies in that: before it, if padded
    Size resized;
    int left, top;
};

// nearbyint rounds halves to even, as Python does.
inline int rounded(double value) { return int(std::nearbyint(value)); }

inline Fitted fitted(const Size picture, const Manifest& manifest) {
    const int high = manifest.height, wide = manifest.width;
    if (manifest.fit == "stretch") return {{wide, high}, 0, 0};
    if (manifest.fit == "letterbox" || manifest.fit == "letterbox-corner") {
        const double scale = std::min(double(high) / picture.height, double(wide) / picture.width);
        if (manifest.fit == "letterbox-corner")
            return {{std::max(1, int(picture.width * scale)), std::max(1, int(picture.height * scale))}, 0, 0};
        const Size size{std::max(1, rounded(picture.width * scale)), std::max(1, rounded(picture.height * scale))};
        return {size, -rounded((wide - size.width) / 2.0 - 0.1), -rounded((high - size.height) / 2.0 - 0.1)};
    }
    const int least_width = int(wide / manifest.crop), least_height = int(high / manifest.crop);
    if (manifest.fit == "crop-paddle") {
        const double scale = std::max(double(least_height) / picture.height, double(least_width) / picture.width);
        const Size size{rounded(picture.width * scale), rounded(picture.height * scale)};
        return {size, int(std::floor((size.width - wide) / 2.0)), int(std::floor((size.height - high) / 2.0))};
    }
    if (manifest.fit != "crop") throw std::runtime_error("fit " + manifest.fit + " is not written here");
    Size size{least_width, int(double(least_width) * picture.height / picture.width)};
    if (1LL * least_width * picture.height < 1LL * least_height * picture.width)
        size = {int(double(least_height) * picture.width / picture.height), least_height};
    return {size, rounded((size.width - wide) / 2.0), rounded((size.height - high) / 2.0)};
}

// The fitted image: height x width x channels of the input, not normalised.
inline Image frame(const Image& original, const Manifest& manifest) {
    const int bands = manifest.color == "grey" ? 1 : 3, channels = manifest.channels();
    const Image picture = with_channels(original, bands);
    const Fitted place = fitted({picture.width, picture.height}, manifest);
    const Size size = place.resized;
    const std::vector<std::uint8_t> pixels =
        resize(picture.pixels, picture.width, picture.height, size.width, size.height, bands, manifest.interpolation);
    Image result{manifest.width, manifest.height, channels, {}};
    result.pixels.reserve(std::size_t(result.width) * result.height * channels);
    for (int y = place.top; y < place.top + result.height; ++y) {
        for (int x = place.left; x < place.left + result.width; ++x) {
            const bool inside = y >= 0 && y < size.height && x >= 0 && x < size.width;
            if (!inside && manifest.pad.empty()) throw std::runtime_error("a crop larger than the image");
            for (int channel = 0; channel < channels; ++channel) {
                const int band = manifest.color == "bgr" ? 2 - channel % 3 : channel % bands;
                result.pixels.push_back(
                    inside ? pixels[(std::size_t(y) * size.width + x) * bands + band]
                           : std::uint8_t(manifest.pad[manifest.pad.size() == 1 ? 0 : channel % bands]));
            }
        }
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
        const float scale = float(1 / (255 / manifest.pixels * manifest.std[channel]));
        const float offset = float(-manifest.mean[channel] / manifest.std[channel]);
        for (std::size_t i = channel; i < picture.pixels.size(); i += picture.channels)
            *values++ = picture.pixels[i] * scale + offset;
    }
    return bytes;
}
