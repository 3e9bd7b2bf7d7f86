#include "engine/session.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace condensed::engine {

namespace {

// Text tokenised at once: well under a millisecond, so that one session's long input never holds up a step.
constexpr std::size_t kTokenisePieceBytes = 512;
constexpr std::size_t kRecentTokens = 1024;  // the largest penalty_window

std::size_t size_of(const Input& content) {
  return std::visit([](const auto& items) { return items.size(); }, content);
}

}  // namespace

bool Session::WaitingInput::tokenised() const {
  return consumed == size_of(content);
}

Session::Session(Model& model, const cache::CacheShape& shape, const cache::StreamWindow& window,
                 const OpenRequest& request)
    : model_(model), cache_(*model.backend, shape, window) {
  info_.session = request.session;
  info_.sinks = window.sinks;
  info_.window = window.window;
  info_.cache_bytes_max = cache::CondensedCache::bytes_when_full(shape, window);
  if (model.tokenizer) {
    text_.emplace(*model.tokenizer, /*at_start=*/true);
  }
  if (const auto bos = model.config.bos_token_id; request.bos && bos) {
    accept(*bos);
    has_text_ = false;
  }
}

SessionInfo Session::info() const {
  SessionInfo info = info_;
  info.generating = generating();
  info.position = position();
  info.cached = cache_.size();
  info.evictions = cache_.evictions();
  info.waiting_tokens = std::max<std::int64_t>(0, static_cast<std::int64_t>(unread_.size()) - 1);
  info.cache_bytes = cache_.bytes();
  for (const WaitingInput& input : inputs_) {
    const auto left = static_cast<std::int64_t>(size_of(input.content) - input.consumed);
    (std::holds_alternative<std::string>(input.content) ? info.waiting_bytes : info.waiting_tokens) += left;
  }
  return info;
}

std::size_t Session::waiting_input_bytes() const {
  std::size_t bytes = unread_.size() * sizeof(std::int32_t);
  for (const WaitingInput& input : inputs_) {
    const std::size_t left = size_of(input.content) - input.consumed;
    bytes += std::holds_alternative<std::string>(input.content) ? left : left * sizeof(std::int32_t);
  }
  return bytes;
}

void Session::append(Input input, Reply<AppendResult> reply) {
  inputs_.push_back({.content = std::move(input), .end_position = position(), .reply = std::move(reply)});
  answer_read_inputs();  // an empty input has nothing to wait for
}

void Session::start(GenerateRequest request, std::shared_ptr<GenerationListener> listener, std::uint64_t seed,
                    Clock::time_point arrival) {
  assert(!generating());
  Sampler sampler(request.sampling, model_.config.vocab_size, seed);
  for (const std::int32_t token : recent_) {
    sampler.observe(token);
  }
  StopMatcher stop(request.stop);
  generation_.emplace(Generation{.request = std::move(request),
                                 .listener = std::move(listener),
                                 .sampler = std::move(sampler),
                                 .stop = std::move(stop),
                                 .arrival = arrival});
}

void Session::finish(FinishReason reason, std::string_view stop) {
  if (!generation_) {
    return;
  }
  // The listener may look at the session through the engine later: it must find it resting.
  Generation generation = std::move(*generation_);
  generation_.reset();
  GenerationSummary summary;
  summary.reason = reason;
  summary.stop = stop;
  if (reason != FinishReason::stop) {
    summary.text = generation.stop.flush();
  }
  summary.prompt_tokens = std::exchange(n_read_since_generation_, 0);
  summary.completion_tokens = generation.n_tokens;
  summary.position = position();
  summary.total = Clock::now() - generation.arrival;
  if (generation.n_tokens > 0) {
    summary.time_to_first_token = generation.first_token - generation.arrival;
  }
  generation.listener->on_done(summary);
}

void Session::refuse_waiting(const Error& error) {
  for (WaitingInput& input : std::exchange(inputs_, {})) {
    input.reply(error);
  }
}

void Session::accept(std::int32_t token) {
  unread_.push_back(token);
  has_text_ = true;
  if (recent_.size() == kRecentTokens) {
    recent_.erase(recent_.begin());
  }
  recent_.push_back(token);
  if (generation_) {
    generation_->sampler.observe(token);
  }
}

