// vrdma-group-verify listen|silence|send: a member of a multicast group that checks every copy, one
// that must hear nothing, and a sender.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "member.h"

int main(int argc, char** argv) {
    using namespace vrdma::group_verify;
    Options options;
    std::string ready;
    CLI::App app("members and senders of multicast groups");
    app.require_subcommand(1);
    app.add_option("--group", options.group);
    app.add_option("--messages", options.messages)->check(CLI::Range(1U, kMaxMessages));
    app.add_option("--bytes", options.bytes)->check(CLI::Range(8U, kMaxBytes));
    app.add_option("--queue-pairs", options.queue_pairs)->check(CLI::Range(1U, 64U));
    app.add_option("--gap-us", options.gap_us);
    app.add_option("--seconds", options.seconds);
    app.add_option("--ready", ready, "a file that is made when it is a member");
    const CLI::App* listen = app.add_subcommand("listen")->fallthrough();
    const CLI::App* silence = app.add_subcommand("silence")->fallthrough();
    app.add_subcommand("send")->fallthrough();
    CLI11_PARSE(app, argc, argv);
    Member member(options);
    if (listen->parsed() || silence->parsed()) {
        member.attach();
        fmt::print("listening\n");
        std::fflush(stdout);
        if (!ready.empty()) {
            std::fclose(std::fopen(ready.c_str(), "w"));
        }
    }
    if (listen->parsed()) {
        const std::string sender = member.receive_all();
        fmt::print("every copy right: {} messages from {} on {} queue pairs\n", options.messages,
                   sender, options.queue_pairs);
        member.detach();
    } else if (silence->parsed()) {
        member.hear_nothing();
        fmt::print("nothing was heard\n");
        member.detach();
    } else {
        member.send_all();
        fmt::print("sent {} messages\n", options.messages);
    }
    return EXIT_SUCCESS;
}
