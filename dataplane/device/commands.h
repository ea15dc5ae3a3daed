// Commands of a tenant, executed on its shard: every argument is checked here, nothing is changed
// before all checks have passed.
#pragma once

#include <atomic>
#include <cstring>
#include <span>

#include <tl/expected.hpp>

#include "dataplane/device/multicast.h"
#include "dataplane/device/queue_pairs.h"
#include "dataplane/device/state.h"
#include "dataplane/device/wire_path.h"
#include "dataplane/port/reclaimer.h"

namespace vrdma {

struct Refusal {
    vrdma_status status;
    const char* text;       // what was wrong and what was expected; static
    bool deferred = false;  // not a refusal: ask again next turn
};

// What came with a command beside its bytes; the platform has made it usable.
struct Attachment {
    const std::atomic<bool>* broken =
        nullptr;                // ADD_REGION of MAPPED memory: RegionMapping::broken
    std::byte* base = nullptr;  // ADD_REGION of MAPPED memory
    int file = -1;              // ADD_REGION of PROCESS memory; CREATE_CHANNEL
    bool may_shrink = false;    // ADD_REGION of MAPPED memory: RegionMapping::may_shrink
    bool has_inode = false;     // OPEN_XRCD with a file, and which one it is:
    uint64_t device = 0;
    uint64_t inode = 0;
};

struct CommandCall {
    uint32_t context;
    uint16_t opcode;
    std::span<const std::byte> body;
    Attachment attachment;
    std::span<std::byte> response;  // VRDMA_MAX_MESSAGE_BYTES are enough for any
};

// Bytes of the response, or why not. Deferred: nothing happened yet, ask again next turn.
struct CommandOutcome {
    enum class Kind : uint8_t { Done, Refused, Deferred } kind;
    size_t response_bytes = 0;
    Refusal refusal{VRDMA_STATUS_OK, "", false};
};

class Commands {
  public:
    Commands(DeviceState& state, CompletionQueues& completions, QueuePairs& queue_pairs,
             WirePath& wire, Multicast& multicast, Reclaimer& reclaimer)
        : state_(state),
          completions_(completions),
          queue_pairs_(queue_pairs),
          wire_(wire),
          multicast_(multicast),
          reclaimer_(reclaimer) {}

    [[nodiscard]] CommandOutcome execute(const CommandCall& call);

    struct NewContext {
        uint32_t vnic;
        vrdma_doorbell* doorbell;
        int event_file;
        uint32_t process_id;
        uint64_t features;
        char program[32];
    };
    // nullopt: no room.
    [[nodiscard]] std::optional<uint32_t> open(const NewContext& request);

    // Destroys a context bit by bit; call until it returns true. Unless it said CLOSE, the peers of
    // its queue pairs are told.
    struct Teardown {
        uint32_t context;
        uint32_t phase = 0;
        uint32_t cursor = 0;
        bool in_flight = false;  // a queue pair was passed over
    };
    [[nodiscard]] bool tear_down(Teardown& teardown);

  private:
    using Result = tl::expected<size_t, Refusal>;
    [[nodiscard]] Result dispatch(const CommandCall& call);

    Result alloc_pd(const CommandCall& call);
    Result dealloc_pd(const CommandCall& call);
    Result add_region(const CommandCall& call);
    Result remove_region(const CommandCall& call);
    Result reg_mr(const CommandCall& call);
    Result dereg_mr(const CommandCall& call);
    Result alloc_mw(const CommandCall& call);
    Result dealloc_mw(const CommandCall& call);
    Result create_channel(const CommandCall& call);
    Result destroy_channel(const CommandCall& call);
    Result create_cq(const CommandCall& call);
    Result resize_cq(const CommandCall& call);
    Result destroy_cq(const CommandCall& call);
    Result create_srq(const CommandCall& call);
    Result modify_srq(const CommandCall& call);
    Result query_srq(const CommandCall& call);
    Result destroy_srq(const CommandCall& call);
    Result create_qp(const CommandCall& call);
    Result modify_qp(const CommandCall& call);
    Result query_qp(const CommandCall& call);
    Result destroy_qp(const CommandCall& call);
    Result open_xrcd(const CommandCall& call);
    Result close_xrcd(const CommandCall& call);
    Result create_xrc_srq(const CommandCall& call);
    Result create_xrc_target(const CommandCall& call);
    Result open_xrc_target(const CommandCall& call);
    Result query_port(const CommandCall& call);
    Result query_clock(const CommandCall& call);
    Result attach_mcast(const CommandCall& call);
    Result detach_mcast(const CommandCall& call);
    // What both name, checked.
    struct McastTarget {
        uint32_t slot;
        vrdma_gid_entry gid;
    };
    [[nodiscard]] tl::expected<McastTarget, Refusal> mcast_target(const CommandCall& call) const;
    // False: it is not in the group.
    [[nodiscard]] bool leave_group(uint32_t slot, const vrdma_gid_entry& gid);
    // Of `most` groups at the most; of how many.
    uint32_t leave_groups(uint32_t slot, uint32_t most);