void Session::tokenise(WaitingInput& input) {
  const std::size_t n_before = unread_.size();
  if (auto* text = std::get_if<std::string>(&input.content)) {
    const std::string_view rest = std::string_view(*text).substr(input.consumed);
    const std::size_t n_bytes = encodable_prefix(rest, kTokenisePieceBytes);
    const auto place = has_text_ ? Tokenizer::Place::continuation : Tokenizer::Place::start;
    for (const std::int32_t token : model_.tokenizer->encode(rest.substr(0, n_bytes), place)) {
      accept(token);
    }
    input.consumed += n_bytes;
  } else {
    const auto& tokens = std::get<std::vector<std::int32_t>>(input.content);
    const std::size_t n = std::min(kTokenisePieceBytes, tokens.size() - input.consumed);
    for (std::size_t i = 0; i < n; ++i) {
      accept(tokens[input.consumed + i]);
    }
    input.consumed += n;
  }
  // Characters that generated tokens began may end here, so input runs through the text stream, too.
  for (std::size_t i = n_before; text_ && i < unread_.size(); ++i) {
    text_->push(unread_[i]);
  }
  const auto n_tokens = static_cast<std::int64_t>(unread_.size() - n_before);
  input.n_tokens += n_tokens;
  n_read_since_generation_ += n_tokens;
  input.end_position = position();
}

void Session::prepare(std::int64_t slice_tokens) {
  while (static_cast<std::int64_t>(unread_.size()) <= slice_tokens && input_waits()) {
    tokenise(
        *std::find_if(inputs_.begin(), inputs_.end(), [](const WaitingInput& i) { return !i.tokenised(); }));
  }
  answer_read_inputs();
}

bool Session::wants_token() const {
  return generation_ && !input_waits() && generation_->listener->accepts_token();
}

std::int64_t Session::runnable() const {
  const auto n = static_cast<std::int64_t>(unread_.size());
  return wants_token() ? n : std::max<std::int64_t>(0, n - 1);
}

Slice Session::slice(std::int64_t n) {
  const bool last = n == static_cast<std::int64_t>(unread_.size());
  return {.cache = &cache_,
          .tokens = std::span(unread_).first(static_cast<std::size_t>(n)),
          .logits_for = last ? LogitsFor::last : LogitsFor::none};
}

void Session::advance(std::int64_t n, std::span<const float> logits) {
  unread_.erase(unread_.begin(), unread_.begin() + n);
  answer_read_inputs();
  if (!logits.empty()) {
    emit(logits);
  }
}

void Session::answer_read_inputs() {
  // Read: all but the stream's newest token are in the cache.
  while (!inputs_.empty() && inputs_.front().tokenised() &&
         inputs_.front().end_position <= cache_.position() + 1) {
    WaitingInput input = std::move(inputs_.front());
    inputs_.pop_front();
    input.reply(AppendResult{.session = name(), .tokens = input.n_tokens, .position = input.end_position});
  }
}

std::string Session::shown_alone(std::int32_t token) const {
  if (!model_.tokenizer) {
    return {};
  }
  const std::string_view bytes = model_.tokenizer->bytes(token);
  return is_valid_utf8(bytes) ? std::string(bytes) : "\uFFFD";
}

void Session::emit(std::span<const float> logits) {
  Generation& generation = *generation_;
  if (generation.n_tokens++ == 0) {
    generation.first_token = Clock::now();
  }
  GeneratedToken out;
  out.token = generation.sampler.draw(logits);
  out.position = cache_.position();
  if (const int n = generation.request.n_logprobs; n >= 0) {
    out.logprob = logprob_of(logits, out.token).logprob;
    for (const TokenLogprob& top : top_logprobs(logits, n)) {
      out.top.emplace_back(top, shown_alone(top.token));
    }
  }

  accept(out.token);
  StopMatcher::Result shown;
  if (text_) {
    shown = generation.stop.push(text_->push(out.token));
  }
  out.text = std::move(shown.text);
  generation.listener->on_token(out);

  const GenerateRequest& request = generation.request;
  const auto& eos = model_.config.eos_token_ids;
  const bool at_eos = std::find(eos.begin(), eos.end(), out.token) != eos.end();
  if (!shown.stop.empty()) {
    finish(FinishReason::stop, shown.stop);
  } else if (at_eos && request.max_tokens && !request.ignore_eos) {
    finish(FinishReason::eos);
  } else if (request.max_tokens && generation.n_tokens >= *request.max_tokens) {
    finish(FinishReason::length);
  }
}

}  // namespace condensed::engine
