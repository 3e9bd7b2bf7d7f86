#include "report/page_parts.h"

#include <utility>

namespace condensed::report {

namespace json = boost::json;

json::object to_json(const Axis& axis) {
  json::object out;
  out["label"] = axis.label;
  out["scale"] = axis.scale;
  if (!axis.unit.empty()) {
    out["unit"] = axis.unit;
  }
  if (!axis.zero) {
    out["zero"] = false;
  }
  return out;
}

json::array point(double x, std::optional<double> y) {
  json::array out;
  out.emplace_back(x);
  out.push_back(y ? json::value(*y) : json::value());
  return out;
}

json::object series(const std::string& name, json::array points, const std::string& style) {
  json::object out;
  out["name"] = name;
  out["points"] = std::move(points);
  out["style"] = style;
  return out;
}

json::object mark_at_x(double x, const std::string& label) {
  json::object out;
  out["x"] = x;
  out["label"] = label;
  return out;
}

json::object mark_at_y(double y, const std::string& label) {
  json::object out;
  out["y"] = y;
  out["label"] = label;
  return out;
}

json::object chart(const std::string& id, const std::string& title, const Axis& x, const Axis& y,
                   json::array series, json::array marks) {
  json::object out;
  out["id"] = id;
  out["title"] = title;
  out["x"] = to_json(x);
  out["y"] = to_json(y);
  out["series"] = std::move(series);
  if (!marks.empty()) {
    out["marks"] = std::move(marks);
  }
  return out;
}

json::object table(const std::vector<std::string>& columns, json::array rows) {
  json::object out;
  out["columns"] = json::array(columns.begin(), columns.end());
  out["rows"] = std::move(rows);
  return out;
}

json::object section(const std::string& heading, const std::string& text) {
  json::object out;
  if (!heading.empty()) {
    out["heading"] = heading;
  }
  if (!text.empty()) {
    out["text"] = text;
  }
  return out;
}

}  // namespace condensed::report
