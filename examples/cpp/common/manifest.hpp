// What a model file says of itself: how its input is prepared, and what its classes are called.
#pragma once

#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "json.hpp"

struct Manifest {
    std::string dtype;           // of the input: "uint8" (N, H, W, C) or "float32" (N, C, H, W)
    int height, width;           // of the input, in pixels
    std::string fit = "crop";    // "crop", "crop-paddle", "stretch", "letterbox" or "letterbox-corner"
    double crop = 1;             // share of the shorter side that the centre crop keeps
    std::vector<int> pad;        // level around a letterboxed picture: one, or one per channel
    std::string interpolation;   // "bilinear", "bicubic", "nearest", "box", "lanczos" or "opencv-bilinear"
    std::string color;           // "rgb", "bgr" or "grey"
    int pixels = 1;              // what a white pixel is: 1 or 255
    std::vector<double> mean;    // per channel, in the unit of pixels
    std::vector<double> std;
    int weight_bits = 0;              // of an int8 file: 8 or 7
    std::vector<std::string> labels;  // empty where the manifest only names a label set, such as "imagenet"

    int channels() const { return static_cast<int>(mean.size()); }

    // The text is the metadata entry "edgecnn" of an ONNX file, or what lies in FILE.json beside an engine.
    static Manifest parse(const std::string& text) {
        const Json json = JsonReader(text).read();
        const Json& preprocessing = json["preprocessing"];
        if (preprocessing.is_null()) throw std::runtime_error("the manifest has no preprocessing");
        Manifest manifest;
        manifest.dtype = json["inputs"].array().at(0)["dtype"].text();
        if (manifest.dtype != "uint8" && manifest.dtype != "float32")
            throw std::runtime_error("an input of type " + manifest.dtype + "; export with --input uint8");
        const auto whole = [&preprocessing](const char* key) { return static_cast<int>(preprocessing[key].number()); };
        // The first manifests say the size of a square, and nothing of what has a default here.
        manifest.height = whole(preprocessing.has("height") ? "height" : "size");
        manifest.width = whole(preprocessing.has("width") ? "width" : "size");
        if (preprocessing.has("fit")) manifest.fit = preprocessing["fit"].text();
        if (preprocessing.has("crop")) manifest.crop = preprocessing["crop"].number();
        if (preprocessing.has("pad"))
            for (const Json& level : preprocessing["pad"].array()) manifest.pad.push_back(int(level.number()));
        if (preprocessing.has("pixels")) manifest.pixels = whole("pixels");
        manifest.interpolation = preprocessing["interpolation"].text();
        for (const Json& value : preprocessing["mean"].array()) manifest.mean.push_back(value.number());
        for (const Json& value : preprocessing["std"].array()) manifest.std.push_back(value.number());
        manifest.color = preprocessing.has("color") ? preprocessing["color"].text() : "rgb";
        if (manifest.channels() == 1) manifest.color = "grey";
        if (json["precision"].text() == "int8") {
            const Json& quantization = json["quantization"];
            manifest.weight_bits = quantization.has("weight_bits") ? int(quantization["weight_bits"].number()) : 8;
        }
        if (json["labels"].is_array())
            for (const Json& label : json["labels"].array()) manifest.labels.push_back(label.text());
        return manifest;
    }
};

inline std::string read_file(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(stream), {}};
}

// One name a line, as the examples' README writes them; lines that begin with # are comments.
inline std::vector<std::string> read_labels(const std::string& path) {
    std::ifstream stream(path);
    if (!stream) throw std::runtime_error("cannot read " + path);
    std::vector<std::string> labels;
    for (std::string line; std::getline(stream, line);)
        if (!line.empty() && line[0] != '#') labels.push_back(line);
    return labels;
}
