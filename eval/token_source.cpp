#include "eval/token_source.h"

#include <string>

#include <boost/json.hpp>

#include "engine/file_text.h"
#include "engine/input_error.h"
#include "engine/tokenizer.h"
#include "engine/utf8.h"

namespace condensed::eval {

namespace {

namespace json = boost::json;
using engine::InputError;

// Text tokenised at a time: large texts need not be tokenised beyond max_tokens.
constexpr std::size_t kPieceBytes = 1U << 16;

std::optional<std::int64_t> optional_number(const std::filesystem::path& path, const json::object& object,
                                            std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) {
    return std::nullopt;
  }
  if (!value->is_int64() || value->get_int64() < 0) {
    throw InputError(path.string() + ": key \"" + std::string(key) +
                     "\": expected a whole number or null, found " + json::serialize(*value));
  }
  return value->get_int64();
}

}  // namespace

TokenFile read_token_file(const std::filesystem::path& path, int vocab_size) {
  boost::system::error_code error;
  const json::value file = json::parse(engine::file_text(path), error);
  TokenFile out;
  const json::value* tokens = nullptr;
  if (!error && file.is_object()) {
    tokens = file.get_object().if_contains("tokens");
    out.sinks = optional_number(path, file.get_object(), "sinks");
    out.window = optional_number(path, file.get_object(), "window");
  } else if (!error) {
    tokens = &file;
  }
  if (tokens == nullptr || !tokens->is_array() || tokens->get_array().empty()) {
    throw InputError(path.string() +
                     ": expected a JSON list of token ids, or an object with such a list named tokens" +
                     (error ? ": " + error.message() : ""));
  }
  for (const json::value& token : tokens->get_array()) {
    if (!token.is_int64() || token.get_int64() < 0 || token.get_int64() >= vocab_size) {
      throw InputError(path.string() + ": token " + std::to_string(out.tokens.size()) + " is " +
                       json::serialize(token) + ", expected an id from 0 to " +
                       std::to_string(vocab_size - 1));
    }
    out.tokens.push_back(static_cast<std::int32_t>(token.get_int64()));
  }
  return out;
}

std::vector<std::int32_t> read_text_tokens(const engine::Model& model, const std::filesystem::path& path,
                                           bool with_bos, std::int64_t max_tokens) {
  if (!model.tokenizer) {
    throw InputError(model.name + ": has no tokenizer.model, which reading a text needs");
  }
  const std::string text = engine::file_text(path);
  if (!engine::is_valid_utf8(text)) {
    throw InputError(path.string() + ": is not valid UTF-8");
  }
  std::vector<std::int32_t> tokens;
  if (const auto bos = model.config.bos_token_id; with_bos && bos) {
    tokens.push_back(*bos);
  }
  std::string_view rest = text;
  auto place = engine::Tokenizer::Place::start;
  while (!rest.empty() && static_cast<std::int64_t>(tokens.size()) < max_tokens) {
    const std::size_t n_bytes = engine::encodable_prefix(rest, kPieceBytes);
    const std::vector<std::int32_t> piece = model.tokenizer->encode(rest.substr(0, n_bytes), place);
    tokens.insert(tokens.end(), piece.begin(), piece.end());
    rest.remove_prefix(n_bytes);
    place = engine::Tokenizer::Place::continuation;
  }
  if (static_cast<std::int64_t>(tokens.size()) > max_tokens) {
    tokens.resize(static_cast<std::size_t>(max_tokens));
  }
  return tokens;
}

}  // namespace condensed::eval
