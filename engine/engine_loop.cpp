#include "engine/engine_loop.h"

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

#include "engine/cache_memory.h"
#include "engine/input_error.h"
#include "kernels/device_error.h"

namespace condensed::engine {

/// Where tests may plant a delay or a failure; nothing in a build that is not made for them.
void Engine::Loop::pass([[maybe_unused]] Failpoint point, [[maybe_unused]] std::int64_t step) {
#ifdef CONDENSED_FAILPOINTS
  static const Failpoints kPlanted = Failpoints::from_environment();
  kPlanted.pass(point, step);
#endif
}

Engine::Loop::Loop(std::shared_ptr<Model> model, const EngineOptions& options)
    : model_(std::move(model)),
      options_(options),
      input_budget_(options.max_total_waiting_input_bytes),
      transformer_(std::in_place, *model_, options.max_batch_rows, options.cache_dtype),
      cache_shape_(transformer_->cache_shape()),
      backend_name_(model_->backend->name()),
      weight_bytes_(model_->weights.bytes()),
      wanted_cache_bytes_(options.max_cache_bytes),
      seeds_(std::random_device{}()),
      table_(*model_, cache_shape_, options_, ledger_, [this](std::function<void()> run) {
        enqueue_always([run = std::move(run)](Loop&) { run(); });
      }) {
  pass(Failpoint::start, 0);
  if (options_.observer == nullptr) {
    options_.observer = &silent_;
  }
  if (model_->config.use_sequential) {
    options_.prompt.mode = PromptMode::serial;  // the checkpoint says so
  } else if (!model_->plan.cyclic()) {
    options_.prompt.mode = PromptMode::adaptive;  // without cycles one pass over a chunk is exact
  }
  options_.prompt.chunk_tokens = std::min(options_.prompt.chunk_tokens, options_.max_batch_rows);
  set_cache_memory_aside();
  planner_ = PromptPlanner::measured(*model_, *transformer_, options_.prompt);
  thread_ = std::thread([this] { run(); });
}

/// What there is no room for lowers the limit, until there is some.
void Engine::Loop::set_cache_memory_aside() {
  const std::size_t session_bytes =
      cache::CondensedCache::bytes_when_full(cache_shape_, options_.default_window);
  options_.max_cache_bytes =
      engine::set_cache_memory_aside(*model_->backend, wanted_cache_bytes_, session_bytes);
  const bool without_limit = wanted_cache_bytes_ == std::numeric_limits<std::size_t>::max();
  if (options_.max_cache_bytes < wanted_cache_bytes_ && !without_limit) {
    options_.warn("max_cache_bytes is " + std::to_string(options_.max_cache_bytes) + " instead of " +
                  std::to_string(wanted_cache_bytes_) + ": the device has no room for more");
  }
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

/// What the loop itself began must end, also while it stops.
void Engine::Loop::enqueue_always(Command command) {
  {
    const std::lock_guard lock(mutex_);
    commands_.push_back(std::move(command));
  }
  wakeup_.notify_one();
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
  std::optional<Clock::time_point> due;
  do {
    run_commands(worked ? Clock::now() : due.value_or(Clock::time_point::max()));
    const auto now = Clock::now();
    ledger_.turn_to(Work::preparing, now);
    due = table_.maintain(now);
    worked = step();
    beat();
  } while (!stopping());
  drain();
  end_sessions();
}

void Engine::Loop::beat() {
  if (beats() && Clock::now() >= next_beat_) {
    options_.heartbeat();
    next_beat_ = Clock::now() + options_.heartbeat_interval;
  }
}

bool Engine::Loop::stopping() {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

/// Carries out what is queued, after waiting for it until then; for a listener or the end, too.
void Engine::Loop::run_commands(Clock::time_point until) {
  if (beats()) {
    until = std::min(until, next_beat_);
  }
  std::vector<Command> commands;
  {
    std::unique_lock lock(mutex_);
    const auto called = [this] { return (stopping_ && !ending_) || woken_ || !commands_.empty(); };
    const auto now = Clock::now();
    ledger_.turn_to(Work::commands, now);
    if (until > now && !called()) {  // a wait for the past is a system call, and a turn of the scheduler
      ledger_.turn_to(Work::idle, now);
      if (until == Clock::time_point::max()) {
        wakeup_.wait(lock, called);
      } else {
        wakeup_.wait_until(lock, until, called);
      }
      ledger_.turn_to(Work::commands, Clock::now());
    }
    woken_ = false;
    commands.swap(commands_);
  }
  for (const Command& command : commands) {
    command(*this);
  }
}

/// What ends by itself may do so, for a while: input that waits, and generations that somebody reads.
void Engine::Loop::drain() {
  run_commands(Clock::now());  // what came before the end is still answered
  for (const EntryPtr& entry : table_.residents()) {
    if (entry->session->generating() && !entry->session->tokens_left()) {
      stop_generation(*entry->session);
    }
  }
  const auto deadline = Clock::now() + options_.drain;
  while (Clock::now() < deadline && step()) {
    run_commands(Clock::now());
    table_.maintain(Clock::now());
    beat();
  }
}

/// Ends the generation; one that will be on disk can be resumed.
void Engine::Loop::stop_generation(Session& session) {
  if (table_.keeps_files()) {
    session.interrupt(FinishReason::shutdown);
  } else {
    session.finish(FinishReason::shutdown);
  }
}

void Engine::Loop::end_sessions() {
  ending_ = true;
  table_.refuse_arrivals(shutting_down());
  for (const EntryPtr& entry : table_.residents()) {
    Session& session = *entry->session;
    stop_generation(session);
    Error half_read = shutting_down();
    half_read.message += "; session '" + session.id().name + "' has read the input up to position " +
                         std::to_string(session.position());
    session.refuse_waiting(half_read);
  }
  while (!table_.save_all()) {
    run_commands(Clock::time_point::max());
    beat();
  }
}

/// Chooses what runs in this step: every session that has a token due, and prompts as far as rows are left.
/// While any session decodes, prompts get one chunk's worth of rows, so that its next token is never far. A
/// chunk that does not fit waits for its turn.
void Engine::Loop::choose_slices() {
  using Turn = TokenAccountant::Turn;
  slices_.clear();
  runners_.clear();
  n_waiting_ = 0;
  const PromptOptions& prompt = options_.prompt;
  std::int64_t n_decoding = 0;
  std::int64_t n_busy = 0;
  const std::vector<EntryPtr>& residents = table_.residents();
  for (const EntryPtr& entry : residents) {
    Session& session = *entry->session;
    session.prepare(prompt.chunk_tokens);
    const std::int64_t runnable = session.runnable();
    n_busy += runnable > 0 ? 1 : 0;
    n_decoding += runnable == 1 && session.generating() ? 1 : 0;
  }
  std::int64_t rows_left = options_.max_batch_rows;
  std::int64_t prompt_rows_left = n_decoding > 0 ? prompt.chunk_tokens : rows_left;
  const std::size_t n_sessions = residents.size();
  std::size_t first_waiting = n_sessions;
  for (std::size_t turn = 0; turn < n_sessions; ++turn) {
    const EntryPtr& entry = residents[(next_turn_ + turn) % n_sessions];
    const std::int64_t runnable = entry->session->runnable();
    if (runnable == 0) {
      entry->session->take_turn(entry->session->held() ? Turn::held : Turn::runs);
      continue;
    }
    const std::int64_t n = planner_->slice_tokens(runnable, n_busy - 1);
    if (n > rows_left || (n > 1 && n > prompt_rows_left)) {
      first_waiting = std::min(first_waiting, turn);
      ++n_waiting_;
      entry->session->take_turn(Turn::queued);
      continue;
    }
    entry->session->take_turn(Turn::runs);
    if (!table_.make_room_for(entry, n)) {
      continue;
    }
    slices_.push_back(entry->session->slice(n));
    runners_.push_back(entry);
    rows_left -= n;
    prompt_rows_left -= n > 1 ? n : 0;
  }
  if (first_waiting < n_sessions) {
    next_turn_ = (next_turn_ + first_waiting) % n_sessions;  // who waited comes first
  }
}

std::int64_t Engine::Loop::runners_evictions() const {
  std::int64_t evictions = 0;
  for (const EntryPtr& runner : runners_) {
    evictions += runner->session->evictions();
  }
  return evictions;
}

/// What the step has in it, before it has run.
StepReport Engine::Loop::chosen_rows() const {
  StepReport report{.sessions = static_cast<std::int64_t>(slices_.size())};
  for (const Slice& slice : slices_) {
    const auto n = static_cast<std::int64_t>(slice.tokens.size());
    const std::int64_t predicting = slice.logits_for == LogitsFor::none ? 0 : 1;
    report.decode_rows += predicting;
    report.prompt_rows += n - predicting;
  }
  return report;
}

/// The step had no room and left all caches whole. Prompts take the most: where there are any, those who
/// decode go on without them.
void Engine::Loop::stop_for_room(const std::string& why) {
  const bool prompts =
      std::ranges::any_of(slices_, [](const Slice& slice) { return slice.tokens.size() > 1; });
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    if (!prompts || slices_[i].tokens.size() > 1) {
      SessionTable::stop_for_room(runners_[i], why);
    }
  }
}

/// Runs the chosen slices through the model. False: it cannot, and who waits for that was told; or the device
/// failed on the way, and was restarted.
bool Engine::Loop::run_slices() {
  std::string failure;
  ++steps_;
  try {
    pass(Failpoint::step, steps_);
    transformer_->run(slices_, options_.prompt);
    failures_ = 0;
    return true;
  } catch (const kernels::DeviceError& error) {
    if (!options_.remake_backend) {
      throw;
    }
    failure = error.what();
  } catch (const std::bad_alloc& error) {
    if (transformer_->caches_intact()) {
      stop_for_room(error.what());
      return false;
    }
    if (!options_.remake_backend) {
      throw;
    }
    failure = std::string("out of memory in a step: ") + error.what();
  }
  recover(failure);
  return false;
}

/// False: nothing to do.
bool Engine::Loop::step() {
  if (transformer_ && !table_.device_failure().empty()) {
    recover(table_.device_failure());
  }
  if (!transformer_) {
    return false;
  }
  choose_slices();
  if (slices_.empty()) {
    return false;
  }
  pass(Failpoint::between_steps, steps_ + 1);
  const Clock::time_point began = Clock::now();
  ledger_.begin_step(began);
  const std::int64_t evictions_before = runners_evictions();
  if (!run_slices()) {
    return true;
  }
  StepReport report = chosen_rows();
  report.passes = transformer_->passes();
  report.evictions = runners_evictions() - evictions_before;
  ledger_.ran(report);
  std::int64_t longest_read = 0;
  if (slices_.size() == 1) {
    planner_->observe(static_cast<std::int64_t>(slices_.front().tokens.size()), transformer_->passes());
  }
  const auto vocab = static_cast<std::size_t>(model_->config.vocab_size);
  std::span<const float> logits = transformer_->logits();
  std::span<const std::int32_t> chosen = transformer_->chosen_tokens();
  const Clock::time_point now = Clock::now();
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    const LogitsFor asked = slices_[i].logits_for;
    const bool predicts = asked != LogitsFor::none;
    const auto n = static_cast<std::int64_t>(slices_[i].tokens.size());
    longest_read = std::max(longest_read, predicts ? n - 1 : n);
    if (asked == LogitsFor::none) {
      runners_[i]->session->advance(n);
    } else if (asked == LogitsFor::token) {
      runners_[i]->session->advance(n, chosen.front());
      chosen = chosen.subspan(1);
    } else {
      runners_[i]->session->advance(n, logits.first(vocab));
      logits = logits.subspan(vocab);
    }
    table_.progressed(runners_[i], now);
  }
  tokens_generated_ += report.decode_rows;
  tokens_read_ += report.prompt_rows;
  evictions_ += report.evictions;
  const Clock::time_point ended = Clock::now();
  ledger_.turn_to(Work::commands, ended);
  report.duration = ended - began;
  step_sessions_ += report.sessions;
  in_steps_ += report.duration;
  pace_.observe(report.duration, longest_read, report.prompt_rows);
  options_.observer->on_step(report);
  return true;
}

}  // namespace condensed::engine
