#include "engine/session.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace condensed::engine {

namespace {

// Text tokenised at once: well under a millisecond, so that one session's long input never holds up a step.
constexpr std::size_t kTokenisePieceBytes = 512;
constexpr std::size_t kPenaltyTokens = 1024;  // the largest penalty_window
// Of a token that the backend chooses: they go to the device with every step. With more the logits come here.
constexpr std::size_t kMostAdjustments = 1024;

/// Tokens whose ids are kept: what undo() can take back, and what penalties look at after it has.
std::size_t history_tokens(const cache::StreamWindow& window) {
  return static_cast<std::size_t>(window.capacity()) + kPenaltyTokens;
}

std::size_t size_of(const Input& content) {
  return std::visit([](const auto& items) { return items.size(); }, content);
}

}  // namespace

bool Session::WaitingInput::tokenised() const {
  return consumed == size_of(content);
}

Session::Session(Model& model, const cache::CacheShape& shape, const cache::StreamWindow& window,
                 const OpenRequest& request, EngineObserver& observer)
    : model_(model),
      observer_(observer),
      cache_(*model.backend, shape, window),
      history_(history_tokens(window)) {
  info_.session = request.session;
  info_.sinks = window.sinks;
  info_.window = window.window;
  info_.cache_bytes_max = cache::CondensedCache::bytes_when_full(shape, window);
  if (model.tokenizer) {
    text_.emplace(*model.tokenizer, /*at_start=*/true);
  }
  if (const auto bos = model.config.bos_token_id; request.bos && bos) {
    accept(*bos);
    text_start_ = 1;
  }
}

Session::Session(Model& model, const cache::CacheShape& shape, SessionId id, SessionSnapshot snapshot,
                 EngineObserver& observer)
    : model_(model),
      observer_(observer),
      cache_(*model.backend, shape, snapshot.window),
      text_start_(snapshot.text_start),
      unread_(std::move(snapshot.unread)),
      history_(history_tokens(snapshot.window), snapshot.history.begin(), snapshot.history.end()),
      interrupted_(std::move(snapshot.generation)),
      n_read_since_generation_(snapshot.n_read_since_generation) {
  info_.session = std::move(id);
  info_.sinks = snapshot.window.sinks;
  info_.window = snapshot.window.window;
  info_.cache_bytes_max = cache::CondensedCache::bytes_when_full(shape, snapshot.window);
  if (snapshot.text) {
    text_.emplace(*model.tokenizer, std::move(*snapshot.text));
  }
  cache_.restore(snapshot.place, snapshot.cache);
}

SessionSnapshot Session::snapshot() const {
  SessionSnapshot out;
  out.window = cache_.window();
  out.place = cache_.place();
  out.text_start = text_start_;
  if (text_) {
    out.text = text_->state();
  }
  out.unread = unread_;
  out.history.assign(history_.begin(), history_.end());
  out.n_read_since_generation = n_read_since_generation_;
  out.generation = generation_ ? state_of(*generation_) : interrupted_;
  if (copy_) {
    out.cache = *copy_;
  } else {
    out.cache.resize(copy_bytes());
    cache_.save(out.cache);
  }
  return out;
}

