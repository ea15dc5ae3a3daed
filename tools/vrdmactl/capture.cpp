// vrdmactl capture: the one command that lasts.
//
// The service records and hands out pieces of a pcapng file; this end writes them, with the rights
// of its user, to a file that only its user may read. It asks again at once while much comes, and
// now and then otherwise, which also tells the service that somebody is still there. Whatever ends
// it (a signal, the time, the count, a full disk), the service is told, so that it does not go on
// for nobody.

#include "tools/vrdmactl/capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <ostream>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "tools/vrdmactl/answer.h"
#include "tools/vrdmactl/exit_code.h"
#include "tools/vrdmactl/interrupt.h"
#include "tools/vrdmactl/render.h"
#include "tools/vrdmactl/units.h"

namespace vrdma::vrdmactl {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kCreated = 201;
constexpr unsigned kGood = 200;
constexpr unsigned kNothingFollows = 204;
/// A piece of this size is not all that there was.
constexpr std::size_t kMuch = std::size_t{1} << 20;
constexpr std::chrono::milliseconds kPause{50};

/// The file, or standard output.
class Output {
  public:
    explicit Output(const std::string& name)
        : name_(name == "-" ? "standard output" : name),
          own_(name != "-"),
          file_(own_ ? ::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)
                     : STDOUT_FILENO) {}
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;
    ~Output() {
        if (own_ && file_ >= 0) {
            ::close(file_);
        }
    }

    [[nodiscard]] bool is_open() const { return file_ >= 0; }
    [[nodiscard]] bool write(std::string_view bytes) {
        while (!bytes.empty()) {
            const ssize_t written = ::write(file_, bytes.data(), bytes.size());
            if (written < 0 && errno != EINTR) {
                return false;
            }
            bytes.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
        }
        return true;
    }
    /// After one of these failed.
    [[nodiscard]] std::string complaint() const {
        return fmt::format("cannot write {}: {}", name_, std::strerror(errno));
    }

  private:
    const std::string name_;
    const bool own_;
    const int file_;
};

class Session {
  public:
    Session(const Invocation& invocation, const std::string& socket, std::ostream& err)
        : invocation_(invocation), socket_(socket), err_(err) {}

    /// False: err says why.
    bool start() {
        const auto started = ask(invocation_.request);
        if (!started || !good(*started, kCreated)) {
            return false;
        }
        const Json answer = Json::parse(started->body, nullptr, false);
        target_ = invocation_.request.target + "/" + text_of(answer, "id");
        return true;
    }

    /// Until it is over. False: err says why.
    bool fetch(Output& output, std::optional<std::chrono::nanoseconds> duration) {
        const auto end = duration ? Clock::now() + *duration : Clock::time_point::max();
        bool stopping = false;
        while (true) {
            if (!stopping && (Interrupt::came() || Clock::now() >= end)) {
                stopping = true;
                const auto stopped = ask({"PATCH", target_, Json{{"running", false}}.dump()});
                if (!stopped || !good(*stopped, kGood)) {
                    return false;
                }
            }
            const auto piece = ask({"GET", target_, ""});
            if (piece && piece->status == kNothingFollows) {
                return true;
            }
            if (!piece || !good(*piece, kGood)) {
                return false;
            }
            if (!output.write(piece->body)) {
                err_ << "vrdmactl: " << output.complaint() << "\n";
                return false;
            }
            if (!stopping && piece->body.size() < kMuch) {
                Interrupt::wait(std::clamp<std::chrono::nanoseconds>(
                    end - Clock::now(), Clock::duration::zero(), kPause));
            }
        }
    }

    /// What the service says at the end.
    std::optional<tools::ControlResponse> end() {
        auto ended = ask({"DELETE", target_, ""});
        if (!ended || !good(*ended, kGood)) {
            return std::nullopt;
        }
        return ended;
    }

  private:
    std::optional<tools::ControlResponse> ask(const tools::ControlRequest& request) {
        auto response = tools::ask_control(socket_, request);
        if (!response) {
            err_ << "vrdmactl: " << response.error().message << "\n";
            return std::nullopt;
        }
        return std::move(*response);
    }

    bool good(const tools::ControlResponse& response, unsigned wanted) {
        if (response.status == wanted) {
            return true;
        }
        err_ << "vrdmactl: " << render_problem(Json::parse(response.body, nullptr, false));
        return false;
    }

    const Invocation& invocation_;
    const std::string socket_;
    std::ostream& err_;
    std::string target_;
};

}  // namespace

std::string render_capture(const Json& capture) {
    std::string text = fmt::format("{} packets captured, {} missed\n", text_of(capture, "captured"),
                                   text_of(capture, "missed"));
    if (number_of(capture, "missed") != 0) {
        text += fmt::format(
            "Packets are missed when they come faster than they are written and {} in the service "
            "are full: keep less of each (--snaplen), fewer (--qp, --peer), or write to a faster "
            "file\n",
            bytes_text(number_of(capture, "memory")));
    }
    return text;
}

int run_capture(const Invocation& invocation, const std::string& socket, std::ostream& out,
                std::ostream& err) {
    const Interrupt interrupt;
    Session session(invocation, socket, err);
    if (!session.start()) {
        return kRefused;
    }
    // Not before: a refusal must not cost the file that is there.
    const CaptureFile& file = *invocation.capture;
    Output output(file.name);
    bool good = output.is_open();
    if (!good) {
        err << "vrdmactl: " << output.complaint() << "\n";
    }
    good = good && session.fetch(output, file.duration);
    const auto ended = session.end();
    if (!ended) {
        return kRefused;
    }
    std::ostream& to = file.name == "-" ? err : out;
    if (invocation.json) {
        to << ended->body << "\n";
    } else {
        to << render_capture(Json::parse(ended->body, nullptr, false));
    }
    return good ? kDone : kRefused;
}

}  // namespace vrdma::vrdmactl
