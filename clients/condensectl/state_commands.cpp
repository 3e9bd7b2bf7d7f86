// Commands about the state of sessions and the daemon: sessions, stat, cancel, close, ping.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "clients/condensectl/commands.h"
#include "clients/condensectl/table.h"
#include "clients/condensectl/user_name.h"

namespace condensed::ctl {

namespace json = boost::json;

namespace {

std::string text_of(const json::value& value) {
  return value.is_string() ? std::string(value.get_string()) : json::serialize(value);
}

std::string megabytes(const json::value& bytes) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.2f MB", bytes.to_number<double>() / 1e6);
  return buffer;
}

std::string duration(double seconds) {
  struct Unit {
    double seconds;
    const char* name;
  };
  constexpr std::array units{Unit{86400, "d"}, Unit{3600, "h"}, Unit{60, "min"}};
  const auto* unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& each) { return seconds >= each.seconds; });
  const bool short_one = unit == units.end();
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.0f %s", std::floor(short_one ? seconds : seconds / unit->seconds),
                short_one ? "s" : unit->name);
  return buffer;
}

std::string state_of(const json::object& session) {
  return text_of(session.at("state")) + (session.at("interrupted").as_bool() ? ", interrupted" : "");
}

}  // namespace

int run_sessions(Context& context, bool show_users) {
  const json::object list = context.client.call({{"op", "list"}});
  std::vector<std::vector<std::string>> rows{
      {"SESSION", "POSITION", "CACHED", "WINDOW", "MEMORY", "DISK", "IDLE", "ATTACHED", "STATE"}};
  for (const json::value& item : list.at("sessions").as_array()) {
    const json::object& session = item.as_object();
    const json::value* on_disk = session.if_contains("snapshot_bytes");
    rows.push_back({text_of(session.at("session")), text_of(session.at("position")),
                    text_of(session.at("cached")),
                    text_of(session.at("sinks")) + "+" + text_of(session.at("window")),
                    megabytes(session.at("cache_bytes")), on_disk != nullptr ? megabytes(*on_disk) : "-",
                    duration(session.at("idle_s").to_number<double>()), text_of(session.at("attached")),
                    state_of(session)});
    if (show_users) {
      rows.back().insert(rows.back().begin() + 1, user_name(session.at("user").to_number<std::int64_t>()));
    }
  }
  if (show_users) {
    rows.front().insert(rows.front().begin() + 1, "USER");
  }
  context.terminal.show(table(rows));
  return 0;
}

int run_stat(Context& context, const std::string& session) {
  json::object request{{"op", "stat"}};
  if (!session.empty()) {
    request["session"] = session;
  }
  const json::object stat = context.client.call(std::move(request));
  std::vector<std::vector<std::string>> rows;
  for (const auto& [key, value] : stat) {
    if (key != "event" && key != "id") {
      rows.push_back({std::string(key), text_of(value)});
    }
  }
  context.terminal.show(table(rows));
  return 0;
}

int run_cancel(Context& context, const std::string& session) {
  const json::object cancelled = context.client.call({{"op", "cancel"}, {"session", session}});
  context.terminal.note("cancelled at position " + text_of(cancelled.at("position")));
  return 0;
}

int run_close(Context& context, const std::string& session) {
  const json::object closed = context.client.call({{"op", "close"}, {"session", session}});
  context.terminal.note("closed session " + session + " at position " + text_of(closed.at("position")));
  return 0;
}

int run_ping(Context& context) {
  context.client.call({{"op", "ping"}}, std::chrono::seconds(10));
  context.terminal.show("pong\n");
  return 0;
}

}  // namespace condensed::ctl
