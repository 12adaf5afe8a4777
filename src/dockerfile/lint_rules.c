/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include "util/alloc.h"

const struct cb_df_rule cb_df_rules[CB_DF_N_RULES] = {
    [CB_DF_STAGE_NAME_CASING] = { "StageNameCasing", "The name of a stage is written in lower case",
                                  "stage-name-casing", false, false },
    [CB_DF_FROM_AS_CASING] = { "FromAsCasing", "FROM and AS of one line are in the same case", "from-as-casing", false,
                               false },
    [CB_DF_NO_EMPTY_CONTINUATION] = { "NoEmptyContinuation", "A continued line holds no empty lines: BuildKit is to "
                                      "refuse them", "no-empty-continuation", false, true },
    [CB_DF_CONSISTENT_INSTRUCTION_CASING] = { "ConsistentInstructionCasing", "All instructions of a file are in upper "
                                              "case, or all in lower case", "consistent-instruction-casing", false,
                                              true },
    [CB_DF_DUPLICATE_STAGE_NAME] = { "DuplicateStageName", "Two stages do not share a name", "duplicate-stage-name",
                                     false, true },
    [CB_DF_RESERVED_STAGE_NAME] = { "ReservedStageName", "scratch and context are no names for a stage: they have a "
                                    "meaning", "reserved-stage-name", false, true },
    [CB_DF_JSON_ARGS_RECOMMENDED] = { "JSONArgsRecommended", "CMD and ENTRYPOINT are written as JSON: a shell in "
                                      "between does not pass signals on", "json-args-recommended", false, false },
    [CB_DF_MAINTAINER_DEPRECATED] = { "MaintainerDeprecated", "A label names the author, not MAINTAINER",
                                      "maintainer-deprecated", false, false },
    [CB_DF_UNDEFINED_ARG_IN_FROM] = { "UndefinedArgInFrom", "FROM uses only arguments that an ARG above the first FROM "
                                      "declares", "undefined-arg-in-from", false, false },
    [CB_DF_WORKDIR_RELATIVE_PATH] = { "WorkdirRelativePath", "The first WORKDIR is absolute: where a relative one "
                                      "leads depends on the base image", "workdir-relative-path", false, false },
    [CB_DF_UNDEFINED_VAR] = { "UndefinedVar", "A variable is declared before it is used", "undefined-var", false,
                              false },
    [CB_DF_MULTIPLE_INSTRUCTIONS_DISALLOWED] = { "MultipleInstructionsDisallowed", "Of several CMD, ENTRYPOINT or "
                                                 "HEALTHCHECK in one stage only the last counts",
                                                 "multiple-instructions-disallowed", false, false },
    [CB_DF_LEGACY_KEY_VALUE_FORMAT] = { "LegacyKeyValueFormat", "A = stands between key and value, not a blank",
                                        "legacy-key-value-format", false, false },
    [CB_DF_INVALID_BASE_IMAGE_PLATFORM] = { "InvalidBaseImagePlatform", "The base image is for the platform that is "
                                            "built for", NULL, false, true },
    [CB_DF_REDUNDANT_TARGET_PLATFORM] = { "RedundantTargetPlatform", "--platform=$TARGETPLATFORM is what FROM does "
                                          "anyway", "redundant-target-platform", false, false },
    [CB_DF_SECRETS_USED_IN_ARG_OR_ENV] = { "SecretsUsedInArgOrEnv", "Secrets are no ARG and no ENV: those stay in the "
                                           "image", "secrets-used-in-arg-or-env", false, false },
    [CB_DF_INVALID_DEFAULT_ARG_IN_FROM] = { "InvalidDefaultArgInFrom", "The name of a base image is valid with the "
                                            "defaults of all arguments", "invalid-default-arg-in-from", false, true },
    [CB_DF_FROM_PLATFORM_FLAG_CONST_DISALLOWED] = { "FromPlatformFlagConstDisallowed", "FROM --platform takes a "
                                                    "variable: a constant builds for one platform only",
                                                    "from-platform-flag-const-disallowed", false, false },
    [CB_DF_COPY_IGNORED_FILE] = { "CopyIgnoredFile", "COPY and ADD name nothing that .dockerignore leaves out",
                                  "copy-ignored-file", true, false },
    [CB_DF_INVALID_DEFINITION_DESCRIPTION] = { "InvalidDefinitionDescription", "A comment straight above ARG or FROM "
                                               "describes it: `# name text`; an empty comment in between makes it an "
                                               "ordinary one", "invalid-definition-description", true, false },
    [CB_DF_EXPOSE_PROTO_CASING] = { "ExposeProtoCasing", "The protocol of EXPOSE is written in lower case",
                                    "expose-proto-casing", false, false },
    [CB_DF_EXPOSE_INVALID_FORMAT] = { "ExposeInvalidFormat", "EXPOSE names a port of the container only: addresses and "
                                      "ports of the host are to be refused", "expose-invalid-format", false, false },
};

