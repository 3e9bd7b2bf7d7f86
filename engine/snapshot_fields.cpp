#include "engine/snapshot_fields.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include <boost/json.hpp>

#include "engine/input_error.h"
#include "engine/sampler.h"
#include "engine/utf8.h"

namespace condensed::engine {

namespace json = boost::json;

namespace {

constexpr std::int64_t kMaxWindow = std::int64_t{1} << 30;
// As the protocol has them. What follows costs every step time, so that no file may bring more of it than
// requests.
constexpr std::size_t kMaxStopStrings = 16;
constexpr std::size_t kMaxStopBytes = 256;
constexpr std::size_t kMaxUnread = 1 << 17;  // the longest chunk of a prompt, and what is tokenised beyond it
constexpr std::int64_t kMaxCount = std::numeric_limits<std::int64_t>::max() / 2;

[[noreturn]] void fail(const std::string& message) {
  throw InputError("snapshot: " + message);
}

/// Reads the members of one object; each method throws InputError naming the member.
class Members {
 public:
  explicit Members(const json::value& value) {
    if (!value.is_object()) {
      fail("expected an object, found " + std::string(json::to_string(value.kind())));
    }
    object_ = &value.get_object();
  }

  const json::value& at(std::string_view key) const {
    const json::value* value = object_->if_contains(key);
    if (value == nullptr) {
      fail(std::string(key) + " is missing");
    }
    return *value;
  }
  bool has(std::string_view key) const { return object_->contains(key); }

  std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most) const {
    return integer(key, at(key), least, most);
  }
  std::uint64_t natural(std::string_view key) const {
    boost::system::error_code error;
    const json::value& value = at(key);
    const auto number = value.is_double() ? 0 : value.to_number<std::uint64_t>(error);
    if (error || value.is_double()) {
      fail(std::string(key) + ": expected a whole number of at least 0");
    }
    return number;
  }
  double number(std::string_view key) const { return number(key, at(key)); }
  bool boolean(std::string_view key) const {
    const json::value& value = at(key);
    if (!value.is_bool()) {
      fail(std::string(key) + ": expected true or false");
    }
    return value.get_bool();
  }
  std::string string(std::string_view key) const {
    const json::value& value = at(key);
    if (!value.is_string()) {
      fail(std::string(key) + ": expected a string");
    }
    return std::string(value.get_string());
  }
  const json::array& array(std::string_view key) const {
    const json::value& value = at(key);
    if (!value.is_array()) {
      fail(std::string(key) + ": expected an array");
    }
    return value.get_array();
  }
  std::vector<std::int32_t> tokens(std::string_view key, int vocab_size) const {
    std::vector<std::int32_t> out;
    for (const json::value& token : array(key)) {
      out.push_back(static_cast<std::int32_t>(integer(key, token, 0, vocab_size - 1)));
    }
    return out;
  }

  /// Numbers with a fraction are strings: Boost.JSON need not read back the very bits it wrote.
  static double number(std::string_view key, const json::value& value) {
    double number = 0;
    const json::string* text = value.if_string();
    const char* end = text == nullptr ? nullptr : text->data() + text->size();
    if (text == nullptr || std::from_chars(text->data(), end, number).ptr != end || text->empty()) {
      fail(std::string(key) + ": expected a number as a string");
    }
    return number;
  }

  static std::int64_t integer(std::string_view key, const json::value& value, std::int64_t least,
                              std::int64_t most) {
    if (!value.is_int64() || value.get_int64() < least || value.get_int64() > most) {
      fail(std::string(key) + ": expected a whole number from " + std::to_string(least) + " to " +
           std::to_string(most) + ", found " + json::serialize(value));
    }
    return value.get_int64();
  }

 private:
  const json::object* object_;
};

std::string exact(double number) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.begin(), text.end(), number).ptr};
}

json::object cache_kind(const cache::CacheShape& shape) {
  return {{"owners", shape.n_owners},
          {"kv_heads", shape.n_kv_heads},
          {"head_dim", shape.head_dim},
          {"dtype", name_of(shape.dtype)}};
}

