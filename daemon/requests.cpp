#include "daemon/requests.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "daemon/base64.h"
#include "daemon/request_fields.h"
#include "engine/utf8.h"

namespace condensed::daemon {

namespace json = boost::json;

namespace {

constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kMaxStopStrings = 16;
constexpr std::size_t kMaxStopBytes = 256;
constexpr std::size_t kMaxDepth = 16;
constexpr double kMostAccountAboveMs = 86'400'000;  // a day
constexpr std::size_t kMaxIdBytes = 256;            // it comes back with every token

std::optional<engine::Input> take_input(RequestFields& fields) {
  std::optional<std::string> text = fields.string("text");
  std::optional<std::vector<std::int32_t>> tokens = fields.token_ids("tokens");
  if (text && tokens) {
    throw FieldError("\"text\" and \"tokens\": expected one of them, found both");
  }
  if (text) {
    return *std::move(text);
  }
  if (tokens) {
    return *std::move(tokens);
  }
  return std::nullopt;
}

OpenOp parse_open(RequestFields& fields) {
  OpenOp op;
  op.open.session.name = fields.session_name().value_or("");
  op.open.sinks = fields.integer("sinks", 0, kUnlimited);
  op.open.window = fields.integer("window", 1, kUnlimited);
  op.open.bos = fields.boolean("bos").value_or(true);
  op.open.input = take_input(fields);
  return op;
}

AppendOp parse_append(RequestFields& fields) {
  AppendOp op{.session = fields.required_session_name()};
  std::optional<engine::Input> input = take_input(fields);
  if (!input) {
    throw FieldError("\"text\" or \"tokens\": expected one of them, found neither");
  }
  op.input = *std::move(input);
  return op;
}

std::vector<std::string> take_stop(RequestFields& fields) {
  const json::value* value = fields.take("stop");
  std::vector<std::string> stop;
  if (value == nullptr) {
    return stop;
  }
  const auto add = [&](const json::value& item) {
    if (!item.is_string() || item.get_string().empty() || item.get_string().size() > kMaxStopBytes ||
        stop.size() == kMaxStopStrings) {
      RequestFields::fail("stop", "a string or up to 16 strings of 1 to 256 bytes", value);
    }
    stop.emplace_back(item.get_string());
  };
  if (value->is_array()) {
    for (const json::value& item : value->get_array()) {
      add(item);
    }
  } else {
    add(*value);
  }
  return stop;
}

std::vector<std::pair<std::int32_t, float>> take_logit_bias(RequestFields& fields) {
  const json::value* value = fields.take("logit_bias");
  std::vector<std::pair<std::int32_t, float>> bias;
  if (value == nullptr) {
    return bias;
  }
  if (!value->is_object()) {
    RequestFields::fail("logit_bias", "an object of token ids and numbers", value);
  }
  for (const auto& [key, amount] : value->get_object()) {
    std::int32_t token = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    const double number = amount.is_number() ? amount.to_number<double>() : 1000;
    if (error != std::errc() || end != key.data() + key.size() || number < -100 || number > 100) {
      RequestFields::fail("logit_bias", "token ids as keys and numbers from -100 to 100", value);
    }
    bias.emplace_back(token, static_cast<float>(number));
  }
  return bias;
}

GenerateOp parse_generate(RequestFields& fields) {
  GenerateOp op;
  engine::GenerateRequest& request = op.generate;
  engine::SamplingOptions& sampling = request.sampling;
  request.session.name = fields.required_session_name();
  if (const auto above_ms = fields.number("account_above_ms", 0, kMostAccountAboveMs)) {
    request.account_above = std::chrono::nanoseconds(std::llround(*above_ms * 1e6));
  }
  request.resume = fields.boolean("resume").value_or(false);
  if (request.resume) {  // with the options it began with: others are refused as unknown
    op.detached = fields.boolean("detached").value_or(false);
    return op;
  }
  request.max_tokens = fields.integer("max_tokens", 1, kUnlimited);
  request.ignore_eos = fields.boolean("ignore_eos").value_or(false);
  op.detached = fields.boolean("detached").value_or(false);
  request.stop = take_stop(fields);
  request.n_logprobs = static_cast<int>(fields.integer("logprobs", 0, 20).value_or(-1));
  sampling.temperature = fields.number("temperature", 0, 1e6).value_or(sampling.temperature);
  sampling.top_k = static_cast<int>(fields.integer("top_k", 0, 1 << 30).value_or(sampling.top_k));
  sampling.top_p = fields.number("top_p", 1e-9, 1).value_or(sampling.top_p);
  sampling.min_p = fields.number("min_p", 0, 1).value_or(sampling.min_p);
  sampling.repetition_penalty =
      fields.number("repetition_penalty", 1e-3, 100).value_or(sampling.repetition_penalty);
  sampling.presence_penalty =
      fields.number("presence_penalty", -100, 100).value_or(sampling.presence_penalty);
  sampling.frequency_penalty =
      fields.number("frequency_penalty", -100, 100).value_or(sampling.frequency_penalty);
  sampling.penalty_window =
      static_cast<int>(fields.integer("penalty_window", 0, 1024).value_or(sampling.penalty_window));
  sampling.logit_bias = take_logit_bias(fields);
  if (const auto seed = fields.integer("seed", 0, kUnlimited)) {
    sampling.seed = static_cast<std::uint64_t>(*seed);
  }
  return op;
}

AttachOp parse_attach(RequestFields& fields) {
  std::string session = fields.required_session_name();
  return {.session = std::move(session), .from_position = fields.integer("from_position", 0, kUnlimited)};
}

ForkOp parse_fork(RequestFields& fields) {
  std::string session = fields.required_session_name();
  return {.session = std::move(session), .as = fields.session_name("as").value_or("")};
}

RenameOp parse_rename(RequestFields& fields) {
  std::string session = fields.required_session_name();
  std::optional<std::string> to = fields.session_name("to");
  if (!to) {
    RequestFields::fail("to", "the new name", nullptr);
  }
  return {.session = std::move(session), .to = *std::move(to)};
}

UndoOp parse_undo(RequestFields& fields) {
  std::string session = fields.required_session_name();
  const std::optional<std::int64_t> tokens = fields.integer("tokens", 1, kUnlimited);
  if (!tokens) {
    RequestFields::fail("tokens", "how many tokens to take back", nullptr);
  }
  return {.session = std::move(session), .tokens = *tokens};
}

ImportOp parse_import(RequestFields& fields) {
  ImportOp op{.session = fields.session_name().value_or("")};
  const std::string data = fields.required_string("data");
  std::optional<std::vector<std::byte>> part = from_base64(data);
  if (!part) {
    throw FieldError("\"data\": expected base64 with padding, found something else");
  }
  op.part = *std::move(part);
  op.more = fields.boolean("more").value_or(false);
  return op;
}

template <typename Op>
Operation parse_named(RequestFields& fields) {
  return Op{fields.required_session_name()};
}

using Parser = Operation (*)(RequestFields&);

constexpr std::array<std::pair<std::string_view, Parser>, 17> kOperations{{
    {"open", [](RequestFields& fields) -> Operation { return parse_open(fields); }},
    {"append", [](RequestFields& fields) -> Operation { return parse_append(fields); }},
    {"generate", [](RequestFields& fields) -> Operation { return parse_generate(fields); }},
    {"cancel", parse_named<CancelOp>},
    {"attach", [](RequestFields& fields) -> Operation { return parse_attach(fields); }},
    {"detach", parse_named<DetachOp>},
    {"stat", [](RequestFields& fields) -> Operation { return StatOp{fields.session_name()}; }},
    {"list", [](RequestFields&) -> Operation { return ListOp{}; }},
    {"close", parse_named<CloseOp>},
    {"ping", [](RequestFields&) -> Operation { return PingOp{}; }},
    {"metrics", [](RequestFields&) -> Operation { return MetricsOp{}; }},
    {"save", parse_named<SaveOp>},
    {"fork", [](RequestFields& fields) -> Operation { return parse_fork(fields); }},
    {"rename", [](RequestFields& fields) -> Operation { return parse_rename(fields); }},
    {"undo", [](RequestFields& fields) -> Operation { return parse_undo(fields); }},
    {"export", parse_named<ExportOp>},
    {"import", [](RequestFields& fields) -> Operation { return parse_import(fields); }},
}};

std::string operations_text() {
  std::string out;
  for (const auto& [name, parser] : kOperations) {
    out += (out.empty() ? "" : ", ") + std::string(name);
  }
  return out;
}

std::variant<Request, RequestError> parse_object(const json::object& object) {
  std::string id;
  if (const json::value* value = object.if_contains("id")) {
    if (!value->is_string() && !value->is_number()) {
      return RequestError{{}, "bad_request", "\"id\": expected a string or a number"};
    }
    id = json::serialize(*value);
    if (id.size() > kMaxIdBytes) {
      return RequestError{{},
                          "bad_request",
                          "\"id\": expected at most " + std::to_string(kMaxIdBytes) +
                              " bytes as JSON, found " + std::to_string(id.size())};
    }
  }
  RequestFields fields(object);
  fields.take("id");
  const json::value* op = fields.take("op");
  const std::string_view name = op != nullptr && op->is_string() ? std::string_view(op->get_string()) : "";
  for (const auto& [known, parser] : kOperations) {
    if (known == name) {
      try {
        std::optional<std::string> user = fields.user();
        Operation operation = parser(fields);
        fields.finish();
        return Request{std::move(id), std::move(user), std::move(operation)};
      } catch (const FieldError& error) {
        return RequestError{std::move(id), "bad_request", error.what()};
      }
    }
  }
  return RequestError{std::move(id), "unknown_op", "\"op\": expected one of " + operations_text()};
}

}  // namespace

std::variant<Request, RequestError> parse_request(std::string_view line) {
  if (const std::size_t valid = engine::valid_utf8_prefix(line); valid < line.size()) {
    return RequestError{
        {}, "invalid_utf8", "byte " + std::to_string(valid) + " of the line is not valid UTF-8"};
  }
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::stream_parser parser({}, options);
  boost::system::error_code error;
  const std::size_t parsed = parser.write(line.data(), line.size(), error);
  if (!error) {
    parser.finish(error);
  }
  if (error) {
    return RequestError{
        {}, "bad_json", "not valid JSON at byte " + std::to_string(parsed) + ": " + error.message()};
  }
  const json::value value = parser.release();
  if (!value.is_object()) {
    return RequestError{
        {}, "bad_json", "expected a JSON object, found " + std::string(json::to_string(value.kind()))};
  }
  return parse_object(value.get_object());
}

}  // namespace condensed::daemon
