#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <boost/circular_buffer.hpp>

#include "engine/engine.h"
#include "engine/sampler.h"
#include "engine/session_snapshot.h"
#include "engine/text_stream.h"
#include "engine/token_accountant.h"
#include "engine/transformer.h"

namespace condensed::engine {

/// One stream: its cache, the tokens that wait to run through the model, and the generation under way.
///
/// The newest token of a stream is never in the cache until another follows: it is what the next generated
/// token is predicted from. So a session that rests holds exactly one unread token (or none, when empty).
/// Used by the engine's thread only.
class Session {
 public:
  Session(Model& model, const cache::CacheShape& shape, const cache::StreamWindow& window,
          const OpenRequest& request, EngineObserver& observer);
  /// Goes on where the snapshot, which must be of this model, was taken.
  Session(Model& model, const cache::CacheShape& shape, SessionId id, SessionSnapshot snapshot,
          EngineObserver& observer);

  const SessionId& id() const { return info_.session; }
  void rename(SessionId id) { info_.session = std::move(id); }
  SessionInfo info() const;
  /// Changes whenever a snapshot would.
  std::uint64_t version() const { return version_; }
  /// Input that waits is not part of it: take one when settled(), lest an input be cut in two.
  SessionSnapshot snapshot() const;
  /// Tokens in the stream so far, unread ones included.
  std::int64_t position() const { return cache_.position() + static_cast<std::int64_t>(unread_.size()); }
  /// Nothing to generate from, now or from input that waits.
  bool empty() const { return position() == 0 && inputs_.empty(); }
  bool generating() const { return generation_.has_value(); }
  /// What the running generation may still generate, if it is bounded.
  std::optional<std::int64_t> tokens_left() const;
  /// No input waits or is half read.
  bool settled() const { return inputs_.empty() && unread_.size() <= 1; }
  /// Nothing happens until a request comes.
  bool resting() const { return settled() && !generating(); }
  std::int64_t evictions() const { return cache_.evictions(); }
  std::size_t cache_bytes() const { return cache_.bytes(); }
  std::size_t waiting_input_bytes() const;

  void append(Input input, Reply<AppendResult> reply);

  /// Throws InputError for options out of range. The session must not be generating; request.resume needs
  /// interrupted().
  /// accountant: gives the accounts of slow tokens.
  void start(GenerateRequest request, std::shared_ptr<GenerationListener> listener, std::uint64_t seed,
             Clock::time_point arrival, std::optional<TokenAccountant> accountant = std::nullopt);

  /// Ends the generation, if one runs: on_done is called.
  void finish(FinishReason reason, std::string_view stop = {});
  /// The same, but the generation may be resumed: what its stop strings hold back stays so.
  void interrupt(FinishReason reason, std::string message = {});
  bool interrupted() const { return interrupted_.has_value(); }
  /// The same because of what happened (FinishReason::failed), for a session that will not be kept.
  void fail(std::string message);

  /// Takes the cache off the device into a copy in the host's memory; all else is there anyway. Until it is
  /// back, the session may be asked, saved and ended, and take input, but neither run nor undo.
  /// Throws DeviceError and bad_alloc; then nothing has changed.
  void leave_device();
  /// Puts the cache on the model's backend, which may be another by now. The same: the copy stays.
  void return_to_device();
  /// What leave_device() takes, or has taken, of the host's memory.
  std::size_t copy_bytes() const;

  /// Takes the latest n tokens out of the stream. The session must be resting. Returns why it cannot, if so;
  /// then nothing has changed.
  std::optional<Error> undo(std::int64_t n);
  /// Answers every append that waits with `error`.
  void refuse_waiting(const Error& error);
  /// The same, and takes what is not read of their input out of the stream.
  void drop_input(const Error& error);

  /// Tokenises waiting input until there is enough for a slice, and little more.
  void prepare(std::int64_t slice_tokens);
  /// Whether the generation's reader lets no token come.
  bool held() const { return generation_ && !generation_->listener->accepts_token(); }
  /// For the accounts of slow tokens, if they are asked for: what becomes of the session in the next step.
  void take_turn(TokenAccountant::Turn turn) {
    if (generation_ && generation_->accountant) {
      generation_->accountant->take_turn(turn);
    }
  }
  /// How many tokens may run now: 0 when the session rests. Never more than slice_tokens allows for prompts.
  std::int64_t runnable() const;
  /// Takes what memory the next n tokens need. Throws what the backend does; then nothing has changed.
  void make_room(std::int64_t n) { cache_.make_room(n); }
  /// The next `n` ≤ runnable() tokens.
  Slice slice(std::int64_t n);
  /// The slice has run, and asked for nothing.
  void advance(std::int64_t n) { read(n, n); }
  /// The slice has run. logits: [vocab_size] after its last token.
  void advance(std::int64_t n, std::span<const float> logits);
  /// The slice has run. token: what its choice gave after its last one.
  void advance(std::int64_t n, std::int32_t token);

 private:
  struct WaitingInput {
    Input content;
    std::size_t consumed = 0;  // bytes or tokens of content that are unread tokens by now
    std::int64_t n_tokens = 0;
    std::int64_t end_position = 0;  // once all is tokenised: where its last token stands, plus one
    Reply<AppendResult> reply;

    bool tokenised() const;
  };

  struct Generation {
    GenerateRequest request;
    std::shared_ptr<GenerationListener> listener;
    Sampler sampler;
    StopMatcher stop;
    std::optional<TokenAccountant> accountant;
    Clock::time_point arrival;
    Clock::time_point first_token{};
    Clock::time_point latest_token{};
    std::int64_t n_tokens = 0;   // since the generation began, resumed or not
    std::int64_t n_earlier = 0;  // of these, before it was resumed
  };

  bool input_waits() const { return !inputs_.empty() && !inputs_.back().tokenised(); }
  bool wants_token() const;
  void read(std::int64_t n, std::int64_t n_input);
  bool has_text() const { return position() > text_start_; }
  static GenerationState state_of(const Generation& generation);
  void end(GenerationSummary summary);
  void take_back(std::int64_t n);
  void tokenise(WaitingInput& input);
  void accept(std::int32_t token);
  void answer_read_inputs();
  std::string shown_alone(std::int32_t token) const;
  void emit(std::int32_t token, std::span<const float> logits);
  Clock::time_point observe_token();

  Model& model_;
  EngineObserver& observer_;
  SessionInfo info_;
  cache::CondensedCache cache_;
  std::optional<std::vector<std::byte>> copy_;  // of the cache's content, while it is not on the device
  std::optional<TextStream> text_;              // absent without a tokenizer
  std::int64_t text_start_ = 0;       // where the stream's text begins: behind a beginning-of-sequence token
  std::vector<std::int32_t> unread_;  // accepted, not in the cache
  std::deque<WaitingInput> inputs_;
  boost::circular_buffer<std::int32_t> history_;  // the latest tokens, for penalties and undo()
  std::optional<Generation> generation_;
  std::optional<GenerationState> interrupted_;
  std::int64_t n_read_since_generation_ = 0;
  std::uint64_t version_ = 0;
};

}  // namespace condensed::engine