    [[nodiscard]] tl::expected<uint32_t, Refusal> make_srq(const CommandCall& call,
                                                           const vrdma_cmd_create_srq& request);
    // A handle of a target, whose number is the answer.
    [[nodiscard]] Result add_target_opening(const CommandCall& call,
                                            const vrdma_cmd_xrc_target& request, uint32_t slot);
    // `abandoned`: its context died, and the peer is told when nobody else has the target.
    void free_target_opening(uint32_t index, bool abandoned);
    void free_xrcd_opening(uint32_t index);
    // The queue pair that a handle of the caller names.
    [[nodiscard]] std::optional<uint32_t> find_queue_pair(uint32_t handle,
                                                          const CommandCall& call) const;
    // The queue pair of a slot just taken, with its number and its owner.
    [[nodiscard]] Qp& begin_qp(uint32_t slot, uint32_t context, uint8_t type);
    void free_qp(uint32_t slot);
    void free_cq(uint32_t index);
    void free_srq(uint32_t index);
    void free_channel(uint32_t index);
    void free_mr(uint32_t index);
    void free_mw(uint32_t index);
    void free_region(uint32_t index);
    [[nodiscard]] bool speaks(const CommandCall& call, uint64_t feature) const {
        return (state_.contexts[call.context].features & feature) != 0;
    }
    void tell_peer(const Qp& qp);
    // Has another shard let go of everything it held when this was first asked? One at a time for
    // each context, as its commands.
    [[nodiscard]] static bool slices_drained(Context& context);
    Result answer_attributes(const CommandCall& call, const Qp& qp) const;
    [[nodiscard]] std::optional<Refusal> check_attributes(const Qp& qp,
                                                          const vrdma_cmd_modify_qp& request) const;
    void apply_attributes(Qp& qp, const vrdma_cmd_modify_qp& request);

    // The memory of a queue: pointer to its header.
    [[nodiscard]] tl::expected<std::byte*, Refusal> queue_memory(const CommandCall& call,
                                                                 const vrdma_queue_memory& memory,
                                                                 uint64_t bytes) const;
    // The object a handle names, if it belongs to the caller.
    template <class T>
    [[nodiscard]] T* find(Pool<T>& pool, uint32_t handle, const CommandCall& call) const {
        if (handle >= pool.fresh() || !is_present(pool[handle]) ||
            pool[handle].context != call.context) {
            return nullptr;
        }
        return &pool[handle];
    }
    template <class T>
    [[nodiscard]] static bool is_present(const T& object) {
        return object.present;
    }

    DeviceState& state_;
    CompletionQueues& completions_;
    QueuePairs& queue_pairs_;
    WirePath& wire_;
    Multicast& multicast_;
    Reclaimer& reclaimer_;
};

template <>
inline bool Commands::is_present(const Qp& qp) {
    return qp.qpn != 0;
}
template <>
inline bool Commands::is_present(const Region& region) {
    return region.kind != 0;
}

// The body of a command, whole. nullopt: the length is wrong.
template <class T>
[[nodiscard]] std::optional<T> read_body(std::span<const std::byte> body) {
    if (body.size() != sizeof(T)) {
        return std::nullopt;
    }
    T value;
    std::memcpy(&value, body.data(), sizeof value);
    return value;
}

template <class T>
[[nodiscard]] size_t write_response(const CommandCall& call, const T& value) {
    std::memcpy(call.response.data(), &value, sizeof value);
    return sizeof value;
}

inline tl::unexpected<Refusal> refuse(vrdma_status status, const char* text) {
    return tl::unexpected(Refusal{status, text, false});
}
// Handles of XRC targets are numbers of their own: those of TargetOpening with this bit.
inline constexpr uint32_t kTargetHandle = 0x80000000;
inline constexpr const char* kBadLength = "body length does not match the command";
inline constexpr const char* kReserved = "a reserved field is not zero";
// The body of a command that names one object.
[[nodiscard]] inline tl::expected<vrdma_handle, Refusal> read_handle(const CommandCall& call) {
    const auto body = read_body<vrdma_handle>(call.body);
    if (!body) {
        return refuse(VRDMA_STATUS_INVALID, kBadLength);
    }
    if (body->reserved != 0) {
        return refuse(VRDMA_STATUS_INVALID, kReserved);
    }
    return *body;
}
inline tl::unexpected<Refusal> defer() {
    return tl::unexpected(Refusal{VRDMA_STATUS_BUSY, "", true});
}

}  // namespace vrdma
