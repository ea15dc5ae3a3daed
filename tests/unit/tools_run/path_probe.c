// Looks at the device through every call that the preload library covers; prints each that does not
// find it and returns how many did not.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICE "/sys/class/infiniband/vrdma0"
#define NODE "/dev/infiniband/uverbs0"

static int failures;

static void expect(int found, const char* call) {
    if (!found) {
        ++failures;
        printf("%s: %s\n", call, strerror(errno));
    }
}

static void open_calls(void) {
    const int at_root = open("/", O_RDONLY | O_DIRECTORY);
    expect(open(DEVICE "/node_type", O_RDONLY) >= 0, "open");
    expect(open64(DEVICE "/node_type", O_RDONLY) >= 0, "open64");
    expect(openat(at_root, DEVICE "/node_type", O_RDONLY) >= 0, "openat");
    expect(openat64(AT_FDCWD, DEVICE "/node_type", O_RDONLY) >= 0, "openat64");
    expect(open(NODE, O_RDWR) >= 0, "open of the node");
    expect(fopen(DEVICE "/node_type", "r") != NULL, "fopen");
    expect(fopen64(DEVICE "/node_type", "r") != NULL, "fopen64");
    char created[] = "/tmp/vrdma-probe-XXXXXX";
    const int fd = mkstemp(created);
    unlink(created);
    close(fd);
    struct stat status;
    umask(0);
    expect(open(created, O_CREAT | O_RDWR | O_EXCL, 0640) >= 0 && stat(created, &status) == 0 &&
               (status.st_mode & 0777) == 0640,
           "open that creates a file");
    unlink(created);
}

static void stat_calls(void) {
    struct stat status;
    struct stat64 status64;
    struct statx extended;
    expect(stat(DEVICE, &status) == 0 && S_ISDIR(status.st_mode), "stat");
    expect(stat64(DEVICE, &status64) == 0, "stat64");
    expect(lstat(NODE, &status) == 0 && S_ISLNK(status.st_mode), "lstat");
    expect(lstat64(NODE, &status64) == 0, "lstat64");
    expect(stat(NODE, &status) == 0 && S_ISCHR(status.st_mode), "stat of the node");
    expect(fstatat(AT_FDCWD, DEVICE, &status, 0) == 0, "fstatat");
    expect(fstatat64(AT_FDCWD, DEVICE, &status64, 0) == 0, "fstatat64");
    expect(statx(AT_FDCWD, DEVICE, 0, STATX_MODE, &extended) == 0, "statx");
    expect(access(DEVICE, R_OK) == 0, "access");
    expect(euidaccess(DEVICE, R_OK) == 0, "euidaccess");
    expect(eaccess(DEVICE, R_OK) == 0, "eaccess");
    expect(faccessat(AT_FDCWD, DEVICE, R_OK, 0) == 0, "faccessat");
}

static void directory_calls(void) {
    DIR* directory = opendir("/sys/class/infiniband");
    expect(directory != NULL, "opendir");
    int found = 0;
    for (struct dirent* entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        found += strcmp(entry->d_name, "vrdma0") == 0;
    }
    expect(found == 1, "readdir");
    struct dirent** list = NULL;
    expect(scandir("/sys/class/infiniband", &list, NULL, alphasort) == 3, "scandir");
    struct dirent64** list64 = NULL;
    expect(scandir64("/sys/class/infiniband", &list64, NULL, alphasort64) == 3, "scandir64");
    expect(opendir("/sys/class/net") != NULL, "opendir elsewhere");
    expect(chdir("/sys/class/infiniband_verbs/uverbs0") == 0 && access("ibdev", R_OK) == 0,
           "chdir");
}

static void link_calls(void) {
    char text[PATH_MAX] = "";
    expect(readlink(NODE, text, sizeof text) == 9 && strncmp(text, "/dev/full", 9) == 0,
           "readlink");
    expect(readlinkat(AT_FDCWD, NODE, text, sizeof text) == 9, "readlinkat");
    expect(realpath(DEVICE, text) != NULL && strcmp(text, DEVICE) == 0, "realpath");
    char* name = canonicalize_file_name(DEVICE "/ports/../ports");
    expect(name != NULL && strcmp(name, DEVICE "/ports") == 0, "canonicalize_file_name");
    expect(realpath(NODE, text) != NULL && strcmp(text, "/dev/full") == 0, "realpath of the node");
    expect(realpath(DEVICE "/device", text) == NULL && errno == ENOENT, "realpath of no hardware");
}

int main(void) {
    open_calls();
    stat_calls();
    directory_calls();
    link_calls();
    expect(
        socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_RDMA) == -1 && errno == EPROTONOSUPPORT,
        "socket of the RDMA core");
    expect(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE) >= 0, "another socket");
    return failures;
}
