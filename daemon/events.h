#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "daemon/settings.h"
#include "engine/engine.h"

/// The daemon's side of docs/protocol.md: each function gives one line, with its end.
namespace condensed::daemon {

/// What the daemon adds to the engine's state.
struct DaemonInfo {
  std::int64_t connections = 0;
  std::int64_t resident_bytes = 0;
  std::int64_t threads = 0;            // that compute
  const Settings* settings = nullptr;  // those in force; null: none are told
};

/// What an error is about, beside its code.
struct ErrorDetails {
  std::string_view session;
  std::string_view limit;                      // key of the setting that was reached
  std::optional<std::int64_t> retry_after_ms;  // when trying again may help
  std::optional<std::int64_t> from_position;   // where a replay can begin
};

std::string opened_event(const engine::SessionInfo& info);
/// replayed: events that follow because they were asked for again.
std::string attached_event(const engine::SessionInfo& info, std::optional<std::int64_t> replayed = {});
std::string appended_event(const engine::AppendResult& result);
std::string token_event(std::string_view session, const engine::GeneratedToken& token);
std::string done_event(std::string_view session, const engine::GenerationSummary& summary);
std::string stat_event(const engine::SessionInfo& info, std::int64_t attached);
std::string stat_event(const engine::EngineInfo& info, const DaemonInfo& daemon);
/// attached: connections of each session, in the same order.
std::string list_event(const std::vector<engine::SessionInfo>& sessions,
                       const std::vector<std::int64_t>& attached);
/// "cancelled", "closed", "undone"
std::string position_event(std::string_view name, const engine::SessionInfo& info);
std::string saved_event(const engine::SavedSnapshot& saved);
/// "forked", "imported": a session that is there now.
std::string added_event(std::string_view name, const engine::SessionInfo& info);
std::string renamed_event(const engine::SessionInfo& info, std::string_view from);
/// A part of an exported session's file.
std::string chunk_event(std::string_view session, std::span<const std::byte> part);
std::string exported_event(const engine::ExportedSession& exported);
std::string importing_event(std::size_t bytes);
std::string detached_event(std::string_view session);
std::string lagged_event(std::string_view session, std::int64_t missed_tokens);
std::string pong_event();
std::string metrics_event(std::string_view text);
std::string bye_event();
std::string error_event(std::string_view code, std::string_view message, const ErrorDetails& details = {});

/// The same event as the answer to the request with this id (JSON text; empty: unchanged).
std::string with_id(std::string_view event, std::string_view id);

}  // namespace condensed::daemon
