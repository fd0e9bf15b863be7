/*
 * What the disk holds: which changes of files and names were synced, how to undo the others, and the cut that does. The
 * model stands in power.c.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(__linux__) || !defined(__x86_64__)
#error "the power shim is for Linux on x86-64"
#endif

#define MAGIC 0x6f73747261706f77L
#define EXIT_CUT 86
#define PAGE 4096
#define BUCKETS 4096

/* How to undo one change of a file. */
struct undo {
    struct undo *older;
    uint64_t seq;
    off_t size;     /* of the file before */
    off_t offset;   /* what was written over */
    size_t length;
    size_t kept;    /* how much of that was there before */
    char bytes[];
};

struct file {
    struct file *next;
    dev_t dev;
    ino_t ino;
    int fd; /* our own */
    struct undo *newest;
};

enum kind { MADE, RENAMED, REMOVED, FOLDER_MADE, FOLDER_REMOVED };

/* How to undo one change of a name. */
struct name {
    struct name *older;
    uint64_t seq;
    enum kind kind;
    int on_disk;
    ino_t ino;
    char *path; /* for RENAMED: the new one */
    char *from;
    char *grave; /* keeps what stood at `path`; may be NULL */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files[BUCKETS];
static struct name *names;
static uint64_t seq;
static unsigned long graves;
static long fail_write, fail_sync;
static const char *root, *grave_folder, *socket_path;
static size_t root_len;
static long sync_us;

static long raw(long nr, long a, long b, long c, long d, long e)
{
    long answer;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = MAGIC;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return answer;
}

static void die(const char *what)
{
    char line[256];
    int len = snprintf(line, sizeof line, "power shim: %s: %s\n", what, strerror(errno));
    raw(SYS_write, 2, (long)line, len, 0, 0);
    raw(SYS_exit_group, EXIT_CUT + 1, 0, 0, 0, 0);
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes);
    if (!memory)
        die("out of memory");
    return memory;
}

static char *copy(const char *text)
{
    size_t bytes = strlen(text) + 1;
    return memcpy(allocate(bytes), text, bytes);
}

/* Whether a path lies in the folder; `full` then holds it, absolute. */
static int inside(int dirfd, const char *path, char full[PATH_MAX])
{
    if (!path)
        return 0;
    if (path[0] == '/') {
        if (snprintf(full, PATH_MAX, "%s", path) >= PATH_MAX)
            return 0;
    } else {
        char link[64], base[PATH_MAX / 2];
        if (dirfd == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        ssize_t len = readlink(link, base, sizeof base - 1);
        if (len < 0)
            return 0;
        base[len] = 0;
        if (snprintf(full, PATH_MAX, "%s/%s", base, path) >= PATH_MAX)
            return 0;
    }
    size_t len = strlen(full);
    while (len > 1 && full[len - 1] == '/')
        full[--len] = 0;
    return strncmp(full, root, root_len) == 0 && full[root_len] == '/';
}

/* ---- files ---- */

static struct file **bucket(ino_t ino)
{
    return &files[ino % BUCKETS];
}

static struct file *known(const struct stat *stat)
{
    struct file *file = *bucket(stat->st_ino);
    while (file && (file->ino != stat->st_ino || file->dev != stat->st_dev))
        file = file->next;
    return file;
}

/* The followed file behind a descriptor, or NULL. */
static struct file *file_of(int fd)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode))
        return NULL;
    return known(&stat);
}

static struct file *follow(int fd)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode))
        return NULL;
    struct file *file = known(&stat);
    if (file)
        return file;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long own = raw(SYS_openat, AT_FDCWD, (long)link, O_RDWR | O_CLOEXEC, 0, 0);
    if (own < 0) {
        errno = -own;
        die("a file cannot be followed");
    }
    file = allocate(sizeof *file);
    *file = (struct file){ .next = *bucket(stat.st_ino), .dev = stat.st_dev, .ino = stat.st_ino, .fd = own };
    *bucket(stat.st_ino) = file;
    return file;
}

