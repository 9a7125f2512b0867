// classify MODEL.onnx PHOTO.ppm [LABELS.txt]: the five most probable classes, by OpenVINO.
#include <iostream>
#include <openvino/openvino.hpp>
#include <stdexcept>

#include "image.hpp"
#include "manifest.hpp"
#include "processor.hpp"
#include "top.hpp"

namespace {

// The metadata of an ONNX file becomes runtime information of the model, below "framework".
Manifest read_manifest(const ov::Model& model) {
    if (!model.has_rt_info("framework", "edgecnn"))
        throw std::runtime_error("the file carries no manifest; export it with edgecnn");
    return Manifest::parse(model.get_rt_info<std::string>("framework", "edgecnn"));
}

int classify(const std::string& path, const std::string& photo, const std::string& labels) {
    ov::Core core;
    const std::shared_ptr<ov::Model> model = core.read_model(path);
    Manifest manifest = read_manifest(*model);
    if (manifest.weight_bits > 7 && saturates())
        throw std::runtime_error("this processor has no VNNI, and OpenVINO would compute the file's int8 wrongly; "
                                 "for weights of 7 bits: edgecnn quantize FLOAT.onnx --target openvino-avx2");
    if (!labels.empty()) manifest.labels = read_labels(labels);

    std::vector<std::uint8_t> bytes = network_input(read_ppm(photo), manifest);
    const auto height = std::size_t(manifest.height), width = std::size_t(manifest.width);
    const auto channels = std::size_t(manifest.channels());
    const bool frames = manifest.dtype == "uint8";
    const ov::Shape shape = frames ? ov::Shape{1, height, width, channels} : ov::Shape{1, channels, height, width};
    // A batch that is known when the model is compiled lets OpenVINO plan its memory.
    model->reshape(ov::PartialShape(shape));
    // One compiled model for the life of the application, shared by its threads; one request for each thread.
    // A server asks for ov::hint::PerformanceMode::THROUGHPUT instead. Without a precision, CPUs that have
    // bfloat16 compute in it, and their probabilities are others than those of the file that was checked.
    ov::CompiledModel compiled =
        core.compile_model(model, "CPU", ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                           ov::hint::inference_precision(ov::element::f32));
    ov::InferRequest request = compiled.create_infer_request();
    request.set_input_tensor(ov::Tensor(frames ? ov::element::u8 : ov::element::f32, shape, bytes.data()));
    request.infer();
    const ov::Tensor logits = request.get_output_tensor();
    print_top(logits.data<float>(), logits.get_size(), manifest.labels);
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
    } catch (const std::exception& error) {  // ov::Exception is one
        std::cerr << "error: " << error.what() << "\n";
        return 1;
    }
}
