// A libibverbs that has nothing but the private entry points, in any layout: what it was registered
// with and what it was given is read back by registration_test through fake_*.
//   PABI, CONTEXT_SIZE, CONTEXT_OFFSET, OPS_SIZE, HAS_SPEED come from the build.
#include <dlfcn.h>
#include <infiniband/verbs.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define EXPORT __attribute__((visibility("default")))

static const void* registered;
static void* volatile loaded;
static unsigned char ops[1024];

EXPORT void PASTE(verbs_register_driver_, PABI)(const void* driver);
EXPORT void* _verbs_init_and_alloc_context(struct ibv_device* device, int cmd_fd, size_t bytes,
                                           void* offset, uint32_t driver_id);
EXPORT void verbs_set_ops(void* context, const void* table);
EXPORT void verbs_uninit_context(void* context);
EXPORT void* fake_load(const char* provider);
EXPORT const void* fake_registered(void);
EXPORT const void* fake_ops(void);
EXPORT long fake_write(int fd, const void* data, size_t size);
EXPORT int fake_ioctl(int fd);
EXPORT int fake_layout(void);

void PASTE(verbs_register_driver_, PABI)(const void* driver) {
    registered = driver;
}

void* _verbs_init_and_alloc_context(struct ibv_device* device, int cmd_fd, size_t bytes,
                                    void* offset, uint32_t driver_id) {
    (void)driver_id;
    char* blob = calloc(1, bytes);
    char* context_ex = blob + (uintptr_t)offset;
    struct ibv_context* context = (struct ibv_context*)(context_ex + CONTEXT_OFFSET);
    const size_t size = CONTEXT_SIZE;
    memcpy(context_ex + CONTEXT_OFFSET - sizeof size, &size, sizeof size);
    context->device = device;
    context->cmd_fd = cmd_fd;
    context->async_fd = -1;
    return blob;
}

void verbs_set_ops(void* context, const void* table) {
    (void)context;
    memcpy(ops, table, OPS_SIZE);
}

void verbs_uninit_context(void* context) {
    struct ibv_context* inner = (struct ibv_context*)((char*)context + CONTEXT_OFFSET);
    if (inner->cmd_fd != -1) {
        close(inner->cmd_fd);
    }
    if (inner->async_fd != -1) {
        close(inner->async_fd);
    }
}

void* fake_load(const char* provider) {
    loaded = dlopen(provider, RTLD_NOW);  // kept, or the compiler would leave this frame first
    return loaded;
}

const void* fake_registered(void) {
    return registered;
}

const void* fake_ops(void) {
    return ops;
}

long fake_write(int fd, const void* data, size_t size) {
    return write(fd, data, size);
}

int fake_ioctl(int fd) {
    return ioctl(fd, 0);
}

int fake_layout(void) {
    return CONTEXT_SIZE;
}

#if HAS_SPEED
EXPORT int ibv_query_port_speed(struct ibv_context* context, uint32_t port, uint64_t* speed);

int ibv_query_port_speed(struct ibv_context* context, uint32_t port, uint64_t* speed) {
    (void)context;
    (void)port;
    (void)speed;
    return 0;
}
#endif
