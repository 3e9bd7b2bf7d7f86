#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/input_error.h"
#include "engine/safetensors.h"
#include "train/commands.h"
#include "train/decoder.h"
#include "train/model_folder.h"

namespace condensed::train {

namespace {

std::vector<std::int64_t> read_ids(const std::filesystem::path& file, int vocab_size) {
  const boost::json::object object = read_json_object(file);
  const boost::json::value* const listed = object.if_contains("tokens");
  std::vector<std::int64_t> ids;
  if (listed != nullptr && listed->is_array()) {
    for (const boost::json::value& id : listed->get_array()) {
      ids.push_back(id.is_int64() ? id.get_int64() : -1);
    }
  }
  const auto foreign = [&](std::int64_t id) { return id < 0 || id >= vocab_size; };
  if (ids.empty() || std::ranges::any_of(ids, foreign)) {
    throw engine::InputError(file.string() + ": expected {\"tokens\": [ids from 0 to " +
                             std::to_string(vocab_size - 1) + "]}");
  }
  return ids;
}

}  // namespace

void run_logits(const LogitsOptions& options) {
  engine::Checkpoint checkpoint(options.model);
  Decoder decoder(checkpoint.config(), load_parameters(checkpoint), {});
  const torch::NoGradGuard no_gradient;
  const torch::Tensor tokens =
      torch::tensor(read_ids(options.tokens, checkpoint.config().vocab_size)).unsqueeze(0);
  torch::Tensor logits;
  if (options.passes == 0) {
    logits = decoder.decode(tokens);
  } else {
    logits = decoder.forward(tokens, {.without_gradient = options.passes - 1, .with_gradient = 1}).logits;
  }
  logits = logits.squeeze(0).contiguous();
  const engine::TensorView view{.name = "logits",
                                .type = engine::ElementType::f32,
                                .shape = logits.sizes().vec(),
                                .data = {static_cast<const std::byte*>(logits.data_ptr()), logits.nbytes()},
                                .file = {}};
  engine::write_safetensors(options.out, std::span(&view, 1));
}

}  // namespace condensed::train