static off_t size_of(const struct file *file)
{
    struct stat stat;
    if (fstat(file->fd, &stat) != 0)
        die("fstat");
    return stat.st_size;
}

static void read_at(const struct file *file, char *into, size_t length, off_t offset)
{
    while (length > 0) {
        ssize_t got = pread(file->fd, into, length, offset);
        if (got <= 0)
            die("pread");
        into += got, offset += got, length -= got;
    }
}

static void write_at(const struct file *file, const char *bytes, size_t length, off_t offset)
{
    while (length > 0) {
        long put = raw(SYS_pwrite64, file->fd, (long)bytes, length, offset, 0);
        if (put <= 0) {
            errno = -put;
            die("pwrite");
        }
        bytes += put, offset += put, length -= put;
    }
}

/* Keeps what a write of `length` bytes at `offset` will change. */
static void keep(struct file *file, off_t offset, size_t length)
{
    off_t size = size_of(file);
    size_t kept = 0;
    if (offset < size)
        kept = (off_t)length < size - offset ? length : (size_t)(size - offset);
    struct undo *undo = allocate(sizeof *undo + kept);
    *undo = (struct undo){ file->newest, ++seq, size, offset, length, kept };
    read_at(file, undo->bytes, kept, offset);
    file->newest = undo;
}

/* Keeps what a cut to `size` will take away; pages of zeros come back by themselves. */
static void keep_tail(struct file *file, off_t size)
{
    static const char zeros[PAGE];
    char page[PAGE];
    off_t end = size_of(file);
    keep(file, end, 0);
    for (off_t at = size; at < end;) {
        size_t length = PAGE - at % PAGE;
        if ((off_t)length > end - at)
            length = end - at;
        /* Nothing was ever written to a hole: pass over it. */
        off_t data = lseek(file->fd, at, SEEK_DATA);
        if (data < 0)
            break;
        if (data >= at + (off_t)length) {
            at = data - data % PAGE;
            continue;
        }
        read_at(file, page, length, at);
        if (memcmp(page, zeros, length) != 0)
            keep(file, at, length);
        at += length;
    }
}

static void forget(struct undo *undo)
{
    while (undo) {
        struct undo *older = undo->older;
        free(undo);
        undo = older;
    }
}

static void synced(struct file *file, uint64_t upto)
{
    struct undo **link = &file->newest;
    while (*link && (*link)->seq > upto)
        link = &(*link)->older;
    forget(*link);
    *link = NULL;
}

/* ---- names ---- */

static struct name *note(enum kind kind, const char *path, const char *from, const char *grave, ino_t ino)
{
    struct name *name = allocate(sizeof *name);
    *name = (struct name){ .older = names, .seq = ++seq, .kind = kind, .ino = ino, .path = copy(path) };
    name->from = from ? copy(from) : NULL;
    name->grave = grave ? copy(grave) : NULL;
    names = name;
    return name;
}

static int stands_in(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/');
}

static void folder_synced(const char *folder, uint64_t upto)
{
    for (struct name *name = names; name; name = name->older)
        if (name->seq <= upto && stands_in(name->path, folder))
            name->on_disk = 1;
}

/* A new file or folder was synced: its name, and those of new folders above it, are on the disk. */
static void name_synced(ino_t ino, uint64_t upto)
{
    for (struct name *name = names; name; name = name->older) {
        if (name->seq > upto || name->ino != ino || (name->kind != MADE && name->kind != FOLDER_MADE))
            continue;
        name->on_disk = 1;
        for (struct name *above = name->older; above; above = above->older) {
            size_t len = strlen(above->path);
            if (above->kind == FOLDER_MADE && strncmp(name->path, above->path, len) == 0 && name->path[len] == '/')
                above->on_disk = 1;
        }
    }
}

/* A second link for what stands at a path, so that it can come back; an empty text where nothing stands. */
static void bury(const char *path, char grave[PATH_MAX])
{
    snprintf(grave, PATH_MAX, "%s/%lu", grave_folder, graves++);
    if (linkat(AT_FDCWD, path, AT_FDCWD, grave, 0) != 0)
        grave[0] = 0;
}

