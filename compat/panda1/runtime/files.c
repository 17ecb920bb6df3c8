/*
 * files.c - files that plugins open with fopen
 *
 * The guest lives in the host's process: it may change the current directory, and sees open descriptors. So the
 * plugin's calls of fopen and fclose arrive here, since symbols of the library itself come first. Relative names mean
 * what they meant when the plugin was loaded, files to be written go to the host's output directory, and descriptors
 * are kept out of the guest's way, those of stdout and stderr as well.
 */
#include <dlfcn.h>

#include "runtime.h"

/* Descriptors below are the guest's. */
#define FLOOR 512

typedef FILE *(*open_fn)(const char *path, const char *mode);
typedef int (*close_fn)(FILE *file);

static char *start_dir;

static void *next(const char *symbol)
{
    void *found = dlsym(RTLD_NEXT, symbol);
    if (!found)
        abort(); /* a C library without fopen or fclose */
    return found;
}

void panda1_files_start(void)
{
    start_dir = getcwd(NULL, 0);
}

void panda1_files_end(void)
{
    free(start_dir);
    start_dir = NULL;
}

/* A copy of a descriptor where the guest does not come. */
static int32_t high_copy(int fd)
{
    const int copy = fcntl(fd, F_DUPFD_CLOEXEC, FLOOR);
    if (copy >= 0)
        panda1.os->hide_fd(panda1.self, copy, 1);
    return copy;
}

static void give_back(FILE *file, int fd, int32_t copy)
{
    if (copy < 0)
        return;
    fflush(file);
#ifdef __GLIBC__
    file->_fileno = fd;
#endif
    panda1.os->hide_fd(panda1.self, copy, 0);
    close(copy);
}

/* Programs close their stdout when they end, and may turn it elsewhere. The streams are those of the C library, which
 * all plugins share. */
void panda1_output_start(panda1_group *group)
{
    group->output = group->errors = -1;
#ifdef __GLIBC__
    group->output = high_copy(1);
    group->errors = high_copy(2);
    if (group->output >= 0)
        stdout->_fileno = group->output;
    if (group->errors >= 0)
        stderr->_fileno = group->errors;
#endif
}

void panda1_output_end(panda1_group *group)
{
    give_back(stdout, 1, group->output);
    give_back(stderr, 2, group->errors);
}

/* Moves a file that was opened while the guest runs above its descriptors. */
static FILE *out_of_the_way(FILE *file, const char *mode)
{
    const int high = fcntl(fileno(file), F_DUPFD_CLOEXEC, FLOOR);
    FILE *moved = high >= 0 ? fdopen(high, mode) : NULL;
    if (moved) {
        ((close_fn)next("fclose"))(file);
        file = moved;
    } else if (high >= 0) {
        close(high);
    }
    panda1.os->hide_fd(panda1.self, fileno(file), 1);
    return file;
}

static FILE *open_file(open_fn real, const char *path, const char *mode)
{
    const bool writes = strpbrk(mode, "wa") != NULL;
    char *name = NULL;
    FILE *file;
    if (path[0] != '/' && panda1.os && writes) {
        const panda_str dir = panda1.os->out_dir(panda1.self);
        name = g_strdup_printf("%.*s/%s", (int)dir.len, dir.ptr, path);
    } else if (path[0] != '/' && start_dir) {
        name = g_strdup_printf("%s/%s", start_dir, path);
    }
    file = real(name ? name : path, mode);
    g_free(name);
    /* Those of init are moved by the host. */
    if (file && panda1.started)
        file = out_of_the_way(file, mode);
    return file;
}

FILE *fopen(const char *path, const char *mode)
{
    return open_file((open_fn)next("fopen"), path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    return open_file((open_fn)next("fopen64"), path, mode);
}

int fclose(FILE *file)
{
    if (file && panda1.os)
        panda1.os->hide_fd(panda1.self, fileno(file), 0);
    return ((close_fn)next("fclose"))(file);
}
