/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* --format: the part of Go's text/template that people write for docker and skopeo. Text is copied, \n and \t in it
 * are line end and tab. Actions are
 *
 *     {{.}} {{.A.B}} {{"text"}} {{$}} {{$x := .A}} {{.A | json}} {{len (index .A "key")}} {{- .A -}} comments
 *     {{range .A}} … {{else}} … {{end}}  {{range $key, $value := .A}}  {{with .A}} … {{end}}
 *     {{if .A}} … {{else if .B}} … {{else}} … {{end}}
 *
 * and the functions json index join len print println printf lower upper split slice eq ne lt le gt ge not and or.
 * Values print as in Go: [a b], map[k:v], <no value>. All else (templates in templates, break …) is an error. */

#include <jansson.h>

#include "util/error.h"
#include "util/strbuf.h"

/* -CB_EUSAGE with the place: what is no template of ours, a field that root does not have, a wrong type. A member that
 * is missing further down is <no value>, and "" for index, as in Go's maps. */
int cb_template_print(struct cb_strbuf *out, const char *format, const json_t *root, struct cb_error *err) CB_WUR;
/* more: what {{.Field}} is where root has no such member; {{json .}} and the like do not show it. */
int cb_template_print_with(struct cb_strbuf *out, const char *format, const json_t *root, const json_t *more,
                           struct cb_error *err) CB_WUR;
/* Of a root whose members have the names of their JSON: .MediaType means "mediaType". */
int cb_template_print_go(struct cb_strbuf *out, const char *format, const json_t *root, struct cb_error *err) CB_WUR;
/* Prints it and a line end: to a terminal only what is harmless there (R18), to a program what it is. */
void cb_template_show(const struct cb_strbuf *text);
