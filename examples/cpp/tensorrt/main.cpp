// classify MODEL.engine PHOTO.ppm [LABELS.txt]: the five most probable classes, by TensorRT 10 or later.
// The engine is a serialized plan, made on this board; its manifest lies beside it, in MODEL.engine.json.
#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <iostream>
#include <memory>

#include "image.hpp"
#include "manifest.hpp"
#include "top.hpp"

namespace {

class Logger : public nvinfer1::ILogger {
    void log(Severity severity, const char* message) noexcept override {
        if (severity <= Severity::kWARNING) std::cerr << "TensorRT: " << message << "\n";
    }
};

void check(cudaError_t status) {
    if (status != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status));
}

void check(bool done, const char* what) {
    if (!done) throw std::runtime_error(std::string("TensorRT: ") + what);
}

struct DeviceFree {
    void operator()(void* memory) const { cudaFree(memory); }
};
using DeviceMemory = std::unique_ptr<void, DeviceFree>;

DeviceMemory device_memory(std::size_t bytes) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes));
    return DeviceMemory(memory);
}

struct StreamDestroy {
    void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
using Stream = std::unique_ptr<std::remove_pointer_t<cudaStream_t>, StreamDestroy>;

Stream new_stream() {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreate(&stream));
    return Stream(stream);
}

const char* tensor_name(const nvinfer1::ICudaEngine& engine, nvinfer1::TensorIOMode mode) {
    for (int i = 0; i < engine.getNbIOTensors(); ++i) {
        const char* name = engine.getIOTensorName(i);
        if (engine.getTensorIOMode(name) == mode) return name;
    }
    throw std::runtime_error("the engine has no input, or no output");
}

int classify(const std::string& path, const std::string& photo, const std::string& labels) {
    Manifest manifest = Manifest::parse(read_file(path + ".json"));
    if (!labels.empty()) manifest.labels = read_labels(labels);

    // For the life of the application: one runtime and one engine, shared by its threads; one execution
    // context, one stream and one set of buffers for each thread.
    Logger logger;
    const std::string plan = read_file(path);
    const std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::createInferRuntime(logger));
    check(runtime != nullptr, "no runtime");
    const std::unique_ptr<nvinfer1::ICudaEngine> engine(
        runtime->deserializeCudaEngine(plan.data(), plan.size()));
    check(engine != nullptr, "it refuses this plan: one built on another GPU, or by another version?");
    const std::unique_ptr<nvinfer1::IExecutionContext> context(engine->createExecutionContext());
    check(context != nullptr, "no execution context");
    const Stream stream = new_stream();

    const std::vector<std::uint8_t> input = network_input(read_ppm(photo), manifest);
    const char* const input_name = tensor_name(*engine, nvinfer1::TensorIOMode::kINPUT);
    const char* const output_name = tensor_name(*engine, nvinfer1::TensorIOMode::kOUTPUT);
    check(engine->getTensorDataType(output_name) == nvinfer1::DataType::kFLOAT, "logits are not float32");
    const int height = manifest.height, width = manifest.width, channels = manifest.channels();
    check(context->setInputShape(input_name, manifest.dtype == "uint8"
                                                 ? nvinfer1::Dims4{1, height, width, channels}
                                                 : nvinfer1::Dims4{1, channels, height, width}),
          "it does not take one image of the manifest's size");
    const nvinfer1::Dims shape = context->getTensorShape(output_name);
    std::vector<float> logits(static_cast<std::size_t>(shape.d[shape.nbDims - 1]));

    const DeviceMemory device_input = device_memory(input.size());
    const DeviceMemory device_output = device_memory(logits.size() * sizeof(float));
    check(context->setTensorAddress(input_name, device_input.get()), "input address");
    check(context->setTensorAddress(output_name, device_output.get()), "output address");
    check(cudaMemcpyAsync(device_input.get(), input.data(), input.size(), cudaMemcpyHostToDevice, stream.get()));
    check(context->enqueueV3(stream.get()), "the inference failed");
    check(cudaMemcpyAsync(logits.data(), device_output.get(), logits.size() * sizeof(float),
                          cudaMemcpyDeviceToHost, stream.get()));
    check(cudaStreamSynchronize(stream.get()));
    print_top(logits.data(), logits.size(), manifest.labels);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3 && argc != 4) {
        std::cerr << "usage: classify MODEL.engine PHOTO.ppm [LABELS.txt]\n";
        return 2;
    }
    try {
        return classify(argv[1], argv[2], argc == 4 ? argv[3] : "");
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << "\n";
        return 1;
    }
}
