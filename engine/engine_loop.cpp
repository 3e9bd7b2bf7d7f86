#include "engine/engine_loop.h"

#include <algorithm>
#include <utility>

#include "engine/input_error.h"

namespace condensed::engine {

Engine::Loop::Loop(std::shared_ptr<Model> model, const EngineOptions& options)
    : model_(std::move(model)),
      options_(options),
      transformer_(*model_, options.max_batch_rows, options.cache_dtype),
      seeds_(std::random_device{}()) {
  if (model_->config.use_sequential) {
    options_.prompt.mode = PromptMode::serial;  // the checkpoint says so
  } else if (!model_->plan.cyclic()) {
    options_.prompt.mode = PromptMode::adaptive;  // without cycles one pass over a chunk is exact
  }
  options_.prompt.chunk_tokens = std::min(options_.prompt.chunk_tokens, options_.max_batch_rows);
  planner_ = PromptPlanner::measured(*model_, transformer_, options_.prompt);
  thread_ = std::thread([this] { run(); });
}

bool Engine::Loop::enqueue(Command command) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) {
      return false;
    }
    commands_.push_back(std::move(command));
  }
  wakeup_.notify_one();
  return true;
}

void Engine::Loop::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  wakeup_.notify_one();
}

void Engine::Loop::shutdown() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wakeup_.notify_one();
  const std::lock_guard lock(join_mutex_);
  if (thread_.joinable()) {
    thread_.join();
  }
}

void Engine::Loop::run() {
  bool worked = true;
  while (run_commands(/*may_wait=*/!worked)) {
    worked = step();
  }
  for (auto& [name, session] : sessions_) {
    session->finish(FinishReason::shutdown);
    session->refuse_waiting(shutting_down());
  }
}

/// Carries out what is queued, after waiting for something to do if it may. False: time to stop.
bool Engine::Loop::run_commands(bool may_wait) {
  std::vector<Command> commands;
  bool stopping = false;
  {
    std::unique_lock lock(mutex_);
    if (may_wait) {
      wakeup_.wait(lock, [this] { return stopping_ || woken_ || !commands_.empty(); });
    }
    woken_ = false;
    commands.swap(commands_);
    stopping = stopping_;
  }
  for (const Command& command : commands) {
    command(*this);
  }
  return !stopping;
}

/// Chooses what runs in this step: every session that has a token due, and prompts as far as rows are left.
/// While any session decodes, prompts get one chunk's worth of rows, so that its next token is never far. A
/// chunk that does not fit waits for its turn.
void Engine::Loop::choose_slices() {
  slices_.clear();
  runners_.clear();
  const PromptOptions& prompt = options_.prompt;
  std::int64_t n_decoding = 0;
  std::int64_t n_busy = 0;
  for (Session* session : turns_) {
    session->prepare(prompt.chunk_tokens);
    const std::int64_t runnable = session->runnable();
    n_busy += runnable > 0 ? 1 : 0;
    n_decoding += runnable == 1 && session->generating() ? 1 : 0;
  }
  std::int64_t rows_left = options_.max_batch_rows;
  std::int64_t prompt_rows_left = n_decoding > 0 ? prompt.chunk_tokens : rows_left;
  const std::size_t n_sessions = turns_.size();
  std::size_t first_waiting = n_sessions;
  for (std::size_t turn = 0; turn < n_sessions; ++turn) {
    Session* session = turns_[(next_turn_ + turn) % n_sessions];
    const std::int64_t runnable = session->runnable();
    if (runnable == 0) {
      continue;
    }
    const std::int64_t n = planner_->slice_tokens(runnable, n_busy - 1);
    if (n > rows_left || (n > 1 && n > prompt_rows_left)) {
      first_waiting = std::min(first_waiting, turn);
      continue;
    }
    slices_.push_back(session->slice(n));
    runners_.push_back(session);
    rows_left -= n;
    prompt_rows_left -= n > 1 ? n : 0;
  }
  if (first_waiting < n_sessions) {
    next_turn_ = (next_turn_ + first_waiting) % n_sessions;  // who waited comes first
  }
}

/// False: nothing to do.
bool Engine::Loop::step() {
  choose_slices();
  if (slices_.empty()) {
    return false;
  }
  transformer_.run(slices_, options_.prompt);
  ++steps_;
  if (slices_.size() == 1) {
    planner_->observe(static_cast<std::int64_t>(slices_.front().tokens.size()), transformer_.passes());
  }
  const auto vocab = static_cast<std::size_t>(model_->config.vocab_size);
  std::span<const float> logits = transformer_.logits();
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    const bool predicts = slices_[i].logits_for != LogitsFor::none;
    const auto n = static_cast<std::int64_t>(slices_[i].tokens.size());
    tokens_generated_ += predicts ? 1 : 0;
    tokens_read_ += predicts ? n - 1 : n;
    runners_[i]->advance(n, predicts ? logits.first(vocab) : std::span<const float>());
    logits = logits.subspan(predicts ? vocab : 0);
  }
  return true;
}

}  // namespace condensed::engine