json::object write_sampling(const SamplingOptions& sampling) {
  json::object out{{"temperature", exact(sampling.temperature)},
                   {"top_k", sampling.top_k},
                   {"top_p", exact(sampling.top_p)},
                   {"min_p", exact(sampling.min_p)},
                   {"repetition_penalty", exact(sampling.repetition_penalty)},
                   {"presence_penalty", exact(sampling.presence_penalty)},
                   {"frequency_penalty", exact(sampling.frequency_penalty)},
                   {"penalty_window", sampling.penalty_window}};
  json::array biases;
  for (const auto& [token, amount] : sampling.logit_bias) {
    biases.push_back(json::array{token, exact(static_cast<double>(amount))});
  }
  out["logit_bias"] = std::move(biases);
  return out;
}

SamplingOptions read_sampling(const Members& members, int vocab_size) {
  constexpr int most = std::numeric_limits<int>::max();
  SamplingOptions out;
  out.temperature = members.number("temperature");
  out.top_k = static_cast<int>(members.integer("top_k", 0, most));
  out.top_p = members.number("top_p");
  out.min_p = members.number("min_p");
  out.repetition_penalty = members.number("repetition_penalty");
  out.presence_penalty = members.number("presence_penalty");
  out.frequency_penalty = members.number("frequency_penalty");
  out.penalty_window = static_cast<int>(members.integer("penalty_window", 0, most));
  if (members.array("logit_bias").size() > static_cast<std::size_t>(vocab_size)) {
    fail("logit_bias: expected at most one number for each token");
  }
  for (const json::value& bias : members.array("logit_bias")) {
    const json::array* pair = bias.if_array();
    if (pair == nullptr || pair->size() != 2) {
      fail("logit_bias: expected pairs of a token and a number");
    }
    const std::int64_t token = Members::integer("logit_bias", (*pair)[0], 0, most);
    out.logit_bias.emplace_back(static_cast<std::int32_t>(token),
                                static_cast<float>(Members::number("logit_bias", (*pair)[1])));
  }
  return out;
}

json::object write_generation(const GenerationState& generation) {
  const GenerateRequest& request = generation.request;
  json::object out{{"sampling", write_sampling(request.sampling)},
                   {"ignore_eos", request.ignore_eos},
                   {"logprobs", request.n_logprobs},
                   {"random_seed", generation.random.seed},
                   {"random_drawn", generation.random.n_drawn},
                   {"held_text", generation.held_text},
                   {"tokens", generation.n_tokens}};
  out["stop"] = json::array(request.stop.begin(), request.stop.end());
  if (request.max_tokens) {
    out["max_tokens"] = *request.max_tokens;
  }
  return out;
}

GenerationState read_generation(const Members& members, int vocab_size) {
  GenerationState out;
  out.request.sampling = read_sampling(Members(members.at("sampling")), vocab_size);
  out.request.ignore_eos = members.boolean("ignore_eos");
  out.request.n_logprobs = static_cast<int>(members.integer("logprobs", -1, 20));
  if (members.has("max_tokens")) {
    out.request.max_tokens = members.integer("max_tokens", 1, std::numeric_limits<std::int64_t>::max());
  }
  for (const json::value& stop : members.array("stop")) {
    if (!stop.is_string() || stop.get_string().empty() || stop.get_string().size() > kMaxStopBytes ||
        out.request.stop.size() == kMaxStopStrings) {
      fail("stop: expected at most 16 strings of 1 to 256 bytes");
    }
    out.request.stop.emplace_back(stop.get_string());
  }
  out.random = {.seed = members.natural("random_seed"), .n_drawn = members.natural("random_drawn")};
  out.held_text = members.string("held_text");
  out.n_tokens = members.integer("tokens", 0, kMaxCount);
  const bool may_begin_a_stop =
      std::any_of(out.request.stop.begin(), out.request.stop.end(), [&](const std::string& stop) {
        return stop.size() > out.held_text.size() && stop.starts_with(out.held_text);
      });
  if (!out.held_text.empty() && !may_begin_a_stop) {
    fail("held_text: not the beginning of a stop string");
  }
  check_sampling(out.request.sampling, vocab_size);
  return out;
}

