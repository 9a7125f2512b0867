// frame_bytes MANIFEST.json PHOTO.ppm: the bytes of the network's input on standard output, and the labels on
// standard error. frame_bytes MANIFEST.json RGBA.bin WIDTH HEIGHT: the same of raw pixels with opacity.
#include <cstdio>
#include <cstdlib>

#include "image.hpp"
#include "manifest.hpp"

int main(int argc, char** argv) {
    const Manifest manifest = Manifest::parse(read_file(argv[1]));
    Image image;
    if (argc == 5) {
        const std::string raw = read_file(argv[2]);
        image = {std::atoi(argv[3]), std::atoi(argv[4]), 4, {raw.begin(), raw.end()}};
    } else {
        image = read_ppm(argv[2]);
    }
    const auto bytes = network_input(image, manifest);
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    for (const std::string& label : manifest.labels) std::fprintf(stderr, "%s\n", label.c_str());
}
