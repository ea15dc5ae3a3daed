// A host in one object: shards on heap memory, the fabric between them, and ports that only record.
// Time moves when a test says so; everything is single-threaded and repeatable.
#pragma once

#include <sys/mman.h>

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "dataplane/device/shard.h"

namespace vrdma::test {

[[nodiscard]] ShardLimits small_limits();

struct WorldOptions {
    uint32_t shards = 1;
    ShardLimits limits = small_limits();
};

class World final : private ProcessMemory,
                    private Notifier,
                    private Reclaimer,
                    private Waker,
                    private Clock {
  public:
    explicit World(const WorldOptions& options = {});
    ~World() override = default;
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    [[nodiscard]] Shard& shard(uint32_t index) { return *shards_[index]; }
    [[nodiscard]] uint32_t shard_count() const { return static_cast<uint32_t>(shards_.size()); }

    // A vNIC with the GID table of the service: link-local twice, an empty entry, IPv4-mapped.
    uint32_t add_vnic(uint32_t network, uint32_t address);
    void set_up(uint32_t vnic, bool up);
    void remove_vnic(uint32_t vnic);
    [[nodiscard]] Vnic vnic(uint32_t index) { return shards_[0]->state().vnics[index]; }
    [[nodiscard]] static vrdma_gid_entry ipv4_gid(uint32_t address);

    // One turn of every shard.
    bool turn();
    // Turns until nothing is left to do now.
    void settle();
    // Lets time pass and settles at every deadline on the way.
    void advance(Duration duration);
    [[nodiscard]] Instant now() override { return now_; }
    [[nodiscard]] Instant next_deadline() const;
    [[nodiscard]] uint64_t total(uint32_t vnic, Counter counter) const;
    [[nodiscard]] uint64_t failures(uint32_t vnic, vrdma_reason reason) const;

    // What the ports saw.
    [[nodiscard]] int new_file() { return ++last_file_; }
    [[nodiscard]] std::vector<vrdma_event>& events(int file) { return events_[file]; }
    [[nodiscard]] std::vector<uint64_t>& completion_events(int file) { return completions_[file]; }
    // A channel or event socket that is full takes nothing.
    void fill(int file) { full_.insert(file); }
    void drain(int file) { full_.erase(file); }
    // The process behind a process memory file is gone.
    void kill_process(int file) { dead_processes_.insert(file); }
    [[nodiscard]] const std::vector<int>& closed_files() const { return closed_; }
    [[nodiscard]] const std::vector<std::byte*>& unmapped() const { return unmapped_; }

    // Objects of all kinds that exist on all shards.
    [[nodiscard]] uint32_t objects() const;

  private:
    bool read(int file, uint64_t address, std::byte* to, size_t length) override;
    bool write(int file, uint64_t address, const std::byte* from, size_t length) override;
    bool completion(int channel_file, uint64_t cookie) override;
    bool asynchronous(int event_file, const vrdma_event& event) override;
    void unmap(std::byte* base, uint64_t length) override;
    void close(int file) override;
    void wake(uint32_t) override {}

    struct Unmap {
        size_t bytes;
        void operator()(std::byte* memory) const { munmap(memory, bytes); }
    };
    std::vector<std::unique_ptr<std::byte, Unmap>> memory_;
    std::vector<std::unique_ptr<Arena>> arenas_;
    Fabric fabric_;
    std::vector<std::unique_ptr<Shard>> shards_;
    Instant now_{1'000'000'000};
    uint32_t vnics_ = 0;
    int last_file_ = 100;
    std::map<int, std::vector<vrdma_event>> events_;
    std::map<int, std::vector<uint64_t>> completions_;
    std::set<int> full_;
    std::set<int> dead_processes_;
    std::vector<int> closed_;
    std::vector<std::byte*> unmapped_;
};

}  // namespace vrdma::test
