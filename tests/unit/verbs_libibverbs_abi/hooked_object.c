// A shared object that imports write and ioctl, for the hook's tests; built with different linkage.
#include <stddef.h>
#include <sys/ioctl.h>
#include <unistd.h>

__attribute__((visibility("default"))) long object_write(int fd, const void* data, size_t size);
__attribute__((visibility("default"))) int object_ioctl(int fd, unsigned long request,
                                                        void* argument);

long object_write(int fd, const void* data, size_t size) {
    return write(fd, data, size);
}

int object_ioctl(int fd, unsigned long request, void* argument) {
    return ioctl(fd, request, argument);
}
