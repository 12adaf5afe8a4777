/* SPDX-License-Identifier: Apache-2.0 */
/* Widths and colours of a terminal. */
#include <wchar.h>

#include "progress/private.h"
#include "util/encode.h"
#include "util/utf8.h"

/* Of the character at p; *len is what it takes. */
static size_t char_width(const char *p, size_t n, size_t *len)
{
    uint32_t c = 0;
    *len = cb_utf8_decode(p, n, &c);
    if (!*len) {
        *len = 1;
        return 1;
    }
    int w = c < 0x80 ? 1 : wcwidth((wchar_t)c);
    return w < 0 ? 1 : (size_t)w;
}

size_t cb_progress_width(const char *text, size_t n)
{
    size_t width = 0, len;
    for (size_t i = 0; i < n; i += len)
        width += char_width(text + i, n - i, &len);
    return width;
}

size_t cb_progress_fit(const char *text, size_t columns, size_t *width)
{
    size_t n = strlen(text), i = 0, len;
    *width = 0;
    while (i < n) {
        size_t w = char_width(text + i, n - i, &len);
        if (*width + w > columns)
            break;
        *width += w;
        i += len;
    }
    return i;
}

static void set_sgr(char out[static 24], const char *code)
{
    snprintf(out, 24, "\x1b[%sm", code);
}

static bool set_named(char out[static 24], const char *name)
{
    static const char *const names[] = { "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white" };
    char code[8];
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        if (strcmp(name, names[i]) == 0) {
            snprintf(code, sizeof code, "%zu", 30 + i);
            set_sgr(out, code);
            return true;
        }
    return false;
}

/* "R,G,B" */
static void set_rgb(char out[static 24], const char *text)
{
    unsigned rgb[3];
    size_t n = 0;
    for (; n < 3; n++) {
        char part[4] = "";
        size_t len = strcspn(text, ",");
        uint64_t v = 0;
        if (len == 0 || len > 3)
            return;
        memcpy(part, text, len);
        if (!cb_parse_u64(part, 255, &v))
            return;
        rgb[n] = (unsigned)v;
        text += len + (text[len] == ',');
    }
    if (!*text)
        snprintf(out, 24, "\x1b[38;2;%u;%u;%um", rgb[0], rgb[1], rgb[2]);
}

static void set_color(struct cb_progress_colors *c, const char *pair, size_t n)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        { "run", offsetof(struct cb_progress_colors, run) },
        { "error", offsetof(struct cb_progress_colors, error) },
        { "cancel", offsetof(struct cb_progress_colors, cancel) },
        { "warning", offsetof(struct cb_progress_colors, warning) },
    };
    const char *eq = memchr(pair, '=', n);
    char value[24];
    size_t name_len = eq ? (size_t)(eq - pair) : 0;
    if (!eq || n - name_len - 1 >= sizeof value)
        return;
    memcpy(value, eq + 1, n - name_len - 1);
    value[n - name_len - 1] = '\0';
    for (size_t i = 0; i < CB_COUNTOF(fields); i++)
        if (strlen(fields[i].name) == name_len && memcmp(fields[i].name, pair, name_len) == 0) {
            char *out = (char *)c + fields[i].offset;
            if (!set_named(out, value))
                set_rgb(out, value);
        }
}

void cb_progress_colors_read(struct cb_progress_colors *c, const char *(*get)(const char *name))
{
    *c = (struct cb_progress_colors){ 0 };
    const char *no = get("NO_COLOR"), *custom = get("BUILDKIT_COLORS");
    if (no && *no)
        return;
    set_named(c->run, "blue");
    set_named(c->error, "red");
    set_named(c->cancel, "yellow");
    set_named(c->warning, "yellow");
    snprintf(c->faint, sizeof c->faint, "\x1b[2m");
    snprintf(c->reset, sizeof c->reset, "\x1b[0m");
    while (custom && *custom) {
        size_t n = strcspn(custom, ":");
        set_color(c, custom, n);
        custom += n + (custom[n] == ':');
    }
}
