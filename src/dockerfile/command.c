/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include <jansson.h>

#include "util/alloc.h"

static void json_decref_p(json_t **j)
{
    json_decref(*j);
}

int cb_df_json_strings(const char *rest, struct cb_strvec *out, struct cb_error *err)
{
    while (cb_df_is_blank(*rest))
        rest++;
    if (*rest != '[')
        return 0;
    CB_CLEANUP(json_decref_p) json_t *array = json_loadb(rest, strlen(rest), JSON_ALLOW_NUL, NULL);
    if (!array)
        return 0;
    size_t i;
    json_t *item;
    json_array_foreach(array, i, item) {
        if (!json_is_string(item))
            return cb_df_fail(err, "%s: every element of the JSON form is a string in double quotes", CB_DF_SHOW(rest));
        if (strlen(json_string_value(item)) != json_string_length(item))
            return cb_df_fail(err, "%s: an argument cannot hold a NUL character", CB_DF_SHOW(rest));
        cb_strvec_push(out, json_string_value(item));
    }
    return 1;
}

int cb_df_command_parse(struct cb_df_command *c, const char *rest, struct cb_error *err)
{
    int r = cb_df_json_strings(rest, &c->args, err);
    if (r < 0)
        return r;
    c->exec_form = r > 0;
    if (!c->exec_form)
        cb_strvec_push(&c->args, rest);
    return 0;
}