std::optional<TextStream::State> read_text(const Members& members, bool has_text) {
  if (members.has("text") != has_text) {
    fail("one of the snapshot and the model has a tokenizer, the other does not");
  }
  if (!has_text) {
    return std::nullopt;
  }
  const Members text(members.at("text"));
  TextStream::State state{.at_start = text.boolean("at_start")};
  for (const json::value& byte : text.array("incomplete")) {
    state.incomplete += static_cast<char>(Members::integer("incomplete", byte, 0, 255));
  }
  if (!state.incomplete.empty() && !is_incomplete_utf8(state.incomplete)) {
    fail("incomplete: expected the beginning of one character");
  }
  return state;
}

void check_model(const Members& members, const SnapshotModel& model) {
  if (const std::string found = members.string("model"); found != model.fingerprint) {
    fail("it belongs to another model (fingerprint " + found + ", this model's is " + model.fingerprint +
         ")");
  }
  if (const json::value& kind = members.at("cache"); kind != json::value(cache_kind(model.shape))) {
    fail("its cache is kept as " + json::serialize(kind) + ", this daemon's as " +
         json::serialize(cache_kind(model.shape)) + " (cache)");
  }
}

}  // namespace

std::string write_snapshot_fields(const SessionSnapshot& snapshot, const SnapshotModel& model) {
  json::object out{{"model", model.fingerprint},
                   {"cache", cache_kind(model.shape)},
                   {"sinks", snapshot.window.sinks},
                   {"window", snapshot.window.window},
                   {"cache_position", snapshot.place.position},
                   {"window_tokens", snapshot.place.n_window},
                   {"text_start", snapshot.text_start},
                   {"read_since_generation", snapshot.n_read_since_generation}};
  out["unread"] = json::array(snapshot.unread.begin(), snapshot.unread.end());
  out["history"] = json::array(snapshot.history.begin(), snapshot.history.end());
  if (snapshot.text) {
    json::array incomplete;
    for (const char byte : snapshot.text->incomplete) {
      incomplete.push_back(static_cast<unsigned char>(byte));  // not UTF-8, so no string
    }
    out["text"] = {{"at_start", snapshot.text->at_start}, {"incomplete", std::move(incomplete)}};
  }
  if (snapshot.generation) {
    out["generation"] = write_generation(*snapshot.generation);
  }
  return json::serialize(out);
}

SessionSnapshot read_snapshot_fields(std::string_view text, const SnapshotModel& model) {
  boost::system::error_code error;
  const json::value parsed = json::parse(text, error);
  if (error) {
    fail("its fields are not JSON: " + error.message());
  }
  const Members members(parsed);
  check_model(members, model);
  SessionSnapshot out;
  out.window = {.sinks = members.integer("sinks", 0, kMaxWindow),
                .window = members.integer("window", 1, kMaxWindow)};
  out.place = {.position = members.integer("cache_position", 0, kMaxCount),
               .n_window = members.integer("window_tokens", 0, kMaxWindow)};
  if (const char* defect = cache::CondensedCache::defect(out.window, out.place)) {
    fail(defect);
  }
  out.unread = members.tokens("unread", model.vocab_size);
  if (out.unread.empty() && out.place.position > 0) {
    fail("unread: the stream's newest token is missing");
  }
  if (out.unread.size() > kMaxUnread) {
    fail("unread: expected at most " + std::to_string(kMaxUnread) + " tokens");
  }
  out.history = members.tokens("history", model.vocab_size);
  if (out.history.size() < std::min<std::size_t>(static_cast<std::size_t>(out.position()), 1) ||
      static_cast<std::int64_t>(out.history.size()) > out.position()) {
    fail("history: " + std::to_string(out.history.size()) + " tokens do not fit position " +
         std::to_string(out.position()));
  }
  out.text_start = members.integer("text_start", 0, 1);
  out.text = read_text(members, model.has_text);
  out.n_read_since_generation = members.integer("read_since_generation", 0, kMaxCount);
  if (members.has("generation")) {
    out.generation = read_generation(Members(members.at("generation")), model.vocab_size);
  }
  return out;
}

}  // namespace condensed::engine
