/*
 * A power cut, played to one process and the files under one folder. Linux on x86-64.
 *
 * The model. A file is on the disk as it was when it was last synced: what was written since (bytes, size) is gone after
 * a cut. A name (made, renamed, removed) is on the disk once its folder was synced, with one exception that ext4 and xfs
 * make: the sync of a new file or folder keeps its own name, and the names of new folders above it. A sync covers what
 * was done before it was called. Files that were there when the process started are taken to be on the disk.
 * At a torn cut a drawn half of the unsynced pages (4 KiB) has reached the disk all the same, each by itself, and of the
 * unsynced names a drawn number, oldest first (they go through a log).
 *
 * How. Preloaded into the process, it installs a system call filter: every call that changes files or names, from
 * whatever library or directly, ends in `on_trap`, which keeps how to undo it and then makes the call itself. Its own
 * calls carry MAGIC in an argument that they do not use, and pass the filter. All of it stands behind one lock; a cut
 * takes the lock for good, undoes, and ends the process. Syncs go nowhere: the page cache outlives the process. They
 * take POWER_SYNC_US, so that there is a time in which something is written and not yet synced.
 *
 * Files are known by inode, so descriptors can be copied and closed at will. Removed and replaced files are kept
 * by a second link in a grave folder, which must be on the same file system. Not followed: maps that are written to,
 * `truncate` by name, new links, renames across the folder's edge; host and engine use none of them there.
 *
 * Environment: POWER_ROOT (the folder, absolute, no links in it), POWER_GRAVE, POWER_SOCKET, POWER_SYNC_US.
 * A line on the socket is a command, each answered by a line:
 *   cut | torn SEED         undo, say what was undone, end with exit code 86
 *   fail write|sync ERRNO   such calls fail from now on
 *   heal                    they do not any more
 */
#include "disk.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <ucontext.h>

/* ---- the calls ---- */

static long open_file(int dirfd, const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    int changes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    if (!changes || (flags & (O_PATH | O_DIRECTORY)) || !inside(dirfd, path, full))
        return raw(SYS_openat, dirfd, (long)path, flags, mode, 0);
    struct stat before, now;
    pthread_mutex_lock(&lock);
    int stood = stat(full, &before) == 0;
    long fd = !stood && fail_write ? -fail_write : raw(SYS_openat, dirfd, (long)path, flags & ~O_TRUNC, mode, 0);
    if (fd >= 0) {
        struct file *file = follow(fd);
        if (!stood && fstat(fd, &now) == 0)
            note(MADE, full, NULL, NULL, now.st_ino);
        if (file && (flags & O_TRUNC) && size_of(file) > 0) {
            keep_tail(file, 0);
            raw(SYS_ftruncate, fd, 0, 0, 0, 0);
        }
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static size_t bytes_of(const struct iovec *parts, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += parts[i].iov_len;
    return bytes;
}

static long write_file(long nr, long fd, long b, long c, long d, long e)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode))
        return raw(nr, fd, b, c, d, e);
    pthread_mutex_lock(&lock);
    struct file *file = known(&stat);
    long answer;
    if (file && fail_write) {
        answer = -fail_write;
    } else {
        if (file) {
            int many = nr == SYS_writev || nr == SYS_pwritev;
            int placed = nr == SYS_pwrite64 || nr == SYS_pwritev;
            int appends = fcntl(fd, F_GETFL) & O_APPEND;
            off_t offset = appends ? stat.st_size : placed ? d : lseek(fd, 0, SEEK_CUR);
            /* Another write may have come between the look and the lock. */
            keep(file, appends ? size_of(file) : offset, many ? bytes_of((const struct iovec *)b, c) : (size_t)c);
        }
        answer = raw(nr, fd, b, c, d, e);
    }
    pthread_mutex_unlock(&lock);
    return answer;
}

static long resize_file(long nr, long fd, long b, long c, long d)
{
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    long answer = 0;
    if (file && nr == SYS_ftruncate && b < size_of(file))
        keep_tail(file, b);
    else if (file && fail_write)
        answer = -fail_write;
    else if (file && nr == SYS_fallocate && b != 0)
        answer = -EOPNOTSUPP;
    else if (file)
        keep(file, size_of(file), 0);
    if (answer == 0)
        answer = raw(nr, fd, b, c, d, 0);
    pthread_mutex_unlock(&lock);
    return answer;
}

