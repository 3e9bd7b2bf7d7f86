#include "daemon/events.h"

#include <chrono>

#include <boost/json.hpp>

#include "daemon/base64.h"

namespace condensed::daemon {

namespace json = boost::json;

namespace {

std::string line(const json::object& object) {
  return json::serialize(object) + "\n";
}

double milliseconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

std::string_view state_of(const engine::SessionInfo& info) {
  return info.asleep ? "asleep" : info.generating ? "generating" : "resting";
}

json::object session_fields(const engine::SessionInfo& info, std::int64_t attached) {
  json::object fields = {{"session", info.session.name},
                         {"user", info.session.user},
                         {"state", state_of(info)},
                         {"generating", info.generating},
                         {"interrupted", info.interrupted},
                         {"sinks", info.sinks},
                         {"window", info.window},
                         {"position", info.position},
                         {"cached", info.cached},
                         {"evictions", info.evictions},
                         {"waiting_tokens", info.waiting_tokens},
                         {"waiting_bytes", info.waiting_bytes},
                         {"cache_bytes", info.cache_bytes},
                         {"cache_bytes_max", info.cache_bytes_max},
                         {"idle_s", std::chrono::duration<double>(info.idle).count()},
                         {"attached", attached}};
  if (info.saved_position) {
    fields["saved_position"] = *info.saved_position;
    fields["snapshot_bytes"] = info.snapshot_bytes;
  }
  return fields;
}

/// The settings that bear on what clients can measure.
json::object settings_fields(const Settings& settings) {
  json::object fields;
  for (const Setting& setting : all_settings()) {
    if (setting.told_to_clients()) {
      std::visit([&](auto member) { fields[setting.key] = settings.*member; }, setting.target);
    }
  }
  return fields;
}

json::object counts_fields(const engine::ResourceUse::Counts& counts) {
  return {{"cpu_ms", milliseconds(counts.cpu)},
          {"page_faults_minor", counts.page_faults_minor},
          {"page_faults_major", counts.page_faults_major},
          {"preemptions", counts.preemptions}};
}

json::object account_fields(const engine::StepAccount& account) {
  json::object fields{{"interval_ms", milliseconds(account.interval)},
                      {"step_ms", milliseconds(account.step)},
                      {"other_steps_ms", milliseconds(account.other_steps)},
                      {"between_steps_ms", milliseconds(account.between_steps)},
                      {"commands_ms", milliseconds(account.commands)},
                      {"preparing_ms", milliseconds(account.preparing)},
                      {"idle_ms", milliseconds(account.idle)},
                      {"held_ms", milliseconds(account.held)},
                      {"queued_ms", milliseconds(account.queued)},
                      {"starting_ms", milliseconds(account.starting)},
                      {"waking_ms", milliseconds(account.waking)},
                      {"input_tokens", account.input_tokens},
                      {"steps", account.steps},
                      {"sessions", account.sessions},
                      {"decode_rows", account.decode_rows},
                      {"prompt_rows", account.prompt_rows},
                      {"passes", account.passes},
                      {"snapshots_under_way", account.snapshots_under_way},
                      {"snapshots_copied", account.snapshots_copied},
                      {"sessions_woken", account.sessions_woken}};
  for (auto& [key, value] : counts_fields(account.use.process)) {
    fields[key] = value;
  }
  fields["engine_thread"] = counts_fields(account.use.thread);
  return fields;
}

json::object opened_fields(std::string_view event, const engine::SessionInfo& info) {
  return {
      {"event", event},        {"session", info.session.name},    {"existed", info.existed},
      {"sinks", info.sinks},   {"window", info.window},           {"position", info.position},
      {"cached", info.cached}, {"cache_bytes", info.cache_bytes}, {"cache_bytes_max", info.cache_bytes_max}};
}

}  // namespace

std::string opened_event(const engine::SessionInfo& info) {
  return line(opened_fields("opened", info));
}

std::string attached_event(const engine::SessionInfo& info, std::optional<std::int64_t> replayed) {
  json::object event = opened_fields("attached", info);
  event["existed"] = true;
  event["generating"] = info.generating;
  if (replayed) {
    event["replayed"] = *replayed;
  }
  return line(event);
}

std::string appended_event(const engine::AppendResult& result) {
  return line({{"event", "appended"},
               {"session", result.session.name},
               {"tokens", result.tokens},
               {"position", result.position}});
}

std::string token_event(std::string_view session, const engine::GeneratedToken& token) {
  json::object event{{"event", "token"},
                     {"session", session},
                     {"text", token.text},
                     {"token", token.token},
                     {"position", token.position}};
  if (token.logprob) {
    event["logprob"] = *token.logprob;
    json::array top;
    for (const auto& [candidate, text] : token.top) {
      top.push_back({{"token", candidate.token}, {"text", text}, {"logprob", candidate.logprob}});
    }
    event["top"] = std::move(top);
  }
  if (token.account) {
    event["account"] = account_fields(*token.account);
  }
  return line(event);
}

std::string done_event(std::string_view session, const engine::GenerationSummary& summary) {
  json::object event{{"event", "done"},
                     {"session", session},
                     {"reason", engine::name_of(summary.reason)},
                     {"text", summary.text},
                     {"position", summary.position}};
  if (summary.resumable) {
    event["resumable"] = true;
  }
  if (!summary.stop.empty()) {
    event["stop"] = summary.stop;
  }
  if (!summary.message.empty()) {
    event["message"] = summary.message;
  }
  event["usage"] = {{"prompt_tokens", summary.prompt_tokens},
                    {"completion_tokens", summary.completion_tokens}};
  json::object timing{{"total_ms", milliseconds(summary.total)}};
  if (summary.completion_tokens > 0) {
    timing["time_to_first_token_ms"] = milliseconds(summary.time_to_first_token);
  }
  const double after_first_s = milliseconds(summary.total - summary.time_to_first_token) / 1000;
  if (summary.completion_tokens > 1 && after_first_s > 0) {
    timing["tokens_per_s"] = static_cast<double>(summary.completion_tokens - 1) / after_first_s;
  }
  event["timing"] = std::move(timing);
  return line(event);
}

std::string stat_event(const engine::SessionInfo& info, std::int64_t attached) {
  json::object event{{"event", "stat"}};
  for (auto& [key, value] : session_fields(info, attached)) {
    event[key] = value;
  }
  return line(event);
}

std::string stat_event(const engine::EngineInfo& info, const DaemonInfo& daemon) {
  json::object event{{"event", "stat"},
                     {"version", CONDENSED_VERSION},
                     {"model", info.model},
                     {"backend", info.backend},
                     {"n_layers", info.n_layers},
                     {"n_owners", info.n_owners},
                     {"vocab_size", info.vocab_size},
                     {"weight_bytes", info.weight_bytes},
                     {"cache_dtype", name_of(info.cache_dtype)},
                     {"cache_bytes_per_token", info.cache_bytes_per_token},
                     {"sessions", info.sessions},
                     {"asleep", info.asleep},
                     {"resident", info.resident},
                     {"max_sessions", info.max_sessions},
                     {"max_resident_sessions", info.max_resident_sessions},
                     {"max_cache_bytes", info.max_cache_bytes},
                     {"generating", info.generating},
                     {"waiting", info.waiting},
                     {"cache_bytes", info.cache_bytes},
                     {"steps", info.steps},
                     {"step_sessions", info.step_sessions},
                     {"step_time_s", std::chrono::duration<double>(info.in_steps).count()},
                     {"tokens_read", info.tokens_read},
                     {"tokens_generated", info.tokens_generated},
                     {"evictions", info.evictions},
                     {"uptime_s", info.uptime_s},
                     {"connections", daemon.connections},
                     {"resident_bytes", daemon.resident_bytes},
                     {"threads", daemon.threads}};
  if (daemon.settings != nullptr) {
    event["settings"] = settings_fields(*daemon.settings);
  }
  return line(event);
}

std::string list_event(const std::vector<engine::SessionInfo>& sessions,
                       const std::vector<std::int64_t>& attached) {
  json::array items;
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    items.push_back(session_fields(sessions[i], attached[i]));
  }
  return line({{"event", "list"}, {"sessions", std::move(items)}});
}

