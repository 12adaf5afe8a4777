/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* libarchive, loaded when the first tar is read (util/lazy.h). What is used of it is listed here. */

#include <archive.h>
#include <archive_entry.h>

#include "util/error.h"

/* Before anything else of it; cheap. -CB_ELOCAL where it is not there. */
int cb_archive_load(struct cb_error *err) CB_WUR;

#ifdef CB_LAZY_LIBS
#define CB_ARCHIVE_FUNCTIONS(X)                                                                                        \
    X(entry_clear) X(entry_filetype) X(entry_free) X(entry_gid) X(entry_hardlink) X(entry_mtime) X(entry_new)          \
    X(entry_pathname) X(entry_perm) X(entry_rdevmajor) X(entry_rdevminor) X(entry_set_filetype) X(entry_set_gid)       \
    X(entry_set_hardlink) X(entry_set_mtime) X(entry_set_pathname) X(entry_set_perm) X(entry_set_rdevmajor)            \
    X(entry_set_rdevminor) X(entry_set_size) X(entry_set_symlink) X(entry_set_uid) X(entry_size)                       \
    X(entry_size_is_set) X(entry_symlink) X(entry_uid) X(entry_xattr_add_entry) X(entry_xattr_next)                    \
    X(entry_xattr_reset) X(error_string) X(read_data) X(read_free) X(read_new) X(read_next_header) X(read_open)        \
    X(read_support_filter_bzip2) X(read_support_filter_xz) X(read_support_format_empty)                                \
    X(read_support_format_raw) X(read_support_format_tar) X(version_string)
struct cb_archive {
#define CB_LAZY_FIELD(name) __typeof__(archive_##name) *name;
    CB_ARCHIVE_FUNCTIONS(CB_LAZY_FIELD)
#undef CB_LAZY_FIELD
};
extern struct cb_archive cb_archive;
#define archive_entry_clear cb_archive.entry_clear
#define archive_entry_filetype cb_archive.entry_filetype
#define archive_entry_free cb_archive.entry_free
#define archive_entry_gid cb_archive.entry_gid
#define archive_entry_hardlink cb_archive.entry_hardlink
#define archive_entry_mtime cb_archive.entry_mtime
#define archive_entry_new cb_archive.entry_new
#define archive_entry_pathname cb_archive.entry_pathname
#define archive_entry_perm cb_archive.entry_perm
#define archive_entry_rdevmajor cb_archive.entry_rdevmajor
#define archive_entry_rdevminor cb_archive.entry_rdevminor
#define archive_entry_set_filetype cb_archive.entry_set_filetype
#define archive_entry_set_gid cb_archive.entry_set_gid
#define archive_entry_set_hardlink cb_archive.entry_set_hardlink
#define archive_entry_set_mtime cb_archive.entry_set_mtime
#define archive_entry_set_pathname cb_archive.entry_set_pathname
#define archive_entry_set_perm cb_archive.entry_set_perm
#define archive_entry_set_rdevmajor cb_archive.entry_set_rdevmajor
#define archive_entry_set_rdevminor cb_archive.entry_set_rdevminor
#define archive_entry_set_size cb_archive.entry_set_size
#define archive_entry_set_symlink cb_archive.entry_set_symlink
#define archive_entry_set_uid cb_archive.entry_set_uid
#define archive_entry_size cb_archive.entry_size
#define archive_entry_size_is_set cb_archive.entry_size_is_set
#define archive_entry_symlink cb_archive.entry_symlink
#define archive_entry_uid cb_archive.entry_uid
#define archive_entry_xattr_add_entry cb_archive.entry_xattr_add_entry
#define archive_entry_xattr_next cb_archive.entry_xattr_next
#define archive_entry_xattr_reset cb_archive.entry_xattr_reset
#define archive_error_string cb_archive.error_string
#define archive_read_data cb_archive.read_data
#define archive_read_free cb_archive.read_free
#define archive_read_new cb_archive.read_new
#define archive_read_next_header cb_archive.read_next_header
#define archive_read_open cb_archive.read_open
#define archive_read_support_filter_bzip2 cb_archive.read_support_filter_bzip2
#define archive_read_support_filter_xz cb_archive.read_support_filter_xz
#define archive_read_support_format_empty cb_archive.read_support_format_empty
#define archive_read_support_format_raw cb_archive.read_support_format_raw
#define archive_read_support_format_tar cb_archive.read_support_format_tar
#define archive_version_string cb_archive.version_string
#endif