static void undo_name(const struct name *name)
{
    struct stat stat;
    switch (name->kind) {
    case MADE:
        if (lstat(name->path, &stat) == 0 && stat.st_ino == name->ino)
            raw(SYS_unlink, (long)name->path, 0, 0, 0, 0);
        break;
    case RENAMED:
        raw(SYS_renameat2, AT_FDCWD, (long)name->path, AT_FDCWD, (long)name->from, 1 /* no replace */);
        if (name->grave)
            raw(SYS_renameat2, AT_FDCWD, (long)name->grave, AT_FDCWD, (long)name->path, 1);
        break;
    case REMOVED:
        if (name->grave)
            raw(SYS_renameat2, AT_FDCWD, (long)name->grave, AT_FDCWD, (long)name->path, 1);
        break;
    case FOLDER_MADE: /* stays where something in it is on the disk */
        raw(SYS_rmdir, (long)name->path, 0, 0, 0, 0);
        break;
    case FOLDER_REMOVED:
        raw(SYS_mkdir, (long)name->path, 0777, 0, 0, 0);
        break;
    }
}

/* ---- the cut ---- */

static uint64_t drawn;

static uint64_t draw(void)
{
    drawn ^= drawn << 13, drawn ^= drawn >> 7, drawn ^= drawn << 17;
    return drawn >> 11;
}

struct page {
    struct page *next;
    off_t at;
    size_t length;
    char bytes[PAGE];
};

/* Draws which of the pages that were written to and not synced survive, and takes them aside. */
static struct page *survivors(const struct file *file)
{
    off_t size = size_of(file);
    size_t pages = size / PAGE + 1;
    char *seen = allocate(pages);
    memset(seen, 0, pages);
    struct page *all = NULL;
    for (const struct undo *undo = file->newest; undo; undo = undo->older) {
        for (off_t at = undo->offset - undo->offset % PAGE; at < undo->offset + (off_t)undo->length; at += PAGE) {
            if (at >= size || seen[at / PAGE]++ || draw() % 2)
                continue;
            struct page *page = allocate(sizeof *page);
            *page = (struct page){ .next = all, .at = at, .length = size - at < PAGE ? size - at : PAGE };
            read_at(file, page->bytes, page->length, at);
            all = page;
        }
    }
    free(seen);
    return all;
}

/* Ends the process as a power cut would. The lock is taken and not given back. */
static void cut(int answer, int torn, uint64_t seed)
{
    unsigned long undone = 0, survived = 0, names_undone = 0, loose = 0;
    pthread_mutex_lock(&lock);
    drawn = seed * 0x9e3779b97f4a7c15UL | 1;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct file *file = files[i]; file; file = file->next) {
            if (!file->newest)
                continue;
            struct page *pages = torn ? survivors(file) : NULL;
            for (const struct undo *undo = file->newest; undo; undo = undo->older, undone++) {
                write_at(file, undo->bytes, undo->kept, undo->offset);
                if (raw(SYS_ftruncate, file->fd, undo->size, 0, 0, 0) != 0)
                    die("ftruncate");
            }
            for (; pages; pages = pages->next, survived++)
                write_at(file, pages->bytes, pages->length, pages->at);
        }
    }
    for (struct name *name = names; name; name = name->older)
        loose += !name->on_disk;
    unsigned long gone = torn && loose ? draw() % (loose + 1) : loose;
    for (struct name *name = names; name && names_undone < gone; name = name->older) {
        if (!name->on_disk) {
            undo_name(name);
            names_undone++;
        }
    }
    char line[128];
    int len = snprintf(line, sizeof line, "writes %lu pages %lu names %lu\n", undone, survived, names_undone);
    raw(SYS_write, answer, (long)line, len, 0, 0);
    raw(SYS_exit_group, EXIT_CUT, 0, 0, 0, 0);
}