SessionInfo Session::info() const {
  SessionInfo info = info_;
  info.generating = generating();
  info.interrupted = interrupted();
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

std::optional<std::int64_t> Session::tokens_left() const {
  if (!generation_ || !generation_->request.max_tokens) {
    return std::nullopt;
  }
  return *generation_->request.max_tokens - generation_->n_tokens;
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
                    Clock::time_point arrival, std::optional<TokenAccountant> accountant) {
  assert(!generating() && (!request.resume || interrupted()));
  const bool resume = request.resume;
  GenerationState state;
  if (resume) {
    state = *interrupted_;
  } else {
    state.request = std::move(request);
  }
  Sampler sampler(state.request.sampling, model_.config.vocab_size, seed);
  if (resume) {
    sampler.set_random_state(state.random);
  }
  // What is further back has left the penalties' window again.
  const auto counted = static_cast<std::ptrdiff_t>(state.request.sampling.penalty_window);
  for (auto token = history_.end() - std::min(counted, std::ssize(history_)); token != history_.end();
       ++token) {
    sampler.observe(*token);
  }
  StopMatcher stop(state.request.stop, std::move(state.held_text));
  generation_.emplace(Generation{.request = std::move(state.request),
                                 .listener = std::move(listener),
                                 .sampler = std::move(sampler),
                                 .stop = std::move(stop),
                                 .accountant = accountant,
                                 .arrival = arrival,
                                 .n_tokens = state.n_tokens,
                                 .n_earlier = state.n_tokens});
  interrupted_.reset();
  ++version_;
}

GenerationState Session::state_of(const Generation& generation) {
  return {.request = generation.request,
          .random = generation.sampler.random_state(),
          .held_text = generation.stop.held(),
          .n_tokens = generation.n_tokens};
}

/// summary: how it ends.
void Session::end(GenerationSummary summary) {
  if (!generation_) {
    return;
  }
  if (summary.resumable) {
    interrupted_ = state_of(*generation_);
  } else {
    ++version_;
  }
  // The listener may look at the session through the engine later: it must find it resting.
  Generation generation = std::move(*generation_);
  generation_.reset();
  summary.prompt_tokens = std::exchange(n_read_since_generation_, 0);
  summary.completion_tokens = generation.n_tokens - generation.n_earlier;
  summary.position = position();
  summary.total = Clock::now() - generation.arrival;
  if (summary.completion_tokens > 0) {
    summary.time_to_first_token = generation.first_token - generation.arrival;
  }
  if (!summary.resumable && summary.reason != FinishReason::stop) {
    summary.text = generation.stop.flush();
  }
  observer_.on_generation_end(summary);
  generation.listener->on_done(summary);
}

void Session::finish(FinishReason reason, std::string_view stop) {
  GenerationSummary summary;
  summary.reason = reason;
  summary.stop = stop;
  end(std::move(summary));
}

void Session::interrupt(FinishReason reason, std::string message) {
  GenerationSummary summary;
  summary.reason = reason;
  summary.resumable = true;
  summary.message = std::move(message);
  end(std::move(summary));
}

void Session::fail(std::string message) {
  GenerationSummary summary;
  summary.reason = FinishReason::failed;
  summary.message = std::move(message);
  end(std::move(summary));
}

std::size_t Session::copy_bytes() const {
  return cache::CondensedCache::saved_bytes(cache_.shape(), cache_.window(), cache_.place());
}

void Session::leave_device() {
  if (copy_) {
    return;
  }
  std::vector<std::byte> copy(copy_bytes());
  cache_.save(copy);
  copy_ = std::move(copy);
  cache_.release_memory();
}

void Session::return_to_device() {
  if (copy_) {
    cache_.put_back(*model_.backend, *copy_);
    copy_.reset();
  }
}

std::optional<Error> Session::undo(std::int64_t n) {
  assert(resting());
  if (copy_) {
    return Error{ErrorCode::device_failed,
                 "session '" + info_.session.name + "' is not on a device: it cannot be changed now"};
  }
  const std::int64_t kept = position() - n;
  // The newest token left must leave the cache, too: the next one is predicted from it.
  // Its id must be known; the first one of a stream is.
  const std::int64_t oldest_known = position() - static_cast<std::int64_t>(history_.size());
  const std::int64_t earliest = std::max(cache_.earliest(), oldest_known);
  const std::int64_t oldest = earliest == 0 ? 0 : earliest + 1;
  if (kept < oldest) {
    return Error{ErrorCode::undo_limit,
                 "cannot take back " + std::to_string(n) + " tokens of session '" + info_.session.name +
                     "' at position " + std::to_string(position()) +
                     ": its window reaches back to position " + std::to_string(oldest)};
  }
  if (n > 0) {
    interrupted_.reset();
    take_back(n);
  }
  return std::nullopt;
}

/// The latest n tokens leave the stream; the one before them is known.
void Session::take_back(std::int64_t n) {
  const std::int64_t kept = position() - n;
  cache_.truncate(std::max<std::int64_t>(0, kept - 1));
  history_.erase_end(static_cast<std::size_t>(n));
  unread_.clear();
  if (kept > 0) {
    unread_.push_back(history_.back());
  }
  n_read_since_generation_ = std::max<std::int64_t>(0, n_read_since_generation_ - n);
  text_start_ = std::min(text_start_, kept);
  if (text_) {  // what it holds back follows from the tokens that are left
    text_.emplace(*model_.tokenizer, /*at_start=*/static_cast<std::int64_t>(history_.size()) == kept);
    for (const std::int32_t token : history_) {
      text_->push(token);
    }
  }
  ++version_;
}

void Session::refuse_waiting(const Error& error) {
  for (WaitingInput& input : std::exchange(inputs_, {})) {
    input.reply(error);
  }
}

void Session::drop_input(const Error& error) {
  refuse_waiting(error);
  if (unread_.size() > 1) {
    take_back(static_cast<std::int64_t>(unread_.size()) - 1);
  }
}

void Session::accept(std::int32_t token) {
  unread_.push_back(token);
  history_.push_back(token);
  ++version_;
  if (generation_) {
    generation_->sampler.observe(token);
  }
}

void Session::tokenise(WaitingInput& input) {
  const std::size_t n_before = unread_.size();
  if (auto* text = std::get_if<std::string>(&input.content)) {
    const std::string_view rest = std::string_view(*text).substr(input.consumed);
    const std::size_t n_bytes = encodable_prefix(rest, kTokenisePieceBytes);
    const auto place = has_text() ? Tokenizer::Place::continuation : Tokenizer::Place::start;
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
  Slice slice{.cache = &cache_, .tokens = std::span(unread_).first(static_cast<std::size_t>(n))};
  if (last) {
    const kernels::TokenChoice choice = generation_->sampler.choice();
    const bool on_backend =
        generation_->request.n_logprobs < 0 && choice.adjustments.size() <= kMostAdjustments;
    slice.logits_for = on_backend ? LogitsFor::token : LogitsFor::last;
    slice.choice = on_backend ? choice : kernels::TokenChoice{};
  }
  return slice;
}

/// n tokens have run, n_input of them input.
void Session::read(std::int64_t n, std::int64_t n_input) {
  unread_.erase(unread_.begin(), unread_.begin() + n);
  ++version_;
  answer_read_inputs();
  if (generation_ && generation_->accountant) {
    generation_->accountant->read_input(n_input);
  }
}

void Session::advance(std::int64_t n, std::span<const float> logits) {
  read(n, n - 1);
  emit(generation_->sampler.draw(logits), logits);
}

void Session::advance(std::int64_t n, std::int32_t token) {
  read(n, n - 1);
  generation_->sampler.count_draw();
  emit(token, {});
}

void Session::answer_read_inputs() {
  // Read: all but the stream's newest token are in the cache.
  while (!inputs_.empty() && inputs_.front().tokenised() &&
         inputs_.front().end_position <= cache_.position() + 1) {
    WaitingInput input = std::move(inputs_.front());
    inputs_.pop_front();
    observer_.on_append_read(input.n_tokens);
    input.reply(AppendResult{.session = id(), .tokens = input.n_tokens, .position = input.end_position});
  }
}

std::string Session::shown_alone(std::int32_t token) const {
  if (!model_.tokenizer) {
    return {};
  }
  const std::string_view bytes = model_.tokenizer->bytes(token);
  return is_valid_utf8(bytes) ? std::string(bytes) : "\uFFFD";
}

Clock::time_point Session::observe_token() {
  Generation& generation = *generation_;
  const Clock::time_point now = Clock::now();
  if (generation.n_tokens++ == generation.n_earlier) {
    generation.first_token = now;
    observer_.on_first_token(now - generation.arrival);
  } else {
    observer_.on_later_token(now - generation.latest_token);
  }
  generation.latest_token = now;
  return now;
}

/// logits: needed where the generation asked for probabilities.
void Session::emit(std::int32_t token, std::span<const float> logits) {
  Generation& generation = *generation_;
  GeneratedToken out;
  out.token = token;
  const Clock::time_point now = observe_token();
  if (generation.accountant) {
    out.account = generation.accountant->token(now);
  }
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
