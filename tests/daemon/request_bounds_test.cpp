#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/requests.h"

namespace condensed::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename Op>
Op parsed(std::string_view line) {
  std::variant<Request, RequestError> result = parse_request(line);
  if (const auto* error = std::get_if<RequestError>(&result)) {
    throw std::runtime_error(error->message);
  }
  return std::get<Op>(std::get<Request>(result).operation);
}

RequestError refused(std::string_view line) {
  std::variant<Request, RequestError> result = parse_request(line);
  if (std::holds_alternative<Request>(result)) {
    return {{}, "none", "was accepted"};
  }
  return std::get<RequestError>(result);
}

TEST(RequestBounds, EveryKeyOfOpenIsRead) {
  const OpenOp op = parsed<OpenOp>(
      R"({"op":"open","session":"a.B_-9","sinks":0,"window":16.0,"tokens":[1,2.0],"bos":false})");
  EXPECT_EQ(op.open.session.name, "a.B_-9");
  EXPECT_EQ(op.open.sinks, 0);
  EXPECT_EQ(op.open.window, 16);
  EXPECT_FALSE(op.open.bos);
  EXPECT_THAT(std::get<std::vector<std::int32_t>>(*op.open.input), ElementsAre(1, 2));

  const OpenOp bare = parsed<OpenOp>(R"({"op":"open"})");
  EXPECT_EQ(bare.open.session.name, "");
  EXPECT_FALSE(bare.open.sinks || bare.open.window || bare.open.input);
  EXPECT_TRUE(bare.open.bos);
}

TEST(RequestBounds, EveryOtherOperationIsRead) {
  EXPECT_EQ(parsed<CancelOp>(R"({"op":"cancel","session":"a"})").session, "a");
  EXPECT_EQ(parsed<AttachOp>(R"({"op":"attach","session":"a"})").session, "a");
  EXPECT_EQ(parsed<DetachOp>(R"({"op":"detach","session":"a"})").session, "a");
  EXPECT_EQ(parsed<CloseOp>(R"({"op":"close","session":"a"})").session, "a");
  EXPECT_EQ(parsed<StatOp>(R"({"op":"stat","session":"a"})").session, "a");
  EXPECT_FALSE(parsed<StatOp>(R"({"op":"stat"})").session);
  EXPECT_NO_THROW(parsed<ListOp>(R"({"op":"list"})"));
  EXPECT_NO_THROW(parsed<PingOp>(R"({"op":"ping"})"));
  EXPECT_NO_THROW(parsed<MetricsOp>(R"({"op":"metrics"})"));
  EXPECT_EQ(std::get<std::string>(parsed<AppendOp>(R"({"op":"append","session":"a","text":""})").input), "");
}

/// One value that a key of a request must not have.
class BadValue : public testing::TestWithParam<const char*> {};

TEST_P(BadValue, IsRefused) {
  const std::string param = GetParam();
  const std::string op = param.find("tokens\":[") != std::string::npos ? "append" : "generate";
  const std::string session = param.find("session") == std::string::npos ? R"("session":"a",)" : "";
  const RequestError error = refused(R"({"op":")" + op + "\"," + session + param + "}");
  EXPECT_EQ(error.code, "bad_request") << error.message;
}

INSTANTIATE_TEST_SUITE_P(
    Keys, BadValue,
    testing::Values(R"("session":"")", R"("session":"a/b")", R"("session":"ä")", R"("session":1)",
                    R"("max_tokens":0)", R"("max_tokens":1.5)", R"("max_tokens":"3")", R"("max_tokens":null)",
                    R"("max_tokens":1e30)", R"("max_tokens":18446744073709551615)", R"("ignore_eos":1)",
                    R"("temperature":-0.1)", R"("temperature":"1")", R"("top_k":-1)", R"("top_p":0)",
                    R"("top_p":1.01)", R"("min_p":-0.1)", R"("min_p":1.1)", R"("repetition_penalty":0)",
                    R"("presence_penalty":101)", R"("frequency_penalty":-101)", R"("penalty_window":1025)",
                    R"("logit_bias":[])", R"("logit_bias":{"x":1})", R"("logit_bias":{"1":101})",
                    R"("logit_bias":{"1":"1"})", R"("seed":-1)", R"("seed":9223372036854775808)",
                    R"("stop":"")", R"("stop":[""])", R"("stop":[1])", R"("stop":1)", R"("logprobs":21)",
                    R"("logprobs":-1)", R"("tokens":[-1])", R"("tokens":[1.5])", R"("tokens":[2147483648])",
                    R"("tokens":["1"])"));

