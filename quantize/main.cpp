// condensed-quantize: stores a checkpoint's matrices in 8 or 4 bits, once, so that it loads without
// conversion.

#include <cerrno>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "engine/checkpoint.h"
#include "engine/file_text.h"
#include "engine/host_pages.h"
#include "engine/input_error.h"
#include "engine/layer_plan.h"
#include "engine/safetensors.h"
#include "engine/weight_format.h"
#include "engine/weights.h"
#include "kernels/make_backend.h"

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace condensed;
using engine::InputError;

constexpr int kFailed = 1;
constexpr int kUsage = 2;

/// Passes a checkpoint's tensors on and keeps them: the matrices in `format`, the vectors as float32.
class Quantiser final : public engine::WeightSource {
 public:
  Quantiser(engine::WeightSource& source, const engine::WeightFormat& format)
      : source_(source), format_(format) {}

  const engine::ModelConfig& config() const override { return source_.config(); }

  kernels::MatrixView matrix(const std::string& name, std::int64_t rows, std::int64_t cols) override {
    const kernels::MatrixView from = source_.matrix(name, rows, cols);
    const kernels::DType dtype = engine::is_of_layer(name) ? format_.layers : format_.embedding;
    const std::int64_t row_bytes = kernels::row_bytes(dtype, cols);
    const auto bytes = keep(name, engine::ElementType::u8, {rows, row_bytes}, rows * row_bytes);
    try {
      engine::convert_rows(from, dtype, bytes);
    } catch (const InputError& error) {
      throw InputError("tensor " + name + ": " + error.what());
    }
    return {.dtype = dtype, .data = bytes.data(), .rows = rows, .cols = cols};
  }

  std::vector<float> vector(const std::string& name, std::int64_t size) override {
    std::vector<float> values = source_.vector(name, size);
    const auto bytes = keep(name, engine::ElementType::f32, {size}, size * std::int64_t{sizeof(float)});
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return values;
  }

  const std::vector<engine::TensorView>& tensors() const { return tensors_; }

 private:
  std::span<std::byte> keep(const std::string& name, engine::ElementType type,
                            std::vector<std::int64_t> shape, std::int64_t size) {
    const std::span<std::byte> bytes = pages_.emplace_back(static_cast<std::size_t>(size)).bytes();
    tensors_.push_back({.name = name, .type = type, .shape = std::move(shape), .data = bytes, .file = {}});
    return bytes;
  }

  engine::WeightSource& source_;
  engine::WeightFormat format_;
  std::vector<engine::HostPages> pages_;
  std::vector<engine::TensorView> tensors_;
};

void write_config(const fs::path& from, const fs::path& to, const engine::WeightFormat& format) {
  json::object config = json::parse(engine::file_text(from)).as_object();
  config["quantization_config"] = {{"quant_method", "condensed"},
                                   {"layers", std::string(name_of(format.layers))},
                                   {"embedding", std::string(name_of(format.embedding))}};
  std::ofstream file(to, std::ios::trunc);
  file << json::serialize(config) << "\n";
  file.close();
  if (!file) {
    throw InputError(to.string() + ": cannot be written: " + std::strerror(errno));
  }
}

void quantise(const fs::path& in, const fs::path& out, const engine::WeightFormat& format) {
  engine::Checkpoint checkpoint(in);
  if (checkpoint.config().quantised) {
    throw InputError(in.string() + ": is quantised already; start from the original checkpoint");
  }
  if (fs::exists(out / "model.safetensors")) {
    throw InputError(out.string() +
                     ": holds a model.safetensors already; choose another folder or remove it");
  }
  fs::create_directories(out);
  Quantiser quantiser(checkpoint, format);
  const auto backend = kernels::make_backend("reference", 1);
  engine::load_weights(quantiser, engine::make_layer_plan(checkpoint.config()), *backend, std::nullopt);
  engine::write_safetensors(out / "model.safetensors", quantiser.tensors());
  if (fs::exists(in / "tokenizer.model")) {
    fs::copy_file(in / "tokenizer.model", out / "tokenizer.model", fs::copy_options::overwrite_existing);
  }
  // Last: a folder with a config.json is whole.
  write_config(in / "config.json", out / "config.json", format);
  std::cout << out.string() << ": " << fs::file_size(out / "model.safetensors") << " bytes of weights\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Store a model's weights in 8 or 4 bits.\n"
      "Exit codes: 0 done, 1 something given cannot be used, 2 usage.",
      "condensed-quantize");
  fs::path in;
  fs::path out;
  std::string weights;
  app.set_version_flag("--version", "condensed " CONDENSED_VERSION);
  app.add_option("IN_DIR", in, "Model folder in the Hugging Face layout")->required();
  app.add_option("OUT_DIR", out, "Folder to write; made if it is not there")->required();
  app.add_option("--weights", weights,
                 "q8: 8.1 bits a weight; q4: 4.3 in layers, 8.1 in embedding and output")
      ->required()
      ->check(CLI::IsMember({"q8", "q4"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  try {
    quantise(in, out, *engine::parse_weight_format(weights));
  } catch (const std::exception& error) {
    std::cerr << "condensed-quantize: " << error.what() << std::endl;
    return kFailed;
  }
  return 0;
}
