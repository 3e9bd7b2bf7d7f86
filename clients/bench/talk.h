#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include <boost/asio.hpp>
#include <boost/json.hpp>

#include "clients/bench/conversations.h"
#include "clients/bench/run.h"
#include "clients/bench/stream_flags.h"

namespace condensed::bench {

/// Flags of scenarios in which users say something and get an answer.
struct TalkFlags {
  std::string turns_path;                // empty: the bundled conversations
  std::string turn_template = "\n{}\n";  // what a turn {} becomes in the stream
  double answer_tokens = 100;            // mean
  StreamFlags stream;                    // of these: the session's and how tokens are drawn

  void add_to(CLI::App& command);
  /// Throw std::invalid_argument for a file of turns, a template or a logit bias that is none.
  Conversations conversations() const;
  boost::json::object settings() const;
};

/// One turn and how long its answer shall be.
struct Turn {
  std::string text;
  std::int64_t answer_tokens = 0;
};

/// Goes through conversations, one after another in an order of its own, turn after turn. Whoever has the
/// same flags and seed says the same. Used by one thread; flags and conversations must outlive it.
class Talker {
 public:
  Talker(const TalkFlags& flags, const Conversations& conversations, std::uint64_t seed);

  Turn next();
  /// Fields of `generate` for an answer; each has a seed of its own.
  boost::json::object generate_fields(std::int64_t answer_tokens);
  /// Drawn from an exponential distribution; 0 for a mean of 0.
  std::chrono::nanoseconds pause(double mean_ms);
  std::mt19937_64& random() { return random_; }

 private:
  const TalkFlags& flags_;
  const Conversations& conversations_;
  std::mt19937_64 random_;
  std::size_t conversation_ = 0;
  std::size_t turn_ = 0;
};

/// Appends the turn to a session and generates the answer; both requests are sent at once, so that the time
/// to the first token is that of reading the turn, too. What is refused is recorded. Throws ConnectionLost.
boost::asio::awaitable<Generated> say(Run& run, Run::ClientPtr client, std::string session, Turn turn,
                                      boost::json::object generate_fields,
                                      std::optional<Clock::time_point> due = std::nullopt);

}  // namespace condensed::bench
