// Runs a program and collects what it says.
#pragma once

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

namespace vrdma::run {

inline constexpr int kNotPrepared = 199;  // exit status when prepare said no

struct Ended {
    int status = -1;  // exit status, or minus the signal
    std::string output;
    std::string errors;
    pid_t pid = -1;
};

inline std::string all_of(int fd) {
    std::string text;
    char part[4096];
    lseek(fd, 0, SEEK_SET);
    for (ssize_t got = 0; (got = read(fd, part, sizeof part)) > 0;) {
        text.append(part, static_cast<std::size_t>(got));
    }
    close(fd);
    return text;
}

inline int unnamed_file() {
    return open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

// prepare runs in the child before the program (namespaces, user, environment); false: give up.
inline Ended run_program(
    const std::vector<std::string>& command,
    const std::function<bool()>& prepare = [] { return true; }) {
    const int output = unnamed_file();
    const int errors = unnamed_file();
    Ended ended;
    ended.pid = fork();
    if (ended.pid == 0) {
        alarm(60);
        dup2(output, STDOUT_FILENO);
        dup2(errors, STDERR_FILENO);
        if (!prepare()) {
            _exit(kNotPrepared);
        }
        std::vector<char*> arguments;
        for (const std::string& word : command) {
            arguments.push_back(const_cast<char*>(word.c_str()));
        }
        arguments.push_back(nullptr);
        execv(arguments[0], arguments.data());
        _exit(kNotPrepared);
    }
    int status = 0;
    waitpid(ended.pid, &status, 0);
    ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    ended.output = all_of(output);
    ended.errors = all_of(errors);
    return ended;
}

}  // namespace vrdma::run
