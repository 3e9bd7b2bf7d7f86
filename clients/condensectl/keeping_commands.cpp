// Commands that keep, copy, move and take back sessions: save, fork, rename, undo, export, import.

#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <system_error>

#include "clients/condensectl/commands.h"
#include "clients/condensectl/output_file.h"

namespace condensed::ctl {

namespace json = boost::json;

namespace {

constexpr std::size_t kPartBytes = 48 << 10;  // as base64 well below the daemon's line limit
constexpr std::string_view kStandardStream = "-";

std::string at_position(const json::object& event) {
  return "session " + std::string(event.at("session").as_string()) + " is at position " +
         json::serialize(event.at("position"));
}

std::string name_line(const json::object& event) {
  return std::string(event.at("session").as_string()) + "\n";
}

/// The parts of standard input, which may block and be interrupted, or of a file.
client::Client::NextPart parts_of(Context& context, const std::string& path) {
  if (path == kStandardStream) {
    return [&context, read = std::string()]() mutable {
      context.input.fill(read, kPartBytes);
      std::string part = read.substr(0, kPartBytes);
      read.erase(0, part.size());
      return part;
    };
  }
  auto file = std::make_shared<std::ifstream>(path, std::ios::binary);
  const auto check = [file, path] {
    if (file->fail() && !file->eof()) {
      throw std::system_error(errno, std::generic_category(), "cannot read " + path);
    }
  };
  check();
  return [file, check] {
    std::string part(kPartBytes, '\0');
    file->read(part.data(), static_cast<std::streamsize>(part.size()));
    check();
    part.resize(static_cast<std::size_t>(file->gcount()));
    return part;
  };
}

}  // namespace

int run_save(Context& context, const std::string& session) {
  const json::object saved = context.client.call({{"op", "save"}, {"session", session}});
  context.terminal.note("saved session " + session + " at position " + json::serialize(saved.at("position")) +
                        ", " + json::serialize(saved.at("bytes")) + " bytes");
  return 0;
}

int run_fork(Context& context, const std::string& session, const std::string& as) {
  json::object request{{"op", "fork"}, {"session", session}};
  if (!as.empty()) {
    request["as"] = as;
  }
  context.terminal.show(name_line(context.client.call(std::move(request))));
  return 0;
}

int run_rename(Context& context, const std::string& session, const std::string& to) {
  const json::object renamed = context.client.call({{"op", "rename"}, {"session", session}, {"to", to}});
  context.terminal.note(at_position(renamed));
  return 0;
}

int run_undo(Context& context, const std::string& session, std::int64_t tokens) {
  const json::object undone = context.client.call({{"op", "undo"}, {"session", session}, {"tokens", tokens}});
  context.terminal.show(at_position(undone) + "\n");
  return 0;
}

int run_export(Context& context, const std::string& session, const std::string& path) {
  if (path == kStandardStream) {
    if (context.terminal.output_is_terminal() && !context.terminal.json()) {
      throw std::invalid_argument("export -: standard output is a terminal; name a file or a pipe");
    }
    context.client.export_session(session, [&](std::string_view part) {
      context.terminal.show(part);
      if (context.terminal.output_closed()) {
        throw std::runtime_error("standard output was closed before the end of the session's file");
      }
    });
    return 0;
  }
  OutputFile file(path);
  const json::object exported =
      context.client.export_session(session, [&](std::string_view part) { file.write(part); });
  file.finish();
  context.terminal.note(at_position(exported) + " in " + path + ", " + json::serialize(exported.at("bytes")) +
                        " bytes");
  return 0;
}

int run_import(Context& context, const std::string& path, const std::string& session) {
  const json::object imported = context.client.import_session(session, parts_of(context, path));
  context.terminal.show(name_line(imported));
  return 0;
}

}  // namespace condensed::ctl
