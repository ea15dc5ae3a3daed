// vrdma-hostile: plays attacks against a running service from one vNIC, while victims on others
// transfer and verify data.
//
// Every attack is played in a process of its own, so that one that is cut off, crashes or is killed
// is an ordinary end. After each the service must still take a new tenant of another vNIC at once.
// The exit status says whether there was any finding: a victim disturbed, an answer that the
// contract forbids, a service that does not answer.
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include <CLI/CLI.hpp>

#include "tests/hostile/attack.h"
#include "tests/hostile/victim.h"

namespace {

using namespace vrdma::hostile;

struct Options {
    std::string runtime_dir;
    std::string vnic = "hostile";
    std::vector<std::string> victims;  // "from:to"
    std::vector<std::string> only;
    std::vector<std::string> without;
    uint64_t seed = 0;
    uint32_t seconds = 20;
    uint32_t operations = 256;
    uint32_t gap_ms = 1000;
    bool list = false;
};

struct Outcome {
    char finding[200];
};

double seconds() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

template <class T>
T* shared() {
    void* memory =
        mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? nullptr : new (memory) T{};
}

std::vector<Attack> all_attacks() {
    std::vector<Attack> all;
    for (const auto part : {ring_attacks(), command_attacks(), descriptor_attacks(),
                            memory_attacks(), process_attacks(), quota_attacks(), load_attacks()}) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

class Play {
  public:
    Play(const Options& options, std::vector<Attack> attacks)
        : options_(options), attacks_(std::move(attacks)), random_(options.seed) {}

    int run() {
        for (const std::string& victim : options_.victims) {
            start_victim(victim);
        }
        const double end = seconds() + options_.seconds;
        size_t played = 0;
        // Every attack once, then any of them until the time is up.
        while (findings_ == 0 && (played < attacks_.size() || seconds() < end)) {
            const Attack& attack = played < attacks_.size()
                                       ? attacks_[played]
                                       : attacks_[random_.below(attacks_.size())];
            ++played;
            play(attack, random_.next());
            check_victims(attack.name);
            await_room(attack.name);
        }
        for (Victim& victim : victims_) {
            victim.report->stop = true;
        }
        for (Victim& victim : victims_) {
            waitpid(victim.process, nullptr, 0);
            check(victim, "the end");
            std::printf("victim %s: %llu messages, %llu MiB verified, longest gap %llu ms%s%s\n",
                        victim.name.c_str(),
                        static_cast<unsigned long long>(victim.report->messages),
                        static_cast<unsigned long long>(victim.report->bytes >> 20),
                        static_cast<unsigned long long>(victim.report->longest_gap_us / 1000),
                        victim.report->failed ? ", FAILED: " : "",
                        victim.report->failed ? victim.report->what : "");
        }
        std::printf("seed %llu: %zu attacks played, %u findings\n",
                    static_cast<unsigned long long>(options_.seed), played, findings_);
        return findings_ == 0 ? 0 : 1;
    }

  private:
    struct Victim {
        std::string name;
        VictimReport* report;
        pid_t process;
        bool reported = false;
    };

    [[nodiscard]] std::string socket_of(const std::string& vnic) const {
        return options_.runtime_dir + "/vnic/" + vnic + "/device.sock";
    }

    void finding(const std::string& where, const std::string& what) {
        std::printf("FINDING %s: %s\n", where.c_str(), what.c_str());
        std::fflush(stdout);
        ++findings_;
    }

    void start_victim(const std::string& name) {
        const size_t colon = name.find(':');
        Victim victim{name, shared<VictimReport>(), -1, false};
        std::fflush(stdout);
        victim.process = fork();
        if (victim.process == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            run_victim(socket_of(name.substr(0, colon)), socket_of(name.substr(colon + 1)),
                       *victim.report);
            _exit(0);
        }
        const volatile VictimReport& report = *victim.report;
        for (int i = 0; i < 500 && !report.ready && !report.failed; ++i) {
            usleep(10'000);
        }
        victims_.push_back(victim);
    }

    void check(Victim& victim, const std::string& where) {
        if (victim.reported) {
            return;
        }
        const uint64_t gap = victim.report->longest_gap_us / 1000;
        if (victim.report->failed || !victim.report->ready) {
            finding(where, "victim " + victim.name + ": " + victim.report->what);
            victim.reported = true;
        } else if (gap > options_.gap_ms) {
            finding(where,
                    "victim " + victim.name + " stood still for " + std::to_string(gap) + " ms");
            victim.reported = true;
        }
    }

    void check_victims(const std::string& where) {
        for (Victim& victim : victims_) {
            check(victim, where);
            gaps_[where] = std::max(gaps_[where], victim.report->longest_gap_us / 1000);
        }
        if (!victims_.empty()) {
            Tenant probe;
            const double start = seconds();
            const std::string& name = victims_.front().name;
            if (!probe.open(socket_of(name.substr(0, name.find(':'))))) {
                finding(where, "the service takes no tenant of another vNIC: " + probe.why);
            } else if (const double took = seconds() - start; took > kOpenSeconds) {
                finding(where, "a tenant of another vNIC waited " + std::to_string(took) +
                                   " s for its device");
            }
        }
    }

    // What an attacker held is free again soon after its end, whatever it was.
    void await_room(const std::string& where) {
        const double start = seconds();
        Tenant probe;
        while (!probe.open(socket_of(options_.vnic)) && seconds() - start < kRoomSeconds) {
            usleep(2000);
            probe = Tenant{};
        }
        if (seconds() - start >= kRoomSeconds) {
            finding(where, "its vNIC takes no tenant after it: " + probe.why);
        }
        // The probe may have had the only room there was, and gives it back a moment after its end.
        probe = Tenant{};
        usleep(20000);
    }

    void play(const Attack& attack, uint64_t seed) {
        uint64_t before = 0;
        for (const Victim& victim : victims_) {
            before = std::max(before, victim.report->messages);
            victim.report->longest_gap_us = 0;
        }
        auto* outcome = shared<Outcome>();
        std::fflush(stdout);
        const double start = seconds();
        const pid_t child = fork();
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            setpgid(0, 0);
            Stage stage{socket_of(options_.vnic), Random(seed), options_.operations, ""};
            attack.run(stage);
            std::snprintf(outcome->finding, sizeof outcome->finding, "%s", stage.finding.c_str());
            _exit(0);
        }
        int status = 0;
        pid_t ended = 0;
        while ((ended = waitpid(child, &status, WNOHANG)) == 0 &&
               seconds() - start < kAttackSeconds) {
            usleep(2000);
        }
        if (ended == 0) {
            finding(attack.name, "did not end within its time");
            kill(-child, SIGKILL);
            kill(child, SIGKILL);
            waitpid(child, nullptr, 0);
        } else if (WIFSIGNALED(status)) {
            finding(attack.name, "ended by signal " + std::to_string(WTERMSIG(status)));
        }
        if (outcome->finding[0] != '\0') {
            finding(attack.name, outcome->finding);
        }
        munmap(outcome, sizeof *outcome);
        uint64_t after = 0;
        uint64_t gap = 0;
        for (const Victim& victim : victims_) {
            after = std::max(after, victim.report->messages);
            gap = std::max(gap, victim.report->longest_gap_us / 1000);
        }
        std::printf("%-16s seed %20llu  %6.2f s  victims: %7llu messages, longest gap %llu ms\n",
                    attack.name, static_cast<unsigned long long>(seed), seconds() - start,
                    static_cast<unsigned long long>(after - before),
                    static_cast<unsigned long long>(gap));
        std::fflush(stdout);
    }

    static constexpr double kAttackSeconds = 25;
    static constexpr double kOpenSeconds = 1;
    static constexpr double kRoomSeconds = 5;
    const Options& options_;
    std::vector<Attack> attacks_;
    Random random_;
    std::vector<Victim> victims_;
    std::map<std::string, uint64_t> gaps_;
    uint32_t findings_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app{"Attacks a running vRDMA service from one vNIC while others verify their data"};
    app.add_option("--runtime-dir", options.runtime_dir, "of the service");
    app.add_option("--vnic", options.vnic, "the attacker's")->capture_default_str();
    app.add_option("--victim", options.victims, "FROM:TO, two vNICs that transfer and verify");
    app.add_option("--only", options.only, "these attacks");
    app.add_option("--without", options.without, "all but these attacks");
    app.add_option("--seed", options.seed, "replay the run with this seed");
    app.add_option("--seconds", options.seconds, "of random attacks after one of each")
        ->capture_default_str();
    app.add_option("--operations", options.operations, "of one attack, roughly")
        ->capture_default_str();
    app.add_option("--gap-ms", options.gap_ms, "the longest a victim may stand still")
        ->capture_default_str();
    app.add_flag("--list", options.list, "list the attacks");
    CLI11_PARSE(app, argc, argv);
    std::vector<Attack> attacks = all_attacks();
    const auto named = [](const std::vector<std::string>& names, const Attack& attack) {
        return std::find(names.begin(), names.end(), attack.name) != names.end();
    };
    std::erase_if(attacks, [&](const Attack& attack) {
        return named(options.without, attack) ||
               (!options.only.empty() && !named(options.only, attack));
    });
    if (options.list || attacks.empty() || options.runtime_dir.empty()) {
        for (const Attack& attack : attacks) {
            std::printf("%-16s %s\n", attack.name, attack.what);
        }
        return options.list ? 0 : 2;
    }
    if (options.seed == 0) {
        timespec time{};
        clock_gettime(CLOCK_REALTIME, &time);
        options.seed = Random(static_cast<uint64_t>(time.tv_nsec + time.tv_sec)).next() >> 16;
    }
    std::printf("seed %llu\n", static_cast<unsigned long long>(options.seed));
    signal(SIGPIPE, SIG_IGN);
    return Play(options, std::move(attacks)).run();
}