static long rename_file(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    char full_from[PATH_MAX], full_to[PATH_MAX], grave[PATH_MAX];
    if (!inside(from_fd, from, full_from) || !inside(to_fd, to, full_to))
        return raw(SYS_renameat2, from_fd, (long)from, to_fd, (long)to, flags);
    pthread_mutex_lock(&lock);
    bury(full_to, grave);
    long answer = raw(SYS_renameat2, from_fd, (long)from, to_fd, (long)to, flags);
    if (answer == 0)
        note(RENAMED, full_to, full_from, grave[0] ? grave : NULL, 0);
    pthread_mutex_unlock(&lock);
    return answer;
}

static long remove_name(int dirfd, const char *path, int flags)
{
    char full[PATH_MAX], grave[PATH_MAX] = "";
    if (!inside(dirfd, path, full))
        return raw(SYS_unlinkat, dirfd, (long)path, flags, 0, 0);
    int folder = flags & AT_REMOVEDIR;
    pthread_mutex_lock(&lock);
    if (!folder)
        bury(full, grave);
    long answer = raw(SYS_unlinkat, dirfd, (long)path, flags, 0, 0);
    if (answer == 0)
        note(folder ? FOLDER_REMOVED : REMOVED, full, NULL, grave[0] ? grave : NULL, 0);
    pthread_mutex_unlock(&lock);
    return answer;
}

static long make_folder(int dirfd, const char *path, mode_t mode)
{
    char full[PATH_MAX];
    if (!inside(dirfd, path, full))
        return raw(SYS_mkdirat, dirfd, (long)path, mode, 0, 0);
    struct stat now;
    pthread_mutex_lock(&lock);
    long answer = fail_write ? -fail_write : raw(SYS_mkdirat, dirfd, (long)path, mode, 0, 0);
    if (answer == 0 && stat(full, &now) == 0)
        note(FOLDER_MADE, full, NULL, NULL, now.st_ino);
    pthread_mutex_unlock(&lock);
    return answer;
}

static long sync_file(long nr, int fd)
{
    struct stat stat;
    char link[64], path[PATH_MAX], full[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0 || fstat(fd, &stat) != 0)
        return raw(nr, fd, 0, 0, 0, 0);
    path[len] = 0;
    if (!inside(AT_FDCWD, path, full) && strcmp(path, root) != 0)
        return raw(nr, fd, 0, 0, 0, 0);
    pthread_mutex_lock(&lock);
    uint64_t upto = seq;
    long failing = fail_sync;
    pthread_mutex_unlock(&lock);
    if (failing)
        return -failing;
    struct timespec pause = { .tv_sec = sync_us / 1000000, .tv_nsec = sync_us % 1000000 * 1000 };
    nanosleep(&pause, NULL);
    pthread_mutex_lock(&lock);
    struct file *file = known(&stat);
    if (file)
        synced(file, upto);
    if (S_ISDIR(stat.st_mode))
        folder_synced(path, upto);
    name_synced(stat.st_ino, upto);
    pthread_mutex_unlock(&lock);
    return 0;
}

static long handle(long nr, long a, long b, long c, long d, long e)
{
    switch (nr) {
    case SYS_open: return open_file(AT_FDCWD, (const char *)a, b, c);
    case SYS_creat: return open_file(AT_FDCWD, (const char *)a, O_CREAT | O_WRONLY | O_TRUNC, b);
    case SYS_openat: return open_file(a, (const char *)b, c, d);
    case SYS_write: case SYS_pwrite64: case SYS_writev: case SYS_pwritev: return write_file(nr, a, b, c, d, e);
    case SYS_ftruncate: case SYS_fallocate: return resize_file(nr, a, b, c, d);
    case SYS_rename: return rename_file(AT_FDCWD, (const char *)a, AT_FDCWD, (const char *)b, 0);
    case SYS_renameat: return rename_file(a, (const char *)b, c, (const char *)d, 0);
    case SYS_renameat2: return rename_file(a, (const char *)b, c, (const char *)d, e);
    case SYS_unlink: return remove_name(AT_FDCWD, (const char *)a, 0);
    case SYS_rmdir: return remove_name(AT_FDCWD, (const char *)a, AT_REMOVEDIR);
    case SYS_unlinkat: return remove_name(a, (const char *)b, c);
    case SYS_mkdir: return make_folder(AT_FDCWD, (const char *)a, b);
    case SYS_mkdirat: return make_folder(a, (const char *)b, c);
    case SYS_fsync: case SYS_fdatasync: return sync_file(nr, a);
    case SYS_sync_file_range: return 0; /* promises nothing */
    default: return -ENOSYS; /* callers have another way */
    }
}

