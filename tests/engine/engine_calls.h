#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/model.h"
#include "kernels/make_backend.h"
#include "tests/engine/scratch_folder.h"

/// The engine's requests as plain calls, on the small model of the tests.
namespace condensed::engine {

inline std::shared_ptr<Model> small_model(const char* weights = "stored") {
  return load_model(std::filesystem::path(CONDENSED_MODELS_DIR) / "books-1m",
                    kernels::make_backend("auto", 2), parse_weight_format(weights));
}

inline EngineOptions small_options() {
  EngineOptions options;
  options.default_window = {4, 60};
  options.max_sessions = 40;
  return options;
}

/// With a state folder, in which nothing is saved unasked.
inline EngineOptions options_with(const ScratchFolder& folder) {
  EngineOptions options = small_options();
  options.state_dir = folder.path();
  options.snapshots = parse_snapshot_policy("never");
  return options;
}

/// Collects one generation; pauses it after `budget` tokens until more are granted.
class Collector : public GenerationListener {
 public:
  explicit Collector(std::int64_t budget = std::int64_t{1} << 40) : budget_(budget) {}

  bool accepts_token() const override { return budget_ > 0; }
  void on_token(const GeneratedToken& token) override {
    const std::lock_guard lock(mutex_);
    --budget_;
    tokens_.push_back(token);
    changed_.notify_all();
  }
  void on_done(const GenerationSummary& summary) override {
    const std::lock_guard lock(mutex_);
    done_ = summary;
    changed_.notify_all();
  }

  void grant(std::int64_t n) { budget_ += n; }
  GenerationSummary wait_done() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_.has_value(); });
    return *done_;
  }
  void wait_tokens(std::size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return tokens_.size() >= n; });
  }
  std::vector<GeneratedToken> tokens() const {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  std::vector<std::int32_t> ids() const {
    std::vector<std::int32_t> out;
    for (const GeneratedToken& token : tokens()) out.push_back(token.token);
    return out;
  }
  std::string text() const {
    const std::lock_guard lock(mutex_);
    std::string out;
    for (const GeneratedToken& token : tokens_) out += token.text;
    return done_ ? out + done_->text : out;
  }

 private:
  std::atomic<std::int64_t> budget_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<GeneratedToken> tokens_;
  std::optional<GenerationSummary> done_;
};

template <typename T, typename Call>
std::variant<T, Error> wait_for(Call&& call) {
  auto promise = std::make_shared<std::promise<std::variant<T, Error>>>();
  auto future = promise->get_future();
  call([promise](std::variant<T, Error> result) { promise->set_value(std::move(result)); });
  return future.get();
}

inline std::variant<SessionInfo, Error> open(Engine& engine, OpenRequest request) {
  return wait_for<SessionInfo>([&](auto reply) { engine.open(std::move(request), reply); });
}
inline std::variant<AppendResult, Error> append(Engine& engine, const std::string& session,
                                                std::variant<std::string, std::vector<std::int32_t>> input) {
  return wait_for<AppendResult>(
      [&](auto reply) { engine.append({.name = session}, std::move(input), reply); });
}
inline std::variant<SessionInfo, Error> generate(Engine& engine, GenerateRequest request,
                                                 std::shared_ptr<GenerationListener> listener) {
  return wait_for<SessionInfo>(
      [&](auto reply) { engine.generate(std::move(request), std::move(listener), reply); });
}
inline std::variant<SessionInfo, Error> stat(Engine& engine, const std::string& session) {
  return wait_for<SessionInfo>([&](auto reply) { engine.stat({.name = session}, reply); });
}

inline std::variant<SessionInfo, Error> cancel(Engine& engine, const std::string& session) {
  return wait_for<SessionInfo>([&](auto reply) { engine.cancel({.name = session}, reply); });
}
inline std::variant<SessionInfo, Error> close(Engine& engine, const std::string& session) {
  return wait_for<SessionInfo>([&](auto reply) { engine.close({.name = session}, reply); });
}
inline std::variant<SavedSnapshot, Error> save(Engine& engine, const std::string& session) {
  return wait_for<SavedSnapshot>([&](auto reply) { engine.save({.name = session}, reply); });
}
inline std::variant<SessionInfo, Error> fork(Engine& engine, const std::string& session, std::string as) {
  return wait_for<SessionInfo>([&](auto reply) { engine.fork({.name = session}, std::move(as), reply); });
}
inline std::variant<SessionInfo, Error> rename(Engine& engine, const std::string& session, std::string to) {
  return wait_for<SessionInfo>([&](auto reply) { engine.rename({.name = session}, std::move(to), reply); });
}
inline std::variant<SessionInfo, Error> undo(Engine& engine, const std::string& session,
                                             std::int64_t tokens) {
  return wait_for<SessionInfo>([&](auto reply) { engine.undo({.name = session}, tokens, reply); });
}
inline std::variant<ExportedSession, Error> export_session(Engine& engine, const std::string& session) {
  return wait_for<ExportedSession>([&](auto reply) { engine.export_session({.name = session}, reply); });
}
inline std::variant<SessionInfo, Error> import_session(Engine& engine, const std::string& session,
                                                       std::vector<std::byte> file) {
  return wait_for<SessionInfo>(
      [&](auto reply) { engine.import_session({.name = session}, std::move(file), reply); });
}

template <typename T>
T value(std::variant<T, Error> result) {
  if (const auto* error = std::get_if<Error>(&result)) {
    ADD_FAILURE() << error->message;
    return {};
  }
  return std::get<T>(std::move(result));
}
template <typename T>
Error error(const std::variant<T, Error>& result) {
  if (std::holds_alternative<T>(result)) {
    ADD_FAILURE() << "expected an error";
    return {};
  }
  return std::get<Error>(result);
}

inline GenerateRequest greedy(std::string session, std::int64_t max_tokens) {
  GenerateRequest request;
  request.session.name = std::move(session);
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  request.sampling.temperature = 0;
  return request;
}

}  // namespace condensed::engine
