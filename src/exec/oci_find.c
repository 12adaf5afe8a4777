/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "exec/oci.h"
#include "util/alloc.h"
#include "util/proc.h"

#define VERSION_TIMEOUT_MS 10000

static const struct {
    const char *name;
    unsigned major_version, minor_version; /* 0.0: named by date */
    const char *reason;                    /* of what is older */
} flavours[] = {
    [CB_OCI_CRUN] = { "crun", 1, 28, "older ones follow links of the image out of its root (CVE-2026-41579)" },
    [CB_OCI_RUNC] = { "runc", 1, 1, "older ones know nothing of half of what the step needs" },
    [CB_OCI_RUNSC] = { "runsc", 0, 0, NULL },
};

static bool starts_with_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    return cb_starts_with(text, word) && cb_starts_with(text + n, " version ");
}

bool cb_oci_version_ok(const char *text, enum cb_oci_flavour *flavour, char **why)
{
    for (size_t i = 0; i < CB_COUNTOF(flavours); i++) {
        unsigned major_version = 0, minor_version = 0, need = flavours[i].major_version;
        if (!starts_with_word(text, flavours[i].name))
            continue;
        *flavour = (enum cb_oci_flavour)i;
        const char *number = text + strlen(flavours[i].name) + strlen(" version ");
        if (need == 0)
            return true;
        if (sscanf(number, "%u.%u", &major_version, &minor_version) == 2 &&
            (major_version > need || (major_version == need && minor_version >= flavours[i].minor_version)))
            return true;
        *why = cb_asprintf("%s %.*s: %u.%u or newer is needed, %s", flavours[i].name, (int)strcspn(number, " \n"),
                           number, need, flavours[i].minor_version, flavours[i].reason);
        return false;
    }
    *why = cb_asprintf("is neither crun, runc nor runsc (`--version` says \"%.*s\")", (int)strcspn(text, "\n"), text);
    return false;
}

static int ask_version(const char *path, struct cb_strbuf *text, struct cb_error *err)
{
    const char *argv[] = { path, "--version", NULL };
    cb_cleanup_proc_result struct cb_proc_result res = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    struct cb_proc_spec spec = { .argv = argv, .timeout_ms = VERSION_TIMEOUT_MS };
    int r = cb_proc_run(&spec, &res, err);
    if (r < 0)
        return cb_error_wrap(err, "OCI runtime %s", path);
    if (res.status != 0)
        return cb_error_set(err, CB_ELOCAL, "OCI runtime %s: `--version` ends with status %d", path, res.status);
    cb_strbuf_add(text, res.out.buf, CB_MIN(res.out.len, strcspn(res.out.buf, "\n")));
    return 0;
}

static int take(const char *path, struct cb_isolation *out, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf version = CB_STRBUF_INIT;
    cb_autofree char *why = NULL;
    enum cb_oci_flavour flavour = CB_OCI_RUNC;
    int r = ask_version(path, &version, err);
    if (r < 0)
        return r;
    if (!cb_oci_version_ok(version.buf, &flavour, &why))
        return cb_error_set(err, CB_ELOCAL, "OCI runtime %s: %s", path, why);
    const char *number = version.buf + strlen(flavours[flavour].name) + strlen(" version ");
    out->kind = CB_ISOLATION_OCI;
    out->flavour = (int)flavour;
    out->runtime = cb_strdup(path);
    out->text = cb_asprintf("oci (%s %.*s)", flavours[flavour].name, (int)strcspn(number, " "), number);
    return 0;
}

/* A path is taken from where we are; a name from PATH, or where runtimes are though a user's PATH is shorter. */
static char *find_program(const char *wanted)
{
    if (strchr(wanted, '/')) {
        cb_autofree char *here = wanted[0] == '/' ? NULL : get_current_dir_name();
        cb_autofree char *path = cb_asprintf("%s%s%s", here ? here : "", here ? "/" : "", wanted);
        return access(path, X_OK) == 0 ? CB_TAKE(path) : NULL;
    }
    char *found = cb_proc_which(wanted);
    cb_autofree char *usual = cb_asprintf("/usr/sbin/%s", wanted);
    return found || access(usual, X_OK) < 0 ? found : cb_strdup(usual);
}

static int find_named(const char *wanted, struct cb_isolation *out, struct cb_error *err)
{
    cb_autofree char *path = find_program(wanted);
    if (!path)
        return cb_error_set(err, CB_ELOCAL, "OCI runtime %s: no such program", wanted);
    return take(path, out, err);
}

int cb_oci_find(const char *wanted, struct cb_isolation *out, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf reasons = CB_STRBUF_INIT;
    if (wanted)
        return find_named(wanted, out, err);
    for (size_t i = 0; i < CB_COUNTOF(flavours); i++) {
        cb_cleanup_error struct cb_error e = CB_ERROR_INIT;
        cb_autofree char *path = find_program(flavours[i].name);
        if (path && take(path, out, &e) == 0)
            return 0;
        if (path)
            cb_strbuf_addf(&reasons, "%s%s", reasons.len ? "; " : "", cb_error_text(&e));
    }
    if (reasons.len)
        return cb_error_set(err, CB_ELOCAL, "%s", reasons.buf);
    return cb_error_set(err, CB_ELOCAL, "no OCI runtime in PATH (apt-get install runc, or crun 1.28 or newer)");
}
