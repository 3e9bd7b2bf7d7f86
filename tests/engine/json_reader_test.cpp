#include <limits>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/input_error.h"
#include "engine/json_value.h"

namespace condensed::engine {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Why the text is refused; empty: it is not.
std::string refusal(std::string_view text, const JsonLimits& limits = {}) {
  try {
    parse_json(text, limits);
  } catch (const JsonError& error) {
    return error.what();
  }
  return "";
}

TEST(JsonReader, ReadsEveryKindOfValue) {
  const JsonValue value = parse_json(
      " {\"null\": null, \"yes\": true, \"no\": false, \"n\": -12, \"x\": 2.5e-1,\t\"s\": \"a\",\r\n"
      "\"list\": [1, [], {}], \"\": {\"k\": \"v\"}} ");
  const JsonObject& object = *value.if_object();
  EXPECT_EQ(object.members().size(), 8);
  EXPECT_TRUE(object.find("null")->is_null());
  EXPECT_TRUE(*object.find("yes")->if_boolean());
  EXPECT_FALSE(*object.find("no")->if_boolean());
  EXPECT_EQ(*object.find("n")->if_integer(), -12);
  EXPECT_EQ(object.find("n")->number(), -12.0);
  EXPECT_EQ(object.find("x")->number(), 0.25);
  EXPECT_EQ(object.find("x")->if_integer(), nullptr);
  EXPECT_EQ(*object.find("s")->if_string(), "a");
  EXPECT_EQ(object.find("s")->number(), std::nullopt);
  EXPECT_EQ(object.find("list")->if_array()->size(), 3);
  EXPECT_EQ(*object.find("")->if_object()->find("k")->if_string(), "v");
  EXPECT_EQ(object.find("absent"), nullptr);
}

TEST(JsonReader, AnIntegerIsOneThatFits) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(*parse_json(std::to_string(kMost)).if_integer(), kMost);
  EXPECT_EQ(*parse_json("-9223372036854775808").if_integer(), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(parse_json("9223372036854775808").if_integer(), nullptr);
  EXPECT_EQ(parse_json("9223372036854775808").number(), 0x1p63);
  EXPECT_EQ(parse_json("1e3").if_integer(), nullptr);
  EXPECT_EQ(parse_json("0").number(), 0.0);
  EXPECT_EQ(parse_json("1e-400").number(), 0.0);
}

TEST(JsonReader, StringsMayBeEscaped) {
  EXPECT_EQ(*parse_json(R"("\"\\\/\b\f\n\r\t")").if_string(), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(*parse_json(R"("\u0041\u00e9\u20AC\ud83d\ude00")").if_string(), "A\u00e9\u20ac\U0001f600");
  EXPECT_EQ(parse_json(R"("\u0000")").if_string()->size(), 1);
}

TEST(JsonReader, RefusesWhatIsNotJson) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "}",
                           "[",
                           "[1,",
                           "[1,]",
                           "[,1]",
                           "[1 2]",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{a:1}",
                           "{\"a\":1,}",
                           "{\"a\":1 \"b\":2}",
                           "nul",
                           "True",
                           "nulls",
                           "1 2",
                           "01",
                           "-",
                           "+1",
                           ".5",
                           "1.",
                           "1e",
                           "1e+",
                           "0x10",
                           "NaN",
                           "Infinity",
                           "\"",
                           "\"\\",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\u12g4\"",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\\ud800\\u0041\"",
                           "\"\n\"",
                           "'a'",
                           "[1]x",
                           "\"\xff\"",
                           "\"\xc0\x80\"",
                           "\"\xed\xa0\x80\"",
                           "// a\n1",
                           "1e999"}) {
    EXPECT_THAT(refusal(text), HasSubstr("byte")) << text;
  }
  EXPECT_THAT(refusal("[1, 2, }"), AllOf(HasSubstr("expected a value"), HasSubstr("at byte 7")));
  EXPECT_THAT(refusal("[1, 2"), AllOf(HasSubstr("expected , or ]"), HasSubstr("the text ends")));
}

TEST(JsonReader, RefusesANameThatAnObjectHasTwice) {
  EXPECT_THAT(refusal(R"({"a": 1, "b": 2, "a": 3})"), HasSubstr("\"a\" twice"));
  EXPECT_EQ(refusal(R"({"a": {"a": 1}, "b": {"a": 1}})"), "");
}

TEST(JsonReader, NothingFillsTheMemoryOrTheStack) {
  EXPECT_THAT(refusal(std::string(1'000'000, '[')), HasSubstr("within each other"));
  EXPECT_EQ(refusal(std::string(32, '[') + std::string(32, ']')), "");
  EXPECT_THAT(refusal(std::string(34, '[') + std::string(34, ']')), HasSubstr("more than 32"));
  EXPECT_THAT(refusal("[1, 2, 3]", {.values = 3}), HasSubstr("more than 3 values"));
  EXPECT_EQ(refusal("[1, 2, 3]", {.values = 4}), "");
  EXPECT_THAT(refusal("[1, 2, 3]", {.bytes = 8}), HasSubstr("more than 8 bytes"));
}

TEST(JsonReader, ReadsBackWhatItWrites) {
  const JsonObject object{{"text", "a\"\\\n\x01\u20ac"},
                          {"list", JsonArray{1, -2, 0.1, 1e300, true, false, JsonValue(), JsonArray{}}},
                          {"object", JsonObject{}}};
  const std::string text = JsonValue(object).text();
  EXPECT_EQ(text,
            "{\"text\":\"a\\\"\\\\\\u000a\\u0001\u20ac\",\"list\":[1,-2,0.1,1e+300,true,false,null,[]],"
            "\"object\":{}}");
  EXPECT_EQ(parse_json(text).text(), text);
  EXPECT_EQ(JsonValue(std::numeric_limits<double>::quiet_NaN()).text(), "null");
}

TEST(JsonReader, SetReplacesAndEraseRemoves) {
  JsonObject object{{"a", 1}};
  object.set("a", 2);
  object.set("b", 3);
  EXPECT_EQ(JsonValue(object).text(), R"({"a":2,"b":3})");
  object.erase("a");
  EXPECT_EQ(JsonValue(object).text(), R"({"b":3})");
}

TEST(JsonReader, SaysWhatWasExpectedInsteadOfAnObject) {
  const auto message = [](std::string_view text) {
    try {
      parse_json_object(text, "config.json: expected an object");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message("[]"), "config.json: expected an object");
  EXPECT_THAT(message("{"), AllOf(HasSubstr("config.json: expected an object: "), HasSubstr("byte 1")));
}

/// Whatever is made of a good text is read, and then written and read again to the same, or refused.
TEST(JsonReader, SurvivesAnyDamage) {
  const std::string good =
      R"({"a":{"dtype":"F32","shape":[64,1024],"data_offsets":[0,262144]},"b":[1.5,"\u00e9",null,true]})";
  std::mt19937 random(3);
  int refused = 0;
  for (int trial = 0; trial < 20'000; ++trial) {
    std::string text = good;
    for (auto n = 1 + random() % 4; n > 0; --n) {
      const std::size_t at = random() % text.size();
      if (random() % 3 == 0) {
        text.erase(at, 1 + random() % 5);
      } else if (random() % 2 == 0) {
        text.insert(at, text.substr(random() % text.size(), random() % 6));
      } else {
        text[at] = static_cast<char>(random());
      }
    }
    try {
      const std::string again = parse_json(text).text();
      EXPECT_EQ(parse_json(again).text(), again) << text;
    } catch (const JsonError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 10'000);
}

}  // namespace
}  // namespace condensed::engine
