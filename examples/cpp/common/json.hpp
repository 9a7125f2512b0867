// A small JSON reader, so that these examples need no other library; an application has its own.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

struct Json {
    using Array = std::vector<Json>;
    using Object = std::map<std::string, Json>;
    std::variant<std::nullptr_t, bool, double, std::string, Array, Object> value;

    bool is_null() const { return std::holds_alternative<std::nullptr_t>(value); }
    bool is_array() const { return std::holds_alternative<Array>(value); }
    double number() const { return std::get<double>(value); }
    const std::string& text() const { return std::get<std::string>(value); }
    const Array& array() const { return std::get<Array>(value); }
    bool has(const std::string& key) const {
        const Object* object = std::get_if<Object>(&value);
        return object && object->count(key);
    }
    const Json& operator[](const std::string& key) const { return std::get<Object>(value).at(key); }
};

class JsonReader {
public:
    explicit JsonReader(const std::string& text) : text_(text) {}

    Json read() {
        Json result = value();
        if (peek() != '\0') fail("text after the end");
        return result;
    }

private:
    const std::string& text_;
    std::size_t at_ = 0;

    [[noreturn]] void fail(const char* what) const {
        throw std::runtime_error("JSON, byte " + std::to_string(at_) + ": " + what);
    }

    char peek() {  // the next character that is not white space, '\0' at the end
        at_ = text_.find_first_not_of(" \t\r\n", at_);
        if (at_ == std::string::npos) at_ = text_.size();
        return at_ < text_.size() ? text_[at_] : '\0';
    }

    void expect(char wanted) {
        if (peek() != wanted) fail("unexpected character");
        ++at_;
    }

    bool accept(const std::string& word) {
        if (text_.compare(at_, word.size(), word) != 0) return false;
        at_ += word.size();
        return true;
    }

    Json value() {
        switch (peek()) {
            case '{': return {object()};
            case '[': return {array()};
            case '"': return {string()};
            case 't': if (accept("true")) return {true}; break;
            case 'f': if (accept("false")) return {false}; break;
            case 'n': if (accept("null")) return {nullptr}; break;
            default: return {number()};
        }
        fail("unknown word");
    }

    Json::Object object() {
        Json::Object members;
        expect('{');
        if (peek() != '}') {
            do {
                std::string key = (peek(), string());
                expect(':');
                members[key] = value();
            } while (peek() == ',' && ++at_);
        }
        expect('}');
        return members;
    }

    Json::Array array() {
        Json::Array items;
        expect('[');
        if (peek() != ']') {
            do items.push_back(value());
            while (peek() == ',' && ++at_);
        }
        expect(']');
        return items;
    }

    double number() {
        const char* start = text_.c_str() + at_;
        char* end = nullptr;
        const double result = std::strtod(start, &end);
        if (end == start) fail("not a value");
        at_ += static_cast<std::size_t>(end - start);
        return result;
    }

    std::string string() {
        std::string result;
        expect('"');
        while (at_ < text_.size() && text_[at_] != '"') {
            if (text_[at_] != '\\') {
                result += text_[at_++];
                continue;
            }
            if (++at_ >= text_.size()) break;
            const char escape = text_[at_++];
            const std::size_t control = std::string("bfnrt").find(escape);
            if (escape == 'u') append_utf8(result, code_point());
            else result += control == std::string::npos ? escape : "\b\f\n\r\t"[control];
        }
        if (at_ >= text_.size()) fail("a string without an end");
        ++at_;
        return result;
    }

    unsigned code_point() {
        unsigned code = four_digits();
        if (code >= 0xD800 && code < 0xDC00 && accept("\\u")) {  // a pair of UTF-16 surrogates
            code = 0x10000 + ((code - 0xD800) << 10) + (four_digits() - 0xDC00);
        }
        return code;
    }

    unsigned four_digits() {
        if (at_ + 4 > text_.size()) fail("a cut escape");
        at_ += 4;
        return static_cast<unsigned>(std::stoul(text_.substr(at_ - 4, 4), nullptr, 16));
    }

    static void append_utf8(std::string& out, unsigned code) {
        if (code < 0x80) {
            out += static_cast<char>(code);
            return;
        }
        const int tail = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        const unsigned lead[] = {0, 0xC0, 0xE0, 0xF0};
        out += static_cast<char>(lead[tail] | (code >> (6 * tail)));
        for (int i = tail - 1; i >= 0; --i) out += static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F));
    }
};