std::string position_event(std::string_view name, const engine::SessionInfo& info) {
  return line({{"event", name}, {"session", info.session.name}, {"position", info.position}});
}

std::string saved_event(const engine::SavedSnapshot& saved) {
  return line({{"event", "saved"},
               {"session", saved.session.name},
               {"position", saved.position},
               {"bytes", saved.bytes}});
}

std::string added_event(std::string_view name, const engine::SessionInfo& info) {
  json::object event = opened_fields(name, info);
  event.stable_erase("existed");
  return line(event);
}

std::string renamed_event(const engine::SessionInfo& info, std::string_view from) {
  return line(
      {{"event", "renamed"}, {"session", info.session.name}, {"from", from}, {"position", info.position}});
}

std::string chunk_event(std::string_view session, std::span<const std::byte> part) {
  return line({{"event", "chunk"}, {"session", session}, {"data", to_base64(part)}});
}

std::string exported_event(const engine::ExportedSession& exported) {
  return line({{"event", "exported"},
               {"session", exported.session.name},
               {"position", exported.position},
               {"bytes", exported.file.size()}});
}

std::string importing_event(std::size_t bytes) {
  return line({{"event", "importing"}, {"bytes", bytes}});
}

std::string detached_event(std::string_view session) {
  return line({{"event", "detached"}, {"session", session}});
}

std::string lagged_event(std::string_view session, std::int64_t missed_tokens) {
  return line({{"event", "lagged"}, {"session", session}, {"missed", missed_tokens}});
}

std::string pong_event() {
  return line({{"event", "pong"}});
}

std::string metrics_event(std::string_view text) {
  return line({{"event", "metrics"}, {"text", text}});
}

std::string bye_event() {
  return line({{"event", "bye"}, {"reason", "shutdown"}});
}

std::string error_event(std::string_view code, std::string_view message, const ErrorDetails& details) {
  json::object event{{"event", "error"}, {"code", code}, {"message", message}};
  if (!details.session.empty()) {
    event["session"] = details.session;
  }
  if (!details.limit.empty()) {
    event["limit"] = details.limit;
  }
  if (details.retry_after_ms) {
    event["retry_after_ms"] = *details.retry_after_ms;
  }
  if (details.from_position) {
    event["from_position"] = *details.from_position;
  }
  return line(event);
}

std::string with_id(std::string_view event, std::string_view id) {
  if (id.empty()) {
    return std::string(event);
  }
  return "{\"id\":" + std::string(id) + "," + std::string(event.substr(1));
}

}  // namespace condensed::daemon
