#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/control/configuration_error.h"
#include "dataplane/control/document.h"

namespace vrdma::control {

/// Collects errors of one document.
class ErrorSink {
  public:
    explicit ErrorSink(std::string file) : file_(std::move(file)) {}

    void add(Fault fault, std::uint32_t line, std::string key, std::string found,
             std::string expected, std::string remedy);

    [[nodiscard]] bool empty() const { return errors_.empty(); }

    /// All of them in the order of the lines; the sink is empty afterwards.
    [[nodiscard]] ConfigurationErrors take();

  private:
    std::string file_;
    ConfigurationErrors errors_;
};

/// The word of `candidates` that was probably meant, or nothing.
[[nodiscard]] std::optional<std::string> nearest(std::string_view word,
                                                 std::span<const std::string> candidates);

/// "`do you mean "workers"?`" or, where nothing is near, "`use one of a, b, c`".
[[nodiscard]] std::string suggest(std::string_view word, std::span<const std::string> candidates);

/// Reads the keys of one table. A key that is absent leaves the default; one that is wrong leaves
/// the default and adds an error; one nobody asked for is an error of finish(). Must not outlive
/// the table or the sink.
class TableReader {
  public:
    template <class E>
    using Choices = std::initializer_list<std::pair<std::string_view, E>>;

    /// `path` names the table in errors: "service", "vnic[2]"; empty for a request's body.
    TableReader(const Value& table, std::string path, ErrorSink& errors)
        : table_(table), path_(std::move(path)), errors_(errors) {}

    /// A whole number of lowest..highest. True if the key was there and right.
    template <class T>
    bool number(std::string_view key, T& field, T lowest, T highest) {
        if (const auto value = integer(key, lowest, highest)) {
            field = static_cast<T>(*value);
            return true;
        }
        return false;
    }

    /// A number of bytes: a whole number, or text such as "64 GiB".
    void bytes(std::string_view key, std::uint64_t& field);

    /// true or false, unquoted.
    void boolean(std::string_view key, bool& field);

    [[nodiscard]] std::optional<std::string> text(std::string_view key, std::string_view expected);

    /// One of the words.
    template <class E>
    void choice(std::string_view key, E& field, Choices<E> choices) {
        std::vector<std::string> words;
        for (const auto& entry : choices) {
            words.emplace_back(entry.first);
        }
        if (const auto index = choice_index(key, words)) {
            field = (choices.begin() + *index)->second;
        }
    }

    /// The items of an array of whole numbers; nothing if the key is absent or any item is wrong.
    [[nodiscard]] std::optional<std::vector<std::uint32_t>> numbers(std::string_view key,
                                                                    std::uint32_t highest);

    /// The key's value for a caller that judges it itself; null if absent.
    [[nodiscard]] const Value* raw(std::string_view key);

    /// An error about `key` of this table, at its line (the table's own line if the key is absent).
    void reject(Fault fault, std::string_view key, std::string found, std::string expected,
                std::string remedy);

    /// Adds an error if the key is absent. Returns whether it is there.
    bool require(std::string_view key, std::string_view expected);

    /// Reports the keys that nobody asked for.
    void finish();

    [[nodiscard]] std::string path_of(std::string_view key) const;

  private:
    [[nodiscard]] std::optional<std::uint64_t> integer(std::string_view key, std::uint64_t lowest,
                                                       std::uint64_t highest);
    [[nodiscard]] std::optional<std::size_t> choice_index(std::string_view key,
                                                          std::span<const std::string> words);

    const Value& table_;
    std::string path_;
    ErrorSink& errors_;
    std::vector<std::string> known_;
};

}  // namespace vrdma::control