const struct cb_df_rule *cb_df_rule_find(const char *name)
{
    for (size_t i = 0; i < CB_DF_N_RULES; i++)
        if (strcmp(cb_df_rules[i].name, name) == 0)
            return &cb_df_rules[i];
    return NULL;
}

void cb_df_check_done(struct cb_df_check *c)
{
    cb_strvec_done(&c->skip);
    cb_strvec_done(&c->experimental);
    *c = (struct cb_df_check){ 0 };
}

/* The last one of several counts. */
static void take_names(struct cb_slice value, bool *all, struct cb_strvec *names)
{
    cb_strvec_done(names);
    *all = cb_slice_eq(value, "all");
    for (const char *p = value.ptr, *end = p + value.len; !*all && p <= end;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        const char *stop = comma ? comma : end;
        struct cb_slice name = cb_slice_trim((struct cb_slice){ p, (size_t)(stop - p) });
        cb_strvec_take(names, name.len ? cb_strndup(name.ptr, name.len) : cb_strdup(""));
        p = stop + 1;
    }
}

static int take_option(struct cb_df_check *c, struct cb_slice part, struct cb_error *err)
{
    const char *eq = memchr(part.ptr, '=', part.len);
    if (!eq)
        return cb_df_fail(err, "invalid check option %s: write skip=…, error=… or experimental=…",
                          CB_DF_SHOWN(part.ptr, part.len));
    struct cb_slice key = cb_slice_trim((struct cb_slice){ part.ptr, (size_t)(eq - part.ptr) });
    struct cb_slice value = cb_slice_trim((struct cb_slice){ eq + 1, part.len - (size_t)(eq - part.ptr) - 1 });
    if (cb_slice_eq(key, "skip")) {
        take_names(value, &c->skip_all, &c->skip);
    } else if (cb_slice_eq(key, "experimental")) {
        take_names(value, &c->experimental_all, &c->experimental);
    } else if (cb_slice_eq(key, "error")) {
        cb_autofree char *text = cb_asprintf("%.*s", (int)value.len, value.ptr);
        if (!cb_df_parse_bool(text, &c->error))
            return cb_df_fail(err, "check option error=%s: write true or false", CB_DF_SHOW(text));
    } else {
        return cb_df_fail(err, "invalid check option %s: there are skip, error and experimental",
                          CB_DF_SHOWN(key.ptr, key.len));
    }
    return 0;
}

int cb_df_check_parse(struct cb_df_check *out, const char *text, struct cb_error *err)
{
    struct cb_slice s = cb_slice_trim(CB_SLICE(text));
    int r = 0;
    *out = (struct cb_df_check){ 0 };
    while (r == 0 && s.len > 0) {
        const char *semicolon = memchr(s.ptr, ';', s.len);
        size_t n = semicolon ? (size_t)(semicolon - s.ptr) : s.len;
        r = take_option(out, (struct cb_slice){ s.ptr, n }, err);
        n += semicolon != NULL;
        s = (struct cb_slice){ s.ptr + n, s.len - n };
    }
    return r;
}
