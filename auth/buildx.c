/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <strings.h>
#include <unistd.h>

#include "auth/private.h"
#include "util/alloc.h"

/* The names that Docker Hub's directory may have; other hosts have their own. */
static const char *host_name(const char *host, unsigned i)
{
    static const char *const hub[] = { "registry-1.docker.io", "docker.io", "index.docker.io" };
    if (strcasecmp(host, "docker.io") != 0)
        return i == 0 ? host : NULL;
    return i < CB_COUNTOF(hub) ? hub[i] : NULL;
}

/* How many actions stand in the list; -1: one of them is not wanted. */
static int count_wanted(const char *list, const char *wanted)
{
    int count = 0;
    for (const char *p = list; *p; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ", ");
        if (n && !auth_has_action(wanted ? wanted : "", p, n))
            return -1;
        count += n > 0;
        p += n;
    }
    return count;
}

/* The entry of dir that is NAME or NAME@ACTIONS; its config.json, owned. */
static char *find_in(const char *dir, const char *name, const char *actions)
{
    char *best = NULL;
    int most = -1;
    DIR *d = opendir(dir);
    for (const struct dirent *e; d && (e = readdir(d));) {
        size_t n = strcspn(e->d_name, "@");
        if (strlen(name) != n || strncasecmp(name, e->d_name, n) != 0)
            continue;
        int count = count_wanted(e->d_name[n] ? e->d_name + n + 1 : "", actions);
        cb_autofree char *path = cb_asprintf("%s/%s/config.json", dir, e->d_name);
        if (count > most && access(path, F_OK) == 0) {
            free(best);
            best = CB_TAKE(path);
            most = count;
        }
    }
    if (d)
        closedir(d);
    return best;
}

char *auth_buildx_find(const char *base, const struct auth_query *q, bool of_repo)
{
    const char *host;
    char *found = NULL;
    for (unsigned i = 0; !found && (host = host_name(q->host, i)); i++) {
        cb_autofree char *full = cb_asprintf("%s/%s/%s", base, host, of_repo && q->repo ? q->repo : "");
        if (of_repo && q->repo) {
            char *slash = strrchr(full, '/');
            *slash = '\0';
            found = find_in(full, slash + 1, q->actions);
        } else if (!of_repo) {
            found = find_in(base, host, q->actions);
        }
    }
    return found;
}