/// A request that lacks a key, or has a bad value for one.
class BadRequest : public testing::TestWithParam<const char*> {};

TEST_P(BadRequest, IsRefused) {
  const RequestError error = refused(GetParam());
  EXPECT_EQ(error.code, "bad_request") << error.message;
}

INSTANTIATE_TEST_SUITE_P(
    KeepingAndMoving, BadRequest,
    testing::Values(R"({"op":"save"})", R"({"op":"save","session":"a","as":"b"})", R"({"op":"fork"})",
                    R"({"op":"fork","session":"a","as":""})", R"({"op":"fork","session":"a","as":"b/c"})",
                    R"({"op":"rename","session":"a"})", R"({"op":"rename","session":"a","to":"/"})",
                    R"({"op":"rename","to":"a"})", R"({"op":"undo","session":"a"})",
                    R"({"op":"undo","session":"a","tokens":0})", R"({"op":"undo","session":"a","tokens":-1})",
                    R"({"op":"undo","session":"a","tokens":[1]})", R"({"op":"undo","tokens":1})",
                    R"({"op":"export"})", R"({"op":"import"})", R"({"op":"import","session":"a"})",
                    R"({"op":"import","data":1})", R"({"op":"import","data":"AA"})",
                    R"({"op":"import","data":"A A="})", R"({"op":"import","data":"AA==","more":1})",
                    R"({"op":"import","session":"a b","data":"AA=="})",
                    R"({"op":"generate","session":"a","resume":1})"));

INSTANTIATE_TEST_SUITE_P(Users, BadRequest,
                         testing::Values(R"({"op":"list","user":""})", R"({"op":"list","user":-1})",
                                         R"({"op":"list","user":1.5})", R"({"op":"list","user":null})",
                                         R"({"op":"list","user":["a"]})", R"({"op":"ping","user":true})"));

TEST(RequestBounds, IdsAreShort) {
  const auto with_id_of = [](std::size_t size) {
    return R"({"op":"ping","id":")" + std::string(size, 'x') + "\"}";
  };
  EXPECT_EQ(refused(with_id_of(254)).code, "none");  // with its quotes 256
  EXPECT_EQ(refused(with_id_of(255)).code, "bad_request");
  EXPECT_EQ(refused(R"({"op":"ping","id":true})").code, "bad_request");
}

TEST(RequestBounds, NestingIsBounded) {
  EXPECT_EQ(refused(std::string(100000, '[')).code, "bad_json");
  EXPECT_EQ(refused(R"({"op":"ping"} {})").code, "bad_json");
}

TEST(RequestBounds, ErrorsSayWhichByte) {
  EXPECT_THAT(refused(R"({"op":)").message, HasSubstr("byte 6"));
  EXPECT_THAT(refused("ab\xc0\x80").message, HasSubstr("byte 2"));
}

TEST(RequestBounds, StopStringsAndNames) {
  const auto stop = [](std::size_t n, std::size_t size) {
    std::string items;
    for (std::size_t i = 0; i < n; ++i) {
      items += (i == 0 ? "\"" : ",\"") + std::string(size, 's') + "\"";
    }
    return R"({"op":"generate","session":"a","stop":[)" + items + "]}";
  };
  EXPECT_EQ(refused(stop(16, 256)).code, "none");
  EXPECT_EQ(refused(stop(17, 1)).code, "bad_request");
  EXPECT_EQ(refused(stop(1, 257)).code, "bad_request");
  const auto named = [](std::size_t size) {
    return R"({"op":"open","session":")" + std::string(size, 'n') + "\"}";
  };
  EXPECT_EQ(refused(named(128)).code, "none");
  EXPECT_EQ(refused(named(129)).code, "bad_request");
}

}  // namespace
}  // namespace condensed::daemon
