#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <boost/json.hpp>

#include "engine/engine.h"

namespace condensed::daemon {

/// One request of docs/protocol.md, checked as far as that is possible without the engine.
struct OpenOp {
  engine::OpenRequest open;
};
struct AppendOp {
  std::string session;
  engine::Input input;
};
struct GenerateOp {
  engine::GenerateRequest generate;
  bool detached = false;  // goes on when nobody is attached
};
struct CancelOp {
  std::string session;
};
struct AttachOp {
  std::string session;
  std::optional<std::int64_t> from_position;  // what is kept from there on is sent again
};
struct DetachOp {
  std::string session;
};
struct StatOp {
  std::optional<std::string> session;
};
struct ListOp {};
struct CloseOp {
  std::string session;
};
struct PingOp {};
struct MetricsOp {};

struct SaveOp {
  std::string session;
};
struct ForkOp {
  std::string session;
  std::string as;  // empty: the daemon chooses
};
struct RenameOp {
  std::string session;
  std::string to;
};
struct UndoOp {
  std::string session;
  std::int64_t tokens = 0;
};
struct ExportOp {
  std::string session;
};
struct ImportOp {
  std::string session;          // empty: the daemon chooses
  std::vector<std::byte> part;  // of the file
  bool more = false;            // further parts follow
};

using Operation =
    std::variant<OpenOp, AppendOp, GenerateOp, CancelOp, AttachOp, DetachOp, StatOp, ListOp, CloseOp, PingOp,
                 MetricsOp, SaveOp, ForkOp, RenameOp, UndoOp, ExportOp, ImportOp>;

struct Request {
  std::string id;                   // as JSON text; empty: none
  std::optional<std::string> user;  // whose sessions: a name, a number or "*"
  Operation operation;
};

struct RequestError {
  std::string id;  // as JSON text, when it could be read
  std::string_view code;
  std::string message;
};

/// Parses one line without its end.
std::variant<Request, RequestError> parse_request(std::string_view line);

}  // namespace condensed::daemon
