/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror/yaml.h"

#include <stdarg.h>
#include <string.h>

#include "util/alloc.h"
#include "util/strbuf.h"

#define MAX_KEYS 32

int mirror_yaml_wrong(const struct mirror_yaml *y, const yaml_node_t *at, struct cb_error *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cb_autofree char *text = cb_vasprintf(fmt, ap);
    va_end(ap);
    return cb_error_set(err, CB_ECONF, "%s:%zu: %s", y->name, at->start_mark.line + 1, text);
}

static int load(struct mirror_yaml *y, yaml_parser_t *parser, struct cb_error *err)
{
    yaml_document_t more;
    if (!yaml_parser_load(parser, &y->doc))
        return cb_error_set(err, CB_ECONF, "%s:%zu: %s%s%s", y->name, parser->problem_mark.line + 1,
                            parser->problem ? parser->problem : "not YAML", parser->context ? ", " : "",
                            parser->context ? parser->context : "");
    if (!yaml_parser_load(parser, &more)) {
        yaml_document_delete(&y->doc);
        return cb_error_set(err, CB_ECONF, "%s:%zu: %s", y->name, parser->problem_mark.line + 1,
                            parser->problem ? parser->problem : "not YAML");
    }
    bool several = yaml_document_get_root_node(&more) != NULL;
    yaml_document_delete(&more);
    if (!several && yaml_document_get_root_node(&y->doc))
        return 0;
    yaml_document_delete(&y->doc);
    return cb_error_set(err, CB_ECONF, "%s: %s", y->name, several ? "more than one document" : "it is empty");
}

int mirror_yaml_open(struct mirror_yaml *y, const char *name, const char *text, size_t len, struct cb_error *err)
{
    yaml_parser_t parser;
    y->name = name;
    if (cb_yaml_load(err) < 0)
        return -CB_ELOCAL;
    if (!yaml_parser_initialize(&parser))
        return cb_error_set(err, CB_ELOCAL, "no memory for YAML");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    int r = load(y, &parser, err);
    yaml_parser_delete(&parser);
    return r;
}

void mirror_yaml_close(struct mirror_yaml *y)
{
    yaml_document_delete(&y->doc);
}

static yaml_node_t *node_of(const struct mirror_yaml *y, int index)
{
    return yaml_document_get_node((yaml_document_t *)(uintptr_t)&y->doc, index);
}

int mirror_yaml_text(const struct mirror_yaml *y, const yaml_node_t *node, const char **out, struct cb_error *err)
{
    if (node->type != YAML_SCALAR_NODE)
        return mirror_yaml_wrong(y, node, err, "a word is expected here");
    *out = (const char *)node->data.scalar.value;
    if (strlen(*out) != node->data.scalar.length)
        return mirror_yaml_wrong(y, node, err, "a NUL byte");
    return 0;
}

int mirror_yaml_bool(const struct mirror_yaml *y, const yaml_node_t *node, bool *out, struct cb_error *err)
{
    const char *text = NULL;
    int r = mirror_yaml_text(y, node, &text, err);
    if (r < 0)
        return r;
    *out = !strcmp(text, "true");
    return *out || !strcmp(text, "false") ? 0 : mirror_yaml_wrong(y, node, err, "write true or false");
}

int mirror_yaml_each(const struct mirror_yaml *y, const yaml_node_t *node, const struct mirror_key *read, void *into,
                     struct cb_error *err)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return mirror_yaml_wrong(y, node, err, "a list of %s is expected here", read->name);
    int r = 0;
    for (const yaml_node_item_t *i = node->data.sequence.items.start; r == 0 && i < node->data.sequence.items.top; i++)
        r = read->read(y, node_of(y, *i), into, err);
    return r;
}

static int push_text(const struct mirror_yaml *y, const yaml_node_t *node, void *into, struct cb_error *err)
{
    const char *text = NULL;
    int r = mirror_yaml_text(y, node, &text, err);
    if (r == 0 && !*text)
        r = mirror_yaml_wrong(y, node, err, "an empty word");
    if (r == 0)
        cb_strvec_push(into, text);
    return r;
}

int mirror_yaml_strings(const struct mirror_yaml *y, const yaml_node_t *node, struct cb_strvec *out,
                        struct cb_error *err)
{
    static const struct mirror_key words = { "words", push_text };
    return node->type == YAML_SCALAR_NODE ? push_text(y, node, out, err) : mirror_yaml_each(y, node, &words, out, err);
}

static size_t find_key(const struct mirror_key *keys, const char *name)
{
    size_t i = 0;
    while (keys[i].name && strcmp(keys[i].name, name) != 0)
        i++;
    return i;
}

static int unknown_key(const struct mirror_yaml *y, const yaml_node_t *node, const char *name,
                       const struct mirror_key *keys, struct cb_error *err)
{
    struct cb_strbuf known cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = 0; keys[i].name; i++)
        cb_strbuf_addf(&known, "%s%s", i ? ", " : "", keys[i].name);
    return mirror_yaml_wrong(y, node, err, "\"%.100s\" is not known here; known are %s", name, known.buf);
}

int mirror_yaml_map(const struct mirror_yaml *y, const yaml_node_t *node, const struct mirror_key *keys, void *into,
                    struct cb_error *err)
{
    bool seen[MAX_KEYS] = { 0 };
    if (node->type != YAML_MAPPING_NODE)
        return mirror_yaml_wrong(y, node, err, "keys and values are expected here");
    for (const yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = node_of(y, p->key);
        const char *name = NULL;
        int r = mirror_yaml_text(y, key, &name, err);
        size_t i = r == 0 ? find_key(keys, name) : 0;
        if (r == 0 && !keys[i].name)
            r = unknown_key(y, key, name, keys, err);
        else if (r == 0 && seen[i])
            r = mirror_yaml_wrong(y, key, err, "\"%s\" stands twice", name);
        if (r < 0)
            return r;
        seen[i] = true;
        if ((r = keys[i].read(y, node_of(y, p->value), into, err)) < 0)
            return r;
    }
    return 0;
}