static void on_trap(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    int before = errno;
    regs[REG_RAX] =
        handle(info->si_syscall, regs[REG_RDI], regs[REG_RSI], regs[REG_RDX], regs[REG_R10], regs[REG_R8]);
    errno = before;
}

/* ---- the bench's side ---- */

static void obey(int peer, const char *line)
{
    char what[16];
    long error;
    unsigned long seed;
    if (strcmp(line, "cut") == 0) {
        cut(peer, 0, 0);
    } else if (sscanf(line, "torn %lu", &seed) == 1) {
        cut(peer, 1, seed);
    } else if (sscanf(line, "fail %15s %ld", what, &error) == 2) {
        pthread_mutex_lock(&lock);
        *(strcmp(what, "write") == 0 ? &fail_write : &fail_sync) = error;
        pthread_mutex_unlock(&lock);
    } else if (strcmp(line, "heal") == 0) {
        pthread_mutex_lock(&lock);
        fail_write = fail_sync = 0;
        pthread_mutex_unlock(&lock);
    } else {
        raw(SYS_write, peer, (long)"what?\n", 6, 0, 0);
        return;
    }
    raw(SYS_write, peer, (long)"ok\n", 3, 0, 0);
}

static void *listen_for_commands(void *argument)
{
    int listener = (int)(intptr_t)argument;
    for (;;) {
        int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (peer < 0)
            continue;
        char line[128];
        size_t len = 0;
        ssize_t got;
        while ((got = read(peer, line + len, sizeof line - 1 - len)) > 0) {
            len += got;
            line[len] = 0;
            char *end = strchr(line, '\n');
            if (end) {
                *end = 0;
                obey(peer, line);
                break;
            }
        }
        close(peer);
    }
    return NULL;
}

static const int TRAPPED[] = {
    SYS_open, SYS_creat, SYS_openat, SYS_openat2, SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2,
    SYS_ftruncate, SYS_fallocate, SYS_rename, SYS_renameat, SYS_renameat2, SYS_unlink, SYS_unlinkat, SYS_rmdir,
    SYS_mkdir, SYS_mkdirat, SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_copy_file_range, SYS_sendfile,
};
#define TRAPS (sizeof TRAPPED / sizeof TRAPPED[0])

static void install_filter(void)
{
    const size_t magic = offsetof(struct seccomp_data, args[5]);
    struct sock_filter filter[TRAPS + 8];
    size_t n = 0;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < TRAPS; i++)
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TRAPPED[i], TRAPS - i, 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, magic);
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)MAGIC, 0, 3);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, magic + 4);
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(MAGIC >> 32), 0, 1);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    struct sock_fprog program = { n, filter };
    struct sigaction action = { .sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART };
    action.sa_sigaction = on_trap;
    /* No other handler may run inside ours: it could make a call that is trapped again, with the lock held. */
    sigfillset(&action.sa_mask);
    sigdelset(&action.sa_mask, SIGSYS);
    if (sigaction(SIGSYS, &action, NULL) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        die("the filter cannot be installed");
}

static int listener_on(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 4) != 0)
        die("no socket");
    return listener;
}

__attribute__((constructor)) static void start(void)
{
    root = getenv("POWER_ROOT");
    grave_folder = getenv("POWER_GRAVE");
    socket_path = getenv("POWER_SOCKET");
    const char *pause = getenv("POWER_SYNC_US");
    if (!root || !grave_folder || !socket_path)
        return;
    root_len = strlen(root);
    sync_us = pause ? atol(pause) : 0;
    struct rlimit descriptors;
    if (getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
        descriptors.rlim_cur = descriptors.rlim_max;
        setrlimit(RLIMIT_NOFILE, &descriptors);
    }
    int listener = listener_on(socket_path);
    install_filter();
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSYS);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_t thread;
    if (pthread_create(&thread, NULL, listen_for_commands, (void *)(intptr_t)listener) != 0)
        die("no thread");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
