/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/binfmt.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/macros.h"

#define MAX_ENTRY 8192

void cb_binfmt_done(struct cb_binfmt *b)
{
    free(b->name);
    free(b->interpreter);
    *b = (struct cb_binfmt){ 0 };
}

/* The rest of the line that begins with the key; owned, NULL where there is none. */
static char *value_of(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *line = text; *line; line = strchrnul(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, key, n))
            return cb_strndup(line + n, strcspn(line + n, "\n"));
    }
    return NULL;
}

static bool hex_at(const char *hex, size_t i, unsigned char *out)
{
    return cb_hex_decode(out, hex + 2 * i, 1);
}

/* Magic and mask are written as hexadecimal digits; no mask: every bit counts. */
static bool serves(const char *text, const unsigned char *program, size_t n)
{
    cb_autofree char *magic = value_of(text, "magic "), *mask = value_of(text, "mask "),
                     *offset = value_of(text, "offset ");
    size_t len = magic ? strlen(magic) / 2 : 0;
    uint64_t skip = 0;
    if (!len || (offset && !cb_parse_u64(offset, n, &skip)) || len > n - skip || (mask && strlen(mask) / 2 != len))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char want, bits = 0xff;
        if (!hex_at(magic, i, &want) || (mask && !hex_at(mask, i, &bits)) || ((program[skip + i] ^ want) & bits))
            return false;
    }
    return true;
}

static bool read_entry(int dirfd, const char *name, const void *program, size_t n, struct cb_binfmt *out)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autoclose int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || cb_fd_slurp(fd, MAX_ENTRY, &text, NULL) < 0 || !cb_starts_with(text.buf, "enabled\n"))
        return false;
    cb_autofree char *interpreter = value_of(text.buf, "interpreter "), *flags = value_of(text.buf, "flags: ");
    if (!interpreter || *interpreter != '/' || !serves(text.buf, program, n))
        return false;
    *out = (struct cb_binfmt){ cb_strdup(name), CB_TAKE(interpreter), flags && strchr(flags, 'F') };
    return true;
}

bool cb_binfmt_find(int dirfd, const void *program, size_t n, struct cb_binfmt *out)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    bool found = false;
    *out = (struct cb_binfmt){ 0 };
    if (!d) {
        cb_close_p(&fd);
        return false;
    }
    for (const struct dirent *e; !found && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && strcmp(e->d_name, "register") && strcmp(e->d_name, "status"))
            found = read_entry(dirfd, e->d_name, program, n, out);
    closedir(d);
    return found;
}
