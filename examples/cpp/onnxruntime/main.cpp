// classify MODEL.onnx PHOTO.ppm [LABELS.txt]: the five most probable classes, by ONNX Runtime.
#include <onnxruntime_cxx_api.h>

#include <cstdlib>
#include <iostream>

#include "image.hpp"
#include "manifest.hpp"
#include "processor.hpp"
#include "top.hpp"

namespace {

Manifest read_manifest(const Ort::Session& session, Ort::AllocatorWithDefaultOptions& allocator) {
    const Ort::ModelMetadata metadata = session.GetModelMetadata();
    const Ort::AllocatedStringPtr text = metadata.LookupCustomMetadataMapAllocated("edgecnn", allocator);
    if (!text) throw std::runtime_error("the file carries no manifest; export it with edgecnn");
    return Manifest::parse(text.get());
}

int classify(const std::string& model, const std::string& photo, const std::string& labels) {
    // Else ONNX Runtime, from 1.29 on, reports the model to its maker.
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    // One environment and one session for the life of the application. Session::Run may be called from
    // several threads at once.
    const Ort::Env env(ORT_LOGGING_LEVEL_WARNING, "classify");
    Ort::SessionOptions options;  // options.SetIntraOpNumThreads(1) where many threads share the session
    // Else int8 files are computed wrongly there. Elsewhere the entry would only cost time.
    if (saturates()) options.AddConfigEntry("session.x64quantprecision", "1");
    Ort::Session session(env, model.c_str(), options);
    Ort::AllocatorWithDefaultOptions allocator;
    Manifest manifest = read_manifest(session, allocator);
    if (!labels.empty()) manifest.labels = read_labels(labels);

    std::vector<std::uint8_t> bytes = network_input(read_ppm(photo), manifest);
    const std::int64_t height = manifest.height, width = manifest.width, channels = manifest.channels();
    const bool frames = manifest.dtype == "uint8";
    const std::vector<std::int64_t> shape =
        frames ? std::vector<std::int64_t>{1, height, width, channels}
               : std::vector<std::int64_t>{1, channels, height, width};
    const Ort::MemoryInfo memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const Ort::Value input = Ort::Value::CreateTensor(
        memory, bytes.data(), bytes.size(), shape.data(), shape.size(),
        frames ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT);

    const Ort::AllocatedStringPtr input_name = session.GetInputNameAllocated(0, allocator);
    const Ort::AllocatedStringPtr output_name = session.GetOutputNameAllocated(0, allocator);
    const char* const input_names[] = {input_name.get()};
    const char* const output_names[] = {output_name.get()};
    const std::vector<Ort::Value> outputs =
        session.Run(Ort::RunOptions{nullptr}, input_names, &input, 1, output_names, 1);
    print_top(outputs[0].GetTensorData<float>(), outputs[0].GetTensorTypeAndShapeInfo().GetElementCount(),
              manifest.labels);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3 && argc != 4) {
        std::cerr << "usage: classify MODEL.onnx PHOTO.ppm [LABELS.txt]\n";
        return 2;
    }
    try {
        return classify(argv[1], argv[2], argc == 4 ? argv[3] : "");
    } catch (const std::exception& error) {  // Ort::Exception is one
        std::cerr << "error: " << error.what() << "\n";
        return 1;
    }
}
