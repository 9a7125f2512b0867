// frame_bytes MANIFEST.json PHOTO.ppm: the bytes of the network's input on standard output, and the labels on
// standard error.
#include <cstdio>

#include "image.hpp"
#include "manifest.hpp"

int main(int, char** argv) {
    const Manifest manifest = Manifest::parse(read_file(argv[1]));
    const auto bytes = network_input(read_ppm(argv[2]), manifest);
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
    for (const std::string& label : manifest.labels) std::fprintf(stderr, "%s\n", label.c_str());
}
