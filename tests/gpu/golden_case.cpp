#include "tests/gpu/golden_case.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "engine/checkpoint.h"
#include "engine/input_error.h"
#include "engine/json_value.h"
#include "engine/safetensors.h"
#include "engine/transformer.h"

namespace condensed::gpu_check {

using engine::InputError;
using engine::JsonValue;

namespace {

const JsonValue& member(const engine::JsonObject& object, const char* name, const std::string& place) {
  const JsonValue* found = object.find(name);
  if (found == nullptr) {
    throw InputError(place + ": has no " + name);
  }
  return *found;
}

std::int64_t integer(const JsonValue& value, const std::string& place) {
  if (value.if_integer() == nullptr) {
    throw InputError(place + ": expected a whole number, found " + value.text());
  }
  return *value.if_integer();
}

}  // namespace

GoldenCase read_golden_case(const std::filesystem::path& folder) {
  const std::string place = (folder / "case.json").string();
  std::ifstream file(place, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  const engine::JsonObject object = engine::parse_json_object(text.str(), place + ": expected a JSON object");
  GoldenCase out{.folder = folder};
  const JsonValue& tokens = member(object, "tokens", place);
  for (const JsonValue& token : tokens.if_array() != nullptr ? *tokens.if_array() : engine::JsonArray()) {
    out.tokens.push_back(static_cast<std::int32_t>(integer(token, place)));
  }
  if (out.tokens.empty()) {
    throw InputError(place + ": has no tokens");
  }
  out.evicts = !member(object, "window", place).is_null();
  out.window = out.evicts ? cache::StreamWindow{integer(member(object, "sinks", place), place),
                                                integer(member(object, "window", place), place)}
                          : cache::StreamWindow{0, std::ssize(out.tokens)};
  const engine::SafetensorsFile expected(folder / "expected.safetensors");
  for (const auto& [tensor, view] : expected.tensors()) {
    const auto* data = reinterpret_cast<const float*>(view.data.data());
    out.expected[tensor].assign(data, data + view.data.size() / sizeof(float));
  }
  if (!out.expected.contains("logits")) {
    throw InputError(folder.string() + ": expected.safetensors has no tensor logits");
  }
  out.cyclic = out.expected.contains("logits_parallel_m7_b2");
  return out;
}

std::vector<GoldenCase> read_golden_cases(const std::filesystem::path& folder) {
  std::vector<GoldenCase> cases;
  if (std::filesystem::is_directory(folder)) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      cases.push_back(read_golden_case(entry.path()));
    }
  }
  if (cases.empty()) {
    throw InputError(folder.string() + ": holds no golden cases; name tests/golden with --golden");
  }
  std::ranges::sort(cases, {}, &GoldenCase::name);
  return cases;
}

std::shared_ptr<engine::Model> GoldenCase::model(std::unique_ptr<kernels::Backend> backend,
                                                 const std::optional<engine::WeightFormat>& format) const {
  return engine::make_model(name(), std::make_unique<engine::Checkpoint>(folder), std::move(backend), format);
}

std::vector<float> GoldenCase::logits(engine::Model& model, const engine::PromptOptions& prompt,
                                      kernels::DType cache_dtype) const {
  const auto n_tokens = std::ssize(tokens);
  engine::Transformer transformer(model, n_tokens, cache_dtype);
  cache::CondensedCache cache(*model.backend, transformer.cache_shape(), window);
  std::vector<float> out;
  for (std::int64_t done = 0; done < n_tokens;) {
    const std::int64_t n = prompt.slice_tokens(n_tokens - done);
    const engine::Slice slice{
        .cache = &cache, .tokens = std::span(tokens).subspan(done, n), .logits_for = engine::LogitsFor::all};
    transformer.run(std::span(&slice, 1), prompt);
    out.insert(out.end(), transformer.logits().begin(), transformer.logits().end());
    done += n;
  }
  return out;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) {
    throw std::runtime_error(std::to_string(a.size()) + " numbers instead of " + std::to_string(b.size()));
  }
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - double{b[i]});
    largest = difference > largest || std::isnan(difference) ? difference : largest;
  }
  return largest;
}

}  // namespace condensed::gpu_check
